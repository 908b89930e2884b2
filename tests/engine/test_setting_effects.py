"""Every setting has its stated effect, on both kinds of voice, and none where it does not apply.

A check belongs to a setting by its name: `pitch` is checked by the function `pitch`. A setting
without one fails `test_every_setting_has_a_check`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

from rtvc._types import Float32, Float64
from rtvc.audio.file_endpoint import FileEndpoint
from rtvc.audio.limiter import Limiter
from rtvc.engine.chain import Chain, Step
from rtvc.engine.dsp.channel_strip import ChannelStrip
from rtvc.engine.plan import Plan
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.voice import Rendered, Voice
from rtvc.engine.world.voice import WorldVoice
from rtvc.session import Session
from rtvc.setting import Value
from rtvc.settings import SETTINGS, Settings
from tests.audio import test_echo
from tests.audio.test_monitor import MainOutput
from tests.engine import test_auto_sizes
from tests.engine.rvc import rvc_stack
from tests.engine.speech_measures import RATE, envelope_db, speech, warp_semitones
from tests.engine.test_session import Device
from tests.engine.test_setting_ends import ends
from tests.support.material import more
from tests.support.speech import FOLDER
from tests.support.voices import PlainStream, PlainVoice, SilentVoice, finder

pytestmark = pytest.mark.slow

VOICES: dict[str, Callable[[], Voice]] = {
    "world": WorldVoice,
    "rvc": lambda: rvc_stack.voice(pitch=rvc_stack.LocalPitch()),
    # These have less, and take the pitch from Dio, as an installed voice does.
    "rvc without index": lambda: rvc_stack.voice(with_index=False),
    "rvc without f0": lambda: rvc_stack.voice("voice_v1_nof0_40k", with_index=False),
    "rvc with crossfade": lambda: rvc_stack.voice(pitch=rvc_stack.LocalPitch(), continuous=False),
}
NOT_FOR = {
    "world": (
        *("speaker", "index_rate", "protect", "content", "pitch_method"),
        *("pitch_threshold", "pitch_interpolation", "crossfade"),
    ),
    "rvc": ("breathiness",),
}
FOR_RVC = (
    *("pitch", "formant", "speaker", "index_rate", "protect", "content", "pitch_method"),
    "crossfade",
)
"""Checked with an RVC voice in every run. The thorough runs check all settings with both kinds."""
DETAILS = ("eq_mid_freq", "comp_attack", "comp_release", "level_range", "reverb_size")
"""Measured more exactly in `tests/engine/dsp/test_channel_strip.py`."""
EFFECTS: dict[str, float] = {
    **{"low_cut": 400.0, "eq_low": -12.0, "eq_mid": -9.0, "eq_mid_freq": 547.0, "eq_high": -12.0},
    **{"deess": 1.0, "comp_ratio": 20.0, "comp_threshold": -30.0, "comp_attack": 100.0},
    **{"comp_release": 2000.0, "comp_makeup": 6.0, "level": -39.0, "level_range": 2.0},
    **{"reverb": 0.4, "reverb_size": 0.9},
}
"""A value of each effect. Random networks make no steady vowel in which it could be measured."""
PAIRS = [
    pytest.param(
        *(name, kind),
        id=f"{name} {kind}",
        marks=[pytest.mark.thorough]
        if (kind != "world" and name not in FOR_RVC) or name in DETAILS
        else [],
    )
    for kind, rest in NOT_FOR.items()
    for name in SETTINGS
    if name not in rest
]
HZ = 16_000 / 117
"""f0 of the vowel, a whole number of samples for `LocalPitch`: jitter would blur the lines.

