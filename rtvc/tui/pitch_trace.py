"""A scrolling plot of input and output pitch, with note names."""

from __future__ import annotations

import math
from collections import deque

from rtvc.stats import Stats
from rtvc.tui.note_names import in_words, midi, note_name
from rtvc.tui.text_pane import TextPane

INPUT, OUTPUT, BOTH = "○", "●", "◉"
_AXIS = 5
_MIN_SPAN = 12.0
_MAX_COLUMNS = 400
_LEGEND_COLUMNS = 46
"""Smallest width in columns for a legend with words."""


class PitchTrace(TextPane):
    """One column per block, the newest at the right; the last row is the legend."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._blocks = 0
        self._past: deque[tuple[float, float]] = deque(maxlen=_MAX_COLUMNS)

    def show(self, stats: Stats) -> None:
        """Append the pitch of the newest block, and draw."""
        if stats.blocks != self._blocks:
            self._blocks = stats.blocks
            pair = (stats.input_f0_hz, stats.output_f0_hz) if stats.gate_open else (0.0, 0.0)
            self._past.append(pair)
        rows, columns = self.size.height - 1, self.size.width - _AXIS
        if rows < 1 or columns < 1 or not self.display:
            return
        input_f0_hz, output_f0_hz = self._past[-1] if self._past else (0.0, 0.0)
        you, voice = (" you", " voice") if self.size.width >= _LEGEND_COLUMNS else ("", "")
        legend = (
            f"{INPUT}{you} {in_words(input_f0_hz):15} {OUTPUT}{voice} {in_words(output_f0_hz):14}"
        )
        self.put((self._plot(rows, columns), ""), (legend, "bold"))

    def _plot(self, rows: int, columns: int) -> str:
        past = list(self._past)[-columns:]
        low, high = _span([hz for pair in past for hz in pair if hz > 0])
        grid = [[" "] * columns for _ in range(rows)]
        for x, (input_hz, output_hz) in enumerate(past, columns - len(past)):
            for hz, glyph in ((input_hz, INPUT), (output_hz, OUTPUT)):
                if hz <= 0:
                    continue
                y = rows - 1 - min(int((midi(hz) - low) / (high - low) * rows), rows - 1)
                grid[y][x] = BOTH if grid[y][x] in (INPUT, BOTH) and glyph == OUTPUT else glyph
        lines = []
        for y, cells in enumerate(grid):
            middle = low + (rows - y - 0.5) * (high - low) / rows
            lines.append(f"{note_name(middle):>3} ┤{''.join(cells)}\n")
        return "".join(lines)


def _span(pitches: list[float]) -> tuple[float, float]:
    """Return the lowest and highest note of the plot, in steps of three semitones."""
    if not pitches:
        return 45.0, 45.0 + _MIN_SPAN
    low = math.floor(midi(min(pitches)) / 3) * 3.0
    high = math.floor(midi(max(pitches)) / 3) * 3.0 + 3
    spare = max(_MIN_SPAN - (high - low), 0.0)
    return low - math.floor(spare / 6) * 3, high + spare - math.floor(spare / 6) * 3
