"""A plot that scrolls: an axis, rows of cells, and a legend."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import ClassVar, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from rtvc.tui.drawing import Drawing

CELL_S = 0.125
"""Time that a cell stands for: all plots scroll at the same speed."""
DRAW_S = 2 * CELL_S
"""Time between two drawings: all plots draw at the same times, which takes less work."""
MAX_COLUMNS = 400
AXIS = 6

_T = TypeVar("_T")

Cell = tuple[str, int]
"""A character, and the number of its style."""


class Picture(Drawing):
    """A plot of the newest moments, the newest at the right; the last row is the legend."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture--axis", "picture--legend"}
    DEFAULT_CSS = """
    Picture > .picture--axis { color: $text-muted; }
    Picture > .picture--legend { text-style: bold; }
    """

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._drawn_at = 0

    @property
    def room(self) -> tuple[int, int]:
        """Rows and columns of the plot, 0 and 0 if it has no room or is hidden."""
        rows, columns = self.size.height - 1, self.size.width - AXIS
        return (rows, columns) if rows > 0 and columns > 0 and self.display else (0, 0)

    def is_due(self, now: float) -> bool:
        """Return whether the time of a drawing has come since the last call."""
        before, self._drawn_at = self._drawn_at, int(now / DRAW_S)
        return self._drawn_at != before

    def plot(self, rows: Iterable[list[Segment]], legend: list[Segment]) -> None:
        """Show rows of the full width, and the legend."""
        width = self.size.width
        self.put([*(Strip(row, width) for row in rows), Strip(legend)])

    def axis(self, label: str, part: str = "picture--axis") -> Segment:
        """Return the axis of one row, with a tick if there is a label."""
        return Segment(f"{label:>{AXIS - 2}} {'┤' if label else '│'}", self.style_of(part))


def newest(items: deque[_T], count: int) -> list[_T]:
    """Return the last items, at most `count`, the newest last."""
    return list(islice(items, max(len(items) - count, 0), None))


def runs(cells: Iterable[Cell], styles: Sequence[Style] | Mapping[int, Style]) -> list[Segment]:
    """Return cells as segments, one for each run of the same style."""
    return [
        Segment("".join([character for character, _ in run]), styles[style])
        for style, run in groupby(cells, itemgetter(1))
    ]
