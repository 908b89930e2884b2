"""Send an HTTP request: allowed schemes and redirects, and errors with explanations."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from rtvc._version import __version__
from rtvc.errors import RtvcError
from rtvc.library.addresses import hostname

_TIMEOUT_S = 30.0
_MAX_REDIRECTS = 8
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransientError(Exception):
    """An error that may not happen on another attempt.

    Attributes
    ----------
    retry_delay_s
        Seconds that the server asks to wait, 0 if it does not say.
    """

    def __init__(self, message: str, retry_delay_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_delay_s = retry_delay_s


class RangeNotSatisfiableError(Exception):
    """The requested range is not in the file.

    Attributes
    ----------
    size
        The Content-Range header of the response, such as ``"bytes */1000"``.
    """

    def __init__(self, size: str) -> None:
        super().__init__(size)
        self.size = size


def open_url(url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    """Send a GET request and return the response.

    Parameters
    ----------
    url
        As `normalize_url` returns it. Redirects are followed, but never from https to http.
    headers
        Additional headers.

    Raises
    ------
    TransientError
        If another attempt may succeed.
    RangeNotSatisfiableError
        If the requested range is not in the file.
    RtvcError
        If another attempt cannot succeed.
    """
    host = hostname(url)
    common = {"User-Agent": f"rtvc/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers={**common, **headers})
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=_TIMEOUT_S)
        return response
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                raise RangeNotSatisfiableError(error.headers.get("Content-Range", "")) from None
            if error.code in _TRANSIENT:
                raise TransientError(
                    f"{host} is busy or out of service (HTTP {error.code}).",
                    _parse_seconds(error.headers.get("Retry-After")),
                ) from None
            raise RtvcError(_refusal_message(url, error)) from None
    except urllib.error.URLError as error:
        cause = error.reason
        if isinstance(cause, socket.gaierror):
            raise RtvcError(
                f"The server {host} cannot be found. Check the URL, and that this machine is "
                "online."
            ) from None
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise RtvcError(
                f"The certificate of {host} cannot be verified ({cause.verify_message}). With "
                "Python from python.org on macOS, run its 'Install Certificates.command' first."
            ) from None
        raise TransientError(f"{host} cannot be reached ({connection_error(cause)}).") from None
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"{host} does not answer ({connection_error(error)}).") from None


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    max_redirections = _MAX_REDIRECTS
    max_repeats = 2

    def http_error_302(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except (ValueError, http.client.InvalidURL):  # urllib does not check the address first
            fp.close()
            raise RtvcError(
                f"{req.full_url} redirects to an address that is not valid; check the URL."
            ) from None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(  # noqa: PLR0917 (urllib's signature)
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if newurl.partition(":")[0].lower() not in ("https", req.type):
            fp.close()
            raise RtvcError(
                f"{hostname(req.full_url)} redirects to {newurl.partition('?')[0]!r}, which is "
                "not safe to follow. Nothing was downloaded; check the URL."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # Only these of urllib's handlers: no file URLs, no FTP, no passwords.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _RedirectHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _refusal_message(url: str, error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return (
            f"{url} cannot be downloaded without signing in (HTTP {error.code}). Download it with "
            "your browser and use that file."
        )
    if error.code in (404, 410):
        return f"There is no file at {url} (HTTP {error.code}); check the URL."
    if 300 <= error.code < 400:
        return f"{url} redirects in circles, or not to a web address; check the URL."
    return f"{url} cannot be downloaded (HTTP {error.code} {error.reason}); check the URL."


def connection_error(error: object) -> str:
    """Return a short description of a connection error."""
    if isinstance(error, TimeoutError):
        return f"no answer within {_TIMEOUT_S:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__ if isinstance(error, Exception) else str(error)


def _parse_seconds(text: str | None) -> float:
    return float(text) if text and text.isascii() and text.isdigit() else 0.0
