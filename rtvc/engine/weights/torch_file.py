"""Reads files of ``torch.save`` without torch, and without running any code in them.

There are two formats: a zip archive with uncompressed members (torch 1.6 and later), and the
legacy format, a stream of pickles followed by the tensor data. Both contain one pickled object.
"""

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from rtvc.engine.weights.errors import ContentError, reading
from rtvc.engine.weights.pickle_machine import operation_limit, read_pickle
from rtvc.engine.weights.tensors import ALLOWED_NAMES, Storage, StorageTable, convert_tree
from rtvc.engine.weights.text import printable

MAX_FILE_BYTES = 4 * 2**30
MAX_PICKLE_BYTES = 16 * 2**20
MAX_MEMBERS = 20_100
MAX_DIRECTORY_BYTES = 8 * 2**20
_BASE_DIRECTORY_BYTES = 96 * 2**10

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
_LEGACY_PROTOCOL = 1001


def read_torch_file(path: Path) -> Any:
    """Read a file written by ``torch.save``.

    Parameters
    ----------
    path
        A file in the zip format or in the legacy format.

    Returns
    -------
    Any
        The saved object as dict, list, str, int, float, bool, None and read-only NumPy arrays
        in torch layout. Tensors keep their type, except bfloat16, which becomes float32. Tuples
        become lists, an OrderedDict a dict, a Parameter its array.

    Raises
    ------
    RtvcError
        The file is missing, damaged, not a torch file, or refers to objects other than tensors
        and containers. The message contains the reason.
    """
    with reading(path, "a torch file (nothing in it was run)"), path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ContentError("it is not an ordinary file")
        if status.st_size > MAX_FILE_BYTES:
            raise ContentError(f"it is larger than {MAX_FILE_BYTES >> 30} GiB")
        head = file.read(len(LEGACY_MAGIC))
        if head.startswith(ZIP_MAGIC):
            return _read_zip(file, status.st_size)
        if head == LEGACY_MAGIC:
            return _read_legacy(file, status.st_size)
        raise ContentError("it does not begin like a file written by torch.save")


def _read_zip(file: BinaryIO, file_size: int) -> Any:
    check_directory_size(file, file_size)
    try:
        with zipfile.ZipFile(file) as archive:
            members, top = _check_members(archive, file_size)
            for name in ("code", "constants.pkl"):
                if any(m == top + name or m.startswith(f"{top}{name}/") for m in members):
                    raise ContentError("it is a TorchScript program, not a set of weights")
            byte_order = members.get(top + "byteorder")
            if byte_order is not None and archive.read(byte_order)[:16].strip() != b"little":
                raise ContentError("its numbers are stored big-endian")
            pickled = members[top + "data.pkl"]
            if pickled.file_size > MAX_PICKLE_BYTES:
                raise ContentError("its object tree is too large")

            table = StorageTable()
            limit = operation_limit(file_size)
            root, _ = read_pickle(archive.read(pickled), 0, ALLOWED_NAMES, table, limit)
            for storage in table.storages.values():
                member = members.get(f"{top}data/{storage.key}")
                if member is None or member.file_size != storage.size:
                    raise ContentError("tensor data is missing or has the wrong size")
            return convert_tree(
                root,
                lambda s: archive.read(members[f"{top}data/{s.key}"]),
                file_size=file_size,
                max_nodes=limit,
            )
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        OverflowError,
        struct.error,
    ):
        raise ContentError("the archive is damaged or cut short") from None


def check_directory_size(file: BinaryIO, file_size: int) -> None:
    """Check the size of an archive's central directory before it is read.

    Source: PKWARE APPNOTE 4.3.14 to 4.3.16.

    Raises
    ------
    ContentError
        The directory is damaged or far too large.
    """
    tail_size = min(file_size, 98)  # zip64 record 56, its locator 20, end record 22
    file.seek(file_size - tail_size)
    tail = file.read(tail_size).rjust(98, b"\0")
    if tail[76:80] != b"PK\x05\x06":
        raise ContentError("the archive is damaged or cut short")
    count, size = struct.unpack("<HI", tail[86:92])
    if tail[56:60] == b"PK\x06\x07":
        if tail[:4] != b"PK\x06\x06":
            raise ContentError("the archive is damaged or cut short")
        count, size = struct.unpack("<QQ", tail[32:48])
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise ContentError(f"it contains more than {MAX_MEMBERS} archive members")
    # Each entry becomes a Python object of ten times its size.
    if size > _BASE_DIRECTORY_BYTES + file_size // 32:
        raise ContentError("its directory is far too large for the size of the file")
    file.seek(0)


def _check_members(
    archive: zipfile.ZipFile, file_size: int
) -> tuple[dict[str, zipfile.ZipInfo], str]:
    """Return the members by name, and their common folder with a trailing slash."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if name in members:
            raise ContentError(f"the archive contains '{printable(name)}' twice")
        parts = name.split("/")
        hidden = any(ord(c) < 32 or ord(c) == 127 for c in name)
        if ".." in parts or parts[0] == "" or "\\" in name or hidden:
            raise ContentError(
                f"the archive contains a member with an unsafe name '{printable(name)}'"
            )
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ContentError(
                "its members are compressed, which torch never does (unpack an archive with "
                "several files first)"
            )
        members[name] = member
    if len(members) > MAX_MEMBERS or sum(m.file_size for m in members.values()) > file_size:
        raise ContentError("its members claim more data than the file has")
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ContentError("it is a zip archive, but not one written by torch.save")
    return members, pickles[0].removesuffix("data.pkl")


def _read_legacy(file: BinaryIO, file_size: int) -> Any:
    file.seek(0)
    data = file.read(min(MAX_PICKLE_BYTES, file_size))  # read() allocates its whole argument
    limit = operation_limit(file_size)
    no_storage = StorageTable()
    # The first pickle is the magic number, which the caller has compared.
    _, position = read_pickle(data, 0, {}, no_storage, limit)
    protocol, position = read_pickle(data, position, {}, no_storage, limit)
    system, position = read_pickle(data, position, {}, no_storage, limit)
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ContentError("its header is damaged")
    if system.get("little_endian") is not True:
        raise ContentError("its numbers are stored big-endian")
    table = StorageTable()
    root, position = read_pickle(data, position, ALLOWED_NAMES, table, limit)
    keys, position = read_pickle(data, position, {}, no_storage, limit)
    del data
    if (
        type(keys) is not list
        or any(type(k) is not str for k in keys)
        or sorted(keys) != sorted(table.storages)
    ):
        raise ContentError("its list of tensor data does not match its tensors")

    offsets: dict[str, int] = {}
    for key in keys:
        storage = table.storages[key]
        if storage.size > file_size:
            raise ContentError("tensor data is missing or has the wrong size")
        file.seek(position)
        if file.read(8) != storage.count.to_bytes(8, "little"):
            raise ContentError("tensor data is missing or has the wrong size")
        offsets[key] = position + 8
        position += 8 + storage.size
        if position > file_size:
            raise ContentError("it is cut short")

    return convert_tree(root, _reader(file, offsets), file_size=file_size, max_nodes=limit)


def _reader(file: BinaryIO, offsets: dict[str, int]) -> Callable[[Storage], bytes]:
    def read(storage: Storage) -> bytes:
        file.seek(offsets[storage.key])
        raw = file.read(storage.size)
        if len(raw) != storage.size:
            raise ContentError("it is cut short")
        return raw

    return read
