"""Lines of dots, several dots to a character."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class DotFont:
    """Characters made of dots, two columns wide.

    Attributes
    ----------
    down
        Rows of dots in a character.
    characters
        By the dots of the left column and those of the right one; bit 0 is the highest dot.
    guides
        By row of dots: a character of a faint horizontal line.
    """

    down: int
    characters: tuple[tuple[str, ...], ...]
    guides: tuple[str, ...]


def _braille() -> DotFont:
    left, right = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)

    def offset(bits: int, dots: tuple[int, ...]) -> int:
        return sum(dot for row, dot in enumerate(dots) if bits >> row & 1)

    characters = [
        [chr(0x2800 + offset(a, left) + offset(b, right)) for b in range(16)] for a in range(16)
    ]
    characters[0][0] = " "
    return DotFont(4, tuple(map(tuple, characters)), tuple(chr(0x2800 + dot) for dot in left))


BRAILLE = _braille()
HALF_BLOCKS = DotFont(
    2, tuple(tuple(" ▀▄█"[a | b] for b in range(4)) for a in range(4)), ("─", "─")
)
"""For the Linux console, whose fonts have no Braille; two columns of dots share one."""

_NO_BRAILLE = ("linux", "vt", "cons", "dumb")


def font_of(terminal: str) -> DotFont:
    """Return the finest font that a terminal shows, by its value of TERM."""
    return HALF_BLOCKS if terminal.startswith(_NO_BRAILLE) else BRAILLE


@dataclass(frozen=True)
class Scale:
    """Where values are on a vertical axis of dots.

    Attributes
    ----------
    low, high
        Values at the lower edge of the lowest dot and at the upper edge of the highest.
    dots
        Number of dots.
    """

    low: float
    high: float
    dots: int

    def dot(self, value: float) -> int:
        """Return the dot of a value, 0 for the highest; values outside are at the edge."""
        share = (value - self.low) / (self.high - self.low)
        return min(max(self.dots - 1 - math.floor(share * self.dots), 0), self.dots - 1)

    def stroke(self, before: float | None, value: float | None, thickness: int = 1) -> int:
        """Return the dots of a line's next column as bits, bit 0 for the highest dot.

        Parameters
        ----------
        before
            The line's value in the column to the left, None for a gap.
        value
            Its value in this column, None for a gap.
        thickness
            Dots that the line is thick.
        """
        if value is None:
            return 0
        top = bottom = self.dot(value)
        if before is not None:
            last = self.dot(before)
            # Up to the dot before, so that a steep line has no holes.
            top, bottom = min(top, last + 1), max(bottom, last - 1)
        bottom = min(bottom + thickness - 1, self.dots - 1)
        top = min(top, max(bottom - thickness + 1, 0))
        return ((1 << (bottom - top + 1)) - 1) << top
