"""What a key press makes of a setting's value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rtvc.settings import Setting, Value

Size = Literal["fine", "normal", "coarse"]
_COARSE = 5


def step_of(setting: Setting, size: Size) -> float:
    """Return by how much a number changes.

    What has its sizes in whole frames, and whole numbers, have no finer step
    than their own.
    """
    if size == "coarse":
        return setting.step * _COARSE
    if size == "fine" and not setting.shape and setting.kind is float:
        return setting.step / 10
    return setting.step


def turned(
    setting: Setting, value: Value, steps: int, size: Size = "normal", names: Sequence[str] = ()
) -> Value:
    """Return the value after some steps up or down.

    Parameters
    ----------
    setting, value
        The setting and its value now.
    steps
        How many steps, negative for down.
    size
        How large they are, for numbers.
    names
        What a setting that is a name can be.
    """
    if setting.kind is bool:
        return not value
    if setting.kind is str:
        words = list(setting.choices or names)
        if value not in words:
            return words[0] if words else value
        return words[(words.index(str(value)) + steps) % len(words)]
    return _fitting(setting, float(value) + steps * step_of(setting, size))


def placed(setting: Setting, share: float) -> Value:
    """Return the value at a place between the lowest (0) and the highest (1), at a whole step."""
    number = setting.low + share * (setting.high - setting.low)
    return _fitting(setting, round(number / setting.step) * setting.step)


def share_of(setting: Setting, value: Value) -> float:
    """Return where a number is between its lowest (0) and highest (1) value."""
    return (float(value) - setting.low) / (setting.high - setting.low)


def _fitting(setting: Setting, number: float) -> Value:
    number = min(max(round(number, 6), setting.low), setting.high)
    return setting.check(int(number) if setting.kind is int else number)
