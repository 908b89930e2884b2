"""Ogg files: links joined end to end, as in recorded radio, and damaged or missing pages."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

from rtvc.audio.containers.layout import Data, Forgetter, Layout, places

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def read_ogg(data: Data) -> Layout:
    """Return the layout of an Ogg file."""
    starts: list[int] = []
    expected: dict[int, int] = {}
    at, damaged, ended, in_headers = 0, 0, False, False
    forgetter = Forgetter(data)
    while at < len(data):
        forgetter.reached(at)
        size = _page_size(data, at)
        if size == 0:
            following = data.find(b"OggS", at + 1)
            if following < 0:
                break
            damaged += 1
            at = following
            continue
        flags, serial, number = struct.unpack_from("<B8xII", data, at + 5)
        begins = bool(flags & 2)
        if begins and not in_headers:
            starts.append(at)
            expected.clear()
        if number != expected.get(serial, number):
            damaged += 1
        expected[serial] = number + 1
        in_headers, ended = begins, bool(flags & 4)
        at += size
    damage = ""
    if damaged:
        damage = f"{places(damaged)} damaged or missing"
    elif not ended:
        damage = "its end is missing"
    parts = tuple(((start, end),) for start, end in pairwise([*starts, len(data)]))
    return Layout(parts if len(parts) > 1 else (), damage=damage)


def _page_size(data: Data, at: int) -> int:
    """Return the length of a page in bytes, or 0 if there is no whole and undamaged one."""
    if data[at : at + 4] != b"OggS" or at + 27 > len(data):
        return 0
    segments = data[at + 26]
    size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
    page = data[at : at + size]
    if len(page) < size:
        return 0
    (stated,) = struct.unpack_from("<I", page, 22)
    return size if _crc(page[:22] + bytes(4) + page[26:]) == stated else 0


def _crc(page: bytes) -> int:
    """Return the checksum of a page, by the bit-reversed one of zlib, which is fast."""
    value = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{value:032b}"[::-1], 2)
