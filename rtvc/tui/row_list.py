"""A list of options that can be any number of rows high, also none."""

from __future__ import annotations

from typing import Literal

from textual.widgets import OptionList


class RowList(OptionList):
    """A list in which the keys for pages do nothing while no row of it is on the screen.

    Textual's list raises a `KeyError` then, which would end the panel.
    """

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if self.scrollable_content_region:
            super()._move_page(direction)
