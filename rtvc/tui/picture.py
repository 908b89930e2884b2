"""A plot that scrolls: an axis, rows of cells, and a legend."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import ClassVar, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

CELL_S = 0.125
"""Time that a cell stands for: all plots scroll at the same speed."""
MAX_COLUMNS = 400
AXIS = 6

_T = TypeVar("_T")

Cell = tuple[str, int]
"""A character, and the number of its style."""


class Picture(Widget):
    """A plot of the newest moments, the newest at the right; the last row is the legend.

    A subclass implements `draw`, which is called when the size or the theme has changed.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture--axis", "picture--legend"}
    DEFAULT_CSS = """
    Picture > .picture--axis { color: $text-muted; }
    Picture > .picture--legend { text-style: bold; }
    """

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._column = 0
        self._strips: list[Strip] = []
        self._styles: dict[str, Style] = {}

    @property
    def room(self) -> tuple[int, int]:
        """Rows and columns of the plot, 0 and 0 if it has no room or is hidden."""
        rows, columns = self.size.height - 1, self.size.width - AXIS
        return (rows, columns) if rows > 0 and columns > 0 and self.display else (0, 0)

    @property
    def text(self) -> str:
        """The text without styles."""
        return "\n".join(strip.text for strip in self._strips)

    def is_due(self, now: float) -> bool:
        """Return whether a column has ended since the last call."""
        before, self._column = self._column, int(now / CELL_S)
        return self._column != before

    def draw(self) -> None:
        """Draw everything again."""
        raise NotImplementedError

    def style_of(self, part: str) -> Style:
        """Return the style of a component class, "" for that of the widget."""
        if part not in self._styles:
            self._styles[part] = self.get_component_rich_style(part) if part else self.rich_style
        return self._styles[part]

    def put(self, rows: Iterable[list[Segment]], legend: list[Segment]) -> None:
        """Show rows of the full width, and the legend; redraw from the first to the last change."""
        before, width = self._strips, self.size.width
        self._strips = [*(Strip(row, width) for row in rows), Strip(legend)]
        changed = [
            y for y, strip in enumerate(self._strips) if y >= len(before) or strip != before[y]
        ]
        if changed:
            self.refresh(Region(0, changed[0], width, changed[-1] - changed[0] + 1))

    def axis(self, label: str, part: str = "picture--axis") -> Segment:
        """Return the axis of one row, with a tick if there is a label."""
        return Segment(f"{label:>{AXIS - 2}} {'┤' if label else '│'}", self.style_of(part))

    def render_line(self, y: int) -> Strip:
        """Return one row of the widget."""
        if y < len(self._strips):
            return self._strips[y].adjust_cell_length(self.size.width, self.style_of(""))
        return Strip.blank(self.size.width, self.style_of(""))

    def _restyle(self) -> None:
        self._styles.clear()
        self.draw()

    def on_resize(self) -> None:
        """Use the new room."""
        self.draw()

    def notify_style_update(self) -> None:
        """Use the colours of the new theme."""
        super().notify_style_update()
        # The styles of the parts follow after this call.
        self.call_later(self._restyle)


def newest(items: deque[_T], count: int) -> list[_T]:
    """Return the last items, at most `count`, the newest last."""
    return list(islice(items, max(len(items) - count, 0), None))


def runs(cells: Iterable[Cell], styles: Sequence[Style] | Mapping[int, Style]) -> list[Segment]:
    """Return cells as segments, one for each run of the same style."""
    return [
        Segment("".join([character for character, _ in run]), styles[style])
        for style, run in groupby(cells, itemgetter(1))
    ]
