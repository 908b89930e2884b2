"""Recognises the type of a file from its first bytes, for helpful error messages."""

import os
import struct
import zipfile
from enum import Enum
from pathlib import Path

from rtvc.engine.weights.errors import ContentError, not_opened
from rtvc.engine.weights.text import printable
from rtvc.engine.weights.torch_file import LEGACY_MAGIC, ZIP_MAGIC, check_directory_size
from rtvc.errors import RtvcError

_HEAD_BYTES = 4096


class FileKind(Enum):
    """Type of a file; the value is its description, with advice if weights were expected."""

    TORCH = "a torch file"
    TORCH_LEGACY = "a torch file in the format before 2020"
    SAFETENSORS = "a safetensors file"
    INDEX = "a faiss index; give it as the index of a voice, not as the voice"
    EMPTY_INDEX = (
        "a faiss index without any vectors; use the file from the same training whose name "
        "begins with added_"
    )
    ONNX = "an ONNX export, which cannot be used; get the .pth of the same voice"
    ARCHIVE = "a zip archive with other files in it; unpack it and give the .pth and the .index"
    RAR = "a RAR archive; unpack it and give the .pth and the .index inside"
    SEVEN_ZIP = "a 7z archive; unpack it and give the .pth and the .index inside"
    GZIP = "a gzip archive; unpack it and give the .pth and the .index inside"
    TAR = (
        "a tar archive; unpack it if it holds a voice, and if it is itself a torch file from "
        "before 2018, save it again with a newer torch"
    )
    LFS_POINTER = (
        "a git-LFS pointer, which refers to the file instead of containing it; download it from "
        "the site's file page or run 'git lfs pull'"
    )
    HTML = "a web page saved under this name; download the file itself, signing in if necessary"
    TEXT = "a text file, not weights; check what was downloaded"
    SOUND = "a sound file, not weights; check which file you give"
    PICKLE = "a bare Python pickle, which is not how voices are saved; get the .pth"
    EMPTY = "empty; download it again"
    UNKNOWN = "of an unknown type, or damaged; download it again"


WEIGHTS = frozenset({FileKind.TORCH, FileKind.TORCH_LEGACY, FileKind.SAFETENSORS})

# (offset, bytes, kind); the first match applies.
_SIGNATURES = (
    (0, LEGACY_MAGIC, FileKind.TORCH_LEGACY),
    (0, b"Rar!\x1a\x07", FileKind.RAR),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind.SEVEN_ZIP),
    (0, b"\x1f\x8b\x08", FileKind.GZIP),
    (257, b"ustar", FileKind.TAR),
    (0, b"version https://git-lfs.github.com/spec/", FileKind.LFS_POINTER),
    (0, b"RIFF", FileKind.SOUND),
    (0, b"fLaC", FileKind.SOUND),
    (0, b"OggS", FileKind.SOUND),
    (0, b"ID3", FileKind.SOUND),
    (0, b"\x80\x02", FileKind.PICKLE),
    (0, b"\x80\x04\x95", FileKind.PICKLE),
)


def recognise(path: Path) -> FileKind:
    """Return the type of the file `path`.

    Raises
    ------
    RtvcError
        It cannot be opened or is not a regular file.
    """
    # Unlike the methods of Path, these raise nothing for a name that is too long.
    if os.path.isdir(path):
        raise RtvcError(
            f"{printable(path.name or str(path))} is a folder; give the file inside it."
        )
    if os.path.exists(path) and not os.path.isfile(path):  # open() blocks on a pipe
        raise RtvcError(f"{printable(path.name)} is not an ordinary file.")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise RtvcError(not_opened(path, error)) from None
    if not head:
        return FileKind.EMPTY
    if head.startswith(ZIP_MAGIC):
        return _zip_kind(path, head)
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    return _structured_kind(head, size)


def require_weights(path: Path, description: str) -> FileKind:
    """Return the type of the file `path` if it can contain weights.

    Parameters
    ----------
    path
        The file.
    description
        Expected contents for the message, such as ``"a voice"``.

    Raises
    ------
    RtvcError
        It is not a torch or safetensors file; the message contains its type and a remedy.
    """
    kind = recognise(path)
    if kind not in WEIGHTS:
        raise RtvcError(
            f"{printable(path.name)} cannot be read as {description}: it is {kind.value}"
            f"{_listing(path) if kind is FileKind.ARCHIVE else ''}."
        )
    return kind


def _zip_kind(path: Path, head: bytes) -> FileKind:
    try:
        names = _zip_names(path)
    except RtvcError:
        # The directory is at the end, so a truncated download has only the first members.
        length = int.from_bytes(head[26:28], "little")
        names = [head[30 : 30 + length].decode("utf-8", "replace")]
    saved = any(n.count("/") == 1 and n.endswith("/data.pkl") for n in names)
    return FileKind.TORCH if saved else FileKind.ARCHIVE


def _zip_names(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            check_directory_size(file, path.stat().st_size)
            with zipfile.ZipFile(file) as archive:
                return archive.namelist()
    except (ContentError, OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RtvcError(f"{printable(path.name)} is a damaged archive.") from error


def _listing(path: Path) -> str:
    try:
        names = [n.rpartition("/")[2] for n in _zip_names(path)]
    except RtvcError:
        return ", and damaged or cut short"
    useful = [printable(n, 40) for n in names if n.endswith((".pth", ".index", ".safetensors"))]
    return f" ({', '.join(useful[:4])})" if useful else ""


def _structured_kind(head: bytes, size: int) -> FileKind:
    if len(head) > 9 and head[8:9] == b"{":
        (length,) = struct.unpack("<Q", head[:8])
        if length <= size - 8:
            return FileKind.SAFETENSORS
    # faiss writes type, dimension, count, then two unused fields of 2**20 in every index.
    if len(head) >= 36 and struct.unpack("<2q", head[16:32]) == (2**20, 2**20):
        count = struct.unpack("<q", head[8:16])[0]
        return FileKind.INDEX if count > 0 else FileKind.EMPTY_INDEX
    # ModelProto: field 1 (version) as a small integer, then producer or graph.
    if head[0] == 8 and 0 < head[1] < 32 and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a"):
        return FileKind.ONNX
    return _text_kind(head)


def _text_kind(head: bytes) -> FileKind:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:20].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return FileKind.HTML
    text = head.decode("utf-8", "ignore")
    cut = len(head) - len(text.encode())  # the sample may end within a character
    readable = all(c.isprintable() or c.isspace() for c in text)
    return FileKind.TEXT if readable and cut <= 3 else FileKind.UNKNOWN
