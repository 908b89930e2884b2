"""The limit of the shift downwards: the mean pitch of the output stays at or above it."""

from __future__ import annotations

import numpy as np
import pytest

from rtvc.engine.dsp.melody import MeanPitch, MelodySettings, limited_shift, target_f0
from rtvc.engine.dsp.tune import Tuner
from rtvc.settings import Settings

COUNT = 1600


def melody(mean_hz: float) -> np.ndarray:
    """Return (1600,) in Hz, 5 ms apart: 3 semitones up and down, with pauses."""
    at = np.arange(COUNT)
    hz = mean_hz * 2 ** (0.25 * np.sin(2 * np.pi * at / 50))
    return np.where(at % 100 < 50, hz, 0.0)


def shifted(hz: np.ndarray, settings: Settings, pieces: int = 1) -> np.ndarray:
    values, mean, tuner = MelodySettings(settings), MeanPitch(), Tuner(0.005)
    parts = [
        target_f0(x, mean.update(x), values.glide(len(x), settings), tuner)
        for x in np.split(hz, pieces)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("mean_hz", "pitch", "limit", "expected"),
    [
        (82.0, -9.0, 65.0, 12 * np.log2(65 / 82)),
        (82.0, -9.0, 0.0, -9.0),
        (130.0, -9.0, 65.0, -9.0),
        (60.0, -9.0, 65.0, 0.0),
        (60.0, 4.0, 65.0, 4.0),
        (60.0, 0.0, 65.0, 0.0),
    ],
)
def test_the_mean_is_lowered_to_the_limit_and_no_further(mean_hz, pitch, limit, expected):
    hz = melody(mean_hz)
    out = shifted(hz, Settings(pitch=pitch, pitch_lowest=limit))
    np.testing.assert_array_equal(out > 0, hz > 0)
    late = np.flatnonzero(hz[800:]) + 800  # the running mean has settled
    semitones = 12 * np.log2(out[late] / hz[late])
    assert np.mean(semitones) == pytest.approx(expected, abs=0.25)
    # The melody keeps its range.
    assert np.ptp(semitones) < 0.5


def test_pieces_of_any_length_give_the_same():
    hz = melody(82.0)
    settings = Settings(pitch=-10.0, pitch_lowest=65.0)
    np.testing.assert_array_equal(shifted(hz, settings, 20), shifted(hz, settings))


def test_a_limit_that_appears_is_reached_within_the_glide():
    values = MelodySettings(Settings(pitch=-12.0))
    frames = values.glide(6, Settings(pitch=-12.0, pitch_lowest=80.0))
    shift = limited_shift(np.full(6, np.log2(100.0)), frames)
    np.testing.assert_allclose(shift, 12 * np.log2(80 / 100), atol=1e-9)
