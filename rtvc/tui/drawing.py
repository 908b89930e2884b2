"""A widget that makes its rows itself, which takes less work than laying out text."""

from __future__ import annotations

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class Drawing(Widget):
    """Rows of styled characters, of which only those that change are redrawn.

    A subclass implements `draw`, which is called when the size or the theme has changed.
    """

    ALLOW_SELECT = False

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] = []
        self._styles: dict[str, Style] = {}

    @property
    def text(self) -> str:
        """The text without styles."""
        return "\n".join(strip.text for strip in self._strips)

    def draw(self) -> None:
        """Draw everything again."""
        raise NotImplementedError

    def style_of(self, part: str) -> Style:
        """Return the style of a component class, "" for that of the widget."""
        if part not in self._styles:
            self._styles[part] = self.get_component_rich_style(part) if part else self.rich_style
        return self._styles[part]

    def put(self, strips: list[Strip]) -> None:
        """Show these rows; redraw from the first to the last change."""
        before, self._strips = self._strips, strips
        changed = [y for y, strip in enumerate(strips) if y >= len(before) or strip != before[y]]
        if changed:
            first = changed[0]
            self.refresh(Region(0, first, self.size.width, changed[-1] - first + 1))

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
