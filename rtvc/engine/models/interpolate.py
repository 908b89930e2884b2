"""Linear interpolation in time."""

from __future__ import annotations

import mlx.core as mx
import numpy as np


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
    position = np.clip((np.arange(length) + 0.5 - offset) / ratio - 0.5, 0.0, have - 1.0)
    left = np.minimum(position.astype(np.int32), max(have - 2, 0))
    right = np.minimum(left + 1, have - 1)
    weight = mx.array((position - left).astype(np.float32))[:, None]
    return x[:, mx.array(left)] * (1.0 - weight) + x[:, mx.array(right)] * weight
