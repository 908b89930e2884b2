"""A scrolling spectrogram of the output, two bands to a character."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from rtvc.stats import SPECTRUM_HZ
from rtvc.tui.colour_map import LEVELS, Rgb, grey, viridis, viridis_256
from rtvc.tui.picture import AXIS, CELL_S, MAX_COLUMNS, Cell, Picture, newest, runs
from rtvc.tui.themes import THEMES

QUIET_DB, LEVEL_DB = -74.0, 4.0
"""Level in dBFS of the first colour, and the step in dB to the next."""
SHADES = " ·░▒▓█"
"""Characters from silence to the loudest, where there are no colours."""
_TICKS_HZ = (100, 1000, 10_000, 200, 500, 2000, 5000)
"""Frequencies on the axis, the most important first."""
_CODES = LEVELS + 1
"""A code is the level of the upper half times this plus that of the lower; 0 is silence."""


class Spectrogram(Picture):
    """Levels over time on a logarithmic frequency axis; a column shows its loudest moment."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._column = 0
        self._newest: tuple[float, ...] = ()
        self._past: deque[tuple[float, ...]] = deque(maxlen=MAX_COLUMNS)
        self._codes: deque[list[int]] = deque(maxlen=MAX_COLUMNS)
        self._rows = 0

    def show(self, bands: tuple[float, ...], now: float) -> None:
        """Append a spectrum, and draw when that is due.

        Parameters
        ----------
        bands
            Levels in dBFS, the lowest band first; () while nothing plays.
        now
            A monotonic time in seconds.
        """
        if not bands:
            return
        same = len(bands) == len(self._newest)
        self._newest = tuple(map(max, self._newest, bands)) if same else bands
        before, self._column = self._column, int(now / CELL_S)
        if self._column != before:
            self._past.append(self._newest)
            if self._rows:
                self._codes.append(_codes(self._newest, self._rows))
            self._newest = ()
        if self.is_due(now):
            self.draw()

    def draw(self) -> None:
        """Draw all visible columns; compute them again if the number of rows has changed."""
        rows, columns = self.room
        if not rows:
            return
        if rows != self._rows:
            self._rows = rows
            self._codes.clear()
            self._codes.extend(_codes(levels, rows) for levels in self._past)
        legend = Segment(f"{'':{AXIS}}output, in Hz", self.style_of("picture--legend"))
        self.plot(self._lines(rows, columns), [legend])

    def _lines(self, rows: int, columns: int) -> Iterable[list[Segment]]:
        look = self._look()
        labels = _labels(rows)
        visible = newest(self._codes, columns)
        before = [look.cells[0]] * (columns - len(visible))
        for row in range(rows):
            cells = before + [look.cells[codes[row]] for codes in visible]
            yield [self.axis(labels.get(row, "")), *runs(cells, look.styles)]

    def _look(self) -> _Look:
        app = self.app
        plain = self.style_of("")
        system = app.console.color_system
        if app.no_color or system == "standard" or plain.bgcolor is None:
            return _shades(plain)
        if app.theme == THEMES["contrast"].name:
            colours = grey()
        else:
            colours = viridis_256() if system == "256" else viridis()
        dark = app.current_theme.dark
        return _half_blocks(plain.bgcolor, colours if dark else colours[::-1])


class _Look(NamedTuple):
    """How codes are shown: their cells, and the styles of these."""

    cells: tuple[Cell, ...]
    styles: tuple[Style, ...]


@lru_cache(8)
def _shades(plain: Style) -> _Look:
    """Show the louder half of a cell as a character."""
    count = len(SHADES) - 1
    louder = [max(divmod(code, _CODES)) for code in range(_CODES**2)]
    return _Look(tuple((SHADES[-(-level * count // LEVELS)], 0) for level in louder), (plain,))


@lru_cache(8)
def _half_blocks(background: Color, colours: tuple[Rgb, ...]) -> _Look:
    """Show the upper half in the colour of the character, the lower half in the background."""
    by_level = [background, *(Color.from_rgb(*colour) for colour in colours)]
    pairs = [(by_level[code // _CODES], by_level[code % _CODES]) for code in range(_CODES**2)]
    # Levels may share a colour: then so do runs of cells.
    styles = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    cells = ((" " if upper == lower else "▀", styles[upper, lower]) for upper, lower in pairs)
    return _Look(tuple(cells), tuple(Style(color=a, bgcolor=b) for a, b in styles))


def _codes(bands: tuple[float, ...], rows: int) -> list[int]:
    """Return a column from top to bottom; half a row shows the loudest of its bands."""
    count, halves = len(bands), 2 * rows
    levels = []
    for half in reversed(range(halves)):
        low = half * count // halves
        loudest = max(bands[low : max((half + 1) * count // halves, low + 1)])
        level = int((loudest - QUIET_DB) // LEVEL_DB) + 1
        levels.append(min(max(level, 0), LEVELS))
    return [upper * _CODES + lower for upper, lower in zip(levels[::2], levels[1::2], strict=True)]


def _labels(rows: int) -> dict[int, str]:
    """Return frequencies by row, where they are."""
    low, high = SPECTRUM_HZ
    labels: dict[int, str] = {}
    for hz in _TICKS_HZ:
        share = math.log(hz / low) / math.log(high / low)
        labels.setdefault(rows - 1 - int(share * rows), f"{hz}" if hz < 1000 else f"{hz // 1000}k")
    return labels
