"""What the built-in voice sounds like, measured by other means than those inside."""

from pathlib import Path

import numpy as np
import pytest
import pyworld
import yaml
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.settings import SETTINGS, Settings
from tests.engine.speech_measures import (
    NAMES,
    RATE,
    envelope_db,
    formants,
    harmonic_pitch,
    log_spectral_distance,
    reference_pitch,
    speech,
    voiced_frames,
    warp_semitones,
)
from tests.engine.world.world_runs import convert
from tests.support.material import more

pytestmark = pytest.mark.slow

PRESETS = sorted((Path(__file__).parents[3] / "presets").glob("*.yaml"))
LOUD = "2086-149214-0000"


def pitch_range(name: str) -> tuple[float, float]:
    """Where to look for this speaker's pitch, in Hz."""
    pitch = reference_pitch(name)
    low, high = np.percentile(pitch[pitch > 0], [2, 99.5])
    return max(0.9 * low, 66.0), 1.1 * high


def cents(ratio: float) -> float:
    return 1200 * float(np.log2(ratio))


@pytest.mark.thorough
@pytest.mark.parametrize("name", more(NAMES))
def test_median_pitch_is_what_was_asked(name: str) -> None:
    signal = speech(name, 5.0)
    low, high = pitch_range(name)
    before = harmonic_pitch(signal, low, high)
    reference = reference_pitch(name)
    for semitones in (-12.0, -5.0, 0.0, 4.0, 12.0):
        ratio = 2 ** (semitones / 12)
        out = convert(signal, Settings(pitch=semitones))
        after = harmonic_pitch(out, low * ratio, high * ratio)
        count = min(len(before), len(reference))
        # What creaks, whispers or stops is left to no estimator's opinion.
        both = np.flatnonzero((before > 0) & (after > 0))
        both = both[both < count]
        both = both[reference[both] > 0]
        assert len(both) > 0.3 * count
        asked = np.median(before[both]) * ratio
        assert abs(cents(np.median(after[both]) / asked)) < 35, semitones
        assert abs(cents(np.median(after[both] / before[both]) / ratio)) < 20, semitones
        gross = np.abs(np.log2(after[both] / before[both] / ratio)) > np.log2(1.2)
        assert gross.mean() < 0.15, semitones


@pytest.mark.thorough
def test_pitch_follows_the_reference_contour() -> None:
    for name in NAMES:
        out = convert(speech(name, 3.0), Settings(pitch=4.0))
        low, high = pitch_range(name)
        after = harmonic_pitch(out, low * 2 ** (1 / 3), high * 2 ** (1 / 3))
        reference = reference_pitch(name)[: len(after)]
        after = after[: len(reference)]
        both = (after > 0) & (reference > low)
        assert abs(cents(np.median(after[both] / reference[both])) - 400) < 35


@pytest.mark.thorough
def test_fine_pitch_adds_cents() -> None:
    signal = speech(LOUD, 4.0)
    low, high = pitch_range(LOUD)
    plain, fine = (
        harmonic_pitch(convert(signal, Settings(pitch_fine=value)), low, high)
        for value in (0.0, 50.0)
    )
    both = (plain > 0) & (fine > 0)
    assert abs(cents(np.median(fine[both] / plain[both])) - 50) < 15


@pytest.mark.parametrize("semitones", more([3.0, -3.0]))
def test_formants_move_by_what_was_asked(semitones: float) -> None:
    moved: list[Float64] = []
    for name in NAMES:
        signal = speech(name, 5.0)
        frames = voiced_frames(name, signal, below_db=15)
        out = convert(signal, Settings(formant=semitones))
        before, after = envelope_db(signal, frames[::3]), envelope_db(out, frames[::3])
        # The band of the first formant, then that of the second.
        assert abs(warp_semitones(before, after, 250, 1100) - semitones) <= 0.7, name
        assert abs(warp_semitones(before, after, 900, 3000) - semitones) <= 0.7, name
        moved.append(12 * np.log2(formants(out, frames) / formants(signal, frames)))
    first, second = np.nanmedian(np.concatenate(moved), axis=0)
    assert abs(first - semitones) <= 0.7
    assert abs(second - semitones) <= 0.7


@pytest.mark.thorough
def test_formants_do_not_move_the_pitch() -> None:
    signal = speech(LOUD, 4.0)
    low, high = pitch_range(LOUD)
    plain, moved = (
        harmonic_pitch(convert(signal, Settings(formant=value)), low, high) for value in (0.0, 4.0)
    )
    both = (plain > 0) & (moved > 0)
    assert abs(cents(np.median(moved[both] / plain[both]))) < 10


