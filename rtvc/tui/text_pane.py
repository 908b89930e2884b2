"""Text that is drawn again only when it is different."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

StyledText = tuple[str, str]
"""Text and its style; "" is the widget's own."""


class TextPane(Static):
    """A widget of text without any behaviour."""

    def __init__(self, id: str) -> None:
        super().__init__("", id=id)
        self._parts: tuple[StyledText, ...] = ()

    def put(self, *parts: StyledText) -> None:
        """Show these parts, one after the other; does nothing if they are shown already."""
        if parts != self._parts:
            self._parts = parts
            # The size never depends on the text, so nothing else has to move.
            self.update(Content.assemble(*parts), layout=False)

    @property
    def text(self) -> str:
        """What is shown, without styles."""
        return "".join(text for text, _ in self._parts)
