"""A first-in, first-out queue of samples."""

from __future__ import annotations

from collections import deque

import numpy as np

from rtvc._types import Float32


class SampleFifo:
    """A queue of mono samples: arrays of any length go in, arrays of any other length come out.

    Not thread-safe.

    Attributes
    ----------
    size
        Number of samples in the queue.
    """

    def __init__(self) -> None:
        self._pieces: deque[Float32] = deque()
        self.size = 0

    def push(self, samples: Float32) -> None:
        """Append (n,) float32; the array is stored without a copy."""
        if samples.size:
            self._pieces.append(samples)
            self.size += samples.size

    def pop(self, samples: int) -> Float32:
        """Remove and return the oldest `samples` samples, (samples,) float32.

        Raises
        ------
        ValueError
            If the queue holds fewer.
        """
        if samples > self.size:
            raise ValueError(f"{samples} samples were requested, but the queue holds {self.size}")
        self.size -= samples
        taken: list[Float32] = []
        while samples:
            piece = self._pieces.popleft()
            if piece.size > samples:
                self._pieces.appendleft(piece[samples:])
                piece = piece[:samples]
            taken.append(piece)
            samples -= piece.size
        return np.concatenate(taken) if taken else np.empty(0, np.float32)
