"""A delay of a whole number of samples, kept from block to block."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32


class Delay:
    """Delays a signal by a fixed number of samples.

    Parameters
    ----------
    samples
        The delay, 0 or more; silence comes out before the first input does.
    """

    def __init__(self, samples: int) -> None:
        self._held = np.zeros(samples, np.float32)

    def process(self, block: Float32) -> Float32:
        """Take a block and return as many samples, delayed."""
        joined = np.concatenate([self._held, block])
        self._held = joined[len(block) :]
        return joined[: len(block)]
