"""Downloads files over HTTP: goes on after a break, also that of an earlier call.

With `http_request` this is the only part of rtvc that uses a network, and only when asked to.
Source: RFC 9110 for ranges and validators.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
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
"""Is told the bytes that are there, and those that there will be, None if not known."""

RETRY_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Before each try after the first; a try that brings something in starts the list anew."""

MAX_BYTES = 16 * 2**30

_MAX_RETRY_DELAY_S = 60.0
_CHUNK = 2**18
_PROGRESS_BYTES = 2**16
_MAX_AGE_S = 14 * 24 * 3600.0
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Download:
    """A file that has been downloaded, whole; `name` is that of its site, safe as a name."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be downloaded; `size` and `sha256` as in `download`."""

    url: str
    size: int | None
    sha256: str
    progress: ReportProgress


@dataclass(slots=True)
class _PartialDownload:
    """What is known of a download between two tries; kept beside it between two calls.

    `validator` tells whether the file on the server is still the same one.
    """

    validator: str = ""
    name: str = ""


def download(
    address: str,
    progress: ReportProgress,
    *,
    size: int | None = None,
    sha256: str = "",
    retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> Download:
    """Download a file into the folder of downloads, from where the caller takes or discards it.

    Parameters
    ----------
    address
        ``http://`` or ``https://``; the page of a file on Hugging Face is taken for the file.
    progress
        Is told how far it is.
    size
        Bytes that the file must have, None if not known.
    sha256
        SHA-256 that it must have, "" if not known.
    retry_delays_s
        Seconds to wait before each try after the first.

    Raises
    ------
    UsageError
        If the address is none that can be downloaded.
    RtvcError
        If it fails for good, or comes out as another file; the sentence says what to do. What has
        come in stays for the next call, unless it is wrong.
    """
    request = _Request(normalize_url(address), size, sha256, progress)
    with _locked_part_file(request.url) as file:
        state = _read_state(request.url)
        resumed = file.seek(0, 2) > 0
        _transfer_with_retries(request, file, state, retry_delays_s)
        if not _hash_matches(request, file) and resumed:
            # The older part may have been of another file.
            file.truncate(0)
            state = _PartialDownload()
            _transfer_with_retries(request, file, state, retry_delays_s)
        if not _hash_matches(request, file):
            file.truncate(0)
            raise _wrong_file_error(request.url, f"its SHA-256 is not {sha256[:16]}…")
        if not file.seek(0, 2):
            raise RtvcError(f"The file at {request.url} is empty.")
        return Download(_part_file(request.url), state.name or file_name(None, request.url))


def discard_download(address: str) -> None:
    """Remove what was downloaded from an address."""
    part = _part_file(normalize_url(address))
    part.unlink(missing_ok=True)
    part.with_suffix(".json").unlink(missing_ok=True)


def partial_size(address: str) -> int:
    """Return how many bytes of a download are there already."""
    try:
        return _part_file(normalize_url(address)).stat().st_size
    except OSError:
        return 0


def _transfer_with_retries(
    request: _Request, file: FileIO, state: _PartialDownload, retry_delays_s: Sequence[float]
) -> None:
    """Try until the file is whole or nothing helps."""
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
                resume = (
                    f"; it goes on after the {format_size(received)} that came in"
                    if received
                    else ""
                )
                raise RtvcError(f"{error} Try the same command again later{resume}.") from None
            time.sleep(min(max(delays.pop(0), error.retry_delay_s), _MAX_RETRY_DELAY_S))


def _transfer(request: _Request, file: FileIO, state: _PartialDownload) -> None:
    """Make one request, and take in what comes."""
    start = file.seek(0, 2)
    if start and not state.validator and not request.sha256:
        start = file.truncate(0)  # Nothing would tell whether the rest belongs to it.
    if start and start == request.size:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and state.validator:
        headers["If-Range"] = state.validator
    try:
        response = open_url(request.url, headers)
    except RangeNotSatisfiableError as error:
        if error.size == f"bytes */{start}":
            return  # It had been whole already.
        file.truncate(0)
        raise TransientError(f"{hostname(request.url)} has another file than before.") from None
    with response:
        start, total = _content_range(response, start)
        if request.size is not None and total not in (None, request.size):
            raise _wrong_file_error(
                request.url, f"it has {total} bytes and should have {request.size}"
            )
        if total is not None and total > MAX_BYTES:
            raise _too_large_error(request)
        require_space((total or start) - start, "the download")
        state.validator = _validator(response.headers)
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
                f"{request.url} leads to a web page, not to a file; copy the address of the "
                "download itself, or download it with your browser and give the file."
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
    """Return where the answer begins in the file, and how long the whole file is."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise RtvcError(
            f"{response.url} sends the file packed ({encoding[:20]!r}), which rtvc does not take; "
            "download it with your browser and give the file."
        )
    if response.status == 206:
        given = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if given is None or int(given[1]) != start:
            raise RtvcError(f"{response.url} sends another part of the file than was asked for.")
        return start, None if given[2] == "*" else int(given[2])
    if response.status != 200:
        raise RtvcError(f"{response.url} sends no file (HTTP {response.status}).")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isascii() and length.isdigit() else None


def _validator(headers: http.client.HTTPMessage) -> str:
    """Return what If-Range takes: a strong entity tag, else the date of the last change."""
    tag: str = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _server_file_name(headers: http.client.HTTPMessage) -> str:
    """Return the file name that the server proposes: of two the encoded one (RFC 6266)."""
    given = [
        value
        for key, value in headers.get_params([], "content-disposition") or ()
        if key == "filename"
    ]
    encoded = [value for value in given if isinstance(value, tuple)]
    return collapse_rfc2231_value((encoded or given or [""])[0])


def _hash_matches(request: _Request, file: FileIO) -> bool:
    file.seek(0)
    return not request.sha256 or hashlib.file_digest(file, "sha256").hexdigest() == request.sha256


def _wrong_file_error(url: str, why: str) -> RtvcError:
    return RtvcError(
        f"What comes from {url} is not the file that it should be: {why}. Nothing of it is kept; "
        "try again later, or another source."
    )


def _too_large_error(request: _Request) -> RtvcError:
    limit = format_size(request.size or MAX_BYTES)
    return RtvcError(f"The file at {request.url} is larger than {limit}, which cannot be right.")


def _part_file(url: str) -> Path:
    return downloads_folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.part"


@contextlib.contextmanager
def _locked_part_file(url: str) -> Iterator[FileIO]:
    """Open what there is of a download, for this process alone."""
    with explain_write_errors():
        downloads_folder().mkdir(parents=True, exist_ok=True)
        _remove_old_parts()
        _part_file(url).touch()
        # Without a buffer: what is written is there, and an error is told once.
        file = _part_file(url).open("r+b", buffering=0)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RtvcError(f"Another rtvc is downloading {url} already; wait for it.") from None
        try:
            yield file
        finally:
            if not file.seek(0, 2):
                discard_download(url)


def _remove_old_parts() -> None:
    """Remove downloads that nobody went on with."""
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
