"""Download files over HTTP; resumes interrupted downloads, also those of an earlier call.

This module and `http_request` are the only ones that use a network, and only on request.
Source: RFC 9110 for ranges and validators.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import collapse_rfc2231_value
from io import FileIO
from pathlib import Path

from rtvc.errors import RtvcError
from rtvc.library.addresses import file_name, hostname, normalize_url
from rtvc.library.home import downloads_folder, explain_write_errors, format_size, require_space
from rtvc.library.http_request import (
    RangeNotSatisfiableError,
    TransientError,
    connection_error,
    open_url,
)

ReportProgress = Callable[[int, int | None], None]
"""Called with the bytes received and the total size in bytes, None if unknown."""

RETRY_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each attempt after the first; progress starts the list again."""

MAX_BYTES = 16 * 2**30

_MAX_RETRY_DELAY_S = 60.0
_CHUNK = 2**18
_PROGRESS_BYTES = 2**16
_MAX_AGE_S = 14 * 24 * 3600.0
_SIZE = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(rf"bytes ({_SIZE.pattern})-{_SIZE.pattern}/({_SIZE.pattern}|\*)")


@dataclass(frozen=True, slots=True)
class Download:
    """A complete download.

    Attributes
    ----------
    path
        The downloaded file.
    name
        The server's name for the file, sanitized.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of `download`."""

    url: str
    size: int | None
    sha256: str
    progress: ReportProgress


@dataclass(slots=True)
class _PartialDownload:
    """The state of a download between two attempts, stored next to it between two calls.

    Attributes
    ----------
    validator
        Entity tag or date that identifies the version of the file on the server.
    name
        The server's name for the file.
    """

    validator: str = ""
    name: str = ""


