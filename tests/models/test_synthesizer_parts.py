"""Small pieces of the synthesizer against NumPy."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rtvc.engine.models.decimate import Decimator
from rtvc.engine.models.interpolate import interpolate_linear


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("have", "want"), [(20, 24), (24, 20), (1, 5), (2, 3), (7, 7), (10, 100)])
def test_interpolation_is_between_the_middles(have: int, want: int) -> None:
    x = _random(1, have, 3)
    y = np.array(interpolate_linear(mx.array(x), want))
    middles = (np.arange(have) + 0.5) / have
    at = (np.arange(want) + 0.5) / want
    expected = np.stack([np.interp(at, middles, x[0, :, c]) for c in range(3)], axis=-1)
    assert_allclose(y[0], expected, atol=1e-5)


@pytest.mark.parametrize(("factor", "outputs"), [(2, 200), (5, 64), (12, 7), (3, 1)])
def test_decimation_keeps_what_is_below_the_cutoff(factor: int, outputs: int) -> None:
    decimate = Decimator(factor, zero_crossings=64, rolloff=0.95, beta=14.77)
    x = _random(1, factor * outputs, 2)
    y = np.array(decimate(mx.array(x)))
    assert y.shape == (1, outputs, 2)
    reach = decimate._reach
    kernel = np.array(decimate._matrix)[: 2 * reach + factor, 0].astype(float)
    padded = np.pad(x[0].astype(float), ((reach, reach + factor), (0, 0)))
    expected = [kernel @ padded[n * factor : n * factor + kernel.size] for n in range(outputs)]
    assert_allclose(y[0], expected, atol=1e-5)
    assert abs(kernel.sum() - 1) < 1e-4  # a constant passes unchanged


def test_decimation_stops_what_would_come_back_as_an_alias() -> None:
    decimate = Decimator(4, zero_crossings=64, rolloff=0.95, beta=14.77)
    time = np.arange(8000)
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32) for f in (0.05, 0.2))
    level = [np.array(decimate(mx.array(x[None, :, None])))[0, 200:-200].std() for x in (low, high)]
    assert abs(level[0] - np.sqrt(0.5)) < 1e-3
    assert level[1] < 1e-5
