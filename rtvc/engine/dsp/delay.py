"""A delay line of a fixed number of samples."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32


class Delay:
    """Delays a signal by a fixed number of samples.

    Parameters
    ----------
    samples
        Delay, 0 or more. The first output is silence.
    """

    def __init__(self, samples: int) -> None:
        self._held = np.zeros(samples, np.float32)

    def process(self, block: Float32) -> Float32:
        """Return as many samples as `block` holds, delayed; without delay, `block` itself."""
        if not len(self._held):
            return block
        joined = np.concatenate([self._held, block])
        self._held = joined[len(block) :]
        return joined[: len(block)]
