"""Writes valid and hostile torch files byte by byte, without torch."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
NONE = b"N"
STOP = b"."
LEGACY_HEADER = (
    bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
    + b"\x80\x02M\xe9\x03."
    + b"\x80\x02}(X\x10\x00\x00\x00protocol_versionM\xe9\x03X\x0d\x00\x00\x00little_endian\x88u."
)


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def sequence(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def integers(values: tuple[int, ...]) -> bytes:
    return sequence(*map(integer, values))


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def mapping(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def storage(key: str, kind: str, count: int, *more: bytes) -> bytes:
    where = text("cpu")
    return (
        sequence(text("storage"), name("torch", kind), text(key), where, integer(count), *more)
        + b"Q"
    )


def tensor(
    key: str,
    kind: str,
    count: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    offset: int = 0,
) -> bytes:
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + sequence(
            storage(key, kind, count),
            integer(offset),
            integers(shape),
            integers(strides),
            b"\x89",
            ORDERED_DICT,
        )
        + b"R"
    )


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + STOP


def zip_bytes(
    body: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    members: Mapping[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return an archive with `body` as its pickled object and `members` as further files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled(body))
        for key, raw in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", raw)
        archive.writestr("archive/version", b"3\n")
        for member, raw in (members or {}).items():
            archive.writestr(member, raw)
    return buffer.getvalue()


def legacy_bytes(body: bytes, storages: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Return a legacy file; `storages` has the element count and bytes of each key."""
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    data = b"".join(struct.pack("<q", count) + raw for count, raw in storages.values())
    return LEGACY_HEADER + pickled(body) + pickled(keys) + data


def write_zip(
    path: Path,
    body: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    members: Mapping[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> Path:
    path.write_bytes(zip_bytes(body, storages, members=members, method=method))
    return path


def write_legacy(path: Path, body: bytes, storages: Mapping[str, tuple[int, bytes]]) -> Path:
    path.write_bytes(legacy_bytes(body, storages))
    return path


_KINDS = {
    "f2": "HalfStorage",
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "i8": "LongStorage",
}


def save(path: Path, tree: object) -> Path:
    """Write plain values and arrays in the zip format of ``torch.save``."""
    storages: dict[str, bytes] = {}
    return write_zip(path, _encoded(tree, storages), storages)


def _encoded(value: object, storages: dict[str, bytes]) -> bytes:
    match value:
        case np.ndarray():
            key = str(len(storages))
            storages[key] = value.tobytes()
            contiguous = np.empty(value.shape, value.dtype)
            strides = tuple(s // value.itemsize for s in contiguous.strides)
            raw = tensor(key, _KINDS[value.dtype.str[1:]], value.size, value.shape, strides)
        case dict():
            pairs = [(_encoded(k, storages), _encoded(v, storages)) for k, v in value.items()]
            raw = b"}(" + b"".join(k + v for k, v in pairs) + b"u"
        case list() | tuple():
            raw = b"](" + b"".join(_encoded(v, storages) for v in value) + b"e"
        case None | bool():
            raw = {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            raw = integer(value)
        case float():
            raw = b"G" + struct.pack(">d", value)
        case _:
            raw = text(str(value))
    return raw
