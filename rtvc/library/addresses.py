"""URLs of downloads: check them, and convert the URL of a file's page to that of the file."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from rtvc.errors import UsageError
from rtvc.library import names

_HOST = re.compile(r"[A-Za-z0-9._-]+")
_UNQUOTED = "%/:=&?~+!$,;'@()*[]"
# On these sites the URLs of a file and its page differ in one part of the path.
_FILE_PAGES = {
    "huggingface.co": "resolve",
    "www.huggingface.co": "resolve",
    "hf.co": "resolve",
    "github.com": "raw",
    "www.github.com": "raw",
}


def is_url(source: str) -> bool:
    """Return whether a text is a URL rather than a path."""
    return "://" in source


def normalize_url(url: str) -> str:
    """Return the URL of the file to download, encoded for a request.

    The URL of a file's page on Hugging Face or GitHub becomes that of the file.

    Raises
    ------
    UsageError
        If it is not the URL of a file that rtvc can download.
    """
    parts, netloc = _split(url)
    path = _download_path(parts.hostname or "", parts.path)
    return urlunsplit(
        (parts.scheme, netloc, quote(path, safe=_UNQUOTED), quote(parts.query, safe=_UNQUOTED), "")
    )


def file_in(folder: str, name: str) -> str:
    """Return the URL of a file, encoded for a request, from the URL of the folder with it.

    A query of the folder, such as a key, is that of the file.

    Raises
    ------
    UsageError
        If it is not the URL of a file that rtvc can download.
    """
    _split(folder)  # so that an error has the URL as it was given
    path, mark, query = folder.strip().partition("?")
    return normalize_url(f"{path.rstrip('/')}/{name}{mark}{query}")


def without_query(url: str) -> str:
    """Return a URL without its query, which may contain a secret key."""
    parts = urlsplit(normalize_url(url))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def hostname(url: str) -> str:
    """Return the host name of a URL."""
    return urlsplit(url).hostname or ""


def file_name(offered: str | None, url: str) -> str:
    """Return a safe file name: the server's, else the last part of the URL's path."""
    for text in (offered or "", unquote(urlsplit(url).path)):
        name = names.sanitized(text.replace("\\", "/").rpartition("/")[2])
        if name:
            return name
    return "download"


def _split(url: str) -> tuple[SplitResult, str]:
    """Return the parts of a valid URL, and host and port for a request."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
        ascii_host = host if ":" in host else host.encode("idna").decode()
        url.encode()  # bytes of an argument that are not UTF-8
    except ValueError:  # and its subclass UnicodeError
        raise UsageError(f"{url!r} is not a valid URL.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{url!r} cannot be downloaded; use a URL that begins with https://.")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "A URL with a user name or password cannot be downloaded. Download the file with "
            "your browser and use that file."
        )
    if ":" not in host and not _HOST.fullmatch(ascii_host):
        raise UsageError(f"{url!r} is not a valid URL: its host is {host!r}.")
    netloc = f"[{ascii_host}]" if ":" in host else ascii_host
    if port is not None:
        netloc += f":{port}"
    return parts, netloc


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
            "This is the page of a repository, not a file. Open the file there and copy the URL "
            "of its download."
        )
    return path
