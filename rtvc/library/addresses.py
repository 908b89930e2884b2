"""Addresses of downloads: what may be one, and what a person means who copies one from a page."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit, urlunsplit

from rtvc.errors import UsageError
from rtvc.library import names

_UNQUOTED = "%/:=&?~+!$,;'@()*[]"
# Sites whose file pages are told from their files by one word in the path.
_FILE_PAGES = {
    "huggingface.co": "resolve",
    "www.huggingface.co": "resolve",
    "hf.co": "resolve",
    "github.com": "raw",
    "www.github.com": "raw",
}


def is_url(source: str) -> bool:
    """Return whether a text is an address rather than a path."""
    return "://" in source


def normalize_url(address: str) -> str:
    """Return the address of the file that a person means, ready for a request.

    The page of a file on Hugging Face or GitHub becomes the file itself.

    Raises
    ------
    UsageError
        If it is no address of a file that rtvc can download.
    """
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname or "", parts.port
        ascii_host = host if ":" in host else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        raise UsageError(f"{address!r} is not a valid address.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{address!r} cannot be downloaded; give one that begins with https://.")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "An address with a name and password cannot be downloaded; download the file with "
            "your browser and give the file."
        )
    place = f"[{ascii_host}]" if ":" in host else ascii_host
    if port is not None:
        place += f":{port}"
    path = _download_path(host, parts.path)
    return urlunsplit(
        (parts.scheme, place, quote(path, safe=_UNQUOTED), quote(parts.query, safe=_UNQUOTED), "")
    )


def without_query(address: str) -> str:
    """Return an address without its query, which may hold a key."""
    parts = urlsplit(normalize_url(address))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def hostname(address: str) -> str:
    """Return the name of the server."""
    return urlsplit(address).hostname or ""


def file_name(offered: str | None, address: str) -> str:
    """Return a file's name, safe as one: the server's, else the last part of the address."""
    for text in (offered or "", unquote(urlsplit(address).path)):
        name = names.sanitized(text.replace("\\", "/").rpartition("/")[2])
        if name:
            return name
    return "download"


def _download_path(host: str, path: str) -> str:
    word = _FILE_PAGES.get(host.lower())
    parts = path.split("/")  # "", owner, repository, word, revision, file...
    if word is None:
        return path
    if len(parts) > 2 and parts[1] in ("datasets", "spaces"):
        head, tail = parts[:4], parts[4:]
    else:
        head, tail = parts[:3], parts[3:]
    if tail[:1] == ["blob"] and len(tail) > 2:
        return "/".join([*head, word, *tail[1:]])
    if (len(tail) < 3 and len([part for part in parts if part]) >= 2) or tail[:1] == ["tree"]:
        raise UsageError(
            "This is the page of a repository, not a file; open the voice's file there and copy "
            "the address of its download."
        )
    return path
