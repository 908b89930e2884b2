"""All settings of rtvc, declared once.

The YAML keys of presets, the flags of the command line and the settings in the panel are
generated from the fields of `Settings`.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from rtvc.between import name_between
from rtvc.errors import UsageError, did_you_mean
from rtvc.scales import NOTES, SCALES, read_note, read_scale
from rtvc.setting import Setting, SettingError, Value

BUILT_IN = "world"
"""Name of the built-in voice."""
NO_MORPH = "off"
"""Value of ``Settings.morph_to`` for no second voice."""
RESERVE_MS = 12.0
"""Part of the headroom in ms that is kept in reserve: concealment is output in place of less."""


_F0 = frozenset({"f0"})


def _setting(default: Value, help: str, **attributes: Any) -> Any:
    return field(default=default, metadata={"help": help, **attributes})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """Values of all settings; immutable, use `replace` to change some.

    `block`, `headroom`, `context`, `crossfade` and `lookahead` are rounded to 10 ms, the
    engine's grid: ``Settings(block=95).block`` is 100.0.

    Raises
    ------
    SettingError
        If a value is of the wrong type or out of its range.
    """

    mode: str = _setting(
        "converted",
        "Output: the converted voice, your unprocessed voice (dry), or silence (muted).",
        choices=("converted", "dry", "muted"),
        stored=False,
    )
    voice: str = _setting(
        BUILT_IN,
        "Voice to convert to: an installed RVC voice, or the built-in 'world', which modifies your "
        "own voice.",
        shape=True,
    )
    pitch: float = _setting(
        0.0,
        "Pitch shift in semitones.",
        unit="semitones",
        low=-24.0,
        high=24.0,
        step=1.0,
        needs=_F0,
    )
    pitch_fine: float = _setting(
        0.0,
        "Fine pitch shift in cents, added to pitch.",
        unit="cents",
        low=-100.0,
        high=100.0,
        step=5.0,
        needs=_F0,
    )
    auto_pitch: str = _setting(
        "off",
        "Automatic pitch: on measures your pitch and replaces pitch so that its median becomes "
        "auto_pitch_target, hold keeps the transposition as it is.",
        choices=("off", "on", "hold"),
        needs=_F0,
    )
    auto_pitch_target: float = _setting(
        0.0,
        "Median pitch of the voice, for auto_pitch (0 = not known: pitch is used).",
        unit="Hz",
        low=0.0,
        high=800.0,
        step=5.0,
        needs=_F0,
    )
    pitch_range: float = _setting(
        1.0,
        "Factor for the pitch variation around your mean pitch (1 = unchanged, 0 = monotone).",
        unit="times",
        low=0.0,
        high=3.0,
        step=0.1,
        needs=_F0,
    )
    pitch_lowest: float = _setting(
        0.0,
        "Lowest mean pitch of the output: pitch lowers your voice no further (0 = no limit).",
        unit="Hz",
        low=0.0,
        high=800.0,
        step=5.0,
        needs=_F0,
    )
    pitch_fixed: float = _setting(
        0.0,
        "Constant pitch in place of your own, like a robot (0 = off).",
        unit="Hz",
        low=0.0,
        high=1000.0,
        step=5.0,
        needs=_F0,
    )
    tune: float = _setting(
        0.0,
        "Pitch correction: moves the pitch to the nearest note of the scale (0 = off, 1 = fully).",
        low=0.0,
        high=1.0,
        step=0.1,
        needs=_F0,
    )
    key: str = _setting(
        "C",
        "Key of the scale for tune.",
        choices=NOTES,
        read=read_note,
        readable="a flat such as Bb",
        needs=_F0,
    )
    scale: str = _setting(
        "chromatic",
        "Scale for tune: a name, which begins at the key, or the notes themselves.",
        choices=tuple(SCALES),
        read=read_scale,
        readable="notes such as C D# G",
        needs=_F0,
    )
    tune_speed: float = _setting(
        50.0,
        "Time in which tune corrects the pitch: 0 removes vibrato and glides, 50 and more keep "
        "them.",
        unit="ms",
        low=0.0,
        high=500.0,
        step=10.0,
        needs=_F0,
    )
    formant: float = _setting(
        0.0,
        "Formant shift, independent of the pitch: positive sounds like a smaller "
        "body, negative like a larger one.",
        unit="semitones",
        low=-12.0,
        high=12.0,
        step=0.5,
    )
    breathiness: float = _setting(
        0.0,
        "Amount of breath noise: above 0 adds it, below 0 removes it, which can sound buzzy "
        "(built-in voice).",
        low=-1.0,
        high=1.0,
        step=0.1,
        needs=frozenset({"built-in"}),
    )
    whisper: bool = _setting(False, "Whisper: make all sounds unvoiced.", needs=_F0)
    speaker: int = _setting(
        0,
        "Speaker number, from 0, of an RVC voice with several speakers.",
        low=0,
        high=9999,
        needs=frozenset({"speakers"}),
    )
    index_rate: float = _setting(
        0.5,
        "Index strength: how much of the trained voice's timbre to mix in (0 = off, 1 = full).",
        low=0.0,
        high=1.0,
        step=0.1,
        needs=frozenset({"index"}),
    )
    protect: float = _setting(
        0.33,
        "Protection of consonants and breaths from the index (0 = strongest, 0.5 = off).",
        low=0.0,
        high=0.5,
        step=0.05,
        needs=frozenset({"index", "f0"}),
    )
    content: str = _setting(
        "window",
        "Content features of RVC voices: window computes those of the whole context in each step, "
        "as the reference does; running computes those of new input only, which needs less CPU.",
        choices=("window", "running"),
        shape=True,
        needs=frozenset({"rvc"}),
    )
    pitch_method: str = _setting(
        "rmvpe",
        "Pitch estimator for RVC voices: rmvpe, or swift until 'rtvc setup' has installed it; fcpe "
        "needs less CPU; swift, dio and, for files, harvest need no download.",
        choices=("rmvpe", "fcpe", "swift", "dio", "harvest"),
        shape=True,
        needs=frozenset({"rvc", "f0"}),
    )
    pitch_threshold: float = _setting(
        0.0,
        "Voicing confidence threshold of the pitch estimator (0 = default of the method: rmvpe "
        "0.03, fcpe 0.006, swift 0.3).",
        low=0.0,
        high=0.95,
        step=0.01,
        needs=frozenset({"rvc", "f0"}),
    )
    pitch_interpolation: bool = _setting(
        False,
        "Interpolate the pitch over unvoiced sounds, as RVC voices trained since July 2026 expect.",
        needs=frozenset({"rvc", "f0"}),
    )
    morph_to: str = _setting(
        NO_MORPH,
        "Second voice, for morph: another RVC voice with the same network as voice, or, with the "
        "built-in voice, a preset of the built-in voice (off = none).",
        shape=True,
    )
    morph: float = _setting(
        0.0,
        "Position between voice (0) and morph_to (1).",
        low=0.0,
        high=1.0,
        step=0.1,
        multiple=0.1,
        shape=True,
    )
    trim: float = _setting(
        0.0,
        "Loudness trim of the voice, added to the output gain; 'rtvc voices level' sets it for RVC "
        "voices, so that all are equally loud.",
        unit="dB",
        low=-20.0,
        high=20.0,
        step=0.5,
    )
    input_gain: float = _setting(0.0, "Input gain.", unit="dB", low=-24.0, high=36.0, step=1.0)
    echo: str = _setting(
        "off",
        "Echo cancellation, where you cannot wear headphones: cancel removes what the speaker "
        "plays; adds 10 ms of latency and makes your voice less clear. No effect on files.",
        choices=("off", "cancel"),
        needs=frozenset({"devices"}),
    )
    noise: str = _setting(
        "off",
        "Noise suppression for the microphone: light adds 10 ms of latency and needs little CPU, "
        "strong adds 30 ms and removes more.",
        choices=("off", "light", "strong"),
        shape=True,
    )
    gate: float = _setting(
        -60.0,
        "Gate threshold: the output is muted while the input is below it (-90 = off).",
        unit="dBFS",
        low=-90.0,
        high=0.0,
        step=1.0,
    )
    gate_attack: float = _setting(3.0, "Gate attack time.", unit="ms", low=1.0, high=50.0, step=1.0)
    gate_hold: float = _setting(
        150.0,
        "Gate hold: time that the gate stays open after the input falls below the threshold.",
        unit="ms",
        low=0.0,
        high=2000.0,
        step=10.0,
    )
    gate_release: float = _setting(
        80.0, "Gate release time.", unit="ms", low=5.0, high=2000.0, step=10.0
    )
    gate_lookback: float = _setting(
        20.0,
        "Gate look-back: the gate opens this long before an onset, so that it is not cut "
        "off; adds no latency.",
        unit="ms",
        low=0.0,
        high=40.0,
        step=5.0,
    )
    speech_gate: bool = _setting(
        False,
        "Speech gate: mute what is not speech, such as typing, fans and breath; adds 80 ms of "
        "latency.",
        shape=True,
    )
    low_cut: float = _setting(
        0.0,
        "Low cut: frequency below which the output is reduced by 12 dB per octave (0 = off).",
        unit="Hz",
        low=0.0,
        high=400.0,
        step=10.0,
    )
    eq_low: float = _setting(
        0.0, "Equaliser: gain below 150 Hz.", unit="dB", low=-18.0, high=18.0, step=1.0
    )
    eq_mid: float = _setting(
        0.0, "Equaliser: gain around eq_mid_freq.", unit="dB", low=-18.0, high=18.0, step=1.0
    )
    eq_mid_freq: float = _setting(
        1500.0,
        "Equaliser: frequency of the middle band.",
        unit="Hz",
        low=200.0,
        high=8000.0,
        step=100.0,
    )
    eq_high: float = _setting(
        0.0, "Equaliser: gain above 6 kHz.", unit="dB", low=-18.0, high=18.0, step=1.0
    )
    deess: float = _setting(
        0.0,
        "De-esser: largest reduction of sharp s sounds (0 = off).",
        unit="dB",
        low=0.0,
        high=18.0,
        step=1.0,
    )
    comp_ratio: float = _setting(
        1.0,
        "Compressor ratio: dB of input per dB of output above the threshold (1 = off).",
        unit="times",
        low=1.0,
        high=20.0,
        step=0.5,
    )
    comp_threshold: float = _setting(
        -24.0,
        "Compressor threshold: peak level above which the level is reduced.",
        unit="dBFS",
        low=-60.0,
        high=0.0,
        step=1.0,
    )
    comp_attack: float = _setting(
        5.0, "Compressor attack time.", unit="ms", low=1.0, high=200.0, step=1.0
    )
    comp_release: float = _setting(
        150.0, "Compressor release time.", unit="ms", low=10.0, high=2000.0, step=10.0
    )
    comp_makeup: float = _setting(
        0.0, "Compressor make-up gain, while it is on.", unit="dB", low=0.0, high=24.0, step=1.0
    )
    level: float = _setting(
        -40.0,
        "Automatic level: loudness at which the output is held over some seconds (-40 = off).",
        unit="LUFS",
        low=-40.0,
        high=-10.0,
        step=1.0,
    )
    level_range: float = _setting(
        12.0,
        "Automatic level: largest change of the gain, up or down.",
        unit="dB",
        low=0.0,
        high=24.0,
        step=1.0,
    )
    reverb: float = _setting(
        0.0,
        "Reverb: share of the reverberation in the output (0 = off).",
        low=0.0,
        high=1.0,
        step=0.05,
    )
    reverb_size: float = _setting(
        0.3,
        "Reverb size: 0 is a small room (0.3 s), 1 is a hall (3 s).",
        low=0.0,
        high=1.0,
        step=0.1,
    )
    loudness: float = _setting(
        0.0,
        "How closely the output follows the loudness of the input (0 = off, 1 = fully).",
        low=0.0,
        high=1.0,
        step=0.1,
    )
    output_gain: float = _setting(0.0, "Output gain.", unit="dB", low=-36.0, high=24.0, step=1.0)
    ceiling: float = _setting(
        -1.0,
        "Limiter ceiling: the highest true peak of the output.",
        unit="dBTP",
        low=-24.0,
        high=0.0,
        step=0.5,
    )
    monitor_gain: float = _setting(
        0.0,
        "Gain of the monitor, a second output device to listen to yourself (-60 = muted).",
        unit="dB",
        low=-60.0,
        high=12.0,
        step=1.0,
        needs=frozenset({"monitor"}),
    )
    latency: str = _setting(
        "auto",
        "Latency: auto moves block and headroom, unless you set them, to the least that this "
        "machine keeps, within 20 s of speech; constant leaves them as they are.",
        choices=("auto", "constant"),
        needs=frozenset({"devices"}),
    )
    block: float = _setting(
        100.0,
        "New audio per engine step: shorter gives less latency, longer uses less CPU; "
        "unless you set it, --latency auto moves it.",
        unit="ms",
        low=20.0,
        high=1000.0,
        step=10.0,
        multiple=10.0,
        shape=True,
    )
    headroom: float = _setting(
        80.0,
        "Time that a step may take before its output is late; part of the latency; unless "
        "you set it, --latency auto moves it.",
        unit="ms",
        low=20.0,
        high=1000.0,
        step=10.0,
        multiple=10.0,
        shape=True,
        needs=frozenset({"devices"}),
    )
    context: float = _setting(
        1000.0,
        "Past audio given to the model with each block, and the length of silence after which "
        "processing pauses; defaults to the profile's value.",
        unit="ms",
        low=200.0,
        high=5000.0,
        step=100.0,
        multiple=10.0,
        shape=True,
    )
    crossfade: float = _setting(
        40.0,
        "Crossfade between steps, for voices that need it (RVC with RefineGAN).",
        unit="ms",
        low=10.0,
        high=200.0,
        step=10.0,
        multiple=10.0,
        shape=True,
        needs=frozenset({"crossfade"}),
    )
    lookahead: float = _setting(
        0.0,
        "Additional lookahead: audio after each moment that is given to the model; adds latency.",
        unit="ms",
        low=0.0,
        high=100.0,
        step=10.0,
        multiple=10.0,
        shape=True,
    )
    pitch_floor: float = _setting(
        70.0,
        "Lowest pitch of your voice; lower values add a little latency.",
        unit="Hz",
        low=50.0,
        high=200.0,
        step=5.0,
        shape=True,
        needs=_F0,
    )
    pitch_ceiling: float = _setting(
        900.0,
        "Highest pitch of your voice.",
        unit="Hz",
        low=300.0,
        high=1100.0,
        step=20.0,
        shape=True,
        needs=_F0,
    )
    ready_memory: float = _setting(
        0.0,
        "Memory for the weights of voices that are kept ready, so that a change to one of them is "
        "heard with the next block: those used last, and those of your favourite presets (0 = "
        "none).",
        unit="MB",
        low=0.0,
        high=65536.0,
        step=100.0,
        needs=frozenset({"devices"}),
    )
    seed: int = _setting(
        0,
        "Random seed for reproducible output.",
        low=0,
        high=2**31 - 1,
        shape=True,
    )

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            object.__setattr__(self, name, setting.check(getattr(self, name)))

    def __repr__(self) -> str:
        """Return a call with the settings that differ from the defaults."""
        named = (f"{name}={_literal(value)}" for name, value in self.changed().items())
        return f"Settings({', '.join(named)})"

    def replace(self, **changes: Value) -> Settings:
        """Return a copy with some settings changed.

        Raises
        ------
        SettingError
            For an unknown name (a similar one is suggested) or an invalid value.
        """
        for name in changes:
            find_setting(name)
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[Value, ...]:
        """Values of the settings marked `shape`; a chain is rebuilt when they change."""
        values: tuple[Value, ...] = _shape_of(self)
        return values

    @property
    def position(self) -> tuple[str, str, float]:
        """The voice, the one to morph to, and the position between them."""
        return self.voice, self.morph_to, self.morph

    @property
    def morphs(self) -> bool:
        """Whether the position is another one than that of the voice."""
        return self.morph_to != NO_MORPH and self.morph > 0

    @property
    def voice_to_load(self) -> str:
        """The voice by its name, or what lies between it and `morph_to`, for `find_voice`.

        Settings of the built-in voice are interpolated instead, see
        `rtvc.library.preset_morph`: until then they have no voice.
        """
        if not self.morphs:
            return self.voice
        if self.morph == 1 and BUILT_IN not in (self.voice, self.morph_to):
            return self.morph_to
        return name_between(self.voice, self.morph_to, self.morph)

    def changed(self) -> dict[str, Value]:
        """Return the values that differ from the defaults, by name."""
        return {
            name: getattr(self, name)
            for name, setting in SETTINGS.items()
            if getattr(self, name) != setting.default
        }


def _literal(value: Value) -> str:
    """Return the shortest literal of a value: 4 for 4.0."""
    whole = isinstance(value, float) and value.is_integer()
    return repr(int(value)) if whole else repr(value)


def _checking_names(initialise: Callable[..., None]) -> Callable[..., None]:
    """Return an initialiser that raises `SettingError` for an unknown name."""

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
"""All settings by name, in the order of help and panel."""

# An attrgetter takes a tenth of the time of a loop; the engine compares shapes 16 times per block.
_shape_of = operator.attrgetter(*(name for name, setting in SETTINGS.items() if setting.shape))


def find_setting(name: str) -> Setting:
    """Return the setting with a name.

    Raises
    ------
    SettingError
        If there is none. The message suggests a similar name.
    """
    if name in SETTINGS:
        return SETTINGS[name]
    hint = did_you_mean(name, SETTINGS, "'rtvc run --help' lists all settings.")
    if name == "preset":
        hint = "Give the settings of the preset, which 'rtvc presets show NAME' prints."
    raise SettingError(name, f"There is no setting {name!r}. {hint}")


def combine_settings(settings: Settings | None, changes: Mapping[str, Value]) -> Settings:
    """Return settings given as an object, as keywords, or as a combination.

    Raises
    ------
    SettingError
        For an unknown name, an invalid value, or a setting given both ways.
    UsageError
        If `settings` is not a `Settings` object.
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
    """Return the names of the settings that differ between `before` and `after`."""
    return frozenset(name for name in SETTINGS if getattr(before, name) != getattr(after, name))


_FIRST_OF_GROUP = {
    "mode": "voice",
    "input_gain": "microphone",
    "low_cut": "effects",
    "loudness": "output",
    "monitor_gain": "monitor",
    "latency": "timing",
}


def grouped_settings() -> dict[str, tuple[Setting, ...]]:
    """Return the settings by group (voice, microphone, effects, ...), in order."""
    groups: dict[str, list[Setting]] = {}
    for name, setting in SETTINGS.items():
        if name in _FIRST_OF_GROUP:
            group = groups.setdefault(_FIRST_OF_GROUP[name], [])
        group.append(setting)
    return {title: tuple(group) for title, group in groups.items()}
