"""A level meter: peak and RMS in one bar, with peak and clip hold."""

from __future__ import annotations

from rtvc.stats import Level
from rtvc.tui.text_pane import StyledText, TextPane

FLOOR_DB = -60.0
CLIP_HOLD_S = 3.0
_LOUD_DB = -6.0


class LevelMeter(TextPane):
    """The level of one signal.

    The bar is solid up to the RMS and shaded up to the peak; the mark is the highest
    peak of the last three seconds.

    Parameters
    ----------
    title
        Name of the signal.
    """

    def __init__(self, title: str, id: str) -> None:
        super().__init__(id)
        self._title = title
        self._clipped_at = float("-inf")
        self._top = float("-inf")
        self._top_at = float("-inf")

    def show(self, level: Level, now: float) -> None:
        """Show a level; `now` is a monotonic time in seconds."""
        if level.clipped:
            self._clipped_at = now
        if level.peak_db >= self._top or now - self._top_at > CLIP_HOLD_S:
            self._top, self._top_at = level.peak_db, now
        clip = now - self._clipped_at < CLIP_HOLD_S
        title = f"{self._title:4}"
        figures = f" {_db(level.peak_db)} peak {_db(level.rms_db)} rms {'CLIP' if clip else '    '}"
        cells = self.size.width - len(title) - len(figures) - 2
        if cells < 4:
            self.put((f"{title}{figures}".rstrip(), "$error bold" if clip else ""))
            return
        self.put((f"{title}|", ""), *self._bar(level, cells), ("|", ""), _figures(figures, clip))

    def _bar(self, level: Level, cells: int) -> list[StyledText]:
        full = round(_share(level.rms_db) * cells)
        peak = max(round(_share(level.peak_db) * cells), full)
        bar = "█" * full + "▒" * (peak - full) + " " * (cells - peak)
        top = min(round(_share(self._top) * cells), cells) - 1
        if top >= peak:
            bar = f"{bar[:top]}│{bar[top + 1 :]}"
        loud = round(_share(_LOUD_DB) * cells)
        return [(bar[:loud], "$success"), (bar[loud:], "$warning")]


def _figures(text: str, clip: bool) -> StyledText:
    return (text, "$error bold reverse" if clip else "")


def _db(value: float) -> str:
    return f"{max(value, -99.0):4.0f}"


def _share(value: float) -> float:
    return min(max(1 - value / FLOOR_DB, 0.0), 1.0)
