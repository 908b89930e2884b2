"""Text that is redrawn only when it changes."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Static

from rtvc.errors import escaped

StyledText = tuple[str, str]
"""Text and its style; "" is the widget's own."""
_ESCAPES = {
    code: escaped(chr(code))
    for codes in (range(32), range(127, 160), range(0xD800, 0xE000))
    for code in codes
    if chr(code) != "\n"
}
"""Escapes for control characters, and for bytes of file names that are no text."""


class TextPane(Static):
    """A widget of styled text."""

    def __init__(self, id: str) -> None:
        super().__init__("", id=id)
        self._parts: tuple[StyledText, ...] = ()

    def put(self, *parts: StyledText) -> None:
        """Show these parts one after the other, unless they are shown already."""
        parts = tuple((printable(text), style) for text, style in parts)
        if parts != self._parts:
            self._parts = parts
            # The size does not depend on the text, so no layout is needed.
            self.update(Content.assemble(*parts), layout=False)

    @property
    def text(self) -> str:
        """The text without styles."""
        return "".join(text for text, _ in self._parts)


class FlowPane(TextPane):
    """A widget of styled text that has as many rows as the text needs, none without text.

    Where there is no room for all rows, the last one that is shown ends with "…".
    """

    def on_mount(self) -> None:
        """Start without rows."""
        self.display = False

    def rows(self, width: int) -> int:
        """Return the rows that the text needs in `width` columns, which are at least 1."""
        return _rows(self.text, max(width, 1))

    def put(self, *parts: StyledText) -> None:
        """Show these parts, unless they are shown already, and fit the height to them."""
        parts = tuple((printable(text), style) for text, style in parts)
        if parts != self._parts:
            self._parts = parts
            self.display = bool(self.text)
            self.update(Content.assemble(*parts))

    def render_line(self, y: int) -> Strip:
        """Return one row, with "…" at the end if it is the last one of a text that is cut."""
        strip, size = super().render_line(y), self.size
        last = y == size.height - 1 and size.width > 0
        if not last or self.get_content_height(size, size, size.width) <= size.height:
            return strip
        at = min(cell_len(strip.text.rstrip()), size.width - 1)
        kept = strip.crop(0, at)
        style = next((s.style for s in reversed(list(kept)) if s.text.strip()), None)
        dots = Strip([*kept, Segment("…", style)])
        return dots.adjust_cell_length(size.width, self.rich_style)


def printable(text: str) -> str:
    """Return text with escapes for control characters, which Textual passes to the terminal.

    Other characters that are not printable, such as joiners, belong to words of some languages.
    """
    return text if text.isprintable() else text.translate(_ESCAPES)


def cut(text: str, room: int) -> str:
    """Return text of at most `room` cells, with "…" in place of what does not fit."""
    if cell_len(text) <= room:
        return text
    return f"{chop_cells(text, room - 1)[0]}…" if room > 1 else "…"


@lru_cache(maxsize=64)
def _rows(text: str, width: int) -> int:
    return Content(text).get_height({}, width) if text else 0
