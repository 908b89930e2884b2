"""Every knob of rtvc, declared once.

The YAML keys of a preset, the flags of the command line and the controls of
the panel are all generated from the fields of `Settings`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from rtvc.errors import UsageError, did_you_mean

Value = float | int | bool | str

BUILT_IN = "world"
"""Name of the built-in voice."""


class SettingError(UsageError):
    """A setting that does not exist, or a value that it cannot take.

    Attributes
    ----------
    name
        The setting that was asked for, as it was spelled.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one setting besides its value.

    Attributes
    ----------
    name
        Field of `Settings`, key in YAML; the flag is ``--name-with-dashes``.
    kind
        Type of the value: float, int, bool or str.
    default
        Value when nothing is said.
    help
        One sentence for a person.
    unit
        Unit of the value, "" where it has none.
    low, high
        Inclusive range of a number.
    step
        What one press of a key changes.
    choices
        The allowed words of a setting that is a choice.
    multiple
        A number is rounded to a multiple of this, halves to the even one; 0 leaves it as it is.
        The sizes of the engine are whole frames of 10 ms.
    shape
        Whether a change rebuilds the engine's chain (sizes, models) instead
        of taking effect at the next block.
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
    multiple: float = 0.0
    shape: bool = False

    @property
    def flag(self) -> str:
        """The command line's spelling."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_number(self) -> bool:
        """Whether it can be turned up and down, rather than chosen."""
        return self.kind in (int, float)

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "a name"
        unit = f" {self.unit}" if self.unit else ""
        whole = "whole " if self.kind is int else ""
        steps = f" in steps of {self.multiple:.10g}" if self.multiple else ""
        return f"a {whole}number from {self.low:.10g} to {self.high:.10g}{unit}{steps}"

    def check(self, value: object) -> Value:
        """Return `value` in the setting's own type, rounded to its `multiple`.

        Raises
        ------
        SettingError
            For a wrong type or a value out of range; the message names the
            nearest valid value.
        """
        if self.kind is bool:
            if isinstance(value, bool):
                return value
        elif self.kind is str:
            if isinstance(value, str) and value and (not self.choices or value in self.choices):
                return value
            if isinstance(value, str) and self.choices:
                raise self._refusal(f"{value!r}", did_you_mean(value, self.choices))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
            if math.isnan(number) or not self.low <= number <= self.high:
                near_number = min(max(number, self.low), self.high)
                near = f"{float(self.default) if math.isnan(number) else near_number:.10g}"
                raise self._refusal(f"{number:.10g}", f"The nearest valid value is {near}.")
            if self.multiple:
                number = round(number / self.multiple) * self.multiple
            if self.kind is float:
                return number
            if number.is_integer():
                return int(number)
        raise self._refusal(f"{value!r}")

    def parse(self, text: str) -> Value:
        """Return the value written in `text`, as typed on a command line or in the panel."""
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
            return self.check(float(text))
        except ValueError:
            raise self._refusal(f"{text!r}") from None

    def rounding(self, value: float | str) -> str:
        """Return a sentence if `check` rounds a valid number, typed or not; "" if it does not."""
        number = float(value) if self.multiple else 0.0
        used = cast(float, self.check(number)) if self.multiple else 0.0
        if used == number:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name!r} is rounded from {number:.10g} to {used:.10g}{unit}, a multiple of "
            f"{self.multiple:.10g}."
        )

    def _refusal(self, value: str, hint: str = "") -> SettingError:
        """Return the error for a value, as it is to be shown."""
        sentence = f"{self.name!r} is {value}, but must be {self.allowed}."
        return SettingError(self.name, f"{sentence} {hint}".rstrip())


def _setting(default: Value, help: str, **facts: Any) -> Any:
    return field(default=default, metadata={"help": help, **facts})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """All settings of the sound, immutable; change one with `replace`.

    `block`, `headroom`, `context`, `crossfade` and `lookahead` are rounded to 10 ms, the
    engine's grid: ``Settings(block=95).block`` is 100.0.

    Raises
    ------
    SettingError
        If a value is of the wrong type or out of its range.
    """

    mode: str = _setting(
        "converted",
        "What is heard: the converted voice, your own (dry) voice, or nothing.",
        choices=("converted", "dry", "muted"),
    )
    voice: str = _setting(
        BUILT_IN,
        "The voice to speak with; 'world' is built in and shaped by the knobs below.",
        shape=True,
    )
    pitch: float = _setting(
        0.0, "Raises or lowers the pitch.", unit="semitones", low=-24.0, high=24.0, step=1.0
    )
    pitch_fine: float = _setting(
        0.0, "Fine pitch, added to the semitones.", unit="cents", low=-100.0, high=100.0, step=5.0
    )
    pitch_range: float = _setting(
        1.0,
        "Widens or narrows the melody of speech around its middle; 0 is a monotone.",
        unit="times",
        low=0.0,
        high=3.0,
        step=0.1,
    )
    pitch_fixed: float = _setting(
        0.0,
        "Speaks on this one pitch, like a robot; 0 follows your own.",
        unit="Hz",
        low=0.0,
        high=1000.0,
        step=5.0,
    )
    formant: float = _setting(
        0.0,
        "Shifts the formants without the pitch: up sounds like a smaller body, down like a larger.",
        unit="semitones",
        low=-12.0,
        high=12.0,
        step=0.5,
    )
    breathiness: float = _setting(
        0.0,
        "Above 0 mixes breath into the voice; below 0 takes it out, which buzzes.",
        low=-1.0,
        high=1.0,
        step=0.1,
    )
    whisper: bool = _setting(False, "Whispers: every sound loses its pitch.")
    speaker: int = _setting(
        0,
        "Which speaker of an RVC voice that knows several; they count from 0.",
        low=0,
        high=9999,
    )
    index_rate: float = _setting(
        0.5,
        "How far an RVC voice with an index moves your sounds towards those of its training; "
        "0 is not at all.",
        low=0.0,
        high=1.0,
        step=0.1,
    )
    protect: float = _setting(
        0.33,
        "How much of the index consonants and breaths get: 0 leaves them as they are, "
        "0.5 treats them like all sounds.",
        low=0.0,
        high=0.5,
        step=0.05,
    )
    pitch_method: str = _setting(
        "rmvpe",
        "What finds your pitch for RVC voices: rmvpe is the surest, fcpe is lighter; dio, and "
        "harvest for files, need no download.",
        choices=("rmvpe", "fcpe", "dio", "harvest"),
        shape=True,
    )
    pitch_threshold: float = _setting(
        0.0,
        "How sure the pitch of a sound must be before an RVC voice sings it; 0 leaves that to "
        "the method (rmvpe: 0.03, fcpe: 0.006).",
        low=0.0,
        high=0.95,
        step=0.01,
    )
    pitch_interpolation: bool = _setting(
        False,
        "Lets an RVC voice sing through sounds without pitch, as voices trained since "
        "July 2026 expect.",
    )
    input_gain: float = _setting(
        0.0, "Gain of the microphone.", unit="dB", low=-24.0, high=36.0, step=1.0
    )
    gate: float = _setting(
        -60.0,
        "The microphone counts as silent below this level; -90 never does.",
        unit="dBFS",
        low=-90.0,
        high=0.0,
        step=1.0,
    )
    gate_attack: float = _setting(
        3.0, "How fast the gate opens.", unit="ms", low=1.0, high=50.0, step=1.0
    )
    gate_hold: float = _setting(
        150.0,
        "How long the gate stays open after the last sound.",
        unit="ms",
        low=0.0,
        high=2000.0,
        step=10.0,
    )
    gate_release: float = _setting(
        80.0, "How fast the gate closes.", unit="ms", low=5.0, high=2000.0, step=10.0
    )
    gate_lookback: float = _setting(
        20.0,
        "How long before a sound the gate is already open, so that onsets are whole.",
        unit="ms",
        low=0.0,
        high=40.0,
        step=5.0,
    )
    loudness: float = _setting(
        0.0,
        "How far the voice follows the loudness of the microphone; 0 is not at all.",
        low=0.0,
        high=1.0,
        step=0.1,
    )
    output_gain: float = _setting(
        0.0, "Gain of the result.", unit="dB", low=-36.0, high=24.0, step=1.0
    )
    ceiling: float = _setting(
        -1.0,
        "The limiter lets no peak through above this.",
        unit="dBTP",
        low=-24.0,
        high=0.0,
        step=0.5,
    )
    monitor_gain: float = _setting(
        0.0,
        "Gain of the monitor, a second speaker on which you hear yourself; -60 is silence.",
        unit="dB",
        low=-60.0,
        high=12.0,
        step=1.0,
    )
    block: float = _setting(
        100.0,
        "New sound per engine step: shorter has less latency, longer needs less computing; at its "
        "default it is what 'rtvc calibrate' found.",
        unit="ms",
        low=20.0,
        high=1000.0,
        step=10.0,
        multiple=10.0,
        shape=True,
    )
    headroom: float = _setting(
        80.0,
        "How long a step may take before its sound is due; part of the latency; at its default it "
        "is what 'rtvc calibrate' found.",
        unit="ms",
        low=20.0,
        high=1000.0,
        step=10.0,
        multiple=10.0,
        shape=True,
    )
    context: float = _setting(
        1000.0,
        "Older sound that the voice hears again; after a silence of this length it rests; at its "
        "default it is that of the profile.",
        unit="ms",
        low=200.0,
        high=5000.0,
        step=100.0,
        multiple=10.0,
        shape=True,
    )
    crossfade: float = _setting(
        40.0,
        "How long two steps overlap, for voices that need it (RVC with RefineGAN).",
        unit="ms",
        low=10.0,
        high=200.0,
        step=10.0,
        multiple=10.0,
        shape=True,
    )
    lookahead: float = _setting(
        0.0,
        "Extra sound after a moment that the voice hears before it speaks that moment.",
        unit="ms",
        low=0.0,
        high=100.0,
        step=10.0,
        multiple=10.0,
        shape=True,
    )
    pitch_floor: float = _setting(
        70.0,
        "The lowest pitch that you speak or sing with; lower costs a little latency.",
        unit="Hz",
        low=50.0,
        high=200.0,
        step=5.0,
        shape=True,
    )
    pitch_ceiling: float = _setting(
        900.0,
        "The highest pitch that you speak or sing with.",
        unit="Hz",
        low=300.0,
        high=1100.0,
        step=20.0,
        shape=True,
    )
    seed: int = _setting(
        0,
        "Number that fixes all noise, so that a result can be repeated.",
        low=0,
        high=2**31 - 1,
        shape=True,
    )

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            object.__setattr__(self, name, setting.check(getattr(self, name)))

    def __repr__(self) -> str:
        """Return only what differs from the defaults, as the call that makes it again."""
        named = (f"{name}={_literal(value)}" for name, value in self.changed().items())
        return f"Settings({', '.join(named)})"

    def replace(self, **changes: Value) -> Settings:
        """Return these settings with some changed.

        Raises
        ------
        SettingError
            For an unknown name (a similar one is suggested) or a bad value.
        """
        for name in changes:
            find_setting(name)
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[Value, ...]:
        """The values that decide sizes and models: a chain serves as long as these are equal."""
        return tuple(getattr(self, name) for name, setting in SETTINGS.items() if setting.shape)

    def changed(self) -> dict[str, Value]:
        """Return the settings that are not at their default, by name."""
        return {
            name: getattr(self, name)
            for name, setting in SETTINGS.items()
            if getattr(self, name) != setting.default
        }


def _literal(value: Value) -> str:
    """Return a value as one types it: 4 rather than 4.0."""
    whole = isinstance(value, float) and value.is_integer()
    return repr(int(value)) if whole else repr(value)


def _checking_names(initialise: Callable[..., None]) -> Callable[..., None]:
    """Return an initialiser that knows a better message than Python for an unknown name."""

    @functools.wraps(initialise)
    def checked(self: Settings, *values: Value, **named: Value) -> None:
        for name in named:
            find_setting(name)
        initialise(self, *values, **named)

    return checked


Settings.__init__ = _checking_names(Settings.__init__)  # type: ignore[method-assign]


def _declared_settings() -> dict[str, Setting]:
    kinds = {"float": float, "int": int, "bool": bool, "str": str}
    return {
        f.name: Setting(f.name, kinds[str(f.type)], cast(Value, f.default), **f.metadata)
        for f in dataclasses.fields(Settings)
    }


SETTINGS: dict[str, Setting] = _declared_settings()
"""All knobs by name, in the order in which a person should meet them."""


def find_setting(name: str) -> Setting:
    """Return the knob of that name.

    Raises
    ------
    SettingError
        If there is none; a similar name is suggested.
    """
    if name in SETTINGS:
        return SETTINGS[name]
    hint = did_you_mean(name, SETTINGS, "'rtvc run --help' lists all settings.")
    raise SettingError(name, f"There is no setting {name!r}. {hint}")


def combine_settings(settings: Settings | None, changes: Mapping[str, Value]) -> Settings:
    """Return settings that are given as an object, as keywords, or in part as each.

    Raises
    ------
    SettingError
        For an unknown name, a bad value, or a setting that is given both ways.
    UsageError
        If `settings` is something else.
    """
    if settings is None:
        return Settings(**changes)  # type: ignore[arg-type]
    if not isinstance(settings, Settings):
        raise UsageError(
            f"The settings are of type {type(settings).__name__}. Give rtvc.Settings(...), or "
            "each setting as a keyword."
        )
    for name in changes:
        if name in settings.changed():
            raise SettingError(
                name, f"The setting {name!r} is given twice, in Settings and as a keyword. Use one."
            )
    return settings.replace(**changes)


def changed_names(before: Settings, after: Settings) -> frozenset[str]:
    """Return the names of the settings that differ."""
    return frozenset(name for name in SETTINGS if getattr(before, name) != getattr(after, name))


_FIRST_OF_GROUP = {
    "mode": "voice",
    "input_gain": "microphone",
    "loudness": "output",
    "monitor_gain": "monitor",
    "block": "timing",
}


def grouped_settings() -> dict[str, tuple[Setting, ...]]:
    """Return the knobs by group (voice, microphone, output, monitor, timing), in order."""
    groups: dict[str, list[Setting]] = {}
    for name, setting in SETTINGS.items():
        if name in _FIRST_OF_GROUP:
            group = groups.setdefault(_FIRST_OF_GROUP[name], [])
        group.append(setting)
    return {title: tuple(group) for title, group in groups.items()}
