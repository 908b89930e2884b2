"""The track of a number: its value as a handle of half a cell, with marks for other values."""

from __future__ import annotations

from rtvc.setting import Setting, Value
from rtvc.tui import value_steps

DEFAULT_MARK, PRESET_MARK = "┴", "▾"
_HALVES = "▌▐"
_SMALLEST = 5
"""Cells from which on a track is drawn."""


def has_track(setting: Setting) -> bool:
    """Return whether the setting is a number with a range that fits a track."""
    return setting.is_number and setting.low < setting.high < 1e6


def track(setting: Setting, value: Value, cells: int, preset: Value | None = None) -> str:
    """Return the track, "" if there is no room for one.

    Parameters
    ----------
    setting, value
        The setting and the value to mark with the handle.
    cells
        Columns available.
    preset
        The value of the preset that the settings come from, None if there is none.
    """
    if cells < _SMALLEST or not has_track(setting):
        return ""
    half = _half_cell(setting, value, cells)
    at, home = half // 2, _half_cell(setting, setting.default, cells) // 2
    row = ["─"] * cells
    for cell in range(min(at, home), max(at, home) + 1):
        row[cell] = "━"
    row[home] = DEFAULT_MARK
    if preset is not None and preset != value:
        row[_half_cell(setting, preset, cells) // 2] = PRESET_MARK
    row[at] = _HALVES[half % 2]
    return "".join(row)


def value_in(setting: Setting, x: int, cells: int) -> Value:
    """Return the value at a column of the track; columns outside it are its ends."""
    share = min(max(x / max(cells - 1, 1), 0.0), 1.0)
    return value_steps.value_at(setting, share)


def _half_cell(setting: Setting, value: Value, cells: int) -> int:
    share = min(max(value_steps.position_of(setting, value), 0.0), 1.0)
    return round(share * (2 * cells - 1))
