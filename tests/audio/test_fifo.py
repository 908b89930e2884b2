from __future__ import annotations

import numpy as np
import pytest

from rtvc.audio.fifo import SampleFifo


def test_samples_come_out_in_order_for_any_lengths() -> None:
    random = np.random.default_rng(6)
    sound = random.standard_normal(10_000).astype(np.float32)
    fifo, popped, pushed = SampleFifo(), [], 0
    while pushed < sound.size or fifo.size:
        count = int(random.integers(0, 300))
        fifo.push(sound[pushed : pushed + count])
        pushed = min(pushed + count, sound.size)
        popped.append(fifo.pop(int(random.integers(0, fifo.size + 1))))
    np.testing.assert_array_equal(np.concatenate(popped), sound)
    assert fifo.pop(0).size == 0
    with pytest.raises(ValueError, match="1 samples were requested, but the queue holds 0"):
        fifo.pop(1)
