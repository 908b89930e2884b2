"""WAV, RIFX, RF64 and BW64 files: wrong sizes, several chunks of samples, files joined end to end.

Where libsndfile does not follow a file, its chunks are put together again, with right sizes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rtvc.audio.containers.joined import OneFile, read_joined
from rtvc.audio.containers.layout import (
    NO_LENGTH,
    SLACK,
    Data,
    Forgetter,
    Layout,
    bytes_missing,
    is_placeholder,
    sound_behind,
)
from rtvc.audio.containers.pieces import Piece

_MAGICS = b"RIFF", b"RIFX", b"RF64", b"BW64"
_UNKNOWN = 0xFFFFFFFF
"""Size of a chunk whose size is in the ds64 chunk."""
_BEHIND = (
    *(b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"inst", b"fact", b"iXML", b"axml"),
    *(b"_PMX", b"PEAK", b"DISP", b"afsp", b"JUNK"),
)
"""Chunks that programs write behind the sound."""
_SEARCHED = 1 << 16
"""Bytes at the end in which they are searched where the size of the sound is not known."""
_TIME_CODE = "Its broadcast information, such as the time code, is not copied."


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk: its name, its content, and whether the byte that pads an odd size is missing."""

    name: bytes
    begin: int
    end: int
    unpadded: bool = False

    @property
    def size(self) -> int:
        return self.end - self.begin


def read_wav(data: Data, start: int = 0) -> Layout:
    """Return the layout of a WAV file, or of several joined end to end."""
    if data[start + 8 : start + 12] != b"WAVE":
        order = ">" if data[start : start + 4] == b"RIFX" else "<"
        (size,) = struct.unpack_from(f"{order}I", data, start + 4)
        return bytes_missing(size + 8, len(data) - start)  # a video
    return read_joined(data, start, _read_one)


def _read_one(data: Data, start: int) -> OneFile | None:
    """Return the file that begins at a position."""
    if not _is_file(data, start):
        return None
    order = ">" if data[start : start + 4] == b"RIFX" else "<"
    chunks: list[_Chunk] = []
    stated = 0
    notes: tuple[str, ...] = ()
    right = True  # libsndfile reads it as it is
    at, end, ended = start + 12, len(data), False
    while not ended and at + 8 <= end and not _is_file(data, at):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        begin = at + 8
        if name == b"data":
            size, known = _sound_size(data, chunks, size)
            right = right and known and not any(chunk.name == b"data" for chunk in chunks)
            if size > end - begin and is_placeholder(size):
                limit = _next_file(data, begin)
                last = _chunks_behind(data, begin, limit, order)
                right = right and size <= _UNKNOWN and last == end
                size, notes, end, ended = last - begin, (NO_LENGTH,), limit, True
            elif size <= end - begin and not _continues(data, begin + size, order):
                end, ended = _next_file(data, begin + size), True
                more, notes = sound_behind(data, begin + size, end, size)
                if more and not size:
                    more = _chunks_behind(data, begin, end, order) - begin
                right, size = right and not more, size + more
            stated += size
        chunk = _chunk(data, name, begin, begin + size)
        at = chunk.end + (chunk.size % 2 and not chunk.unpadded)
        right = right and not chunk.unpadded and not _is_short_format(chunk)
        chunks.append(chunk)
    sounds = [chunk for chunk in chunks if chunk.name == b"data"]
    if not sounds:
        return None
    if start == 0 and any(chunk.name == b"bext" for chunk in chunks):
        notes = (*notes, _TIME_CODE)
    end = end if ended or at + 8 > end else at
    available = sum(max(0, min(chunk.end, end) - chunk.begin) for chunk in sounds)
    right = right and data[start : start + 4] == _magic(data, start, chunks)
    pieces = ((start, end),) if right else _put_together(data, start, end, chunks)
    return OneFile(pieces, end, stated, available, notes)


def _chunk(data: Data, name: bytes, begin: int, end: int) -> _Chunk:
    unpadded = (end - begin) % 2 == 1 and (
        _is_file(data, end)
        or (_is_name(data[end : end + 4]) and not _is_name(data[end + 1 : end + 5]))
    )
    return _Chunk(name, begin, end, unpadded)


