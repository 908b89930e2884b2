"""The definition of one setting: its type and range, and the reading of typed values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

from rtvc.errors import UsageError, did_you_mean

Value = float | int | bool | str

_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")


class SettingError(UsageError):
    """A setting that does not exist, or an invalid value for a setting.

    Attributes
    ----------
    name
        The name of the setting as given.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Setting:
    """The definition of one setting.

    Attributes
    ----------
    name
        Field of `Settings` and key in YAML; the flag is ``--name-with-dashes``.
    kind
        Type of the value: float, int, bool or str.
    default
        Default value.
    help
        Description for ``--help`` and the panel.
    unit
        Unit of the value, "" if it has none.
    low, high
        Inclusive range of a number.
    step
        Change per key press in the panel.
    choices
        Allowed values of a choice, else empty.
    read, readable
        For a choice that allows further texts: returns the value for a text, or raises
        ValueError; and what these texts are, for messages. None and "" if there are none.
    multiple
        Numbers are rounded to a multiple of this, halves to even; 0 does not round. The sizes
        of the engine are whole frames of 10 ms.
    shape
        Whether a change rebuilds the engine's chain (sizes, models) instead of taking effect
        at the next block.
    needs
        What the voice or the run must have for the setting to change anything: ``built-in`` or
        ``rvc`` (the kind of voice), ``f0`` (a voice that follows the pitch), ``index``,
        ``speakers`` (more than one), ``crossfade`` (blocks that must be joined), ``devices``,
        ``monitor``. Empty if it always does. See `applies_to`.
    stored
        Whether presets and the remembered run hold it. The mode is chosen in each run: no file
        unmutes the output or lets your own voice through.
    """

    name: str
    kind: type
    default: Value
    help: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    step: float = 1.0
    choices: tuple[str, ...] = ()
    read: Callable[[str], str] | None = None
    readable: str = ""
    multiple: float = 0.0
    shape: bool = False
    needs: frozenset[str] = frozenset()
    stored: bool = True

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_number(self) -> bool:
        """Whether the value is a number."""
        return self.kind in (int, float)

    @property
    def allowed(self) -> str:
        """Text that describes the allowed values, for messages."""
        if self.choices:
            more = f", or {self.readable}" if self.readable else ""
            return "one of " + ", ".join(self.choices) + more
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "a name"
        unit = f" {self.unit}" if self.unit else ""
        whole = "whole " if self.kind is int else ""
        steps = f" in steps of {self.multiple:.10g}" if self.multiple else ""
        return f"a {whole}number from {self.low:.10g} to {self.high:.10g}{unit}{steps}"

    def applies_to(self, features: Set[str]) -> bool:
        """Return whether it changes anything, given what a voice and a run have.

        Parameters
        ----------
        features
            Those of the voice (`rtvc.engine.voice.Voice.features`), and ``devices`` and
            ``monitor`` for a run with these.
        """
        return self.needs <= features

    def check(self, value: object) -> Value:
        """Return `value` in the setting's own type, rounded to its `multiple`.

        Raises
        ------
        SettingError
            For a wrong type or a value out of range. The message names the nearest valid value.
        """
        if self.kind is bool:
            if isinstance(value, bool):
                return value
        elif self.kind is str:
            if isinstance(value, str) and self.read is not None:
                try:
                    return self.read(value)
                except ValueError:
                    raise self._refusal(f"{value!r}", did_you_mean(value, self.choices)) from None
            if isinstance(value, str) and (
                value in self.choices if self.choices else _can_be_name(value)
            ):
                return value
            if isinstance(value, str) and self.choices:
                raise self._refusal(f"{value!r}", did_you_mean(value, self.choices))
        elif isinstance(value, Real) and not isinstance(value, bool):  # NumPy's numbers too
            number = _as_float(value)
            if math.isnan(number) or not self.low <= number <= self.high:
                near = f"The nearest valid value is {min(max(number, self.low), self.high):.10g}."
                raise self._refusal(f"{number:.10g}", "" if math.isnan(number) else near)
            if self.multiple:
                number = round(round(number / self.multiple) * self.multiple, 9)
            if self.kind is float:
                return number
            if number.is_integer():
                return int(number)
        raise self._refusal(f"{value!r}")

    def parse(self, text: str) -> Value:
        """Return the value for text typed on the command line or in the panel.

        Raises
        ------
        SettingError
            If the text is not a valid value.
        """
        if self.kind is str:
            return self.check(text)
        if self.kind is bool:
            words = {
                "true": True,
                "yes": True,
                "on": True,
                "false": False,
                "no": False,
                "off": False,
            }
            return self.check(words.get(text.strip().lower(), text))
        try:
            return self.check(parse_number(text))
        except ValueError:
            raise self._refusal(f"{text!r}") from None

    def rounding(self, value: float | str) -> str:
        """Return a sentence if `check` rounds the given number or text, "" if it does not."""
        number = 0.0
        if self.multiple:
            number = parse_number(value) if isinstance(value, str) else float(value)
        used = cast(float, self.check(number)) if self.multiple else 0.0
        if used == number:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name!r} is rounded from {number:.10g} to {used:.10g}{unit}, a multiple of "
            f"{self.multiple:.10g}."
        )

    def _refusal(self, value: str, hint: str = "") -> SettingError:
        """Return the error for an invalid value, given as the text to show."""
        sentence = f"{self.name!r} is {value}, but must be {self.allowed}."
        return SettingError(self.name, f"{sentence} {hint}".rstrip())


def parse_number(text: str) -> float:
    """Return the number of a text, with a point or a comma before the decimals.

    Raises
    ------
    ValueError
        If it is not a number. Neither is 1,000, which may mean 1 or 1000, nor 1,000.5.
    """
    if "." in text or _THOUSANDS.fullmatch(text.strip()):
        return float(text)
    return float(text.replace(",", ".", 1))


def _can_be_name(text: str) -> bool:
    """Return whether a voice, a preset or a file can have a name."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape") and bool(text)
    except UnicodeEncodeError:
        return False


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the range of float
        return math.inf if value > 0 else -math.inf
