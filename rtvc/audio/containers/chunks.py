"""Containers with one chunk of samples: WAV, RF64, W64, AIFF, 8SVX, NIST, AU and CAF.

Their stated size is too small where the program that wrote them was killed, and too large where
they were cut.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from rtvc.audio.containers.layout import (
    NO_LENGTH,
    SLACK,
    Data,
    Layout,
    bytes_missing,
    shortfall_of,
)
from rtvc.audio.containers.pieces import Piece, patched

_UPDATED = "Its header states less sound than it has: what follows the stated end is read too."


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk: its name, the place of its stated size, that size, and where its content begins."""

    name: bytes
    size_at: int
    size: int
    begin: int


def read_wav(data: Data) -> Layout:
    """Return the layout of a WAV, RF64 or RIFX file, or of several joined end to end."""
    order = ">" if data[:4] == b"RIFX" else "<"
    if data[8:12] != b"WAVE":
        (size,) = struct.unpack_from(f"{order}I", data, 4)
        return bytes_missing(size + 8, len(data))  # a video
    parts: list[tuple[Piece, ...]] = []
    start, stated, notes = 0, 1.0, []
    while True:
        found: dict[bytes, _Chunk] = {}
        for chunk in _chunks(data, start + 12, f"{order}4sI"):
            found.setdefault(chunk.name, chunk)
            if chunk.name == b"data":
                break
        sound = found.get(b"data")
        if sound is None:
            return Layout()
        size, size_at, size_format = sound.size, sound.size_at, f"{order}I"
        if size == 0xFFFFFFFF and b"ds64" in found:
            size_at, size_format = found[b"ds64"].begin + 8, "<Q"
            (size,) = struct.unpack_from(size_format, data, size_at)
        if b"bext" in found and not start:
            notes.append("Its broadcast information, such as the time code, is not copied.")
        available = len(data) - sound.begin
        end = sound.begin + size + size % 2
        # Half of the file and more after the stated end: a recorder was killed before or between
        # two updates of the size.
        rest = available - size
        if rest > max(size, SLACK) and not _continues(data, end, order):
            notes.append(_UPDATED if size else NO_LENGTH)
            largest = 0xFFFFFFFF if size_format != "<Q" else available
            fixed = struct.pack(size_format, min(available, largest))
            parts.append(patched(start, len(data), {size_at: fixed}))
            return Layout(tuple(parts), notes=tuple(notes))
        length = shortfall_of(size, available)
        stated = max(stated, length.stated)
        notes.extend(length.notes)
        parts.append(((start, min(end, len(data))),))
        if end + 44 > len(data) or data[end : end + 4] != data[:4]:
            break
        start = end
    single = len(parts) == 1
    return Layout(() if single else tuple(parts), stated=stated, notes=tuple(notes))


def read_aiff(data: Data) -> Layout:
    """Return the layout of an AIFF or AIFF-C file, or of another one in this container."""
    if data[8:12] in (b"8SVX", b"16SV"):
        return read_svx(data)
    found = {chunk.name: chunk for chunk in _chunks(data, 12, ">4sI")}
    common, sound = found.get(b"COMM"), found.get(b"SSND")
    if common is None or sound is None:
        return Layout()
    available = len(data) - sound.begin
    if sound.size % 2 and sound.size < available:
        return Layout((_without_padding(data, sound),))
    if sound.size > 8:
        return shortfall_of(sound.size, available)
    channels, _, bits = struct.unpack_from(">hIh", data, common.begin)
    frames = (available - 8) // max(1, channels * ((bits + 7) // 8))
    fixes = {sound.size_at: struct.pack(">I", available)}
    fixes[common.begin + 2] = struct.pack(">I", frames)
    parts = (patched(0, len(data), fixes),)
    return Layout(parts, notes=(NO_LENGTH,)) if frames > 0 else Layout()


def _without_padding(data: Data, sound: _Chunk) -> tuple[Piece, ...]:
    """Return an AIFF file whose sound is at its end: libsndfile takes a padding byte as sound."""
    begin, end = sound.begin - 8, sound.begin + sound.size
    return (0, begin), (end + 1, len(data)), (begin, end)


def read_svx(data: Data) -> Layout:
    """Return the layout of an 8SVX or 16SV file."""
    found = {chunk.name: chunk for chunk in _chunks(data, 12, ">4sI")}
    sound = found.get(b"BODY")
    return Layout() if sound is None else shortfall_of(sound.size, len(data) - sound.begin)


def read_nist(data: Data) -> Layout:
    """Return the layout of a NIST SPHERE file, whose header is text."""
    values = {
        name.decode(): int(number)
        for name, number in re.findall(rb"(sample\w*|channel_count) -(?:i|s1) (\d+)", data[:1024])
    }
    size = values.get("sample_count", 0) * values.get("sample_n_bytes", 0)
    return shortfall_of(size * values.get("channel_count", 1), len(data) - 1024)


def read_au(data: Data) -> Layout:
    """Return the layout of an AU file."""
    begin, size = struct.unpack_from(">II", data, 4)
    available = len(data) - begin
    if size == 0 < available:
        parts = (patched(0, len(data), {8: struct.pack(">I", available)}),)
        return Layout(parts, notes=(NO_LENGTH,))
    return shortfall_of(size, available)


def read_caf(data: Data) -> Layout:
    """Return the layout of a CAF file."""
    sound = next((chunk for chunk in _chunks(data, 8, ">4sq") if chunk.name == b"data"), None)
    if sound is None:
        return Layout()
    available = len(data) - sound.begin
    if sound.size > 4 and sound.size <= available:
        return Layout()
    parts = (patched(0, len(data), {sound.size_at: struct.pack(">q", available)}),)
    if sound.size < 0:  # up to the end
        return Layout(parts, notes=(NO_LENGTH,))
    return Layout(parts, stated=max(1.0, sound.size / max(1, available)))


def read_w64(data: Data) -> Layout:
    """Return the layout of a W64 file, whose sizes include the 24 bytes of a chunk's header."""
    at = 40
    while at + 24 <= len(data):
        (size,) = struct.unpack_from("<Q", data, at + 16)
        if data[at : at + 4] == b"data":
            available = len(data) - at
            if size > 24:
                return shortfall_of(size - 24, available - 24)
            parts = (patched(0, len(data), {at + 16: struct.pack("<Q", available)}),)
            return Layout(parts, notes=(NO_LENGTH,))
        at += max(24, size + -size % 8)
    return Layout()


def _chunks(data: Data, at: int, header: str) -> Iterator[_Chunk]:
    length = struct.calcsize(header)
    while at + length <= len(data):
        name, size = struct.unpack_from(header, data, at)
        yield _Chunk(name, at + 4, size, at + length)
        at += length + max(0, size) + (size % 2 if length == 8 else 0)


def _continues(data: Data, at: int, order: str) -> bool:
    """Return whether chunks up to the end of the file follow, or another file."""
    return data[at : at + 4] == data[:4] or _is_chunk(data, at, order)


def _is_chunk(data: Data, at: int, order: str) -> bool:
    """Return whether chunks follow up to the end of the file."""
    while at + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        if not all(32 <= byte < 127 for byte in name):
            return False
        at += 8 + size + size % 2
    return at >= len(data) - 1 and at <= len(data) + 1
