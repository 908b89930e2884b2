"""Linear interpolation in time."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray


def interpolate_linear(
    x: mx.array, length: int, ratio: float | None = None, offset: float = 0.0
) -> mx.array:
    """Stretch (1, L, C) to (1, length, C), as torch does with ``align_corners=False``.

    Samples are the middles of equal intervals; before the first middle and after
    the last the signal is held.

    Parameters
    ----------
    x
        (1, L, C).
    length
        Samples wanted.
    ratio
        How many intervals of the result one of `x` becomes; None makes the whole of `x`
        the whole of the result.
    offset
        Where `x` begins, in intervals of the result.
    """
    have = x.shape[1]
    ratio = length / have if ratio is None else ratio
    if length == have and ratio == 1 and offset == 0:
        return x
    return sample_linear(x, (np.arange(length) + 0.5 - offset) / ratio - 0.5)


def sample_linear(x: mx.array, places: NDArray[np.floating]) -> mx.array:
    """Read (1, L, C) at any places, of which 0 is the first sample, to (1, places, C).

    Before the first sample and after the last the signal is held.
    """
    have = x.shape[1]
    places = np.clip(places, 0.0, have - 1.0)
    left = places.astype(np.int32)
    weight = (places - left).astype(np.float32)
    if not weight.any():
        return mx.take(x, mx.array(left), axis=1)
    right = np.minimum(left + 1, have - 1)
    share = mx.array(weight)[:, None]
    before, after = (mx.take(x, mx.array(index), axis=1) for index in (left, right))
    return before * (1.0 - share) + after * share
