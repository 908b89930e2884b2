"""The tabs above the settings."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

from rtvc.tui.setting_rows import TABS
from rtvc.tui.settings_list import SettingsList

_SHORT = {"microphone": "mic"}
"""Names where there is no room for the whole ones."""


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
        """Show which tab is open, as roomy as the width allows."""
        hint = self._hint()
        rows = [self._names(" "), self._names(""), self._names("", _SHORT)]
        for row in rows:
            for end in hint:
                room = self.size.width - row.cell_length
                if len(end) < room:
                    end_content = Content(f"{end:>{room}}").stylize(_click("screen.show_all"))
                    self.update(row + end_content, layout=False)
                    return
        fitting = [row for row in rows if row.cell_length <= self.size.width]
        self.update((fitting or rows[-1:])[0], layout=False)

    def _names(self, pad: str, short: Mapping[str, str] | None = None) -> Content:
        parts = []
        for tab in TABS:
            style = "reverse bold" if tab == self._settings_list.tab else ""
            name = (short or {}).get(tab, tab).capitalize()
            part = Content.styled(f"{pad}{name}{pad}", style)
            parts.append(part.stylize(_click(f"screen.open_tab('{tab}')")))
        return Content(" ") + Content("" if pad else " ").join(parts)

    def _hint(self) -> list[str]:
        """Return how many settings are not shown, the longest text first."""
        hidden = self._settings_list.hidden
        if self._settings_list.shows_all:
            return ["a hides unused ", "a: fewer "]
        return [f"a shows {hidden} more ", f"a: {hidden} more "] if hidden else []


def _click(action: str) -> Style:
    return Style.from_meta({"@click": action})
