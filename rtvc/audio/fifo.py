"""A queue of samples that come in pieces and go out in others."""

from __future__ import annotations

from collections import deque

import numpy as np

from rtvc._types import Float32


class SampleFifo:
    """Mono samples in order; `size` of them wait. For one thread."""

    def __init__(self) -> None:
        self._pieces: deque[Float32] = deque()
        self.size = 0

    def put(self, samples: Float32) -> None:
        """Append (n,) float32; the array is kept, not copied."""
        if samples.size:
            self._pieces.append(samples)
            self.size += samples.size

    def take(self, samples: int) -> Float32:
        """Remove and return exactly so many of the oldest samples.

        Raises
        ------
        ValueError
            If fewer are there.
        """
        if samples > self.size:
            raise ValueError(f"{samples} samples were asked for where {self.size} wait")
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
