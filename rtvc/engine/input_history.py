"""The last seconds of input."""

from __future__ import annotations

from collections import deque

import numpy as np

from rtvc._types import Float32


class InputHistory:
    """Remembers the newest input, for a new chain to hear before its first step.

    Parameters
    ----------
    samples
        How much is kept, at least.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._blocks: deque[Float32] = deque()
        self._length = 0

    def push(self, block: Float32) -> None:
        """Remember a block."""
        self._blocks.append(block)
        self._length += len(block)
        while self._length - len(self._blocks[0]) >= self._samples:
            self._length -= len(self._blocks.popleft())

    def in_blocks(self, size: int) -> list[Float32]:
        """Return the newest input in blocks of `size`, oldest first, as many as are whole."""
        joined = np.concatenate([np.zeros(0, np.float32), *self._blocks])
        count = len(joined) // size
        return np.split(joined[len(joined) - count * size :], count) if count else []
