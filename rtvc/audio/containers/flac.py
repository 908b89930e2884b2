"""FLAC files without a length or with a wrong one, and several of them joined end to end.

A program that writes to a pipe cannot go back to enter the length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

from rtvc.audio.containers.layout import NO_LENGTH, UPDATED, Data, Forgetter, Layout
from rtvc.audio.containers.pieces import Piece

_LARGEST_FRAME = 1 << 17
_BLOCK_SIZES = {1: 192, **{n: 576 << (n - 2) for n in range(2, 6)}} | {
    n: 256 << (n - 8) for n in range(8, 16)
}


_MAGICS = b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"
"""Beginnings of a file: a block with the information of a stream follows, which may be the last."""


def read_flac(data: Data, start: int = 0) -> Layout:
    """Return the layout of a FLAC file, or of several joined end to end."""
    starts = sorted({at for magic in _MAGICS for at in _places(data, magic, start)})
    parts: list[tuple[Piece, ...]] = []
    notes: list[str] = []
    for begin, end in pairwise([*starts, len(data)]):
        if end - begin > 42:
            part, note = _part(data, begin, end)
            parts.append(part)
            notes.append(note)
    as_it_is = parts == [((0, len(data)),)]
    return Layout(() if as_it_is else tuple(parts), notes=tuple(filter(None, dict.fromkeys(notes))))


def _places(data: Data, magic: bytes, begin: int) -> Iterator[int]:
    forgetter = Forgetter(data, begin)
    for start in range(begin, len(data), Forgetter.STEP):
        end = start + Forgetter.STEP
        at = data.find(magic, start, end + len(magic) - 1)
        while at >= 0:
            yield at
            at = data.find(magic, at + 1, end + len(magic) - 1)
        forgetter.reached(min(end, len(data)))


def _part(data: Data, start: int, end: int) -> tuple[tuple[Piece, ...], str]:
    """Return a file with its length, and a note if its header does not state that."""
    length_at = start + 8 + 13  # 4 bits of this byte, and 4 bytes
    (low,) = struct.unpack_from(">I", data, length_at + 1)
    stated = (data[length_at] & 15) << 32 | low
    length = _end_of_last_frame(data, start, end)
    if length <= stated:
        return ((start, end),), ""
    fixed = bytes([data[length_at] & 0xF0 | length >> 32]) + struct.pack(">I", length & 0xFFFFFFFF)
    part = (start, length_at), fixed, (length_at + 5, end)
    return part, UPDATED if stated else NO_LENGTH


def _end_of_last_frame(data: Data, start: int, end: int) -> int:
    """Return the number of the sample after the last frame whose header is valid, or 0."""
    (fixed_size,) = struct.unpack_from(">H", data, start + 8)
    first = _first_frame(data, start)
    # The kind of block size and the sample format are those of the first frame.
    sync, form, rate = data[first : first + 2], data[first + 3], data[first + 2] & 15
    at = end
    while (at := data.rfind(sync, max(first, end - _LARGEST_FRAME), at)) >= 0:
        header = data[at : min(at + 16, end)].ljust(16, b"\0")  # a frame of silence is shorter
        if header[3] == form and header[2] & 15 == rate:
            length = _end_of_frame(header, fixed_size)
            if length:
                return length
    return 0


def _first_frame(data: Data, start: int) -> int:
    at = start + 4
    while True:
        last, size = data[at] & 0x80, int.from_bytes(data[at + 1 : at + 4], "big")
        at += 4 + size
        if last:
            return at


def _end_of_frame(header: bytes, fixed_size: int) -> int:
    """Return the number of the sample after a frame, or 0 if its header is not valid."""
    extra = 0 if header[4] < 0x80 else 7 - (header[4] ^ 0xFF).bit_length()
    number = header[4] if not extra else header[4] & (0x3F >> extra)
    for byte in header[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    at = 5 + extra
    kind = header[2] >> 4
    if kind in (6, 7):
        width = kind - 5
        size = int.from_bytes(header[at : at + width], "big") + 1
        at += width
    elif kind in _BLOCK_SIZES:
        size = _BLOCK_SIZES[kind]
    else:
        return 0
    at += {12: 1, 13: 2, 14: 2}.get(header[2] & 15, 0)
    if at >= len(header) or _crc8(header[:at]) != header[at]:
        return 0
    return size + (number if header[1] & 1 else number * fixed_size)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value
