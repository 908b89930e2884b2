"""Noise that is a function of a seed and the absolute frame index only."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32

_PER_COUNT = 8
_ORIGIN = 2**40


class FrameNoise:
    """Uniformly distributed white noise of unit variance.

    The noise of a frame does not depend on the other frames that are drawn, so it is independent
    of block boundaries. The generator is Philox, which is counter-based (Salmon et al.,
    "Parallel random numbers: as easy as 1, 2, 3", 2011). The distribution is uniform because
    each sample then uses exactly one word of the generator.

    Parameters
    ----------
    seed
        Key of the generator, >= 0.
    samples
        Samples per frame.
    """

    def __init__(self, seed: int, samples: int) -> None:
        self._seed, self._samples = seed, samples
        self._counts = -(-samples // _PER_COUNT)
        self._generator: np.random.Generator | None = None
        self._next = 0

    def draw(self, first: int, frames: int) -> Float32:
        """Return the noise of consecutive frames.

        Frames that follow those of the last call take a third of the time of others.

        Parameters
        ----------
        first
            Absolute index of the first frame; may be negative.
        frames
            Number of frames.

        Returns
        -------
        ndarray
            (frames * samples,) float32 in -1.73..1.73.
        """
        if self._generator is None or first != self._next:
            counter = (_ORIGIN + first) * self._counts
            philox = np.random.Philox(key=self._seed, counter=counter)
            self._generator = np.random.Generator(philox)
        self._next = first + frames
        noise = self._generator.random(frames * self._counts * _PER_COUNT, dtype=np.float32)
        if self._samples % _PER_COUNT:
            noise = noise.reshape(frames, -1)[:, : self._samples].reshape(-1)
        noise -= np.float32(0.5)
        noise *= np.float32(12.0**0.5)
        return noise


def frame_noise(seed: int, first: int, frames: int, samples: int) -> Float32:
    """Return the noise of consecutive frames; see `FrameNoise`."""
    return FrameNoise(seed, samples).draw(first, frames)
