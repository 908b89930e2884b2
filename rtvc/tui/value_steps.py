"""How a key press or a click changes the value of a setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rtvc.setting import Setting, Value

Size = Literal["fine", "normal", "coarse"]
_COARSE = 5


def step_of(setting: Setting, size: Size) -> float:
    """Return the step by which a number changes.

    Integers, and sizes that are whole frames, have no finer step than their own.
    """
    if size == "coarse":
        return setting.step * _COARSE
    if size == "fine" and not setting.shape and setting.kind is float:
        return setting.step / 10
    return setting.step


def stepped(
    setting: Setting, value: Value, steps: int, size: Size = "normal", names: Sequence[str] = ()
) -> Value:
    """Return the value after a number of steps.

    Parameters
    ----------
    setting, value
        The setting and its current value.
    steps
        Number of steps, negative for down.
    size
        Size of the steps, for numbers.
    names
        The possible values of a setting that is a name.
    """
    if setting.kind is bool:
        return not value
    if setting.kind is str:
        words = list(setting.choices or names)
        if value not in words:
            return words[0] if words else value
        return words[(words.index(str(value)) + steps) % len(words)]
    return _fitting(setting, float(value) + steps * step_of(setting, size))


def value_at(setting: Setting, share: float) -> Value:
    """Return the value at a position from 0 (lowest) to 1 (highest), rounded to a step."""
    number = setting.low + share * (setting.high - setting.low)
    return _fitting(setting, round(number / setting.step) * setting.step)


def position_of(setting: Setting, value: Value) -> float:
    """Return the position of a number from 0 (lowest) to 1 (highest)."""
    return (float(value) - setting.low) / (setting.high - setting.low)


def _fitting(setting: Setting, number: float) -> Value:
    number = min(max(round(number, 6), setting.low), setting.high)
    return setting.check(int(number) if setting.kind is int else number)