@contextlib.contextmanager
def download(
    url: str,
    progress: ReportProgress,
    *,
    size: int | None = None,
    sha256: str = "",
    retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> Iterator[Download]:
    """Download a file into the downloads folder, for the block, which moves it or discards it.

    Until the block ends, no other process downloads from the URL or changes the file.

    Parameters
    ----------
    url
        A URL with ``http://`` or ``https://``; see `normalize_url`.
    progress
        Called during the transfer; see `ReportProgress`.
    size
        Expected size in bytes, None if unknown.
    sha256
        Expected SHA-256, "" if unknown.
    retry_delays_s
        Seconds to wait before each attempt after the first.

    Raises
    ------
    UsageError
        If the URL cannot be downloaded.
    RtvcError
        If the download fails or is not the expected file. The part that was received stays for
        the next call, unless it is wrong.
    """
    request = _Request(normalize_url(url), size, sha256, progress)
    with _locked_part_file(request.url) as file:
        state = _read_state(request.url)
        resumed = file.seek(0, 2) > 0
        _transfer_with_retries(request, file, state, retry_delays_s)
        if not _hash_matches(request, file) and resumed:
            # The part of an earlier call may be from another file.
            file.truncate(0)
            state = _PartialDownload()
            _transfer_with_retries(request, file, state, retry_delays_s)
        if not _hash_matches(request, file):
            file.truncate(0)
            raise _wrong_file_error(request.url, f"its SHA-256 is not {sha256[:16]}…")
        if not file.seek(0, 2):
            raise RtvcError(f"The file at {request.url} is empty; check the URL.")
        yield Download(_part_file(request.url), state.name or file_name(None, request.url))


def discard_download(url: str) -> None:
    """Remove the download of a URL, complete or partial."""
    part = _part_file(normalize_url(url))
    part.unlink(missing_ok=True)
    part.with_suffix(".json").unlink(missing_ok=True)


def partial_size(url: str) -> int:
    """Return the number of bytes already downloaded from a URL."""
    try:
        return _part_file(normalize_url(url)).stat().st_size
    except OSError:
        return 0


def _transfer_with_retries(
    request: _Request, file: FileIO, state: _PartialDownload, retry_delays_s: Sequence[float]
) -> None:
    """Repeat the transfer until the file is complete or the attempts are used up."""
    delays = list(retry_delays_s)
    while True:
        before = file.seek(0, 2)
        try:
            _transfer(request, file, state)
            return
        except TransientError as error:
            received = file.seek(0, 2)
            if received >= before + _PROGRESS_BYTES:
                delays = list(retry_delays_s)
            if not delays:
                resume = f" to resume after {format_size(received)}" if received else ""
                raise RtvcError(f"{error} Run the same command again later{resume}.") from None
            time.sleep(min(max(delays.pop(0), error.retry_delay_s), _MAX_RETRY_DELAY_S))


def _transfer(request: _Request, file: FileIO, state: _PartialDownload) -> None:
    """Send one request and store the response."""
    start = file.seek(0, 2)
    if start and not state.validator and not request.sha256:
        start = file.truncate(0)  # nothing could verify that the rest is of the same file
    if start and start == request.size:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and state.validator:
        headers["If-Range"] = state.validator
    try:
        response = open_url(request.url, headers)
    except RangeNotSatisfiableError as error:
        if error.size == f"bytes */{start}":
            return  # it was complete already
        file.truncate(0)
        raise TransientError(f"The file at {hostname(request.url)} has changed.") from None
    with response:
        start, total = _content_range(response, start)
        validator = _validator(response.headers)
        if start and not request.sha256 and _differ(state.validator, validator):
            file.truncate(0)
            raise TransientError(f"The file at {hostname(request.url)} has changed.")
        if request.size is not None and total not in (None, request.size):
            raise _wrong_file_error(
                request.url, f"it has {total} bytes and should have {request.size}"
            )
        if total is not None and total > MAX_BYTES:
            raise _too_large_error(request)
        require_space((total or start) - start, "the download")
        # The answer to a range may leave out the date.
        state.validator = validator or (state.validator if start else "")
        state.name = file_name(_server_file_name(response.headers), request.url)
        with explain_write_errors():
            if file.seek(0, 2) != start:
                file.truncate(start)
            file.seek(start)
            _write_state(request.url, state)
        _receive(request, response, file, total)
    if total is not None and file.tell() < total:
        raise TransientError(f"The connection to {hostname(request.url)} broke.")
    if request.size is not None and file.tell() != request.size:
        received = file.tell()
        file.truncate(0)
        raise _wrong_file_error(
            request.url, f"it has {received} bytes and should have {request.size}"
        )


def _receive(
    request: _Request, response: http.client.HTTPResponse, file: FileIO, total: int | None
) -> None:
    page = response.headers.get_content_type() in ("text/html", "application/xhtml+xml")
    while True:
        request.progress(file.tell(), total)
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            host = hostname(request.url)
            raise TransientError(
                f"The connection to {host} broke ({connection_error(error)})."
            ) from None
        if not chunk:
            return
        if page and not file.tell() and chunk.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise RtvcError(
                f"{request.url} leads to a web page, not to a file. Copy the URL of the download "
                "itself, or download it with your browser and use that file."
            )
        if file.tell() + len(chunk) > (request.size or MAX_BYTES):
            file.truncate(0)
            raise _too_large_error(request)
        with explain_write_errors():
            _write(file, chunk)


def _write(file: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _content_range(response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
    """Return the offset of the response in the file, and the file's size if known."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise RtvcError(
            f"{response.url} sends the file with the encoding {encoding[:20]!r}, which is not "
            "supported. Download it with your browser and use that file."
        )
    if response.status == 206:
        given = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if given is None or int(given[1]) != start:
            raise RtvcError(
                f"{response.url} sends a different part of the file than requested. Download it "
                "with your browser and use that file."
            )
        return start, None if given[2] == "*" else int(given[2])
    if response.status != 200:
        raise RtvcError(f"{response.url} sends no file (HTTP {response.status}); check the URL.")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if _SIZE.fullmatch(length) else None


def _validator(headers: http.client.HTTPMessage) -> str:
    """Return the value for If-Range: a strong entity tag, else the Last-Modified date."""
    tag: str = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _differ(before: str, now: str) -> bool:
    """Return whether two validators of one kind are those of different versions of a file."""
    alike = before.startswith('"') == now.startswith('"')
    return bool(before and now) and alike and before != now


def _server_file_name(headers: http.client.HTTPMessage) -> str:
    """Return the file name in Content-Disposition, ``filename*`` before ``filename`` (RFC 6266)."""
    try:
        params = headers.get_params([], "content-disposition") or ()
    except ValueError:  # such as a part with a number of thousands of digits
        return ""
    given = [value for key, value in params if key == "filename"]
    encoded = [value for value in given if isinstance(value, tuple)]
    return collapse_rfc2231_value((encoded or given or [""])[0])


def _hash_matches(request: _Request, file: FileIO) -> bool:
    file.seek(0)
    return not request.sha256 or hashlib.file_digest(file, "sha256").hexdigest() == request.sha256


def _wrong_file_error(url: str, why: str) -> RtvcError:
    return RtvcError(
        f"The download from {url} is not the expected file: {why}. It was deleted; try again "
        "later, or use another source."
    )


def _too_large_error(request: _Request) -> RtvcError:
    limit = format_size(request.size or MAX_BYTES)
    return RtvcError(
        f"The file at {request.url} is larger than the limit of {limit}; check the URL."
    )


def _part_file(url: str) -> Path:
    return downloads_folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.part"


def _lock_file(url: str) -> Path:
    return _part_file(url).with_suffix(".lock")


@contextlib.contextmanager
def _locked_part_file(url: str) -> Iterator[FileIO]:
    """Open the part file of a download; other processes are kept from the URL for the block."""
    with explain_write_errors():
        downloads_folder().mkdir(parents=True, exist_ok=True)
        _remove_old_parts()
        lock = _take_lock(url)
    with lock:
        try:
            with explain_write_errors():
                _part_file(url).touch()
                # Unbuffered, so that a write is complete when it returns, and raises errors once.
                file = _part_file(url).open("r+b", buffering=0)
            with file:
                try:
                    yield file
                finally:
                    if not file.seek(0, 2):
                        discard_download(url)
        finally:
            _lock_file(url).unlink(missing_ok=True)


def _take_lock(url: str) -> FileIO:
    """Return the open lock file of a URL.

    The part file itself would not do: whoever uses it moves it away.
    """
    path = _lock_file(url)
    while True:
        file = path.open("wb", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise RtvcError(
                f"Another rtvc process is already using {url}; wait until it has finished."
            ) from None
        except OSError:
            return file  # some network disks have no locks
        # The process that held the lock may have removed its file meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()


def _remove_old_parts() -> None:
    """Remove downloads that were not resumed for 14 days."""
    for path in downloads_folder().iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _MAX_AGE_S:
                path.unlink()


def _read_state(url: str) -> _PartialDownload:
    try:
        facts = json.loads(_part_file(url).with_suffix(".json").read_text())
        return _PartialDownload(str(facts["validator"]), str(facts["name"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _PartialDownload()


def _write_state(url: str, state: _PartialDownload) -> None:
    facts = {"validator": state.validator, "name": state.name}
    _part_file(url).with_suffix(".json").write_text(json.dumps(facts))
