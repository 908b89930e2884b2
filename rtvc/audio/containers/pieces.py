"""Parts of a file, with other bytes between them, as one readable file."""

from __future__ import annotations

import bisect
import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

Piece = bytes | tuple[int, int]
"""Bytes, or the first byte of a part of the file and the byte after its last."""


class PiecesFile(io.RawIOBase):
    """A read-only file that consists of pieces of another file.

    Parameters
    ----------
    path
        The file.
    pieces
        Its parts, and bytes to read in place of parts.
    """

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        self._file = path.open("rb")
        self._pieces = [piece for piece in pieces if _size(piece)]
        self._ends = list(itertools.accumulate(map(_size, self._pieces)))
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, and return it."""
        size = self._ends[-1] if self._ends else 0
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence, size))
        return self._at

    def readinto(self, buffer: object) -> int:
        """Read into a buffer, and return the number of bytes."""
        wanted, done = memoryview(buffer).cast("B"), 0  # type: ignore[arg-type]
        while done < len(wanted):
            number = bisect.bisect_right(self._ends, self._at)
            if number == len(self._ends):
                break
            piece = self._pieces[number]
            inside = self._at - self._ends[number] + _size(piece)
            count = min(len(wanted) - done, self._ends[number] - self._at)
            if isinstance(piece, bytes):
                data = piece[inside : inside + count]
            else:
                self._file.seek(piece[0] + inside)
                data = self._file.read(count)
            if not data:
                break
            wanted[done : done + len(data)] = data
            done += len(data)
            self._at += len(data)
        return done

    def close(self) -> None:
        """Close the file; safe to repeat."""
        self._file.close()
        super().close()


def patched(start: int, end: int, fixes: dict[int, bytes]) -> tuple[Piece, ...]:
    """Return a part of a file with other bytes at some positions."""
    pieces: list[Piece] = []
    for at, fixed in sorted(fixes.items()):
        pieces += [(start, at), fixed]
        start = at + len(fixed)
    return (*pieces, (start, end))


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
