"""A scrolling spectrogram of the output; denser characters are louder."""

from __future__ import annotations

from collections import deque

from rtvc.stats import SPECTRUM_HZ
from rtvc.tui.text_pane import TextPane

SHADES = " ·░▒▓█"
"""Characters from silence to the loudest."""
QUIET_DB, SHADE_DB = -66.0, 10.0
"""Level in dBFS of the first shade, and the step in dB to the next."""
_PER_COLUMN = 2
"""Frames in a column: 15 columns a second are enough for the eye."""
_AXIS = 6
_MAX_COLUMNS = 400


class Spectrogram(TextPane):
    """One column for two frames, the newest at the right; the last row is the legend."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._newest: list[tuple[float, ...]] = []
        self._past: deque[tuple[float, ...]] = deque(maxlen=_MAX_COLUMNS)
        self._columns: deque[str] = deque(maxlen=_MAX_COLUMNS)
        self._rows = 0

    def show(self, bands: tuple[float, ...]) -> None:
        """Append levels in dBFS, the lowest band first; () while nothing plays."""
        if not bands:
            return
        self._newest.append(bands)
        if len(self._newest) < _PER_COLUMN:
            return
        loudest = tuple(map(max, *self._newest))
        self._newest.clear()
        self._past.append(loudest)
        rows, columns = self.size.height - 1, self.size.width - _AXIS
        if rows < 1 or columns < 1 or not self.display:
            return
        if rows != self._rows:
            self._rows = rows
            self._columns.clear()
            self._columns.extend(_column(levels, rows) for levels in self._past)
        else:
            self._columns.append(_column(loudest, rows))
        self.put((self._plot(rows, columns), ""), (f"{'':{_AXIS}}output, in Hz", "bold"))

    def _plot(self, rows: int, columns: int) -> str:
        low, high = SPECTRUM_HZ
        past = list(self._columns)[-columns:]
        lines = []
        for y in range(rows):
            hz = low * (high / low) ** ((rows - y - 0.5) / rows)
            cells = "".join(column[y] for column in past)
            lines.append(f"{_hz(hz):>4} ┤{cells:>{columns}}\n")
        return "".join(lines)


def _column(bands: tuple[float, ...], rows: int) -> str:
    """Return a column from top to bottom; a row shows the loudest of its bands."""
    count = len(bands)
    cells = []
    for y in reversed(range(rows)):
        low = y * count // rows
        level = max(bands[low : max((y + 1) * count // rows, low + 1)])
        shade = int((level - QUIET_DB) // SHADE_DB) + 1
        cells.append(SHADES[min(max(shade, 0), len(SHADES) - 1)])
    return "".join(cells)


def _hz(hz: float) -> str:
    return f"{hz:.0f}" if hz < 1000 else f"{hz / 1000:.1f}k"
