"""What a key press makes of a setting's value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rtvc.settings import Knob, Value

Size = Literal["fine", "normal", "coarse"]
_COARSE = 5


def step_of(knob: Knob, size: Size) -> float:
    """Return by how much a number changes.

    What has its sizes in whole frames, and whole numbers, have no finer step
    than their own.
    """
    if size == "coarse":
        return knob.step * _COARSE
    if size == "fine" and not knob.shape and knob.kind is float:
        return knob.step / 10
    return knob.step


def turned(
    knob: Knob, value: Value, steps: int, size: Size = "normal", names: Sequence[str] = ()
) -> Value:
    """Return the value after some steps up or down.

    Parameters
    ----------
    knob, value
        The setting and its value now.
    steps
        How many steps, negative for down.
    size
        How large they are, for numbers.
    names
        What a setting that is a name can be.
    """
    if knob.kind is bool:
        return not value
    if knob.kind is str:
        words = list(knob.choices or names)
        if value not in words:
            return words[0] if words else value
        return words[(words.index(str(value)) + steps) % len(words)]
    return _fitting(knob, float(value) + steps * step_of(knob, size))


def placed(knob: Knob, share: float) -> Value:
    """Return the value at a place between the lowest (0) and the highest (1), at a whole step."""
    number = knob.low + share * (knob.high - knob.low)
    return _fitting(knob, round(number / knob.step) * knob.step)


def share_of(knob: Knob, value: Value) -> float:
    """Return where a number is between its lowest (0) and highest (1) value."""
    return (float(value) - knob.low) / (knob.high - knob.low)


def _fitting(knob: Knob, number: float) -> Value:
    number = min(max(round(number, 6), knob.low), knob.high)
    return knob.check(int(number) if knob.kind is int else number)