def one_shot(signal: Float32, pitch: float, formant: float) -> Float32:
    """The same changes by WORLD alone, which sees the whole signal at once."""
    x = signal.astype(np.float64)
    hz, seconds = pyworld.harvest(x, RATE, f0_floor=70.0, f0_ceil=900.0)
    envelope = pyworld.cheaptrick(x, hz, seconds, RATE)
    aperiodicity = pyworld.d4c(x, hz, seconds, RATE)
    bins = np.arange(envelope.shape[1])

    def stretched(table: Float64) -> Float64:
        return np.array([np.interp(bins / 2 ** (formant / 12), bins, row) for row in table])

    out = pyworld.synthesize(
        hz * 2 ** (pitch / 12), np.exp(stretched(np.log(envelope))), stretched(aperiodicity), RATE
    )
    return out[: len(signal)].astype(np.float32)


@pytest.mark.thorough
@pytest.mark.parametrize("name", more(NAMES))
def test_streaming_is_as_good_as_one_shot(name: str) -> None:
    signal = speech(name, 7.0)
    frames = voiced_frames(name, signal, below_db=30)
    whole = one_shot(signal, 5.0, 3.0)
    out = convert(signal, Settings(pitch=5.0, formant=3.0), 100)
    assert log_spectral_distance(out, whole, frames) < 2.0
    assert abs(20 * np.log10(np.std(out) / np.std(whole))) < 1.0


def harmonicity(signal: Float32, frames: NDArray[np.intp]) -> float:
    """Median over frames of the highest normalised autocorrelation, lags of 60 to 400 Hz.

    Of the differentiated signal, where the higher harmonics count for something.
    """
    window = np.hanning(2402)[1:-1]
    lags = slice(2399 + 120, 2399 + 800)
    fall = np.correlate(window, window, "full")
    peaks = []
    for frame in frames[::4]:
        piece = np.diff(signal[frame * 480 - 1200 : frame * 480 + 1201]) * window
        own = np.correlate(piece, piece, "full")
        peaks.append(np.max(own[lags] / fall[lags]) * fall[2399] / own[2399])
    return float(np.median(peaks))


@pytest.mark.thorough
def test_breath_and_whisper_take_the_harmonics_away() -> None:
    signal = speech(LOUD, 4.0)
    frames = voiced_frames(LOUD, signal)
    plain, breathy, airy, whisper = (
        harmonicity(convert(signal, settings), frames)
        for settings in (
            Settings(),
            Settings(breathiness=0.5),
            Settings(breathiness=1.0),
            Settings(whisper=True),
        )
    )
    assert plain > breathy + 0.08
    assert breathy > airy + 0.08
    assert airy > whisper + 0.08


@pytest.mark.thorough
def test_less_breath_leaves_more_of_the_harmonics() -> None:
    # How much depends on the speaker: a clear voice has little breath to lose.
    gained = []
    for name in NAMES:
        signal = speech(name, 4.0)
        frames = voiced_frames(name, signal)
        pressed, plain = (
            harmonicity(convert(signal, settings), frames)
            for settings in (Settings(breathiness=-1.0), Settings())
        )
        gained.append(pressed - plain)
    assert min(gained) > 0
    assert np.mean(gained) > 0.01


@pytest.mark.thorough
def test_a_robot_speaks_on_one_pitch_and_a_monotone_near_one() -> None:
    signal = speech(LOUD, 5.0)
    low, high = pitch_range(LOUD)

    def spread(settings: Settings, near: float) -> tuple[float, float]:
        pitch = harmonic_pitch(convert(signal, settings), near / 1.4, near * 1.4)
        quarter, middle, rest = np.percentile(pitch[pitch > 0], [25, 50, 75])
        return float(middle), cents(rest / quarter)

    centre = (low * high) ** 0.5
    _, natural = spread(Settings(), centre)
    middle, wide = spread(Settings(pitch_range=2.0), centre)
    _, flat = spread(Settings(pitch_range=0.0), centre)
    assert wide > 1.4 * natural > 2 * flat
    middle, fixed = spread(Settings(pitch_fixed=140.0), 140.0)
    assert abs(cents(middle / 140)) < 13
    assert fixed < 30


@pytest.mark.thorough
def test_presets_differ_and_none_clips() -> None:
    assert len(PRESETS) >= 10
    signal = speech(LOUD, 3.0)
    seen = set()
    for path in PRESETS:
        text = path.read_text()
        lines = yaml.safe_load(text)
        assert next(iter(lines)) == "description"
        assert text.count("\n#") >= 2, f"{path.name} has no comment for the user"
        assert isinstance(lines["description"], str)
        assert lines.pop("description").endswith(".")
        settings = Settings(**lines)
        assert settings.changed() == {key: SETTINGS[key].check(lines[key]) for key in lines}
        seen.add(settings)
        out = convert(signal, settings) * 10 ** (settings.output_gain / 20)
        assert np.abs(out).max() < 1.0, path.name
        assert np.std(out) > 0.3 * np.std(signal), path.name
    assert len(seen) == len(PRESETS)
