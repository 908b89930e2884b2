"""Unpack voices from a zip archive that is not trusted."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from rtvc.library import names
from rtvc.library.home import explain_write_errors, require_space
from rtvc.system.unicode_names import comparison_key

MAX_MEMBERS = 20_000
MAX_DIRECTORY_BYTES = 8 * 2**20
MAX_MEMBER_BYTES = 4 * 2**30
MAX_TOTAL_BYTES = 16 * 2**30
MAX_RATIO = 40
"""Largest ratio of unpacked to packed size; weights and indexes hardly compress."""

_RATIO_FREE_BYTES = 2**20
_FREE_DIRECTORY_BYTES = 96 * 2**10
_CHUNK = 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""Compression methods of all supported versions of Python."""
_DAMAGE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    MemoryError,  # an LZMA member can ask for a dictionary of 4 GiB
    RuntimeError,
    ValueError,
    struct.error,
)
try:
    import lzma
except ImportError:  # zipfile refuses these members then
    pass
else:
    _DAMAGE += (lzma.LZMAError,)
_ENCRYPTED = 0x1
_UTF_8 = 0x800


def unpack(path: Path, folder: Path, suffixes: tuple[str, ...]) -> None:
    """Write the members with these suffixes into `folder`, and nothing outside it.

    Every folder of the archive becomes one numbered folder, so that no path of the archive is
    used as a path. Files in one folder of the archive stay together.

    Parameters
    ----------
    path
        A zip archive.
    folder
        The folder to write to; it exists and is empty.
    suffixes
        Suffixes of the files to unpack, in lower case.

    Raises
    ------
    RtvcError
        If the archive is damaged, encrypted, too large, or a decompression bomb.
    """
    # Imported here because it imports numpy.
    from rtvc.engine.weights.errors import reading

    with reading(path, "an archive"), path.open("rb") as file:
        size = path.stat().st_size
        _check_directory(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                members = _select_members(archive, size, suffixes)
                require_space(sum(m.file_size for m, _, _ in members), "the unpacked archive")
                for member, subfolder, name in members:
                    _extract(archive, member, folder / subfolder / name)
        except NotImplementedError:
            raise _refusal(
                "its compression method is not supported; unpack it and add the folder"
            ) from None
        except _DAMAGE:
            raise _refusal("it is damaged or cut short; download it again") from None


def _check_directory(file: BinaryIO, size: int) -> None:
    """Refuse a central directory of excessive length before it is read.

    Source: PKWARE APPNOTE 4.3.14 to 4.3.16; a comment of up to 65,535 bytes may follow the record.
    """
    start = max(size - 2**16 - 22, 0)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise _refusal("it is damaged or cut short; download it again")
    count, length = struct.unpack("<HI", tail[end + 10 : end + 16])
    locator = tail[max(end - 20, 0) : end]
    if locator.startswith(b"PK\x06\x07"):
        file.seek(min(struct.unpack("<Q", locator[8:16])[0], size))
        record = file.read(56).ljust(56, b"\0")
        count, length = struct.unpack("<QQ", record[32:48])
    if count > MAX_MEMBERS or length > MAX_DIRECTORY_BYTES:
        raise _refusal(f"it holds more than {MAX_MEMBERS} files; unpack it and add the folder")
    # In memory an entry takes ten times its size.
    if length > _FREE_DIRECTORY_BYTES + size // 32:
        raise _refusal("its directory is far too large for its contents")
    file.seek(0)


def _select_members(
    archive: zipfile.ZipFile, size: int, suffixes: tuple[str, ...]
) -> list[tuple[zipfile.ZipInfo, str, str]]:
    """Return the members to unpack, each with a safe folder and file name."""
    found: list[tuple[zipfile.ZipInfo, str, str]] = []
    folders: dict[str, str] = {}
    seen: set[str] = set()
    if sum(member.compress_size for member in archive.infolist()) > size:
        raise _refusal("its members overlap, so it is damaged or malicious")
    for member in archive.infolist():
        # Some Windows programs write backslashes.
        parts = _path(member).replace("\\", "/").split("/")
        name = names.sanitized_file_name(parts[-1])
        if not name.lower().endswith(suffixes) or is_ignored(parts):
            continue
        if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
            raise _refusal(f"a path in it points outside of it ({name})")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _refusal(f"{name} in it is a link instead of a file")
        if member.flag_bits & _ENCRYPTED:
            raise _refusal("it is encrypted; unpack it with its password and add the folder")
        if member.compress_type not in _METHODS:
            raise NotImplementedError
        _check_expansion(member, name)
        subfolder = folders.setdefault(comparison_key("/".join(parts[:-1])), str(len(folders)))
        if f"{subfolder}/{comparison_key(name)}" in seen:
            raise _refusal(f"it holds {name} twice")
        seen.add(f"{subfolder}/{comparison_key(name)}")
        found.append((member, subfolder, name))
    if not found:
        others = [
            names.sanitized(_path(m))
            for m in archive.infolist()
            if m.filename[-1:] not in ("", "/")
        ]
        only = f", only {', '.join(others[:4])}" if others else ""
        raise _refusal(f"it holds no voice (no .pth and no .safetensors){only}")
    total = sum(member.file_size for member, _, _ in found)
    if total > max(_RATIO_FREE_BYTES, MAX_RATIO * size):  # many small members can add up
        raise _refusal(f"it would unpack to {total // size} times its size, unlike any voice")
    if total > MAX_TOTAL_BYTES:
        raise _refusal(f"it would unpack to more than {MAX_TOTAL_BYTES >> 30} GiB")
    return found


def _path(member: zipfile.ZipInfo) -> str:
    """Return the path of a member.

    The archives of macOS contain UTF-8 without saying so; Python then takes it for code page 437.
    """
    if member.flag_bits & _UTF_8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


def is_ignored(parts: list[str]) -> bool:
    """Return whether a path is hidden, or one that macOS adds to archives."""
    return any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in parts)


def _check_expansion(member: zipfile.ZipInfo, name: str) -> None:
    if member.file_size > MAX_MEMBER_BYTES:
        raise _refusal(f"{name} in it would unpack to more than {MAX_MEMBER_BYTES >> 30} GiB")
    if member.file_size > max(_RATIO_FREE_BYTES, MAX_RATIO * member.compress_size):
        raise _refusal(
            f"{name} in it would unpack to {member.file_size // max(member.compress_size, 1)} "
            "times its size, unlike any voice"
        )


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with explain_write_errors():
        target.parent.mkdir(exist_ok=True)
        file = target.open("xb")
    with file, archive.open(member) as packed:
        while chunk := packed.read(_CHUNK):
            with explain_write_errors():
                file.write(chunk)


def _refusal(reason: str) -> Exception:
    """Return an error that `reading` converts to an `RtvcError`."""
    from rtvc.engine.weights.errors import ContentError

    return ContentError(reason)
