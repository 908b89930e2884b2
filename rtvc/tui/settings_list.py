"""The settings of one tab: one row for each, generated from their declarations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rtvc.setting import Setting, Value
from rtvc.settings import Settings
from rtvc.tui import slider, value_steps
from rtvc.tui.row_selection import RowSelection
from rtvc.tui.setting_row import TRACK_AT, VALUE_AT, row_text, track_cells
from rtvc.tui.setting_rows import TABS, Facts

_NOTHING = "No setting of this tab changes anything with this voice; a shows all."


class SettingsList(ScrollView, can_focus=True):
    """The settings of one tab that change something, or all of them; one row is selected.

    Parameters
    ----------
    current
        Returns the current settings, to which keys apply: the rows may show older ones.
    change
        Changes a setting.
    reset
        Resets a setting.
    origin
        Returns the settings of the preset that the current ones began with, else those that the
        voice remembers, None for neither.
    id
        Id of the widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "tab(-1)", show=False),
        Binding("pagedown", "tab(1)", show=False),
        Binding("home", "end(-1)", show=False),
        Binding("end", "end(1)", show=False),
        Binding("left", "step(-1, 'normal')", show=False),
        Binding("right", "step(1, 'normal')", show=False),
        Binding("shift+left,comma", "step(-1, 'fine')", show=False),
        Binding("shift+right,full_stop", "step(1, 'fine')", show=False),
        Binding("ctrl+left,less_than_sign", "step(-1, 'coarse')", show=False),
        Binding("ctrl+right,greater_than_sign", "step(1, 'coarse')", show=False),
        Binding("a", "all", show=False),
        Binding("enter", "type", show=False),
        Binding("backspace,delete", "reset", show=False),
    ]

    @dataclass
    class Typed(Message):
        """The user wants to type the value of a setting, or to choose it from a list."""

        setting: Setting

    class Moved(Message):
        """Another tab or row is selected, or other rows are shown."""

    def __init__(
        self,
        current: Callable[[], Settings],
        change: Callable[[Setting, Value], None],
        reset: Callable[[Setting], None],
        origin: Callable[[], Settings | None],
        id: str,
    ) -> None:
        super().__init__(id=id)
        self._current = current
        self._change, self._reset = change, reset
        self._settings = current()
        self._origin = origin
        self._selection = RowSelection()
        self._shown = self._selection.rows, self._selection.at
        """The rows that are shown, and which of them as selected."""
        self.virtual_size = Size(0, len(self._selection.rows))
        self._dragged: tuple[Setting, Value] | None = None
        """The setting whose handle is dragged, and the value at the mouse."""

    @property
    def _facts(self) -> Facts:
        return self._selection.facts

    @property
    def tab(self) -> str:
        """The open tab."""
        return self._selection.tab

    @property
    def setting(self) -> Setting | None:
        """The selected setting, None if the tab has no row."""
        return self._selection.setting

    @property
    def hidden(self) -> int:
        """Number of settings of all tabs that are not shown."""
        return self._selection.hidden

    @property
    def shows_all(self) -> bool:
        """Whether settings that change nothing are shown too."""
        return self._selection.shows_all

    def applies(self, setting: Setting) -> bool:
        """Return whether a setting changes anything with the voice in use."""
        return self._facts.applies(setting)

    def show(self, settings: Settings, facts: Facts) -> None:
        """Show these values."""
        if facts != self._facts:
            self._selection.use(facts)
            self._show_rows()
            self.refresh()
        if settings is not self._settings:
            before, self._settings = self._settings, settings
            for y, row in enumerate(self._selection.rows):
                if getattr(before, row.name) != getattr(settings, row.name):
                    self._refresh_row(y)

    def go_to(self, name: str) -> None:
        """Select a setting in its tab, and show all settings if it is not shown."""
        self._selection.find(name)
        self._show_rows()

    def render_line(self, y: int) -> Strip:
        """Return one visible row."""
        width = self.scrollable_content_region.width
        y += self.scroll_offset.y
        base = self.rich_style
        rows = self._selection.rows
        if not rows and y == 0:
            return Strip([Segment(f" {_NOTHING}"[:width].ljust(width), base)], width)
        if y >= len(rows):
            return Strip.blank(width, base)
        row, chosen = rows[y], y == self._selection.at
        style = base
        if not self._facts.applies(row):
            style += Style(dim=True)
        if chosen:
            style += Style(reverse=self.has_focus, bold=True)
        held = self._dragged is not None and self._dragged[0].name == row.name
        dragged = self._dragged[1] if self._dragged is not None and held else None
        text = row_text(
            row,
            self._settings,
            self._facts,
            width,
            chosen=chosen,
            dragged=dragged,
            preset=getattr(self._origin(), row.name, None),
        )
        return Strip([Segment(set_cell_size(text, width), style)], width)

    def action_move(self, rows: int) -> None:
        """Select another row; beyond the last one, the first row of the next tab."""
        self._selection.move(rows)
        self._show_rows()

    def action_tab(self, tabs: int) -> None:
        """Open another tab, in a circle."""
        self.open_tab(TABS[(TABS.index(self.tab) + tabs) % len(TABS)])

    def action_end(self, direction: int) -> None:
        """Select the first row of the first tab, or the last row of the last one."""
        tab, at = (TABS[0], 0) if direction < 0 else (TABS[-1], -1)
        self._selection.open(tab, at)
        self._show_rows()

    def action_all(self) -> None:
        """Show all settings, or only those that change something."""
        self._selection.toggle_all()
        self._show_rows()

    def action_step(self, steps: int, size: value_steps.Size) -> None:
        """Change the selected setting."""
        if (setting := self.setting) is not None:
            limited = self._facts.limited(setting)
            value = self._base(setting)
            self._set(value_steps.stepped(limited, value, steps, size, self._facts.names(setting)))

    def action_reset(self) -> None:
        """Reset the selected setting to the preset's or the voice's value, else to its default."""
        if self.setting is not None:
            self._reset(self.setting)
            self.show(self._current(), self._facts)

    def action_type(self) -> None:
        """Ask for the value of the selected setting; if it has choices, use the next one."""
        setting = self.setting
        if setting is None:
            return
        if setting.kind is bool or (setting.choices and setting.read is None):
            self.action_step(1, "normal")
        else:
            self.post_message(self.Typed(self._facts.limited(setting)))

    def open_tab(self, tab: str) -> None:
        """Open a tab at its first row."""
        self._selection.open(tab)
        self._show_rows()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Select a row; on its track set the value and follow the mouse."""
        y = event.y + self.scroll_offset.y
        if not 0 <= y < len(self._selection.rows):
            return
        self._selection.at = y
        self._show_rows()
        if self._is_on_track(event.x):
            self.capture_mouse()
            self._drag(self._limited, event.x)

    def on_click(self, event: events.Click) -> None:
        """Ask for the value that was clicked."""
        y = event.y + self.scroll_offset.y
        if y == self._selection.at and event.x >= VALUE_AT and not self._is_on_track(event.x):
            self.action_type()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse along the track."""
        if self._dragged is not None:
            self._drag(self._dragged[0], event.x)

    def on_mouse_up(self) -> None:
        """Use the value at which the mouse was let go."""
        dragged, self._dragged = self._dragged, None
        self.capture_mouse(False)
        if dragged is not None:
            self._use(*dragged)
            self.refresh()

    def on_mouse_release(self) -> None:
        """Let the handle go if the mouse is no longer followed, as after a dialog."""
        if self.app.mouse_captured is not self:
            self._dragged = None
            self.refresh()

    def on_resize(self) -> None:
        """Keep the selected row in sight: a long message takes rows of the list."""
        self._scroll_to_row()

    def on_focus(self) -> None:
        """Show the focus."""
        self._refresh_row(self._selection.at)

    def on_blur(self) -> None:
        """Remove the focus."""
        self._refresh_row(self._selection.at)

    @property
    def _limited(self) -> Setting:
        assert self.setting is not None
        return self._facts.limited(self.setting)

    @property
    def _track_cells(self) -> int:
        return track_cells(self.scrollable_content_region.width)

    def _is_on_track(self, x: int) -> bool:
        if self.setting is None or not slider.has_track(self._limited):
            return False
        return 0 <= x - TRACK_AT < self._track_cells

    def _drag(self, setting: Setting, x: int) -> None:
        value = slider.value_in(setting, x - TRACK_AT, self._track_cells)
        if self._dragged == (setting, value):
            return
        self._dragged = setting, value
        # Sizes rebuild the chain, so they are used once the mouse is let go.
        if not setting.shape:
            self._use(setting, value)
        self.refresh()

    def _base(self, setting: Setting) -> Value:
        """Return the value from which steps start: the one that the row shows."""
        settings = self._current()
        if self._facts.is_automatic(setting, settings):
            return self._facts.used_value(setting, settings)
        return getattr(settings, setting.name)  # type: ignore[no-any-return]

    def _set(self, value: Value) -> None:
        assert self.setting is not None
        self._use(self.setting, value)

    def _use(self, setting: Setting, value: Value) -> None:
        self._change(setting, value)
        self.show(self._current(), self._facts)

    def _show_rows(self) -> None:
        """Show the selected tab, rows and row."""
        before, self._shown = self._shown, (self._selection.rows, self._selection.at)
        if self._shown[0] == before[0]:
            self._refresh_row(before[1])
            self._refresh_row(self._shown[1])
        else:
            self.virtual_size = Size(0, len(self._shown[0]))
            self.refresh()
        self._scroll_to_row()
        self.post_message(self.Moved())

    def _scroll_to_row(self) -> None:
        self.scroll_to_region(Region(0, self._selection.at, 1, 1), animate=False, force=True)

    def _refresh_row(self, y: int) -> None:
        self.refresh(Region(0, y - self.scroll_offset.y, self.size.width, 1))
