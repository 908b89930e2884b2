"""The settings: one row for each, generated from their declarations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rtvc.config.preset_manager import format_value, setting_label
from rtvc.settings import Setting, Settings, Value, grouped_settings
from rtvc.tui import value_steps

_LABEL, _VALUE, _UNIT = 15, 11, 10
_TRACK = 2 + _LABEL + _VALUE + 1 + _UNIT


class SettingsList(ScrollView, can_focus=True):
    """The settings in rows, one of which is selected.

    What is not stored, which is the mode, is chosen with keys of its own, not by a step in a list.

    Parameters
    ----------
    current
        Returns the current settings, to which keys apply: the rows may show older ones.
    change
        Changes a setting.
    voices
        Returns the names for the setting voice.
    origin
        Returns the settings of the preset that the current ones began with, None for none.
    id
        Id of the widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "move(-8)", show=False),
        Binding("pagedown", "move(8)", show=False),
        Binding("home", "move(-99)", show=False),
        Binding("end", "move(99)", show=False),
        Binding("left", "step(-1, 'normal')", show=False),
        Binding("right", "step(1, 'normal')", show=False),
        Binding("shift+left,comma", "step(-1, 'fine')", show=False),
        Binding("shift+right,full_stop", "step(1, 'fine')", show=False),
        Binding("ctrl+left,less_than_sign", "step(-1, 'coarse')", show=False),
        Binding("ctrl+right,greater_than_sign", "step(1, 'coarse')", show=False),
        Binding("enter", "type", show=False),
        Binding("backspace,delete", "reset", show=False),
    ]

    @dataclass
    class Typed(Message):
        """The user wants to type the value of a setting."""

        setting: Setting

    def __init__(
        self,
        current: Callable[[], Settings],
        change: Callable[[Setting, Value], None],
        voices: Callable[[], list[str]],
        origin: Callable[[], Settings | None],
        id: str,
    ) -> None:
        super().__init__(id=id)
        self._current = current
        self._change = change
        self._settings = current()
        self._voices = voices
        self._origin = origin
        self._rows: list[Setting | str] = []
        for title, group in grouped_settings().items():
            self._rows += [title, *(setting for setting in group if setting.stored)]
        self._at = 1
        self.virtual_size = Size(_TRACK, len(self._rows))

    @property
    def setting(self) -> Setting:
        """The selected setting."""
        row = self._rows[self._at]
        assert isinstance(row, Setting)
        return row

    def show(self, settings: Settings) -> None:
        """Show these values."""
        if settings is not self._settings:
            before, self._settings = self._settings, settings
            for y, row in enumerate(self._rows):
                if isinstance(row, Setting) and getattr(before, row.name) != getattr(
                    settings, row.name
                ):
                    self._refresh_row(y)

    def render_line(self, y: int) -> Strip:
        """Return one visible row."""
        width = self.scrollable_content_region.width
        y += self.scroll_offset.y
        base = self.rich_style
        if y >= len(self._rows):
            return Strip.blank(width, base)
        row = self._rows[y]
        if isinstance(row, str):
            text = f" {row.upper()} ".ljust(width, "─")
            return Strip([Segment(text[:width], base)], width)
        chosen = y == self._at
        text = self._row(row, chosen, width)
        style = base
        if chosen:
            style += Style(reverse=self.has_focus, bold=True)
        return Strip([Segment(text[:width].ljust(width), style)], width)

    def action_move(self, rows: int) -> None:
        """Select another row, except headings."""
        wanted = min(max(self._at + rows, 1), len(self._rows) - 1)
        if isinstance(self._rows[wanted], str):
            wanted += 1 if rows > 0 else -1
        self._choose(wanted)

    def action_step(self, steps: int, size: value_steps.Size) -> None:
        """Change the selected setting."""
        value = getattr(self._current(), self.setting.name)
        self._set(value_steps.stepped(self.setting, value, steps, size, self._voices()))

    def action_reset(self) -> None:
        """Reset the selected setting to the value of the preset, and from there to its default."""
        setting, origin = self.setting, self._origin() or Settings()
        value: Value = getattr(origin, setting.name)
        at_origin = getattr(self._current(), setting.name) == value
        self._set(setting.default if at_origin else value)

    def action_type(self) -> None:
        """Ask for the value of the selected setting; if it has choices, use the next one."""
        if self.setting.kind is bool or self.setting.choices:
            self.action_step(1, "normal")
        else:
            self.post_message(self.Typed(self.setting))

    def on_click(self, event: events.Click) -> None:
        """Select a row; on its track set the value, on its value ask for one."""
        y = event.y + self.scroll_offset.y
        if not 0 <= y < len(self._rows) or isinstance(self._rows[y], str):
            return
        self._choose(y)
        track = self.scrollable_content_region.width - _TRACK - 2
        place = event.x - _TRACK - 1
        if 0 <= place < track and _has_track(self.setting):
            self._set(value_steps.value_at(self.setting, place / max(track - 1, 1)))
        elif event.x >= 2 + _LABEL:
            self.action_type()

    def on_focus(self) -> None:
        """Show the focus."""
        self._refresh_row(self._at)

    def on_blur(self) -> None:
        """Remove the focus."""
        self._refresh_row(self._at)

    def _set(self, value: Value) -> None:
        self._change(self.setting, value)
        self.show(self._current())

    def _choose(self, y: int) -> None:
        before, self._at = self._at, y
        self._refresh_row(before)
        self._refresh_row(y)
        # Scroll to the heading too above the first row of a group.
        top = y - 1 if isinstance(self._rows[y - 1], str) else y
        self.scroll_to_region(Region(0, top, 1, y - top + 1), animate=False, force=True)

    def _refresh_row(self, y: int) -> None:
        self.refresh(Region(0, y - self.scroll_offset.y, self.size.width, 1))

    def _row(self, setting: Setting, chosen: bool, width: int) -> str:
        value = getattr(self._settings, setting.name)
        name = setting_label(setting.name) + ("" if value == setting.default else " *")
        # A long label uses the space left by a short value.
        text = f"{name} {format_value(setting.name, value):>{_LABEL + _VALUE - len(name) - 1}}"
        text = f"{'>' if chosen else ' '} {text} {setting.unit:{_UNIT}}"
        track = width - _TRACK - 2
        if track < 5 or not _has_track(setting):
            return text
        at = min(round(value_steps.position_of(setting, value) * (track - 1)), track - 1)
        return f"{text}├{'─' * at}●{'─' * (track - at - 1)}┤"


def _has_track(setting: Setting) -> bool:
    return setting.is_number and setting.high - setting.low < 1e6
