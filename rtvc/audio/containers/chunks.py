"""Containers with one chunk of samples: AIFF, 8SVX, AU, CAF and W64.

Their stated size is too small where the program that wrote them was killed, and too large where
they were cut.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rtvc.audio.containers.joined import OneFile, read_joined, up_to_its_end
from rtvc.audio.containers.layout import (
    NO_LENGTH,
    Data,
    Layout,
    is_placeholder,
    sound_behind,
)
from rtvc.audio.containers.pieces import Piece, patched

_PLAIN = b"NONE", b"twos", b"sowt", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64", b"raw "
"""Encodings of AIFF-C whose samples have the stated number of bits."""
_AU_HEADER = 24
"""Bytes of the header of AU files, where samples begin at the earliest."""
_W64_NAME_END = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
"""How the 16 bytes of the name of a chunk of W64 end."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk: its name, the place of its stated size, that size, and where its content begins."""

    name: bytes
    size_at: int
    size: int
    begin: int

    @property
    def end(self) -> int:
        return self.begin + max(0, self.size)


def read_aiff(data: Data, start: int = 0) -> Layout:
    """Return the layout of AIFF, AIFF-C, 8SVX and 16SV files, joined end to end."""
    return read_joined(data, start, _read_form)


def _read_form(data: Data, start: int) -> OneFile | None:
    """Return the file that begins at a position."""
    if data[start : start + 4] != b"FORM":
        return None
    found: dict[bytes, _Chunk] = {}
    end = start + 12
    for chunk in _chunks(data, end, ">4sI"):
        if not _is_name(chunk.name) or chunk.name == b"FORM":
            break
        found.setdefault(chunk.name, chunk)
        end = chunk.end + chunk.size % 2
    end = len(data) if len(data) - end < 8 else end
    common, sound = found.get(b"COMM"), found.get(b"SSND")
    if common is None or sound is None:
        body = found.get(b"BODY")
        if body is None:
            return None
        if end > body.end + 1:
            return OneFile(((start, end),), end, body.size, len(data) - body.begin)
        return up_to_its_end(data, start, body.begin, body.size, b"FORM")
    return _read_sound(data, start, end, common, sound)


def _read_sound(data: Data, start: int, end: int, common: _Chunk, sound: _Chunk) -> OneFile:
    """Return an AIFF file, the end of whose last chunk is known."""
    available = len(data) - sound.begin
    more, notes = 0, tuple[str, ...]()
    if sound.size <= 8 < available:
        end = len(data)
        more, notes = available - sound.size, (NO_LENGTH,)
    elif end < len(data) and data[end : end + 4] != b"FORM":
        if end == sound.end + sound.size % 2:
            more, notes = sound_behind(data, sound.end, len(data), sound.size)
        end = len(data)
    pieces: tuple[Piece, ...] = ((start, end),)
    if more:
        channels, frames, bits = struct.unpack_from(">hIh", data, common.begin)
        compressed = common.size > 18 and data[common.begin + 18 : common.begin + 22] not in _PLAIN
        if compressed and frames and sound.size > 8:
            frames = frames * (sound.size + more - 8) // (sound.size - 8)
        else:
            frames = (sound.size + more - 8) // max(1, channels * ((bits + 7) // 8))
        fixes = {sound.size_at: struct.pack(">I", sound.size + more)}
        fixes[common.begin + 2] = struct.pack(">I", frames)
        pieces = patched(start, end, fixes)
    elif sound.size % 2 and sound.size < available:
        # libsndfile takes a padding byte as sound, except at the end.
        begin = sound.begin - 8
        pieces = ((start, begin), (sound.end + 1, end), (begin, sound.end))
    return OneFile(pieces, end, sound.size + more, available, notes)


def read_au(data: Data) -> Layout:
    """Return the layout of AU files of either byte order, joined end to end."""
    order = ">" if data[:4] == b".snd" else "<"

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 4] != data[:4]:
            return None
        offset, size = struct.unpack_from(f"{order}II", data, start + 4)
        begin = start + max(offset, _AU_HEADER)
        return _plain(data, start, _Chunk(b"", start + 8, size, begin), f"{order}I")

    return read_joined(data, 0, read)