def _is_short_format(chunk: _Chunk) -> bool:
    """Return whether a chunk is a format without the bits per sample, as in the first WAV files."""
    return chunk.name == b"fmt " and chunk.size == 14


def _whole_format(data: Data, chunk: _Chunk, order: str) -> bytes:
    """Return a short format with the bits per sample that follow from the bytes of a frame."""
    fields = data[chunk.begin : chunk.end]
    (channels,) = struct.unpack_from(f"{order}H", fields, 2)
    (frame,) = struct.unpack_from(f"{order}H", fields, 12)
    bits = 8 * frame // max(channels, 1) & 0xFFFF
    return chunk.name + struct.pack(f"{order}I", 16) + fields + struct.pack(f"{order}H", bits)


def _sound_size(data: Data, chunks: list[_Chunk], size: int) -> tuple[int, bool]:
    """Return the size of the samples, and whether libsndfile takes it for the same."""
    sizes = next((chunk for chunk in chunks if chunk.name == b"ds64"), None)
    if sizes is None:
        return size, True
    (large,) = struct.unpack_from("<Q", data, sizes.begin + 8)
    return (large, True) if size == _UNKNOWN else (size, size == large)


def _put_together(data: Data, start: int, end: int, chunks: list[_Chunk]) -> tuple[Piece, ...]:
    """Return a file with one chunk of samples, whose sizes are right."""
    order = ">" if data[start : start + 4] == b"RIFX" else "<"
    spans = [(chunk.begin, min(chunk.end, end)) for chunk in chunks if chunk.name == b"data"]
    total = sum(max(0, stop - begin) for begin, stop in spans)
    magic = _magic(data, start, chunks)
    pieces: list[Piece] = [magic, (start + 4, start + 12)]
    for chunk in chunks:
        if chunk.name == b"data":
            continue
        first, last = chunk.begin - 8, min(chunk.end, end)
        if _is_short_format(chunk) and last == chunk.end:
            pieces.append(_whole_format(data, chunk, order))
            continue
        if chunk.name == b"ds64":
            pieces += [(first, chunk.begin + 8), struct.pack("<Q", total)]
            first = chunk.begin + 16
        pieces += [(first, last), bytes(chunk.size % 2)]
    size = _UNKNOWN if magic == b"RF64" else min(total, _UNKNOWN)
    return (*pieces, b"data" + struct.pack(f"{order}I", size), *spans)


def _magic(data: Data, start: int, chunks: list[_Chunk]) -> bytes:
    """Return the beginning by which libsndfile knows the kind of file."""
    magic = data[start : start + 4]
    if magic in (b"RF64", b"BW64"):
        return b"RF64" if any(chunk.name == b"ds64" for chunk in chunks) else b"RIFF"
    return magic


def _is_file(data: Data, at: int) -> bool:
    return data[at : at + 4] in _MAGICS and data[at + 8 : at + 12] == b"WAVE"


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _next_file(data: Data, at: int) -> int:
    """Return where the next file begins, or the end of the data."""
    start, forgetter = at, Forgetter(data, at)
    while at < len(data):
        forgetter.reached(at)
        found = data.find(b"WAVE", at, at + Forgetter.STEP)
        if found - 8 >= start and _is_file(data, found - 8):
            return found - 8
        # The word may lie across the end of the bytes that were searched.
        at = found + 4 if found >= 0 else at + Forgetter.STEP - 3
    return len(data)


def _chunks_behind(data: Data, begin: int, end: int, order: str) -> int:
    """Return where sound of unknown size ends: at known chunks up to the end, or there."""
    first = end
    for name in _BEHIND:
        at = max(begin, end - _SEARCHED) - 1
        while (at := data.find(name, at + 1, first)) >= 0:
            if _continues(data, at, order):
                first = at
    return first


def _continues(data: Data, at: int, order: str) -> bool:
    """Return whether chunks follow, up to the end of the data or to another file."""
    for begin in (at, at + 1):  # odd sizes are padded, or not
        here = begin
        while here + 8 <= len(data) and not _is_file(data, here):
            name, size = struct.unpack_from(f"{order}4sI", data, here)
            if not _is_name(name):
                break
            here += 8 + size + size % 2
        if _is_file(data, here) or abs(here - len(data)) <= 1:
            return True
    return len(data) - at <= SLACK
