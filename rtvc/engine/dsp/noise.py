"""Noise that is a function of a seed and the absolute frame index only."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32

_PER_COUNT = 8
_ORIGIN = 2**40


def frame_noise(seed: int, first: int, frames: int, samples: int) -> Float32:
    """Return uniformly distributed white noise of unit variance for consecutive frames.

    The noise of a frame does not depend on the other frames of the call, so it is independent
    of block boundaries. The generator is Philox, which is counter-based (Salmon et al.,
    "Parallel random numbers: as easy as 1, 2, 3", 2011). The distribution is uniform because
    each sample then uses exactly one word of the generator.

    Parameters
    ----------
    seed
        Key of the generator, >= 0.
    first
        Absolute index of the first frame; may be negative.
    frames, samples
        Number of frames, and of samples per frame.

    Returns
    -------
    ndarray
        (frames * samples,) float32 in -1.73..1.73.
    """
    counts = -(-samples // _PER_COUNT)
    counter = (_ORIGIN + first) * counts
    generator = np.random.Generator(np.random.Philox(key=seed, counter=counter))
    noise = generator.random(frames * counts * _PER_COUNT, dtype=np.float32)
    if samples % _PER_COUNT:
        noise = noise.reshape(frames, -1)[:, :samples].reshape(-1)
    noise -= np.float32(0.5)
    noise *= np.float32(12.0**0.5)
    return noise
