"""How the bytes of a sound file are to be read, and what is missing in it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from rtvc.audio.containers.pieces import Piece

Data = mmap.mmap | bytes
NO_LENGTH = "It states no length, so that its end is missing could not be noticed."
_PLACEHOLDER = 0x7FFF_0000
"""Stated sizes from here on mean "unknown": programs that write to a pipe put them there."""
SLACK = 16
"""Bytes that may be missing at the end, such as padding."""


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


def shortfall_of(size: int, available: int) -> Layout:
    """Return the layout of a file that states `size` bytes of sound and has `available` ones."""
    if available <= 0 or size <= available + SLACK:
        return Layout()
    if size >= _PLACEHOLDER:
        return Layout(notes=(NO_LENGTH,))
    return Layout(stated=size / available)


def bytes_missing(size: int, available: int) -> Layout:
    """Return the layout of a file of `available` bytes that states `size` bytes in all."""
    cut = available + SLACK < size < _PLACEHOLDER
    return Layout(damage=f"it has {available:,} of {size:,} bytes" if cut else "")
