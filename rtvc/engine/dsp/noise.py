"""Noise that depends on nothing but a seed and the position in the stream."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32

_PER_COUNT = 8
_ORIGIN = 2**40


def frame_noise(seed: int, first: int, frames: int, samples: int) -> Float32:
    """Return white noise of unit variance, uniformly distributed, for a run of frames.

    A frame is the same in whatever run it is asked for, so the noise does not
    know where blocks begin (Philox, a counter-based generator: Salmon et al.,
    "Parallel random numbers: as easy as 1, 2, 3", 2011). Uniform, because each
    sample then takes exactly one word of the generator.

    Parameters
    ----------
    seed
        Key of the generator, >= 0.
    first
        Absolute index of the first frame; may be negative.
    frames, samples
        How many frames, and samples in each (a multiple of 8).

    Returns
    -------
    ndarray
        (frames * samples,) float32 in -1.73..1.73.
    """
    if samples % _PER_COUNT:
        raise ValueError(f"{samples} samples in a frame are no multiple of {_PER_COUNT}")
    counter = (_ORIGIN + first) * (samples // _PER_COUNT)
    generator = np.random.Generator(np.random.Philox(key=seed, counter=counter))
    noise = generator.random(frames * samples, dtype=np.float32)
    noise -= np.float32(0.5)
    noise *= np.float32(12.0**0.5)
    return noise