def read_caf(data: Data) -> Layout:
    """Return the layout of CAF files, joined end to end."""

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 4] != b"caff":
            return None
        end, sound = start + 8, None
        for chunk in _chunks(data, end, ">4sq"):
            if not _is_name(chunk.name) or chunk.name == b"caff":
                break
            if chunk.name == b"data":
                sound = chunk
            end = chunk.end
        if sound is None:
            return None
        if sound.end < end <= len(data):
            return OneFile(((start, end),), end, sound.size, sound.size)
        one = _plain(data, start, sound, ">q", least=4)
        compressed = data[start + 28 : start + 32] != b"lpcm"
        if compressed and one.stated > one.available:  # few bytes can be a whole packet
            one = replace(one, damage="its last packet is incomplete")
        return one

    return read_joined(data, 0, read)


def _plain(data: Data, start: int, sound: _Chunk, form: str, least: int = 0) -> OneFile:
    """Return a file at whose end the sound is.

    Parameters
    ----------
    data
        The data.
    start
        Where the file begins.
    sound
        Its sound.
    form
        Format of the stated size.
    least
        Stated size of a file without sound.
    """
    available = len(data) - sound.begin
    size, notes = sound.size, tuple[str, ...]()
    end = len(data)
    if available <= least:
        return OneFile(((start, end),), end, size, available)
    if size <= least or is_placeholder(size):
        size, notes = available, (NO_LENGTH,)
    elif size > available:
        size = available
    elif data[sound.end : sound.end + 4] == data[:4]:
        end = sound.end
    else:
        more, notes = sound_behind(data, sound.end, end, size)
        size += more
    if size == sound.size:
        # libsndfile reads G.721 and G.723 to the end of the file, whatever is stated.
        stop = sound.end if notes else end
        return OneFile(((start, stop),), end, size, size, notes)
    pieces = patched(start, end, {sound.size_at: struct.pack(form, size)})
    return OneFile(pieces, end, size if notes else sound.size, size, notes)


def read_w64(data: Data) -> Layout:
    """Return the layout of W64 files, joined end to end.

    Their sizes include the 24 bytes of a chunk's header.
    """
    magic = data[:16]

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 16] != magic:
            return None
        at, end = start + 40, data.find(magic, start + 16)
        end = len(data) if end < 0 else end
        while at + 24 <= end:
            (size,) = struct.unpack_from("<Q", data, at + 16)
            if data[at : at + 4] == b"data":
                available = end - at
                if size > 24 and not is_placeholder(size):
                    return _read_w64_sound(
                        data, start, end, _Chunk(b"", at + 16, size - 24, at + 24)
                    )
                pieces = patched(start, end, {at + 16: struct.pack("<Q", available)})
                return OneFile(pieces, end, available, available, (NO_LENGTH,))
            at += max(24, size + -size % 8)
        return None

    return read_joined(data, 0, read)


def _read_w64_sound(data: Data, start: int, end: int, sound: _Chunk) -> OneFile:
    """Return a W64 file; libsndfile reads all that follows the stated size of the sound as sound.

    Parameters
    ----------
    data
        The data.
    start, end
        Where the file begins and ends.
    sound
        Its sound.
    """
    available = end - sound.begin
    if sound.size >= available:
        return OneFile(((start, end),), end, sound.size, available)
    following = sound.end + -sound.end % 8
    if data[following + 4 : following + 16] == _W64_NAME_END:
        return OneFile(((start, sound.end),), end, sound.size, sound.size)
    more, notes = sound_behind(data, sound.end, end, sound.size)
    size = sound.size + more
    fixes = {sound.size_at: struct.pack("<Q", size + 24)}
    return OneFile(patched(start, sound.end + more, fixes), end, size, size, notes)


def _chunks(data: Data, at: int, header: str) -> Iterator[_Chunk]:
    length = struct.calcsize(header)
    while at + length <= len(data):
        name, size = struct.unpack_from(header, data, at)
        yield _Chunk(name, at + 4, size, at + length)
        at += length + max(0, size) + (size % 2 if length == 8 else 0)


def _is_name(name: bytes) -> bool:
    return all(32 <= byte < 127 for byte in name)
