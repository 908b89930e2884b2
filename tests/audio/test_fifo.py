from __future__ import annotations

import numpy as np
import pytest

from rtvc.audio.fifo import SampleFifo


def test_samples_come_out_as_they_went_in_however_cut() -> None:
    random = np.random.default_rng(6)
    sound = random.standard_normal(10_000).astype(np.float32)
    fifo, taken, put = SampleFifo(), [], 0
    while put < sound.size or fifo.size:
        count = int(random.integers(0, 300))
        fifo.put(sound[put : put + count])
        put = min(put + count, sound.size)
        taken.append(fifo.take(int(random.integers(0, fifo.size + 1))))
    np.testing.assert_array_equal(np.concatenate(taken), sound)
    assert fifo.take(0).size == 0
    with pytest.raises(ValueError, match="1 samples were asked for where 0 wait"):
        fifo.take(1)
