"""The built-in voice as a stream: time, seams, bad signals, rest."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import pyworld
import soxr
from numpy.typing import NDArray

from rtvc.engine.plan import make_plan
from rtvc.engine.world.analysis import WorldFrames
from rtvc.engine.world.effects import Effects
from rtvc.engine.world.synthesis import WorldSynthesizer
from rtvc.settings import Settings
from tests.engine.speech_measures import (
    NAMES,
    RATE,
    boundary_click,
    log_spectral_distance,
    speech,
    voiced_frames,
)
from tests.engine.world.world_runs import FRAME, VOICE, convert, plan_of
from tests.support.material import more

pytestmark = pytest.mark.slow

LONG = "2086-149214-0000"


def test_a_low_voice_is_tracked_at_its_pitch() -> None:
    time = np.arange(2 * RATE) / RATE
    for hz in (72.0, 85.0, 100.0):
        tone = 0.05 * sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 20))
        settings = Settings(block=100.0)
        stream = VOICE.open(plan_of(settings), settings)
        rendered = [
            stream.render(b, settings) for b in np.asarray(tone, np.float32).reshape(-1, 4800)
        ]
        for part in rendered[3:]:
            assert abs(1200 * np.log2(part.input_f0_hz / hz)) < 3
            assert part.output_f0_hz == pytest.approx(part.input_f0_hz)


@pytest.mark.parametrize(
    ("floor", "frames"), [(50.0, 3), (60.0, 3), (70.0, 2), (85.0, 2), (150.0, 1), (200.0, 1)]
)
def test_lookahead_is_what_the_windows_reach_in_whole_frames(floor: float, frames: int) -> None:
    assert VOICE.lookahead_frames(Settings(pitch_floor=floor)) == frames
    assert frames * 10 >= 1.31 * 1000 / floor > frames * 10 - 13


def test_a_plan_with_too_little_lookahead_is_refused() -> None:
    plan = make_plan(Settings(), voice_lookahead=1, continuous=True)
    with pytest.raises(ValueError, match="too few for 70 Hz"):
        VOICE.open(plan, Settings())


def test_a_block_of_another_size_is_refused() -> None:
    stream = VOICE.open(plan_of(Settings()), Settings())
    with pytest.raises(ValueError, match="whole number"):
        stream.render(np.zeros(500, np.float32), Settings())
    with pytest.raises(ValueError, match=r"exceeds the plan.s 4800"):
        stream.render(np.zeros(9600, np.float32), Settings())


@pytest.mark.parametrize("floor", [50.0, 70.0, 100.0])
@pytest.mark.parametrize("extra", [0.0, 50.0])
def test_output_lags_by_exactly_the_lookahead(floor: float, extra: float) -> None:
    """`convert` takes the lookahead off, so bursts and their envelope must lie where they were."""
    rng = np.random.default_rng(3)
    signal = np.zeros(2 * RATE, np.float32)
    starts = rng.permutation(np.arange(4, 38))[:9] * 2400 + rng.integers(0, 1000, 9)
    for start in starts:
        signal[start : start + 960] = 0.2 * rng.standard_normal(960)
    out = convert(signal, Settings(pitch_floor=floor, lookahead=extra), 100)
    before, after = (
        np.convolve(part.astype(np.float64) ** 2, np.ones(240), "same") ** 0.5
        for part in (signal, out)
    )
    lags = np.arange(-1440, 1441, 24)
    match = [
        np.dot(before[2000:-2000], after[2000 + lag : len(after) - 2000 + lag]) for lag in lags
    ]
    assert abs(lags[int(np.argmax(match))]) <= 96


@pytest.mark.parametrize("changes", more([{}, {"pitch": -7.0, "formant": 3.0}]))
def test_block_size_does_not_matter(changes: dict[str, Any]) -> None:
    settings = Settings(**changes)
    # Noise 80 dB down: in an empty band WORLD's own dither would decide.
    signal = speech(LONG, 2.5)
    signal = signal + 1e-4 * np.random.default_rng(0).standard_normal(len(signal)).astype(
        np.float32
    )
    whole = convert(signal, settings, 3000)
    frames = voiced_frames(LONG, signal)
    for block in (20, 60, 100, 200, 500):
        out = convert(signal, settings, block)
        # D4C dithers once per call, so aperiodicity differs in the third digit.
        assert np.std(out - whole) < 0.01 * np.std(whole)
        assert log_spectral_distance(out, whole, frames) < 0.05
        if block >= 60:
            assert boundary_click(out, block * 48) <= 1.1


def test_synthesis_of_the_same_frames_is_the_same_in_any_pieces() -> None:
    rng = np.random.default_rng(1)
    count, bins = 61, 1025
    hz = np.where(np.arange(count) % 20 < 13, 100 + 8 * rng.standard_normal(count), 0.0)
    slope = -np.linspace(2, 12, bins)
    spectra = np.stack([np.tile(slope, (count, 1)), np.tile(hz[:, None] > 0, bins) * 0.8])
    frames = WorldFrames(hz, spectra.astype(np.float32), np.ones(count))

    def part(start: int, stop: int) -> WorldFrames:
        return WorldFrames(hz[start:stop], frames.spectra[:, start:stop], frames.peak[start:stop])

    whole = WorldSynthesizer(bins, seed=5).render(-6, frames)
    pieces = WorldSynthesizer(bins, seed=5)
    cuts = [0, 3, 5, 17, 37, 61]
    out = [
        pieces.render(start - 6 - (start > 0), part(start, stop))
        for start, stop in itertools.pairwise(cuts)
    ]
    np.testing.assert_allclose(np.concatenate(out), whole, atol=2e-5)
    assert np.std(whole) > 0.01


def test_the_low_frequencies_of_a_lower_voice_are_delayed() -> None:
    """Harmonics keep their level, and their phase is that of the stated all-pass."""
    count, bins, hz = 101, 1025, 100.0
    spectra = np.stack([np.zeros((count, bins)), np.ones((count, bins))]).astype(np.float32)

    def harmonics(delay: float) -> NDArray[np.complex128]:
        frames = WorldFrames(np.full(count, hz), spectra.copy(), np.ones(count), delay)
        sound = WorldSynthesizer(bins, seed=0).render(0, frames)[4800:14400]
        return np.fft.rfft(sound)[20:400:20]  # 100 to 1900 Hz

    plain, late = harmonics(0.0), harmonics(0.003)
    assert np.abs(20 * np.log10(np.abs(late / plain))).max() < 0.1
    at = hz * np.arange(1, 20)
    turned = np.exp(-2j * np.pi * 0.003 * 500 * (1 - np.exp(-at / 500)))
    assert np.abs(np.angle(late / plain / turned)).max() < 0.05
    # The delay is that of the pitch: none if it is raised or kept.
    for semitones, expected in ((4.0, 0.0), (0.0, 0.0), (-9.0, 0.0030), (-24.0, 0.0035)):
        settings = Settings(pitch=semitones)
        frames = WorldFrames(np.full(count, hz), spectra.copy(), np.ones(count))
        changed = Effects(bins, settings).apply(frames, settings)
        assert np.ptp(changed.low_delay) == 0
        assert np.max(changed.low_delay) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("semitones", [-12.0, -5.0, -0.5, 5.0])
def test_a_formant_shift_downwards_leaves_the_highest_frequencies(semitones: float) -> None:
    count, bins = 8, 1025
    hz = np.linspace(0, RATE / 2, bins)
    # A log power that is the frequency itself shows where each bin comes from.
    spectra = np.stack([np.tile(-1e-3 * hz, (count, 1)), np.zeros((count, bins))])
    frames = WorldFrames(np.zeros(count), spectra.astype(np.float32), np.ones(count))
    settings = Settings(formant=semitones)
    source = -1e3 * Effects(bins, settings).apply(frames, settings).spectra[0, -1]
    low, high = hz < 3500, (hz > 8000) & (hz < 15000)
    ratio = 2 ** (-semitones / 12)
    np.testing.assert_allclose(source[low], hz[low] * ratio, atol=1)
    np.testing.assert_allclose(source[high], hz[high] * (ratio if semitones > 0 else 1), atol=1)
    assert np.diff(source).min() >= 0


def test_the_amplitude_of_breath_is_proportional_to_the_setting() -> None:
    count, bins = 12, 1025
    noise = []
    for amount in (0.1, 0.2, 0.4, 1.0):
        settings = Settings(breathiness=amount)
        spectra = np.stack([np.zeros((count, bins)), np.ones((count, bins))]).astype(np.float32)
        frames = WorldFrames(np.full(count, 100.0), spectra, np.ones(count))
        noise.append(1 - Effects(bins, settings).apply(frames, settings).spectra[1, -1, 500])
    np.testing.assert_allclose(np.sqrt(noise), [0.1, 0.2, 0.4, 1.0], atol=1e-4)


def test_the_seed_repeats_the_noise_and_another_changes_it() -> None:
    signal = speech(LONG, 1.0)
    first, again, other = (convert(signal, Settings(seed=seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.std(first - other) > 0.01 * np.std(first)


def test_after_a_pause_the_stream_continues_unchanged() -> None:
    settings = Settings(block=100.0)
    plan = plan_of(settings)
    signal = speech(LONG)[: 9 * RATE]
    blocks = signal.reshape(-1, 4800)
    unbroken, broken = VOICE.open(plan, settings), VOICE.open(plan, settings)
    expected = np.concatenate([unbroken.render(block, settings).audio for block in blocks])
    parts = [broken.render(block, settings).audio for block in blocks[:30]]
    broken.skip(blocks[30:50].reshape(-1)[:7200])
    broken.skip(blocks[30:50].reshape(-1)[7200:])
    parts += [np.zeros(4800, np.float32)] * 20
    parts += [broken.render(block, settings).audio for block in blocks[50:]]
    out = np.concatenate(parts)
    late = plan.lookahead * FRAME
    out, expected = out[late:], expected[late:]
    resumed = 50 * 10 + 6
    frames = voiced_frames(LONG, signal)
    frames = frames[(frames > resumed) & (frames < len(out) // FRAME - 3)]
    # Noise and pulse positions differ, which alone is 1 dB by this measure.
    assert log_spectral_distance(out, expected, frames) < 1.5
    edge = 50 * 4800 - late
    bend = np.abs(np.diff(out, 2))
    around = bend[edge - 96 : edge + 2880]
    assert around.max() <= 1.1 * np.abs(np.diff(expected, 2)).max()
    assert bend[edge - 10 : edge + 10].max() < 0.1 * bend.max()


def test_a_quiet_voice_after_a_long_pause_is_as_voiced_as_at_the_start() -> None:
    settings = Settings(block=100.0)
    quiet = speech(NAMES[0], 3.0).reshape(-1, 4800)
    quiet = quiet / np.std(quiet) * np.float32(0.018)  # -35 dBFS
    loud = np.clip(20 * speech(NAMES[1], 1.0), -1, 1).reshape(-1, 4800)
    fresh, paused = (VOICE.open(plan_of(settings), settings) for _ in range(2))
    for block in loud:
        paused.render(block, settings)
    for _ in range(60):
        paused.skip(np.zeros(RATE, np.float32))
    expected, found = (
        [stream.render(block, settings).input_f0_hz for block in quiet]
        for stream in (fresh, paused)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.count_nonzero(found) > 10


def test_skipping_more_than_is_kept_leaves_a_working_stream() -> None:
    settings = Settings(block=100.0)
    stream = VOICE.open(plan_of(settings), settings)
    stream.skip(np.zeros(10 * RATE, np.float32))
    signal = speech(LONG, 3.0)
    out = [stream.render(block, settings) for block in signal.reshape(-1, 4800)]
    assert 0.5 < np.std(np.concatenate([part.audio for part in out])) / np.std(signal) < 2
    assert 90 < np.median([part.input_f0_hz for part in out if part.input_f0_hz]) < 160


COUNT = RATE // 2
TIME = np.arange(COUNT) / RATE
RANDOM = np.random.default_rng(0)
HARD = {
    "silence": np.zeros(COUNT),
    "nearly nothing": 1e-30 * RANDOM.standard_normal(COUNT),
    "direct current": np.ones(COUNT),
    "square wave": np.sign(np.sin(2 * np.pi * 100 * TIME) + 1e-9),
    "high square wave": np.sign(np.sin(2 * np.pi * 3000 * TIME) + 1e-9),
    "highest frequency": np.tile([1.0, -1.0], COUNT // 2),
    "clicks": (np.arange(COUNT) % 9600 == 50).astype(float),
    "noise": RANDOM.uniform(-1, 1, COUNT),
    "clipped noise": np.clip(5 * RANDOM.standard_normal(COUNT), -1, 1),
    "sudden start": np.where(TIME > 0.25, np.sign(np.sin(2 * np.pi * 90 * TIME)), 0.0),
    "30 Hz": np.sin(2 * np.pi * 30 * TIME),
}


@pytest.mark.parametrize("name", more(HARD, keep=4))
def test_hard_signals_give_sound_of_sane_level(name: str) -> None:
    signal = HARD[name].astype(np.float32)
    for settings in (
        Settings(),
        Settings(pitch=-24.0, formant=-12.0, breathiness=-1.0),
        Settings(pitch=24.0, formant=12.0, breathiness=1.0),
        Settings(whisper=True),
        Settings(pitch_fixed=1000.0),
    ):
        out = convert(signal, settings)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        power_db = 10 * np.log10(np.mean(out.astype(np.float64) ** 2) + 1e-30)
        loudest_db = 20 * np.log10(np.abs(signal).max() + 1e-7)
        assert power_db < loudest_db + 10


def test_silence_stays_silent() -> None:
    assert np.abs(convert(np.zeros(RATE, np.float32), Settings())).max() < 1e-6


def test_settings_may_jump_every_block_without_a_click() -> None:
    stands = [
        Settings(),
        Settings(pitch=24.0, formant=12.0, breathiness=1.0),
        Settings(pitch=-24.0, formant=-12.0, breathiness=-1.0),
        Settings(whisper=True, pitch_fixed=500.0),
        Settings(pitch_range=3.0),
    ]
    settings = dataclasses.replace(stands[0], block=60.0)
    for name in NAMES[:3]:
        signal = speech(name, 2.5)
        signal = signal[: len(signal) // 2880 * 2880]
        stream = VOICE.open(plan_of(settings), settings)
        parts = [
            stream.render(block, stands[k % len(stands)]).audio
            for k, block in enumerate(signal.reshape(-1, 2880))
        ]
        out = np.concatenate(parts)
        assert np.isfinite(out).all()
        assert boundary_click(out, 2880) <= 1.1


def test_speech_without_highs_far_above_full_scale_converts() -> None:
    """D4C returns NaN for it; 36 dB of input gain on a telephone recording give such a level."""
    narrow = soxr.resample(soxr.resample(speech(LONG, 2.0), RATE, 8000), 8000, RATE)
    loud = np.float32(60.0 / np.abs(narrow).max()) * narrow
    assert np.isfinite(convert(loud, Settings())).all()


def test_values_of_the_analysis_that_are_not_finite_are_replaced_and_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*given: Any, **named: Any) -> Any:
        share = original(*given, **named)
        share[0] = np.nan
        return share

    original = pyworld.d4c
    settings = Settings()
    stream = VOICE.open(plan_of(settings), settings)
    monkeypatch.setattr(pyworld, "d4c", broken)
    parts = [
        stream.render(block, settings) for block in speech(LONG, 2.0)[: 19 * 4800].reshape(-1, 4800)
    ]
    assert any(part.repaired for part in parts)
    assert all(np.isfinite(part.audio).all() for part in parts)
