"""RMVPE against golden outputs of the reference, a small network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from rtvc._types import AnyArray, Float32, Float64
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.errors import RtvcError, UsageError

GOLDEN = Path(__file__).parents[2] / "golden"

State = dict[str, AnyArray]


@pytest.fixture(scope="module")
def rmvpe() -> RmvpeEstimator:
    file = read_rmvpe(GOLDEN / "rmvpe_small.pt")
    return RmvpeEstimator(file.weights, file.config)


@pytest.fixture(scope="module")
def golden() -> State:
    with np.load(GOLDEN / "rmvpe_small.npz") as file:
        return dict(file)


def _reference_decode(salience: Float32, threshold: float) -> tuple[Float64, NDArray[np.bool_]]:
    """Decode as the reference, frame by frame in float64; return f0 and voicing."""
    cents = np.pad(20.0 * np.arange(360) + 1997.3794084376191, 4)
    f0 = np.zeros(len(salience))
    for frame, row in enumerate(salience.astype(np.float64)):
        centre = row.argmax() + 4
        window = slice(centre - 4, centre + 5)
        weight = np.pad(row, 4)[window]
        if row.max() > threshold:
            f0[frame] = 10 * 2 ** ((weight * cents[window]).sum() / weight.sum() / 1200)
    return f0, f0 > 0


def _assert_same_pitch(actual: Float32, expected: AnyArray) -> None:
    voiced = expected > 0
    np.testing.assert_array_equal(actual > 0, voiced)
    error = 1200 * np.abs(np.log2(actual[voiced] / expected[voiced]))
    assert error.max(initial=0.0) < 0.01, f"{error.max():.3f} cents"


def test_mel_spectrum(rmvpe: RmvpeEstimator, golden: State) -> None:
    log_mel = np.array(rmvpe.log_mel(mx.array(golden["audio"])))
    assert log_mel.shape == (301, 128)
    # In quiet bands the rounding of a float32 FFT dominates, so compare magnitudes.
    np.testing.assert_allclose(np.exp(log_mel), np.exp(golden["mel"][0].T), rtol=5e-4, atol=1e-6)


def test_salience(rmvpe: RmvpeEstimator, golden: State) -> None:
    salience = rmvpe.salience(golden["audio"])
    assert salience.dtype == np.float32
    np.testing.assert_allclose(salience, golden["hidden"], atol=2e-5, rtol=0)


@pytest.mark.parametrize(("threshold", "name"), [(None, "f0"), (0.6, "f0_threshold_0p6")])
def test_pitch(rmvpe: RmvpeEstimator, golden: State, threshold: float | None, name: str) -> None:
    _assert_same_pitch(rmvpe(golden["audio"], threshold=threshold), golden[name])


def test_threshold_separates_voiced_from_unvoiced(rmvpe: RmvpeEstimator, golden: State) -> None:
    peaks = golden["hidden"].max(axis=1)
    between = np.sort(peaks)
    gap = int(np.argmax(np.diff(between[50:250]))) + 50  # between the peaks of two frames
    threshold = float(between[gap : gap + 2].mean())
    expected, voiced = _reference_decode(golden["hidden"], threshold)
    assert 50 < voiced.sum() < 251
    _assert_same_pitch(rmvpe(golden["audio"], threshold=threshold), expected)


def test_decoding_at_the_edge_bins(rmvpe: RmvpeEstimator) -> None:
    rng = np.random.default_rng(0)
    peaks = np.array([0, 1, 3, 4, 180, 355, 356, 358, 359])
    salience = rng.uniform(0, 0.2, (len(peaks) + 2, 360)).astype(np.float32)
    salience[np.arange(len(peaks)), peaks] = 0.9
    salience[-2], salience[-1] = 0.0, np.float32(0.01)
    salience[-1, 100] = np.float32(0.03)  # equal to the threshold is unvoiced
    expected, _ = _reference_decode(salience, float(np.float32(0.03)))
    assert (expected[-2:] == 0).all()
    _assert_same_pitch(np.array(rmvpe.decode(mx.array(salience))), expected)


def test_f0_range_limits_the_search(rmvpe: RmvpeEstimator) -> None:
    salience = np.zeros((1, 360), np.float32)
    low, high = 110, 250  # 113 Hz and 570 Hz
    salience[0, low], salience[0, high] = 0.9, 0.5

    def peak(**limits: float) -> float:
        return float(rmvpe.decode(mx.array(salience), **limits)[0])

    assert peak() == pytest.approx(10 * 2 ** (rmvpe.cents[low] / 1200), rel=1e-5)
    assert peak(f0_min=200) == pytest.approx(10 * 2 ** (rmvpe.cents[high] / 1200), rel=1e-5)
    assert peak(f0_min=200, f0_max=400) == 0
    with pytest.raises(UsageError, match="No pitch lies between 500 and 400 Hz"):
        peak(f0_min=500, f0_max=400)


@pytest.mark.parametrize("samples", [513, 640, 4959, 4960, 5120])
def test_frame_count(rmvpe: RmvpeEstimator, samples: int) -> None:
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, samples).astype(np.float32)
    f0 = rmvpe(audio)
    assert f0.dtype == np.float32
    assert f0.shape == (samples // 160 + 1,)
    assert np.isfinite(f0).all()


@pytest.mark.parametrize("shape", [(512,), (0,), (1, 16000)])
def test_short_or_multichannel_signals_are_refused(
    rmvpe: RmvpeEstimator, shape: tuple[int, ...]
) -> None:
    for call in (rmvpe, rmvpe.salience):
        with pytest.raises(UsageError, match="513 samples"):
            call(np.zeros(shape, np.float32))


def test_unsupported_sizes_are_refused() -> None:
    file = read_rmvpe(GOLDEN / "rmvpe_small.pt")
    with pytest.raises(RtvcError, match="256 mel bands"):
        RmvpeEstimator(file.weights, replace(file.config, mels=256))
