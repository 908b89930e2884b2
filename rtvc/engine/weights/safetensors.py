"""Reads and writes safetensors files; every number is checked before it is used.

Source: the format description in the safetensors repository. A file is eight bytes with the
length of the header, a JSON header with type, shape and byte range of each tensor, and the data
without gaps.
"""

import json
import math
import mmap
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rtvc._types import AnyArray
from rtvc.engine.weights.errors import ContentError, reading
from rtvc.engine.weights.tensors import MAX_AXES, MAX_TENSORS, bfloat16_to_float32
from rtvc.engine.weights.text import printable
from rtvc.engine.weights.torch_file import MAX_FILE_BYTES

MAX_HEADER_BYTES = 16 * 2**20
_BASE_HEADER_BYTES = 96 * 2**10  # for small files; a full voice needs 60 KiB of its 110 MiB

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}


def read_safetensors(path: Path) -> tuple[dict[str, AnyArray], dict[str, str]]:
    """Read a safetensors file.

    Returns
    -------
    tuple
        Read-only arrays by name (bfloat16 as float32), and the metadata. The arrays are views
        of the memory-mapped file, which must not change while they are in use.

    Raises
    ------
    RtvcError
        The file cannot be opened or is damaged.
    """
    with reading(path, "a safetensors file"):
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                raise ContentError("it is not an ordinary file or too large")
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > min(MAX_HEADER_BYTES, status.st_size - 8):
                raise ContentError("it is cut short or its header is damaged")
            # Three bytes of JSON can create a Python object of seventy bytes.
            if length > _BASE_HEADER_BYTES + status.st_size // 32:
                raise ContentError("its header is far too large for the size of the file")
            header = _parse(file.read(length))
            metadata = _metadata(header.pop("__metadata__", {}))
            # Mapped, not read: the system loads each tensor when it is accessed.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _tensors(header, memoryview(mapped)[8 + length :]), metadata


def write_safetensors(
    path: Path, tensors: Mapping[str, AnyArray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write float32 arrays and string metadata to `path`.

    Raises
    ------
    OSError
        Writing fails.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata or {})}
    arrays = {name: np.asarray(array, "<f4", order="C") for name, array in tensors.items()}
    offset = 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for array in arrays.values():
            file.write(array.tobytes())


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        # Decoded here: given bytes, json detects the encoding and loads a codec for it.
        header = json.loads(raw.decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise ContentError("its header is damaged") from None
    if not isinstance(header, dict):
        raise ContentError("its header is damaged")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ContentError("its header contains a name twice")
    return items


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or any(not isinstance(v, str) for v in value.values()):
        raise ContentError("its metadata is not text")
    return value


def _tensors(header: dict[str, Any], data: memoryview) -> dict[str, AnyArray]:
    if len(header) > MAX_TENSORS:
        raise ContentError(f"it contains more than {MAX_TENSORS} tensors")
    arrays: dict[str, AnyArray] = {}
    ranges: list[tuple[int, int]] = []
    for name, entry in header.items():
        dtype, shape, start, end = _entry(name, entry)
        count = math.prod(shape)
        if not start <= end <= len(data) or end - start != count * np.dtype(dtype).itemsize:
            raise ContentError(f"the range of tensor '{printable(name)}' is wrong")
        ranges.append((start, end))
        flat = np.frombuffer(data[start:end], dtype)
        if entry["dtype"] == "BF16":
            flat = bfloat16_to_float32(flat)
        elif entry["dtype"] == "BOOL":
            flat = flat != 0
        array = flat.reshape(shape)
        array.flags.writeable = False
        arrays[name] = array
    position = 0
    for start, end in sorted(ranges):
        if start != position:
            raise ContentError("its tensors overlap or leave gaps")
        position = end
    if position != len(data):
        raise ContentError("its length does not match its header")
    return arrays


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ContentError(f"the entry of tensor '{printable(name)}' is damaged")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ContentError(f"tensor '{printable(name)}' has type {printable(str(dtype), 20)}")
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [-1]
    if any(type(n) is not int or not 0 <= n < 2**40 for n in numbers) or len(offsets) != 2:
        raise ContentError(f"the entry of tensor '{printable(name)}' is damaged")
    if len(shape) > MAX_AXES or math.prod(n for n in shape if n) >= 2**40:
        raise ContentError(f"tensor '{printable(name)}' has an invalid shape")
    return _DTYPES[dtype], tuple(shape), offsets[0], offsets[1]
