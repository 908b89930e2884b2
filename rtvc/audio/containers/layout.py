"""How the bytes of a sound file are to be read, and what is missing in it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from rtvc.audio.containers.pieces import Piece

Data = mmap.mmap | bytes
NO_LENGTH = "It states no length, so that its end is missing could not be noticed."
UPDATED = "Its header states less sound than it has: what follows the stated end is read too."
SLACK = 16
"""Bytes that may be missing at the end, such as padding."""
_PLACEHOLDERS = tuple(range(2**bits - 2**16, 2**bits + 2**12) for bits in (31, 32))
"""Stated sizes that mean "unknown": programs that write to a pipe put them there."""
_LARGEST = 1 << 48
"""A larger size is a placeholder too."""
_LEAST_SOUND = 1 << 14
"""Bytes after the stated end of the sound from which they are taken as sound."""
_PIECE = 1 << 20
_TAGS = b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a container says, as far as libsndfile does not follow it.

    Attributes
    ----------
    parts
        Files in the file, to be read one after another; empty if the file is to be read as it
        is.
    stated
        Share of the stated length over the length that the file has room for: 2.0 if half of it
        is missing; 1.0 if nothing is known to be missing.
    missing_s
        Stated seconds that the file does not contain; 0 if unknown.
    damage
        A clause about missing or damaged data, such as "it has no end mark"; "" if there is none.
    notes
        Sentences about what is not used.
    """

    parts: tuple[tuple[Piece, ...], ...] = ()
    stated: float = 1.0
    missing_s: float = 0.0
    damage: str = ""
    notes: tuple[str, ...] = ()


class Forgetter:
    """Releases the memory of a mapped file behind a scan, which would count as the program's.

    Parameters
    ----------
    data
        The mapped file, or bytes, which are left alone.
    start
        Position at which the scan begins.
    """

    STEP = 1 << 24

    def __init__(self, data: Data, start: int = 0) -> None:
        self._data, self._at = data, start

    def reached(self, at: int) -> None:
        """Release what lies before a position, from time to time."""
        if at - self._at < self.STEP or not isinstance(self._data, mmap.mmap):
            return
        start = self._at // mmap.PAGESIZE * mmap.PAGESIZE
        self._data.madvise(mmap.MADV_DONTNEED, start, at - start)
        self._at = at


def places(count: int) -> str:
    """Return "one place in it is" or "N places in it are"."""
    return "one place in it is" if count == 1 else f"{count} places in it are"


def is_placeholder(size: int) -> bool:
    """Return whether a stated size means that the length is not known."""
    return size >= _LARGEST or any(size in values for values in _PLACEHOLDERS)


def shortfall_of(size: int, available: int) -> Layout:
    """Return the layout of a file that states `size` bytes of sound and has `available` ones."""
    if size <= max(0, available) + SLACK:
        return Layout()
    if is_placeholder(size):
        return Layout(notes=(NO_LENGTH,))
    if available <= 0:
        return Layout(damage=all_missing(size))
    return Layout(stated=size / available)


def all_missing(size: int) -> str:
    """Return the clause about a file that has nothing of its `size` bytes of sound."""
    return f"its header states {size:,} bytes of sound, and none follow"


def bytes_missing(size: int, available: int) -> Layout:
    """Return the layout of a file of `available` bytes that states `size` bytes in all."""
    cut = size > available + SLACK and not is_placeholder(size)
    return Layout(damage=f"it has {available:,} of {size:,} bytes" if cut else "")


def tag_size(data: Data, at: int) -> int:
    """Return the length of the ID3 or APE tag here, or 0."""
    head = data[at : at + 16]
    if head[:3] == b"ID3" and len(head) >= 10:
        a, b, c, d = (byte & 0x7F for byte in head[6:10])
        return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 16:
        return 32 + int.from_bytes(head[12:16], "little")
    return 0


def sound_behind(data: Data, at: int, end: int, size: int) -> tuple[int, tuple[str, ...]]:
    """Return how many bytes behind the stated end of the sound are sound too, and notes.

    A recorder that is killed leaves the size of its last update in the header.

    Parameters
    ----------
    data
        The file.
    at
        The stated end of the sound.
    end
        The end of the bytes that may be sound.
    size
        The stated size of the sound in bytes.
    """
    rest = end - at
    if rest <= SLACK or data[at : at + 16].startswith(_TAGS):
        return 0, ()
    # Space that a recorder has reserved, or the padding of a disk image, is no sound.
    if rest > min(size, _LEAST_SOUND) and not (size and _is_zero(data, at, end)):
        return rest, (UPDATED if size else NO_LENGTH,)
    return 0, (f"{rest:,} bytes follow the end that its header states; they are not read.",)


def _is_zero(data: Data, at: int, end: int) -> bool:
    pieces = range(at, end, _PIECE)
    return not any(data[here : min(end, here + _PIECE)].strip(b"\0") for here in pieces)
