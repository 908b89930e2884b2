"""The tabs above the settings."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

from rtvc.tui.setting_rows import TABS
from rtvc.tui.settings_list import SettingsList

_ROOMY = 45
"""Columns from which the names have space around them."""


class TabRow(Static):
    """The names of the tabs, which can be clicked, and how many settings are not shown.

    Parameters
    ----------
    settings_list
        The list whose tabs these are.
    """

    def __init__(self, settings_list: SettingsList) -> None:
        super().__init__("", id="tabs")
        self._settings_list = settings_list

    def on_resize(self) -> None:
        """Fit the row to the width."""
        self.show()

    def show(self) -> None:
        """Show which tab is open."""
        settings_list = self._settings_list
        pad = " " if self.size.width >= _ROOMY else ""
        parts = []
        for tab in TABS:
            style = "reverse bold" if tab == settings_list.tab else ""
            part = Content.styled(f"{pad}{tab.capitalize()}{pad}", style)
            parts.append(part.stylize(_click(f"screen.open_tab('{tab}')")))
        row = Content(" ") + Content("" if pad else " ").join(parts)
        ends = ["a hides unused ", "a: fewer "]
        if not settings_list.shows_all:
            ends = [f"a shows {settings_list.hidden} more ", f"a: {settings_list.hidden} more "]
        room = self.size.width - row.cell_length - 1
        fitting = [end for end in ends if len(end) <= room]
        if fitting and (settings_list.shows_all or settings_list.hidden):
            end = Content(f"{fitting[0]:>{room + 1}}").stylize(_click("screen.show_all"))
            row = row + end
        self.update(row, layout=False)


def _click(action: str) -> Style:
    return Style.from_meta({"@click": action})
