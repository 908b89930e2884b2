"""The newest seconds of input."""

from __future__ import annotations

from collections import deque

import numpy as np

from rtvc._types import Float32


class InputHistory:
    """Keeps the newest input, which fills the context of a new chain.

    Parameters
    ----------
    samples
        Minimum number of samples to keep.

    Attributes
    ----------
    end
        Number of samples pushed so far.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._blocks: deque[Float32] = deque()
        self._length = 0
        self.end = 0

    def push(self, block: Float32) -> None:
        """Append a block and drop the oldest ones that are no longer needed."""
        self._blocks.append(block)
        self._length += len(block)
        self.end += len(block)
        while self._length - len(self._blocks[0]) >= self._samples:
            self._length -= len(self._blocks.popleft())

    def forget(self) -> None:
        """Drop all of it; `end` stays."""
        self._blocks.clear()
        self._length = 0

    def newest(self, samples: int, size: int) -> list[Float32]:
        """Return at most the newest `samples` samples in whole blocks of `size`, oldest first."""
        joined = np.concatenate([np.zeros(0, np.float32), *self._blocks])
        count = min(samples, len(joined)) // size
        return np.split(joined[len(joined) - count * size :], count) if count else []
