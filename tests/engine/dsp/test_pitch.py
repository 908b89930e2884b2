from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rtvc.engine.dsp.pitch import coarse_pitch, sine_phase
from rtvc.errors import UsageError


def test_coarse_pitch_of_known_values() -> None:
    hz = [0, 20, 50, 100, 220, 440, 1100, 5000]
    assert_array_equal(coarse_pitch(hz), [1, 1, 1, 20, 60, 122, 255, 255])
    assert coarse_pitch(hz).dtype == np.int32


def test_coarse_pitch_keeps_the_shape() -> None:
    assert coarse_pitch(np.full((2, 3), 220.0)).shape == (2, 3)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_pitch_that_is_none(bad: float) -> None:
    with pytest.raises(UsageError, match="in Hz"):
        coarse_pitch([100.0, bad])
    with pytest.raises(UsageError, match="in Hz"):
        sine_phase([100.0, bad])


def test_phase_advances_by_pitch_and_rests_where_unvoiced() -> None:
    assert_allclose(sine_phase([50.0, 0.0, 125.0, 10.0], 0.25), [0.25, 0.75, 0.75, 0.0, 0.1])


def test_phase_can_be_taken_up_again() -> None:
    hz = np.random.default_rng(1).uniform(60, 900, 500)
    whole = sine_phase(hz)
    assert_allclose(sine_phase(hz[200:], whole[200]), whole[200:], atol=1e-9)
