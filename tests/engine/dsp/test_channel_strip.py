"""The effects of the channel strip against their formulas and SciPy, and changes without clicks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import signal

from rtvc._types import Float32, Float64
from rtvc.engine.dsp import auto_level, compressor, equalizer
from rtvc.engine.dsp.auto_level import K_WEIGHTING
from rtvc.engine.dsp.biquad import Cascade, high_pass, peak
from rtvc.engine.dsp.channel_strip import ChannelStrip
from rtvc.engine.dsp.reverb import reverberation_s
from rtvc.settings import Settings

RATE = 48_000
FRAME = RATE // 100
NOISE = np.random.default_rng(4).standard_normal(2 * RATE)
ALL = Settings(
    low_cut=90.0,
    eq_low=-3.0,
    eq_mid=4.0,
    eq_high=2.0,
    deess=8.0,
    comp_ratio=4.0,
    comp_makeup=4.0,
    level=-20.0,
    reverb=0.2,
)


def tone(hz: float, seconds: float, peak: float = 0.3) -> Float32:
    time = np.arange(round(seconds * RATE)) / RATE
    return (peak * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def processed(sound: Float64 | Float32, settings: Settings, block: int = 10 * FRAME) -> Float64:
    strip = ChannelStrip(RATE, settings)
    blocks = sound.astype(np.float32).reshape(-1, block)
    made = np.concatenate([strip.process(x, settings) for x in blocks])
    assert made.dtype == np.float32
    return made.astype(np.float64)


def rms_db(sound: Float64 | Float32) -> float:
    return float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-30))


def test_off_is_the_same_array() -> None:
    block = tone(200.0, 0.1)
    strip = ChannelStrip(RATE, Settings())
    assert all(strip.process(block, Settings()) is block for _ in range(3))
    # Values that belong to an effect that is off change nothing.
    other = Settings(eq_mid_freq=500.0, comp_threshold=-60.0, comp_makeup=20.0, reverb_size=1.0)
    assert strip.process(block, other.replace(level_range=3.0)) is block


def test_off_again_is_the_same_array() -> None:
    strip, block = ChannelStrip(RATE, ALL), tone(200.0, 0.1)
    for settings, blocks in ((ALL, 5), (Settings(), 30)):
        for _ in range(blocks):
            made = strip.process(block, settings)
    assert made is block


@pytest.mark.parametrize("size", [2, 5, 20])
def test_the_size_of_the_blocks_changes_nothing(size: int) -> None:
    sound = np.concatenate([0.1 * NOISE[:RATE], np.zeros(RATE // 5)])
    np.testing.assert_array_equal(
        processed(sound, ALL, size * FRAME), processed(sound, ALL, 10 * FRAME)
    )


def test_a_cascade_is_that_of_scipy() -> None:
    sections = (high_pass(RATE, 30.0), peak(RATE, 900.0, 12.0, 0.9), *K_WEIGHTING)
    cascade = Cascade(*sections)
    made = np.concatenate([cascade.process(x) for x in NOISE.reshape(-1, 2 * FRAME)])
    sos = np.array([(*s[:3], 1.0, *s[3:]) for s in sections])
    np.testing.assert_allclose(made, signal.sosfilt(sos, NOISE), atol=1e-10)


def analog_db(hz: Float64, settings: Settings) -> Float64:
    """The response of the analogue filters in dB, by the formulas that they are made from."""

    def magnitude(top: Any, bottom: Any) -> Float64:
        level: Float64 = 20 * np.log10(np.abs(top) / np.abs(bottom))
        return level

    def warped(corner: float) -> Any:
        return 1j * np.tan(np.pi * hz / RATE) / math.tan(math.pi * corner / RATE)

    total = np.zeros(len(hz))
    if settings.low_cut:
        s = warped(settings.low_cut)
        total += magnitude(s * s, s * s + math.sqrt(2) * s + 1)
    if settings.eq_mid:
        s, a, q = warped(settings.eq_mid_freq), 10 ** (settings.eq_mid / 40), equalizer.MID_Q
        total += magnitude(s * s + s * a / q + 1, s * s + s / (a * q) + 1)
    for gain, corner, high in (
        (settings.eq_low, equalizer.LOW_HZ, False),
        (settings.eq_high, equalizer.HIGH_HZ, True),
    ):
        s, a = warped(corner), 10 ** (gain / 40)
        s = 1 / s if high else s
        b = math.sqrt(2 * a)
        total += magnitude(a * (s * s + b * s + a), a * s * s + b * s + 1)
    return total


@pytest.mark.parametrize(
    "changes",
    [
        {"low_cut": 80.0},
        {"eq_low": 9.0},
        {"eq_mid": -12.0, "eq_mid_freq": 2500.0},
        {"eq_high": 6.0},
        {"low_cut": 120.0, "eq_low": -6.0, "eq_mid": 5.0, "eq_high": -9.0},
    ],
)
def test_the_response_is_that_of_the_formula(changes: dict[str, Any]) -> None:
    settings = Settings(**changes)
    impulse = np.zeros(RATE)
    impulse[0] = 1.0
    hz = np.arange(20, 20_000, 10)
    made = 20 * np.log10(np.abs(np.fft.rfft(processed(impulse, settings)))[hz])
    np.testing.assert_allclose(made, analog_db(hz.astype(np.float64), settings), atol=0.1)


@pytest.mark.parametrize("peak_db", [-40.0, -27.0, -24.0, -21.0, -12.0, -3.0])
def test_the_static_curve_of_the_compressor(peak_db: float) -> None:
    settings = Settings(comp_ratio=4.0, comp_threshold=-24.0)
    over = peak_db + 24
    if over <= -3:
        expected = 0.0
    elif over < 3:
        expected = (1 / 4 - 1) * (over + 3) ** 2 / 12
    else:
        expected = (1 / 4 - 1) * over
    sound = tone(200.0, 1.0, 10 ** (peak_db / 20))
    made = processed(sound, settings)[-RATE // 5 :]
    assert rms_db(made) - rms_db(sound[-RATE // 5 :]) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("attack", "release"), [(5.0, 50.0), (50.0, 300.0)])
def test_the_times_of_the_compressor(attack: float, release: float) -> None:
    """After the attack time 63 % of the reduction is reached; the release begins 10 ms late."""
    settings = Settings(
        comp_ratio=20.0, comp_threshold=-40.0, comp_attack=attack, comp_release=release
    )
    carrier = tone(2000.0, 2.0, 1.0)
    steps = np.where((np.arange(2 * RATE) // (RATE // 2)) % 2 == 1, 1.0, 0.005)
    sound = carrier * steps
    gain = processed(sound, settings) / np.where(np.abs(sound) > 1e-4, sound, np.nan)
    gain_db = 20 * np.log10(np.nanmedian(gain.reshape(-1, 48), axis=1))
    lowest = gain_db[900:990].min()
    assert lowest == pytest.approx(-38, abs=0.2)
    fall = np.argmax(gain_db[500:] < 0.632 * lowest)
    assert fall == pytest.approx(attack, abs=1.5)
    rise = np.argmax(gain_db[1000:] > 0.368 * lowest)
    assert rise == pytest.approx(release + 10, abs=2 + release / 50)


def test_the_deesser_reduces_what_hisses_and_nothing_else() -> None:
    sos = signal.butter(6, (5500, 9500), "bandpass", fs=RATE, output="sos")
    hiss = 0.1 * signal.sosfilt(sos, NOISE)
    time = np.arange(2 * RATE) / RATE
    vowel = sum(0.2 * np.sin(2 * np.pi * 140 * n * time) / n for n in range(1, 40))
    for sound, level in ((hiss, 1.0), (hiss, 0.1), (vowel, 1.0)):
        part = level * np.asarray(sound)
        made = processed(part, Settings(deess=12.0))
        change = rms_db(made[RATE:]) - rms_db(part[RATE:])
        assert change == pytest.approx(0.0 if sound is vowel else -8.3, abs=0.7)


@pytest.mark.parametrize("level_db", [-40.0, -26.0, -12.0])
def test_the_level_reaches_its_target(level_db: float) -> None:
    """Bursts like syllables, of another loudness, by the filters and the gate of BS.1770."""
    time = np.arange(12 * RATE) / RATE
    voice = np.resize(NOISE, len(time)) * (np.sin(2 * np.pi * 1.7 * time) > -0.4)
    voice[4 * RATE : 5 * RATE] *= 1e-3  # a pause
    voice *= 10 ** (level_db / 20) / np.std(voice)
    made = processed(voice, Settings(level=-24.0, level_range=24.0))
    sos = np.array([(*s[:3], 1.0, *s[3:]) for s in K_WEIGHTING])
    part = signal.sosfilt(sos, made)[8 * RATE :].reshape(-1, FRAME)
    powers = np.mean(part**2, axis=1)
    power = powers[powers > 1e-2 * powers.max()].mean()
    assert -0.691 + 10 * math.log10(power) == pytest.approx(-24, abs=0.7)


def test_the_level_stays_in_its_range_and_in_pauses() -> None:
    quiet, settings = tone(300.0, 3.0, 0.01), Settings(level=-20.0, level_range=3.0)
    made = processed(np.concatenate([quiet, 1e-3 * quiet, quiet]), settings)
    gains = [
        rms_db(made[a:b]) - rms_db(quiet[: b - a])
        for a, b in ((2 * RATE, 3 * RATE), (6 * RATE, 7 * RATE))
    ]
    assert gains == pytest.approx([3.0, 3.0], abs=0.05)


def test_the_level_returns_after_a_much_louder_sound() -> None:
    loud, quiet = tone(300.0, 2.0, 0.9), tone(300.0, 15.0, 0.02)
    made = processed(np.concatenate([loud, quiet]), Settings(level=-24.0, level_range=24.0))
    assert auto_level.loudness(float(np.mean(made[-RATE:] ** 2))) == pytest.approx(-24, abs=1.5)


@pytest.mark.parametrize("size", [0.0, 0.5, 1.0])
def test_the_reverberation_has_its_time(size: float) -> None:
    """By backward integration (Schroeder), between -5 and -35 dB, below 1 kHz."""
    sound = np.zeros(5 * RATE)
    sound[0] = 1.0
    made = processed(sound, Settings(reverb=1.0, reverb_size=size))
    made = signal.sosfilt(signal.butter(4, (200, 1000), "bandpass", fs=RATE, output="sos"), made)
    decay = 10 * np.log10(np.cumsum(made[::-1] ** 2)[::-1] / np.sum(made**2) + 1e-12)
    first, last = (np.argmax(decay < level) for level in (-5, -35))
    assert 2 * (last - first) / RATE == pytest.approx(reverberation_s(size), rel=0.12)


def test_the_reverberation_is_dense_and_as_loud_as_the_input() -> None:
    sound = np.concatenate([0.1 * NOISE, np.zeros(RATE)])
    made = processed(sound, Settings(reverb=1.0, reverb_size=0.5))
    assert rms_db(made[RATE : 2 * RATE]) - rms_db(sound[RATE : 2 * RATE]) == pytest.approx(
        -4, abs=2
    )
    impulse = np.zeros(RATE)
    impulse[0] = 1.0
    early = processed(impulse, Settings(reverb=1.0, reverb_size=0.5))[3000:12_000]
    # Gaussian noise has 32 % of its samples beyond its standard deviation; single echoes have few.
    assert np.mean(np.abs(early) > early.std()) > 0.1


CHANGES = [
    {"low_cut": 150.0},
    {"eq_low": 12.0},
    {"eq_mid": -18.0},
    {"eq_mid": 12.0, "eq_mid_freq": 300.0},
    {"eq_high": 12.0},
    {"comp_ratio": 4.0, "comp_threshold": -40.0},
    {"comp_ratio": 2.0, "comp_makeup": 12.0},
    {"level": -35.0},
    {"reverb": 0.5},
    {"reverb": 0.5, "reverb_size": 1.0},
]
CLICK = signal.butter(6, 6000, "highpass", fs=RATE, output="sos")


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_change_makes_no_click(changes: dict[str, Any]) -> None:
    """A step of the signal has frequencies far above those of the tone; a ramp has not."""
    sound = tone(210.0, 3.0).reshape(-1, 2 * FRAME)
    base = Settings(eq_mid=1.0, reverb=0.3) if "reverb" in changes else Settings()
    other = base.replace(**changes)
    strip = ChannelStrip(RATE, base)
    made = np.concatenate(
        [strip.process(x, other if 50 <= k < 100 else base) for k, x in enumerate(sound)]
    )
    clicks = np.abs(signal.sosfilt(CLICK, made.astype(np.float64)))[FRAME * 10 :]
    assert clicks.max() < 0.3e-3  # 60 dB below the tone
    assert not np.array_equal(made, sound.ravel())


def test_the_echoes_of_a_sound_in_which_the_reverb_is_switched_on_do_not_click() -> None:
    sound = tone(210.0, 1.0).reshape(-1, 2 * FRAME)
    off, on = Settings(), Settings(reverb=1.0, reverb_size=1.0)
    strip = ChannelStrip(RATE, off)
    made = np.concatenate([strip.process(x, on if k >= 26 else off) for k, x in enumerate(sound)])
    clicks = np.abs(signal.sosfilt(CLICK, made.astype(np.float64)))[FRAME * 10 :]
    assert clicks.max() < 0.3e-3


def test_a_change_of_the_deesser_makes_no_click() -> None:
    sound = tone(8000.0, 2.0).reshape(-1, 2 * FRAME)
    strip = ChannelStrip(RATE, Settings())
    made = np.concatenate(
        [strip.process(x, Settings(deess=18.0 * (30 <= k < 60))) for k, x in enumerate(sound)]
    )
    assert rms_db(made[40 * 960 : 50 * 960]) < rms_db(sound) - 10
    below = signal.sosfilt(signal.butter(10, 2000, fs=RATE, output="sos"), made)
    assert np.abs(below)[FRAME * 10 :].max() < 0.6e-3


def test_a_sweep_makes_no_click() -> None:
    sound = tone(210.0, 2.0).reshape(-1, 2 * FRAME)
    strip = ChannelStrip(RATE, Settings())
    made = np.concatenate(
        [
            strip.process(x, Settings(eq_mid=9.0, eq_mid_freq=200.0 * 1.03**k, low_cut=k * 3.0))
            for k, x in enumerate(sound)
        ]
    )
    assert np.abs(signal.sosfilt(CLICK, made.astype(np.float64)))[FRAME * 10 :].max() < 0.3e-3


def test_silence_becomes_exact_zeros() -> None:
    sound = np.concatenate([0.1 * NOISE[: RATE // 2], np.zeros(8 * RATE)])
    assert not processed(sound, ALL)[-RATE:].any()


def test_the_knee_is_continuous() -> None:
    levels = np.linspace(-40, 0, 4001)
    gains = compressor.static_gain_db(levels, -20.0, 8.0)
    assert np.abs(np.diff(gains, 2)).max() < 1e-4
