"""One row of the settings as text: name, value, unit and track."""

from __future__ import annotations

from rich.cells import cell_len

from rtvc.config.preset_manager import format_value, setting_label
from rtvc.setting import Setting, Value
from rtvc.settings import Settings
from rtvc.tui import slider
from rtvc.tui.setting_rows import Facts
from rtvc.tui.text_pane import cut, printable

_LABEL, _VALUE, _UNIT = 15, 11, 10
VALUE_AT = 2 + _LABEL
"""Column from which a click asks for the value."""
TRACK_AT = VALUE_AT + _VALUE + 1 + _UNIT
"""First column of the track."""


def track_cells(width: int) -> int:
    """Return the width of the track in a row of `width` columns."""
    return width - TRACK_AT - 1


def row_text(
    setting: Setting,
    settings: Settings,
    facts: Facts,
    width: int,
    *,
    chosen: bool = False,
    dragged: Value | None = None,
    preset: Value | None = None,
) -> str:
    """Return the text of a row, which ends with "…" if it does not fit.

    Parameters
    ----------
    setting, settings, facts
        The setting, the requested values, and what is in use.
    width
        Columns of the row. Without room for a track, value and unit are at its end.
    chosen
        Whether the row is selected.
    dragged
        The value at the mouse while the handle is dragged, else None.
    preset
        The value of the preset that the settings come from, None if there is none.
    """
    value = facts.used_value(setting, settings)
    automatic = facts.is_automatic(setting, settings)
    if dragged is not None:
        value, automatic = dragged, False
    mark = ">" if chosen else " "
    name = setting_label(setting.name)
    name += "" if automatic or value == setting.default else " *"
    unit = f"{setting.unit} auto" if automatic else setting.unit
    if setting.name == "auto_pitch" and facts.auto_pitch is not None:
        unit = f"{facts.auto_pitch:+.1f} st"
    shown = printable(format_value(setting.name, value))
    if width < TRACK_AT:
        end = f"{shown} {unit}".rstrip()
        return cut(f"{mark} {name:{max(width - cell_len(end) - 3, 0)}} {end}", width)
    # A long label uses the space left by a short value.
    pad = " " * (_LABEL + _VALUE - len(name) - 1 - cell_len(shown))
    text = f"{mark} {name} {pad}{shown} {unit:{_UNIT}}"
    text += slider.track(facts.limited(setting), value, track_cells(width), preset)
    return cut(text, width)
