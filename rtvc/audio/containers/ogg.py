"""Ogg files: links joined end to end, as in recorded radio, and damaged or missing pages."""

from __future__ import annotations

import struct
import zlib

from rtvc.audio.containers.layout import SLACK, Data, Forgetter, Layout, places, tag_size
from rtvc.audio.containers.pieces import Piece

_FIRST, _LAST = 2, 4
"""Flags of the first and the last page of a stream."""
_NO_POSITION = -1
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def read_ogg(data: Data) -> Layout:
    """Return the layout of an Ogg file."""
    links: list[list[int]] = []  # begin and end, and where the last page with content begins
    expected: dict[int, int] = {}
    latest: dict[int, int] = {}
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
        flags, granule, serial, number = struct.unpack_from("<BqII", data, at + 5)
        begins = bool(flags & _FIRST)
        if begins and not in_headers:
            links.append([at, at, at])
            expected.clear()
            latest.clear()
        # A position before that of the page before: the end is cut off by what the page states.
        wrong = granule != _NO_POSITION and granule < latest.get(serial, 0)
        damaged += number != expected.get(serial, number) or wrong
        expected[serial] = number + 1
        latest[serial] = max(granule, latest.get(serial, 0))
        in_headers, ended = begins, bool(flags & _LAST)
        if links and data[at + 26]:
            links[-1][2] = at
        at += size
        if links:
            links[-1][1] = at
    damage, notes = "", tuple[str, ...]()
    if damaged:
        damage = f"{places(damaged)} damaged or missing"
    elif not ended or data[at : at + 4] == b"OggS":
        damage = "its end is missing"
    elif len(data) - at > SLACK and not tag_size(data, at):
        notes = (f"{len(data) - at:,} bytes follow its last page; they are not read.",)
    parts = tuple(_part(data, *link) for link in links)
    as_it_is = len(parts) == 1 and parts[0] == ((0, len(data)),)
    return Layout(() if as_it_is else parts, damage=damage, notes=notes)


def _part(data: Data, start: int, end: int, last: int) -> tuple[Piece, ...]:
    """Return a link whose last page with content is marked as the last.

    libsndfile stops early without this mark, and where an empty page has it.
    """
    size = _page_size(data, last)
    flags = data[last + 5]
    if flags & _LAST:
        return ((start, end),)
    page = bytearray(data[last : last + size])
    page[5] = flags | _LAST
    (granule,) = struct.unpack_from("<q", data, end - 27 + 6) if last + size < end else (-1,)
    if granule != _NO_POSITION:
        struct.pack_into("<q", page, 6, granule)
    page[22:26] = bytes(4)
    struct.pack_into("<I", page, 22, _crc(bytes(page)))
    return (start, last), bytes(page)


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