The small RVC voice has lines of its own at multiples of 100 Hz.
"""
E_ABOVE = 12 * math.log2(164.81 / HZ)
"""Semitones from the vowel to E3, the nearest E."""
LOW, HIGH = 16_000 / 150, 16_000 / 116
USUAL = Settings(block=200.0, context=200.0, pitch_method="dio", latency="constant")


class Made(NamedTuple):
    """A converted sound, aligned with its input, and the steps and the chain that made it."""

    sound: Float32
    steps: list[Step]
    chain: Chain


@functools.cache
def voice(kind: str) -> Voice:
    return VOICES[kind]()


@functools.cache
def made(kind: str, name: str, settings: Settings) -> Made:
    chain, sound = Chain(voice(kind), settings), SOUNDS[name]()
    padded = np.pad(sound, (0, chain.delay))
    padded = np.pad(padded, (0, -len(padded) % chain.block))
    steps = [chain.step(block, settings) for block in padded.reshape(-1, chain.block)]
    output = np.concatenate([step.output for step in steps])
    return Made(output[chain.delay : chain.delay + len(sound)], steps, chain)


def convert(kind: str, name: str, **changes: Value) -> Float32:
    return made(kind, name, USUAL.replace(**changes)).sound


def vowel(seconds: float, hz: float = HZ, level: float = 0.1) -> Float32:
    time = np.arange(round(seconds * RATE)) / RATE
    waves = sum(np.sin(2 * np.pi * hz * n * time) / n for n in range(1, 20))
    return (level * np.asarray(waves)).astype(np.float32)


def noise(seconds: float, level: float) -> Float32:
    random = np.random.default_rng(2)
    return (level * random.standard_normal(round(seconds * RATE))).astype(np.float32)


SOUNDS: dict[str, Callable[[], Float32]] = {
    "vowel": lambda: vowel(0.8),
    "long vowel": lambda: vowel(3.6),
    "noisy vowel": lambda: vowel(0.8) + noise(0.8, 0.05),
    "quiet vowel": lambda: vowel(0.6, level=10 ** (-54 / 20)),
    "low vowel": lambda: vowel(0.8, 77.0),
    "high vowel": lambda: vowel(0.8, 437.0),
    "melody": lambda: np.concatenate([vowel(0.3, hz) for hz in (LOW, HIGH) * 2]),
    "speech": lambda: speech("2086-149214-0000", 1.5)[RATE // 2 :],
    "steps": lambda: np.concatenate([vowel(0.4, level=0.2), vowel(0.4, level=0.08)]),
    "briefly voiced": lambda: np.concatenate([vowel(0.4), noise(0.2, 0.05)]),
    "half voiced": lambda: np.concatenate([vowel(0.9), noise(0.5, 0.05)]),
    "gap": lambda: np.concatenate([vowel(0.7), noise(0.16, 0.005), vowel(0.54)]),
    # The floor is not silent, so that the voice never rests and its sound is the same.
    "burst": lambda: (
        noise(1.4, 1e-4)
        + np.concatenate(
            [np.zeros(RATE // 2, np.float32), vowel(0.3), np.zeros(3 * RATE // 5, "f4")]
        )
    ),
    "hiss": lambda: np.concatenate([vowel(0.4), noise(0.3, 0.05)]),
    "steady hiss": lambda: noise(1.2, 0.01),
    "then silence": lambda: np.pad(vowel(0.4), (0, round(1.2 * RATE))),
}


def lines_db(sound: Float32, first: float = 0.2, last: float = 10.0) -> tuple[Float64, Float64]:
    """How far spectral lines stand out, in dB, and the frequencies, below 3 kHz.

    Of a sound from `first` to `last` seconds.
    """
    part = sound[round(first * RATE) : round(last * RATE)]
    size = 1 << 16
    count = 3000 * size // RATE
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)), size))[:count] ** 2
    reach = max(2, round(2.5 * size / len(part)))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(power, 6 * reach), 12 * reach + 1)
    lines = 10 * np.log10((power + 1e-20) / (np.median(around, axis=1) + 1e-20))
    return lines, np.arange(count) * RATE / size


def line_db(sound: Float32, hz: float, first: float = 0.2, last: float = 10.0) -> float:
    """How far the spectral line at a frequency stands out, in dB."""
    lines, at = lines_db(sound, first, last)
    return float(lines[np.abs(at - hz) < 3].max())


def pitch_of(sound: Float32, first: float = 0.2, last: float = 10.0) -> float:
    """The lowest of the strong lines between 70 and 500 Hz, in Hz."""
    lines, at = lines_db(sound, first, last)
    lines = np.where((at > 70) & (at < 500) & (np.abs(at % 100 - 50) < 47), lines, -99.0)
    lowest = at[np.argmax(lines > lines.max() - 10)]
    near = np.abs(at - lowest) < 8
    return float(at[near][np.argmax(lines[near])])


def level_db(sound: Float32) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)) + 1e-9))


def difference_db(one: Float32, other: Float32) -> float:
    """Level of the difference relative to `other`."""
    return level_db(one - other) - level_db(other)


def band_db(sound: Float32, low: float, high: float, first: float = 0.2) -> float:
    """Level of a band of the sound from `first` seconds on, in dB."""
    part = sound[round(first * RATE) :]
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
    at = np.arange(len(power)) * RATE / len(part)
    return float(10 * np.log10(np.sum(power[(at > low) & (at < high)]) + 1e-12))


def band_gain_db(kind: str, hz: float, **changes: Value) -> float:
    """Change of the level around a frequency of the vowel in dB."""
    made, plain = (convert(kind, "vowel", **these) for these in (changes, {}))
    span = (0.96 * hz, 1.04 * hz)
    return band_db(made, *span) - band_db(plain, *span)


def gain_db(kind: str, name: str, **changes: Value) -> Float64:
    """Change of the level per 5 ms in dB."""
    made, plain = (
        np.mean(convert(kind, name, **these).reshape(-1, 240).astype(np.float64) ** 2, axis=1)
        for these in (changes, {})
    )
    gain: Float64 = 10 * np.log10((made + 1e-12) / (plain + 1e-12))
    return gain


def with_dio(kind: str) -> str:
    """The voice of a kind whose estimator has limits of the pitch."""
    return "rvc without index" if kind == "rvc" else kind


def gate_gain(kind: str, **changes: Value) -> Float64:
    """Gain of the gate over the burst, per millisecond: only the output is multiplied by it."""
    opened = convert(kind, "burst", gate=-90.0, output_gain=-20.0)
    closed: dict[str, Value] = {"gate": -50.0, "output_gain": -20.0}
    gated = convert(kind, "burst", **(closed | changes))
    one, other = (
        np.sqrt(np.mean(sound.reshape(-1, 48).astype(np.float64) ** 2, axis=1))
        for sound in (gated, opened)
    )
    gain: Float64 = one / other
    return gain


def rise_ms(gain: Float64) -> float:
    """Time that the gain takes from 10 to 90 %."""
    return float(np.argmax(gain > 0.9) - np.argmax(gain > 0.1))


def fall_ms(gain: Float64) -> float:
    after = gain[800:]
    return float(np.argmax(after < 0.1) - np.argmax(after < 0.9))


class QuietVoice(PlainVoice):
    """A voice that returns its input at another level."""

    def __init__(self, gain_db: float) -> None:
        super().__init__()
        self.gain = np.float32(10 ** (gain_db / 20))

    def open(self, plan: Plan, settings: Settings) -> PlainStream:
        stream = super().open(plan, settings)
        render = stream.render
        stream.render = lambda block, settings: Rendered(  # type: ignore[method-assign]
            render(block, settings).audio * self.gain
        )
        return stream


TARGETS = {"world": "quiet.yaml", "rvc": "Bert"}
"""What is morphed to: a preset, and another voice."""


def morphed_levels_db(kind: str, folder: Path, **changes: Any) -> list[float]:
    """Levels of a run for each value of the setting that has several: 12 dB down at the end."""
    (folder / "quiet.yaml").write_text("output_gain: -12\n")
    name, values = next((n, v) for n, v in changes.items() if isinstance(v, tuple))
    voices = {"Anna > Bert 0.5": QuietVoice(-6), "Bert": QuietVoice(-12), "Anna": QuietVoice(0)}
    levels = []
    for number, value in enumerate(values):
        target, these = folder / f"{number}.wav", {**changes, name: value}
        if kind == "world":
            morph_to = str(these["morph_to"])
            these["morph_to"] = str(folder / morph_to) if morph_to.endswith(".yaml") else morph_to
        used = Settings(voice="world" if kind == "world" else "Anna", gate=-90.0, **these)
        endpoint = FileEndpoint(FOLDER / "2086-149214-0000.wav", target)
        with Session(endpoint, used, finder(**voices)) as session:
            assert session.wait(60)
        levels.append(level_db(soundfile.read(target, dtype="float32")[0]))
    return levels


class Checks:
    """One check per setting, for a kind of voice to which it applies."""

    @staticmethod
    def mode(kind: str) -> None:
        sound, dry = SOUNDS["vowel"](), convert(kind, "vowel", mode="dry")
        assert not convert(kind, "vowel", mode="muted").any()
        np.testing.assert_allclose(dry[480:], sound[480:], atol=1e-6)
        assert difference_db(convert(kind, "vowel"), sound) > -20

    @staticmethod
    def voice(kind: str, folder: Path) -> None:
        levels = []
        for name in ("world", "Silent"):
            target = folder / f"{name}.wav"
            endpoint = FileEndpoint(FOLDER / "2086-149214-0000.wav", target)
            find = finder(world=PlainVoice(), Silent=SilentVoice())
            with Session(endpoint, Settings(voice=name, block=1000.0), find) as session:
                assert session.wait(60)
            levels.append(endpoint.levels.lost_share(0.0))
        assert levels == [pytest.approx(0.0, abs=0.05), 1.0]

    @staticmethod
    def pitch(kind: str) -> None:
        for semitones in (12.0, -6.0):
            hz = HZ * 2 ** (semitones / 12)
            assert pitch_of(convert(kind, "vowel", pitch=semitones)) == pytest.approx(hz, rel=0.01)

    @staticmethod
    def pitch_fine(kind: str) -> None:
        hz = HZ * 2 ** (80 / 1200)
        assert pitch_of(convert(kind, "vowel", pitch_fine=80.0)) == pytest.approx(hz, rel=0.01)

    @staticmethod
    def auto_pitch(kind: str) -> None:
        for choice, hz in (("hold", HZ), ("on", 160.0)):
            sound = convert(kind, "long vowel", auto_pitch=choice, auto_pitch_target=160.0)
            assert pitch_of(sound, 3.1, 3.5) == pytest.approx(hz, rel=0.01)

    @staticmethod
    def auto_pitch_target(kind: str) -> None:
        for target, hz in ((0.0, HZ), (120.0, 120.0)):
            sound = convert(kind, "long vowel", auto_pitch="on", auto_pitch_target=target)
            assert pitch_of(sound, 3.1, 3.5) == pytest.approx(hz, rel=0.01)

    @staticmethod
    def pitch_range(kind: str) -> None:
        spans = []
        for factor in (0.0, 1.0, 2.0):
            sound = convert(kind, "melody", pitch_range=factor)
            low, high = (pitch_of(sound, at, at + 0.2) for at in (0.66, 0.96))
            spans.append(12 * math.log2(high / low))
        assert spans[1] == pytest.approx(12 * math.log2(HIGH / LOW), abs=0.6)
        assert spans[0] < 1.5
        assert spans[2] == pytest.approx(2 * spans[1], abs=1.5)

    @staticmethod
    def pitch_lowest(kind: str) -> None:
        for limit, hz in ((0.0, HZ * 2 ** (-7 / 12)), (110.0, 110.0)):
            sound = convert(kind, "vowel", pitch=-7.0, pitch_lowest=limit)
            assert pitch_of(sound) == pytest.approx(hz, rel=0.01)

    @staticmethod
    def pitch_fixed(kind: str) -> None:
        sound = convert(kind, "melody", pitch_fixed=237.0)
        for first in (0.3, 0.6, 0.9):
            assert pitch_of(sound, first, first + 0.25) == pytest.approx(237, rel=0.01)

    @staticmethod
    def tune(kind: str) -> None:
        for amount, semitones in ((0.0, 0.0), (0.5, E_ABOVE / 2), (1.0, E_ABOVE)):
            sound = convert(kind, "vowel", tune=amount, tune_speed=0.0, scale="E")
            assert pitch_of(sound) == pytest.approx(HZ * 2 ** (semitones / 12), rel=0.01)

    @staticmethod
    def key(kind: str) -> None:
        for key, hz in (("C", 130.8), ("C#", 138.6)):
            sound = convert(kind, "vowel", tune=1.0, tune_speed=0.0, scale="pentatonic", key=key)
            assert pitch_of(sound) == pytest.approx(hz, rel=0.01)

    @staticmethod
    def scale(kind: str) -> None:
        for scale, hz in (("chromatic", 138.6), ("major", 130.8), ("B", 123.5)):
            sound = convert(kind, "vowel", tune=1.0, tune_speed=0.0, scale=scale)
            assert pitch_of(sound) == pytest.approx(hz, rel=0.01)

    @staticmethod
    def tune_speed(kind: str) -> None:
        at_once, later = (
            convert(kind, "melody", tune=1.0, tune_speed=ms, scale="C") for ms in (0.0, 500.0)
        )
        assert line_db(at_once, 130.8, 0.36, 0.56) > line_db(later, 130.8, 0.36, 0.56) + 6

    @staticmethod
    def formant(kind: str) -> None:
        plain, moved = (convert(kind, "speech", pitch_fixed=150.0, formant=n) for n in (0.0, 3.0))
        frames = np.arange(5, 95, 3)
        before, after = envelope_db(plain, frames), envelope_db(moved, frames)
        assert warp_semitones(before, after, 250, 4000) == pytest.approx(3, abs=0.7)

    @staticmethod
    def breathiness(kind: str) -> None:
        noise_db = []
        for amount in (-1.0, 0.0, 1.0):  # another seed changes the noise only
            one, other = (
                convert(kind, "noisy vowel", breathiness=amount, seed=seed) for seed in (1, 2)
            )
            noise_db.append(level_db(one - other))
        assert noise_db[0] + 2 < noise_db[1] < noise_db[2] - 2

    @staticmethod
    def whisper(kind: str) -> None:
        assert line_db(convert(kind, "vowel"), HZ) > 15
        assert line_db(convert(kind, "vowel", whisper=True), HZ) < 10

    @staticmethod
    def speaker(kind: str) -> None:
        first, second, third = (convert(kind, "vowel", speaker=n) for n in range(3))
        for one, other in ((first, second), (second, third), (third, first)):
            assert difference_db(one, other) > -40

    @staticmethod
    def index_rate(kind: str) -> None:
        off, half, full = (convert(kind, "speech", index_rate=rate) for rate in (0.0, 0.5, 1.0))
        assert -60 < difference_db(half, off) < difference_db(full, off)
        np.testing.assert_array_equal(off, convert("rvc", "speech", index_rate=0.0))

    @staticmethod
    def protect(kind: str) -> None:
        strong, none = (
            convert(kind, "half voiced", index_rate=1.0, protect=share) for share in (0.0, 0.5)
        )
        changed = np.abs(strong - none)
        voiced, unvoiced = changed[RATE // 2 : 7 * RATE // 10], changed[RATE:]
        assert unvoiced.max() > 0.01
        assert voiced.max() < 1e-6

    @staticmethod
    def content(kind: str) -> None:
        window, running = (convert(kind, "speech", content=how) for how in ("window", "running"))
        assert difference_db(running, window) > -60
        assert abs(level_db(running) - level_db(window)) < 3

    @staticmethod
    def pitch_method(kind: str) -> None:
        asked: list[str] = []

        def find(method: str) -> rvc_stack.LocalPitch:
            asked.append(method)
            return rvc_stack.LocalPitch()

        parts = rvc_stack.network(), rvc_stack.encoder()
        for method in SETTINGS["pitch_method"].choices:
            Chain(RvcVoice("small", *parts, find), USUAL.replace(pitch_method=method))
        assert tuple(asked) == SETTINGS["pitch_method"].choices

    @staticmethod
    def pitch_threshold(kind: str) -> None:
        sure, unsure = (
            convert(kind, "noisy vowel", pitch_fixed=237.0, pitch_threshold=value)
            for value in (0.1, 0.95)
        )
        assert line_db(sure, 237) > line_db(unsure, 237) + 6

    @staticmethod
    def pitch_interpolation(kind: str) -> None:
        off, on = (convert(kind, "gap", pitch_interpolation=value) for value in (False, True))
        assert line_db(on, HZ, 0.72, 0.84) > line_db(off, HZ, 0.72, 0.84) + 6

    @staticmethod
    def morph_to(kind: str, folder: Path) -> None:
        levels = morphed_levels_db(kind, folder, morph=1.0, morph_to=("off", TARGETS[kind]))
        assert levels[1] == pytest.approx(levels[0] - 12, abs=0.5)

    @staticmethod
    def morph(kind: str, folder: Path) -> None:
        levels = morphed_levels_db(kind, folder, morph_to=TARGETS[kind], morph=(0.0, 0.5, 1.0))
        assert levels[2] == pytest.approx(levels[0] - 12, abs=0.5)
        assert levels[1] == pytest.approx(levels[0] - 6, abs=0.5)

    @staticmethod
    def trim(kind: str) -> None:
        softer, soft = (
            convert(kind, "vowel", output_gain=-20.0, trim=trim) for trim in (-6.0, 0.0)
        )
        np.testing.assert_allclose(softer * 10 ** (6 / 20), soft, rtol=1e-4, atol=1e-7)

    @staticmethod
    def input_gain(kind: str) -> None:
        quiet, loud = (convert(kind, "quiet vowel", input_gain=gain) for gain in (-12.0, 12.0))
        assert not quiet.any()  # below the gate
        assert level_db(loud[RATE // 5 :]) > -60

    @staticmethod
    def echo(kind: str) -> None:
        pytest.importorskip("livekit")
        levels = [
            test_echo.echo_db(USUAL.replace(gate=-90.0, echo=way))[0] for way in ("off", "cancel")
        ]
        assert levels[0] - levels[1] > 15

    @staticmethod
    def noise(kind: str) -> None:
        pytest.importorskip("webrtc_noise_gain")
        levels, delays = [], []
        for value in SETTINGS["noise"].choices:
            result = made(kind, "steady hiss", USUAL.replace(noise=value))
            levels.append(result.steps[4].conditioned_level.rms_db)
            delays.append(result.chain.delay)
        assert levels[0] - levels[1] > 8
        assert levels[1] - levels[2] > 10
        assert [delay - delays[0] for delay in delays] == [0, 480, 1440]

    @staticmethod
    def gate(kind: str) -> None:
        assert gate_gain(kind)[:450].max() < 0.01
        assert gate_gain(kind)[560:800].min() > 0.99
        assert gate_gain(kind, gate=0.0).max() == 0

    @staticmethod
    def gate_attack(kind: str) -> None:
        short, long = (rise_ms(gate_gain(kind, gate_attack=ms)) for ms in (1.0, 50.0))
        assert short <= 6
        assert 20 <= long <= 50

    @staticmethod
    def gate_hold(kind: str) -> None:
        short, long = (np.argmax(gate_gain(kind, gate_hold=ms)[780:] < 0.9) for ms in (50.0, 250.0))
        assert long - short == pytest.approx(200, abs=6)

    @staticmethod
    def gate_release(kind: str) -> None:
        short, long = (fall_ms(gate_gain(kind, gate_release=ms)) for ms in (20.0, 200.0))
        assert short < 20
        assert 80 < long < 200

    @staticmethod
    def gate_lookback(kind: str) -> None:
        late, early = (np.argmax(gate_gain(kind, gate_lookback=ms) > 0.5) for ms in (0.0, 20.0))
        assert late - early == pytest.approx(20, abs=2)
        assert 495 <= late <= 510

    @staticmethod
    def speech_gate(kind: str) -> None:
        off, on = (
            made(kind, "steady hiss", USUAL.replace(speech_gate=value)) for value in (False, True)
        )
        assert off.sound[RATE // 5 :].any()
        assert not on.sound.any()
        assert on.chain.delay - off.chain.delay == 3840
        spoken = convert(kind, "speech", speech_gate=True)
        assert level_db(spoken) == pytest.approx(level_db(convert(kind, "speech")), abs=1)

    @staticmethod
    def low_cut(kind: str) -> None:
        assert band_gain_db(kind, HZ, low_cut=400.0) == pytest.approx(-18.7, abs=0.3)
        assert abs(band_gain_db(kind, 15 * HZ, low_cut=400.0)) < 0.1

    @staticmethod
    def eq_low(kind: str) -> None:
        assert band_gain_db(kind, HZ, eq_low=-12.0) == pytest.approx(-6.8, abs=0.4)
        assert abs(band_gain_db(kind, 12 * HZ, eq_low=-12.0)) < 0.1

    @staticmethod
    def eq_mid(kind: str) -> None:
        assert band_gain_db(kind, 11 * HZ, eq_mid=-9.0) == pytest.approx(-9, abs=0.2)
        assert abs(band_gain_db(kind, HZ, eq_mid=-9.0)) < 0.2

    @staticmethod
    def eq_mid_freq(kind: str) -> None:
        for at, hz in ((4 * HZ, 547.0), (16 * HZ, 2188.0)):
            gain = band_gain_db(kind, at, eq_mid=-9.0, eq_mid_freq=hz)
            assert gain == pytest.approx(-9, abs=0.2)

    @staticmethod
    def eq_high(kind: str) -> None:
        made, plain = (convert(kind, "hiss", eq_high=gain) for gain in (-12.0, 0.0))
        span = (12_000.0, 15_000.0)
        assert band_db(made, *span, 0.45) - band_db(plain, *span, 0.45) < -11

    @staticmethod
    def deess(kind: str) -> None:
        gain = gain_db(kind, "hiss", deess=12.0)
        assert np.median(gain[95:130]) < -6
        assert np.abs(np.median(gain[30:70])) < 0.5

    @staticmethod
    def comp_ratio(kind: str) -> None:
        two, twenty = (
            np.median(gain_db(kind, "vowel", comp_threshold=-40.0, comp_ratio=ratio)[60:])
            for ratio in (2.0, 20.0)
        )
        assert two < -5
        assert twenty / two == pytest.approx(1.9, abs=0.05)

    @staticmethod
    def comp_threshold(kind: str) -> None:
        low, high = (
            np.median(gain_db(kind, "vowel", comp_threshold=at, comp_ratio=20.0)[60:])
            for at in (-50.0, -40.0)
        )
        assert high - low == pytest.approx(9.5, abs=0.2)

    @staticmethod
    def comp_attack(kind: str) -> None:
        fast, slow = (
            gain_db(kind, "vowel", comp_threshold=-50.0, comp_ratio=20.0, comp_attack=ms)
            for ms in (1.0, 200.0)
        )
        assert slow[20] > fast[20] + 10

    @staticmethod
    def comp_release(kind: str) -> None:
        fast, slow = (
            gain_db(kind, "steps", comp_threshold=-50.0, comp_ratio=20.0, comp_release=ms)
            for ms in (10.0, 2000.0)
        )
        assert np.median(fast[110:140]) > np.median(slow[110:140]) + 4

    @staticmethod
    def comp_makeup(kind: str) -> None:
        usual: dict[str, Value] = {"comp_threshold": -50.0, "comp_ratio": 20.0}
        made, plain = (convert(kind, "vowel", comp_makeup=db, **usual) for db in (6.0, 0.0))
        assert level_db(made) - level_db(plain) == pytest.approx(6, abs=0.01)

    @staticmethod
    def level(kind: str) -> None:
        assert gain_db(kind, "vowel", level=-39.0)[-20:].mean() < -3
        assert gain_db(kind, "quiet vowel", gate=-90.0, level=-10.0).max() < 0.01  # a pause

    @staticmethod
    def level_range(kind: str) -> None:
        for largest in (0.0, 2.0):
            gain = gain_db(kind, "vowel", level=-39.0, level_range=largest)
            assert gain[-20:].mean() == pytest.approx(-largest, abs=0.05)

    @staticmethod
    def reverb(kind: str) -> None:
        dry, wet = (convert(kind, "then silence", reverb=share) for share in (0.0, 0.4))
        assert level_db(wet[28_000:32_000]) > level_db(dry[28_000:32_000]) + 20

    @staticmethod
    def reverb_size(kind: str) -> None:
        room, hall = (
            convert(kind, "then silence", reverb=0.4, reverb_size=size) for size in (0.0, 1.0)
        )
        assert level_db(hall[45_000:50_000]) > level_db(room[45_000:50_000]) + 15

    @staticmethod
    def loudness(kind: str) -> None:
        source = SOUNDS["steps"]()

        def errors(amount: float) -> list[float]:
            sound = convert(kind, "steps", whisper=True, loudness=amount)
            parts = (slice(10_000, 18_000), slice(30_000, 37_000))
            return [abs(level_db(sound[part]) - level_db(source[part])) for part in parts]

        assert max(errors(1.0)) < 1.5
        assert max(errors(0.0)) > 3

    @staticmethod
    def output_gain(kind: str) -> None:
        softer, soft = (convert(kind, "vowel", output_gain=gain) for gain in (-26.0, -20.0))
        np.testing.assert_allclose(softer * 10 ** (6 / 20), soft, rtol=1e-4, atol=1e-7)

    @staticmethod
    def ceiling(kind: str) -> None:
        for ceiling in (-1.0, -12.0):
            peak = np.abs(convert(kind, "vowel", output_gain=24.0, ceiling=ceiling)).max()
            assert ceiling - 1 < 20 * np.log10(peak) <= ceiling + 1e-4

    @staticmethod
    def monitor_gain(kind: str) -> None:
        played = []
        for gain in (0.0, -20.0):
            main = MainOutput()
            main.gain = 10 ** (gain / 20)
            main.run(1.0)
            played.append(20 * np.log10(np.abs(main.speaker.played).max()))
        assert played[0] - played[1] == pytest.approx(20, abs=0.5)

    @staticmethod
    def latency(kind: str) -> None:
        found = [
            test_auto_sizes.run(
                lambda block, now: 0.02, USUAL.replace(latency=way, block=100.0), seconds=7.0
            )
            for way in ("constant", "auto")
        ]
        assert found[0].sizes == pytest.approx((100, 80))
        assert found[1].sizes[0] < 80

    @staticmethod
    def block(kind: str) -> None:
        short, long = (made(kind, "vowel", USUAL.replace(block=ms)).chain for ms in (100.0, 200.0))
        assert (short.block, long.block) == (4800, 9600)
        assert long.latency.total - short.latency.total == pytest.approx(0.1)
        assert long.delay == short.delay

    @staticmethod
    def headroom(kind: str) -> None:
        short, long = (Chain(voice(kind), USUAL.replace(headroom=ms)) for ms in (40.0, 200.0))
        assert long.latency.total - short.latency.total == pytest.approx(0.16)
        assert (short.headroom, long.headroom) == (1920, 9600)

    @staticmethod
    def context(kind: str) -> None:
        counts = []
        for ms in (200.0, 600.0):
            steps = made(kind, "then silence", USUAL.replace(context=ms, gate_hold=0.0)).steps
            counts.append([step.idle for step in steps].index(True))
        assert counts[1] - counts[0] == 2  # blocks of 200 ms

    @staticmethod
    def crossfade(kind: str) -> None:
        short, long = (made(kind, "speech", USUAL.replace(crossfade=ms)) for ms in (10.0, 80.0))
        assert long.chain.latency.crossfade - short.chain.latency.crossfade == pytest.approx(0.07)
        assert difference_db(long.sound, short.sound) > -60

    @staticmethod
    def lookahead(kind: str) -> None:
        none, more = (made(kind, "vowel", USUAL.replace(lookahead=ms)) for ms in (0.0, 50.0))
        assert more.chain.delay - none.chain.delay == 2400
        assert more.chain.latency.total - none.chain.latency.total == pytest.approx(0.05)
        assert line_db(more.sound, HZ) > 15

    @staticmethod
    def pitch_floor(kind: str) -> None:
        kind = with_dio(kind)
        found, missed = (
            convert(kind, "low vowel", pitch_floor=hz, pitch_fixed=237.0) for hz in (60.0, 200.0)
        )
        assert line_db(found, 237) > line_db(missed, 237) + 6

    @staticmethod
    def pitch_ceiling(kind: str) -> None:
        kind = with_dio(kind)
        found, missed = (convert(kind, "high vowel", pitch_ceiling=hz) for hz in (900.0, 300.0))
        assert pitch_of(found) == pytest.approx(437, rel=0.01)
        assert abs(pitch_of(missed) - 437) > 20

    @staticmethod
    def ready_memory(kind: str) -> None:
        for memory in (0.0, 100.0):
            device = Device(np.zeros(3 * RATE, np.float32))
            settings, ready = Settings(ready_memory=memory, latency="constant"), set[str]()
            session = Session(device, settings, finder(other=PlainVoice("other")))
            session.keep_ready(["other"])

            def note(n: int, session: Session = session, ready: set[str] = ready) -> None:
                ready.update(session.stats().ready_voices)

            device.on_block = note
            with session:
                assert session.wait(60)
            assert ready == ({"other"} if memory else set())

    @staticmethod
    def seed(kind: str) -> None:
        one, other = (made(kind, "speech", USUAL.replace(seed=n)).sound for n in (1, 2))
        assert difference_db(one, other) > -60
        block = np.resize(SOUNDS["speech"](), made(kind, "speech", USUAL).chain.block)
        settings = USUAL.replace(seed=1)
        first, again = (Chain(voice(kind), settings).step(block, settings) for _ in range(2))
        np.testing.assert_array_equal(first.output, again.output)


RUN = frozenset({"devices", "monitor"})


def kind_for(name: str, kind: str) -> str:
    """The first voice of a kind to which a setting applies, or ""."""
    kinds = [one for one in VOICES if one.split()[0] == kind]
    return next((k for k in kinds if SETTINGS[name].applies_to(voice(k).features | RUN)), "")


def test_every_setting_has_a_check() -> None:
    assert [name for name in vars(Checks) if not name.startswith("__")] == list(SETTINGS)


def check_effect(kind: str, name: str) -> None:
    """What an effect does with the built-in voice, it does with any: after it, and exactly.

    The effects come before the output gain, which keeps the sound below the limiter.
    """
    compressor: dict[str, Value] = {"comp_threshold": -40.0, "comp_ratio": 4.0}
    around: dict[str, dict[str, Value]] = {
        "eq_mid_freq": {"eq_mid": -9.0},
        **dict.fromkeys(("comp_attack", "comp_release", "comp_makeup"), compressor),
        "comp_threshold": {"comp_ratio": 4.0},
        "comp_ratio": {"comp_threshold": -40.0},
        "level_range": {"level": -39.0},
        "reverb_size": {"reverb": 0.4},
    }
    quiet = 10 ** (-24.0 / 20)
    off = USUAL.replace(output_gain=-24.0)
    usual = off.replace(**around.get(name, {}))
    settings = usual.replace(**{name: EFFECTS[name]})
    plain, before, after = (made(kind, "vowel", one) for one in (off, usual, settings))
    strip = ChannelStrip(RATE, settings)
    # The first sample is not the first of a frame where the effects are.
    lead = (plain.chain.delay - Limiter(RATE).delay) % 480
    sound = np.pad(plain.sound, (lead, 0))
    whole = len(sound) // 480 * 480
    expected = quiet * strip.process(sound[:whole] / np.float32(quiet), settings)[lead:]
    error = after.sound[: whole - lead] - expected
    assert np.std(after.sound - before.sound) > 20 * np.std(error)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_setting_has_its_stated_effect(name: str, kind: str, tmp_path: Path) -> None:
    if kind != "world" and name in EFFECTS:
        check_effect(kind_for(name, kind), name)
        return
    arguments = (tmp_path,) if name in ("voice", "morph_to", "morph") else ()
    getattr(Checks, name)(kind_for(name, kind), *arguments)


def test_the_declarations_say_to_which_voices_a_setting_applies() -> None:
    for kind, rest in NOT_FOR.items():
        assert tuple(name for name in SETTINGS if not kind_for(name, kind)) == rest


@pytest.mark.thorough
@pytest.mark.parametrize("kind", more(VOICES, keep=2))
def test_where_a_setting_does_not_apply_nothing_changes(kind: str) -> None:
    plain = made(kind, "briefly voiced", USUAL)
    rest = [one for one in SETTINGS.values() if not one.applies_to(voice(kind).features)]
    assert {"headroom", "monitor_gain"} < {one.name for one in rest}
    for end in (0, -1):
        changes = {one.name: ends(one)[end] for one in rest}
        other = made(kind, "briefly voiced", USUAL.replace(**changes))
        np.testing.assert_array_equal(other.sound, plain.sound, err_msg=f"{changes}")
        assert other.chain.delay == plain.chain.delay
