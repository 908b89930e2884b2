"""Ogg files with pages that are valid and unusual, and with positions that are wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rtvc.audio.containers.ogg import _crc
from tests.audio.test_containers import RATE, inspected, whole

LAST = 4
"""Flag of the last page of a stream."""


def pages(data: bytes) -> list[bytes]:
    """Return the pages of an Ogg file."""
    found, at = [], 0
    while at < len(data):
        size = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        found.append(data[at : at + size])
        at += size
    return found


def page(old: bytes, flags: int, granule: int, number: int | None = None) -> bytes:
    """Return a page with other flags and another position; without content if it has a number."""
    new = bytearray(old if number is None else old[:27])
    new[5] = flags
    struct.pack_into("<q", new, 6, granule)
    if number is not None:
        struct.pack_into("<I", new, 18, number)
        new[26] = 0
    new[22:26] = bytes(4)
    new[22:26] = struct.pack("<I", _crc(bytes(new)))
    return bytes(new)


@pytest.mark.parametrize("extension", ["ogg", "opus"])
def test_an_empty_page_can_be_the_last(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    *first, last = pages(whole(path))
    (granule,) = struct.unpack_from("<q", last, 6)
    for position in (granule, -1):
        empty = page(last, LAST, position, len(first) + 1)
        sound = inspected(path, b"".join((*first, page(last, 0, granule), empty)))
        assert (sound.frames, sound.shortfall) == (4 * RATE, "")


@pytest.mark.parametrize("extension", ["ogg", "opus"])
def test_a_stream_without_an_end_mark_is_read_to_its_end(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    *first, last = pages(whole(path))
    (granule,) = struct.unpack_from("<q", last, 6)
    sound = inspected(path, b"".join((*first, page(last, 0, granule))))
    assert sound.frames == 4 * RATE
    assert "its end is missing" in sound.shortfall


@pytest.mark.parametrize("extension", ["ogg", "opus"])
def test_an_end_before_the_page_before_is_reported(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    *first, last = pages(whole(path))
    (granule,) = struct.unpack_from("<q", last, 6)
    sound = inspected(path, b"".join((*first, page(last, LAST, granule // 2))))
    assert "one place in it is damaged" in sound.shortfall
