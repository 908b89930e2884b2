"""A scrolling plot of input and output pitch: lines of dots, with note names."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.segment import Segment

from rtvc.settings import Settings
from rtvc.stats import Stats
from rtvc.tui.dot_lines import DotFont, Scale, font_of
from rtvc.tui.note_names import in_words, midi, note_name
from rtvc.tui.picture import MAX_COLUMNS, Cell, Picture, newest, runs
from rtvc.tui.pitch_history import Column, PitchHistory

_OUTPUT_DOTS = 2
"""Thickness of the output's line, by which it differs from the input's without colours too."""
_MIN_SPAN = 12
_EMPTY = 45, 45 + _MIN_SPAN
"""Lowest and highest note of a plot without pitch."""
_STEPS = (1, 2, 3, 4, 6, 12)
"""Semitones between two note names on the axis."""
_WORDS, _TARGET_WORDS = 46, 64
"""Smallest widths in columns for a legend with words, and for one with the target."""
_PLAIN, _INPUT, _OUTPUT, _TARGET = range(4)
_PARTS = ("", "trace--input", "trace--output", "trace--target")


class PitchTrace(Picture):
    """Pitch of input (thin) and output (thick) over time; unvoiced sound is a gap."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*_PARTS[1:]}
    DEFAULT_CSS = """
    PitchTrace > .trace--input { color: $foreground; }
    PitchTrace > .trace--output { color: $success; text-style: bold; }
    PitchTrace > .trace--target { color: $text-muted; }
    """

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._font = font_of(os.environ.get("TERM", ""))
        self._stats = Stats()
        self._targets_hz: tuple[float, ...] = ()
        self._history = PitchHistory()
        self._scale = Scale(0.0, 1.0, 1)
        self._drawn: deque[list[Cell]] = deque(maxlen=MAX_COLUMNS)
        self._count = 0
        """Columns of the history that are drawn."""

    def show(self, stats: Stats, now: float, targets_hz: tuple[float, ...] = ()) -> None:
        """Append the pitch of the newest block; draw when that is due.

        Parameters
        ----------
        stats
            Statistics of the engine.
        now
            A monotonic time in seconds.
        targets_hz
            Pitches above 0 Hz that the output keeps to, shown as guides.
        """
        if stats.blocks != self._stats.blocks:
            self._history.append(stats)
        self._stats, self._targets_hz = stats, targets_hz
        if self.is_due(now):
            self.draw()

    def draw(self) -> None:
        """Draw the columns that are new, or all if the scale has changed."""
        rows, columns = self.room
        if not rows:
            return
        past, new = self._history.columns, self._history.count - self._count
        low, high = _span(newest(past, columns))
        scale = Scale(low, high, rows * self._font.down)
        if scale != self._scale:
            self._scale, new = scale, len(past)
            self._drawn.clear()
        self._drawn.extend(_cells(column, scale, self._font) for column in newest(past, new))
        self._count = self._history.count
        targets = [midi(hz) for hz in self._targets_hz if low <= midi(hz) < high]
        self.plot(self._rows(rows, columns, targets), self._legend())

    def _rows(self, rows: int, columns: int, targets: list[float]) -> Iterable[list[Segment]]:
        down = self._font.down
        guides = {self._scale.dot(note) // down: note for note in targets}
        labels = _labels(self._scale, rows) | {row: note_name(guides[row]) for row in guides}
        styles = [self.style_of(part) for part in _PARTS]
        visible = newest(self._drawn, columns)
        blank: Cell = (" ", _PLAIN)
        for row in range(rows):
            cells = [blank] * (columns - len(visible)) + [column[row] for column in visible]
            if row in guides:
                guide = self._font.guides[self._scale.dot(guides[row]) % down], _TARGET
                cells = [guide if cell == blank else cell for cell in cells]
            part = _PARTS[_TARGET] if row in guides else "picture--axis"
            yield [self.axis(labels.get(row, ""), part), *runs(cells, styles)]

    def _legend(self) -> list[Segment]:
        stats, width = self._stats, self.size.width
        you, voice = (" you", " voice") if width >= _WORDS else ("", "")
        text = self.style_of("picture--legend")
        is_open = stats.gate_open
        input_f0_hz, output_f0_hz = stats.input_f0_hz * is_open, stats.output_f0_hz * is_open
        legend = [
            Segment("─", self.style_of(_PARTS[_INPUT])),
            Segment(f"{you} {in_words(input_f0_hz):15} ", text),
            Segment("═", self.style_of(_PARTS[_OUTPUT])),
            Segment(f"{voice} {in_words(output_f0_hz):14}", text),
        ]
        if len(self._targets_hz) == 1 and width >= _TARGET_WORDS:
            legend.append(Segment(f" target {in_words(self._targets_hz[0])}", text))
        return legend


def target_pitches_hz(settings: Settings) -> tuple[float, ...]:
    """Return the pitches that the output keeps to with these settings, in Hz."""
    return (settings.pitch_fixed,) if settings.pitch_fixed > 0 and not settings.whisper else ()


def _cells(column: Column, scale: Scale, font: DotFont) -> list[Cell]:
    """Draw a column, from top to bottom; where both lines are in a cell it is the output's."""
    before, left, right = column
    input_left = scale.stroke(before[0], left[0])
    input_right = scale.stroke(left[0], right[0])
    output_left = scale.stroke(before[1], left[1], _OUTPUT_DOTS)
    output_right = scale.stroke(left[1], right[1], _OUTPUT_DOTS)
    lefts, rights = input_left | output_left, input_right | output_right
    outputs, mask = output_left | output_right, (1 << font.down) - 1
    cells = []
    for dot in range(0, scale.dots, font.down):
        character = font.characters[lefts >> dot & mask][rights >> dot & mask]
        line = _OUTPUT if outputs >> dot & mask else _INPUT
        cells.append((character, _PLAIN if character == " " else line))
    return cells


def _span(columns: Sequence[Column]) -> tuple[int, int]:
    """Return the lowest and highest note of the plot, in steps of three semitones."""
    notes = [note for column in columns for dot in column for note in dot if note is not None]
    if not notes:
        return _EMPTY
    low, high = math.floor(min(notes) / 3) * 3, math.floor(max(notes) / 3) * 3 + 3
    spare = max(_MIN_SPAN - (high - low), 0)
    return low - spare // 6 * 3, high + spare - spare // 6 * 3


def _labels(scale: Scale, rows: int) -> dict[int, str]:
    """Return note names by row, where these notes are."""
    low, high = math.ceil(scale.low), math.ceil(scale.high)
    step = next((step for step in _STEPS if step * rows >= high - low), _STEPS[-1])
    notes = range(high - 1, low - 1, -1)
    return {
        scale.dot(note) * rows // scale.dots: note_name(note) for note in notes if note % step == 0
    }
