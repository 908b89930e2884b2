"""Linear interpolation along time."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray


def interpolate_linear(
    x: mx.array, length: int, ratio: float | None = None, offset: float = 0.0
) -> mx.array:
    """Resample (1, L, C) to (1, length, C), as torch does with ``align_corners=False``.

    Each sample is at the centre of an interval; all intervals of a signal are equally long.
    Before the first centre and after the last one, the signal is held.

    Parameters
    ----------
    x
        (1, L, C).
    length
        Number of output samples.
    ratio
        Output intervals per input interval. None stretches `x` to `length`.
    offset
        Start of `x`, in output intervals.

    Returns
    -------
    mx.array
        (1, length, C).
    """
    input_length = x.shape[1]
    ratio = length / input_length if ratio is None else ratio
    if length == input_length and ratio == 1 and offset == 0:
        return x
    return sample_linear(x, (np.arange(length) + 0.5 - offset) / ratio - 0.5)


def sample_linear(x: mx.array, positions: NDArray[np.floating]) -> mx.array:
    """Sample (1, L, C) at fractional positions.

    Parameters
    ----------
    x
        (1, L, C).
    positions
        (N,) in samples; 0 is the first sample. Before the first sample and after the last one,
        the signal is held.

    Returns
    -------
    mx.array
        (1, N, C).
    """
    length = x.shape[1]
    positions = np.clip(positions, 0.0, length - 1.0)
    left = positions.astype(np.int32)
    weight = (positions - left).astype(np.float32)
    if not weight.any():
        return mx.take(x, mx.array(left), axis=1)
    right = np.minimum(left + 1, length - 1)
    share = mx.array(weight)[:, None]
    before, after = (mx.take(x, mx.array(index), axis=1) for index in (left, right))
    return before * (1.0 - share) + after * share
