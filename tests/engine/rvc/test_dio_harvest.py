"""The estimators without weights, on tones, noise and real speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.engine.rvc.dio_harvest import WorldEstimator, dio, harvest
from rtvc.errors import UsageError

GOLDEN = Path(__file__).parents[2] / "golden" / "fcpe_174-50561-0000.npz"
BOTH = pytest.mark.parametrize("estimator", [dio(), harvest()], ids=["dio", "harvest"])


def _tone_then_noise(f0: float) -> Float32:
    t = np.arange(8000) / 16000
    tone = sum(np.sin(2 * np.pi * f0 * k * t) / k for k in range(1, int(7000 / f0) + 1))
    noise = np.random.default_rng(0).standard_normal(8000)
    return np.concatenate([0.2 * tone, 0.05 * noise]).astype(np.float32)


@BOTH
@pytest.mark.parametrize("f0", [60.0, 220.0, 880.0])
def test_a_tone_is_voiced_and_noise_is_not(estimator: WorldEstimator, f0: float) -> None:
    pitch = estimator(_tone_then_noise(f0))
    assert pitch.shape == (101,)
    assert pitch.dtype == np.float32
    tone, noise = pitch[6:44], pitch[58:95]  # away from the ends and the change
    assert (1200 * np.abs(np.log2(tone / f0))).max() < 1.0
    assert (noise > 0).mean() < 0.15


@BOTH
def test_speech_agrees_with_a_network(estimator: WorldEstimator) -> None:
    with np.load(GOLDEN) as file:
        # The network's windows lie 5 ms later; half a frame is within the tolerance.
        audio, expected = file["audio"][16000:40000], file["f0"][100:251]
    pitch = estimator(audio)
    assert pitch.shape == expected.shape
    assert ((pitch > 0) == (expected > 0)).mean() > 0.7
    both = (pitch > 0) & (expected > 0)
    cents = 1200 * np.abs(np.log2(pitch[both] / expected[both]))
    assert np.median(cents) < 25


@BOTH
def test_threshold_only_takes_voicing_away(estimator: WorldEstimator) -> None:
    with np.load(GOLDEN) as file:
        audio = file["audio"][16000:24000]
    trusting, usual, strict = (estimator(audio, threshold=t) for t in (0.0, None, 1.0))
    for fewer, more in ((usual, trusting), (strict, usual)):
        np.testing.assert_array_equal(fewer[fewer > 0], more[fewer > 0])
    assert usual.any()
    assert not strict.any()


@BOTH
def test_silence_is_unvoiced(estimator: WorldEstimator) -> None:
    assert not estimator(np.zeros(4960, np.float32)).any()


@BOTH
def test_what_cannot_be_estimated_is_refused(estimator: WorldEstimator) -> None:
    with pytest.raises(UsageError, match="1600 samples"):
        estimator(np.zeros(1599, np.float32))
    for limits in ({"f0_min": 30.0}, {"f0_max": 2000.0}, {"f0_min": 300.0, "f0_max": 200.0}):
        with pytest.raises(UsageError, match="within 40 to 1600 Hz"):
            estimator(np.zeros(1600, np.float32), **limits)
