"""A level meter: peak and RMS in one bar with zones, peak and clip hold, and the gate's handle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip

from rtvc.stats import Level
from rtvc.tui.drawing import Drawing

FLOOR_DB = -60.0
CLIP_HOLD_S = 3.0
HANDLE = "┃"
_LOUD_DB, _HOT_DB = -12.0, -3.0
"""Levels at which the zones begin in which it is loud, and nearly too loud."""
_LIMITED_DB = -0.5
_WIDE = 70
_NOTE = 10
_SMALLEST = 4
"""Cells from which on a bar is drawn."""
_SAFE, _LOUD, _HOT, _SHUT, _STRONG, _CLIP = (
    f"meter--{part}" for part in ("safe", "loud", "hot", "shut", "strong", "clip")
)


class LevelMeter(Drawing):
    """The level of one signal.

    The bar is solid up to the RMS and shaded up to the peak; the thin mark is the highest
    peak of the last three seconds.

    Parameters
    ----------
    title
        Name of the signal.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {_SAFE, _LOUD, _HOT, _SHUT, _STRONG, _CLIP}
    DEFAULT_CSS = """
    LevelMeter { height: 1; width: 1fr; }
    LevelMeter > .meter--safe { color: $success; }
    LevelMeter > .meter--loud { color: $warning; }
    LevelMeter > .meter--hot { color: $error; }
    LevelMeter > .meter--shut { color: $text-muted; }
    LevelMeter > .meter--strong { text-style: bold; }
    LevelMeter > .meter--clip { color: $error; text-style: bold; }
    """

    @dataclass
    class GateMoved(Message):
        """The handle of the gate was dragged to a level in dBFS."""

        gate_db: float

    def __init__(self, title: str, id: str) -> None:
        super().__init__(id)
        self._title = title
        self._clipped_at = self._limited_at = self._top_at = float("-inf")
        self._top = float("-inf")
        self._limited_db = 0.0
        self._level = Level()
        self._gate_db: float | None = None
        self._shut = self._clip = False
        self._shown: tuple[object, ...] = ()
        """What the meter shows; a block lasts longer than a frame."""
        self._bar_at = (0, 0)
        """First column of the bar, and its width."""
        self._dragging = False

    def show(
        self,
        level: Level,
        now: float,
        *,
        gate_db: float | None = None,
        shut: bool = False,
        limited_db: float = 0.0,
    ) -> None:
        """Show a level.

        Parameters
        ----------
        level
            The level.
        now
            A monotonic time in seconds.
        gate_db
            Threshold of the gate in dBFS, drawn as a handle; None without a gate.
        shut
            Whether the gate is shut, so that nothing of this signal passes.
        limited_db
            Gain reduction of the limiter in dB, 0 or less.
        """
        if level.clipped:
            self._clipped_at = now
        if level.peak_db >= self._top or now - self._top_at > CLIP_HOLD_S:
            self._top, self._top_at = level.peak_db, now
        if limited_db <= min(self._limited_db, _LIMITED_DB) or now - self._limited_at > CLIP_HOLD_S:
            self._limited_db, self._limited_at = limited_db, now
        self._level, self._gate_db, self._shut = level, gate_db, shut
        self._clip = now - self._clipped_at < CLIP_HOLD_S
        facts = level, self._top, gate_db, shut, self._limited_db, self._clip
        if facts != self._shown:
            self._shown = facts
            self.draw()

    def draw(self) -> None:
        """Draw the newest level."""
        level = self._level
        note = "gate shut" if self._shut else ""
        if self._limited_db <= _LIMITED_DB:
            note = f"limiter {self._limited_db:.0f}"
        note = "CLIP" if self._clip else note
        figures = f" {_db(level.peak_db)} dB {note:{_NOTE}}"
        if self.size.width >= _WIDE:
            figures = f" {_db(level.peak_db)} peak {_db(level.rms_db)} rms  {note:{_NOTE}}"
        title = f" {self._title:4}"
        cells = self.size.width - len(title) - len(figures)
        self._bar_at = len(title), cells
        end = self._segment(figures, _CLIP if self._clip else _SHUT if self._shut else "")
        bar = self._bar(cells) if cells >= _SMALLEST else []
        self.put([Strip([self._segment(title, _STRONG), *bar, end])])

    def _segment(self, text: str, part: str) -> Segment:
        return Segment(text, self.style_of(part))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take the handle of the gate."""
        if self._gate_db is not None and self._drag(event.x):
            self._dragging = True
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Move the handle of the gate."""
        if self._dragging:
            self._drag(event.x)

    def on_mouse_up(self) -> None:
        """Let the handle go."""
        self._dragging = False
        self.capture_mouse(False)

    def on_mouse_release(self) -> None:
        """Let the handle go if the mouse is no longer followed, as after a dialog."""
        if self.app.mouse_captured is not self:
            self._dragging = False

    def _drag(self, x: int) -> bool:
        first, cells = self._bar_at
        inside = first <= x < first + cells
        if inside:
            share = (x - first) / max(cells - 1, 1)
            self.post_message(self.GateMoved(round(FLOOR_DB * (1 - share))))
        return inside

    def _bar(self, cells: int) -> list[Segment]:
        full = round(_share(self._level.rms_db) * cells)
        peak = max(round(_share(self._level.peak_db) * cells), full)
        bar = "█" * full + "▒" * (peak - full) + "·" * (cells - peak)
        top = min(round(_share(self._top) * cells), cells) - 1
        if top >= peak:
            bar = f"{bar[:top]}│{bar[top + 1 :]}"
        loud, hot = (round(_share(db) * cells) for db in (_LOUD_DB, _HOT_DB))
        zones = [(0, loud, _SAFE), (loud, hot, _LOUD), (hot, cells, _HOT)]
        if self._shut:
            zones = [(0, cells, _SHUT)]
        at = -1
        if self._gate_db is not None:
            at = min(round(_share(self._gate_db) * (cells - 1)), cells - 1)
        parts = []
        for start, end, style in zones:
            if start <= at < end:
                parts += [(bar[start:at], style), (HANDLE, _STRONG), (bar[at + 1 : end], style)]
            else:
                parts.append((bar[start:end], style))
        return [self._segment(text, style) for text, style in parts if text]


def _db(value: float) -> str:
    return f"{max(value, -99.0):4.0f}"


def _share(value: float) -> float:
    return min(max(1 - value / FLOOR_DB, 0.0), 1.0)
