"""Convolution of kernel 3 and stride 2 with a sixth fewer products, for the CPU.

Its first and last tap read the even inputs, and together are a convolution of two taps. Winograd's
F(2, 2) computes two outputs of it with three products instead of four ("Arithmetic Complexity of
Computations", 1980): one that both outputs share, and one of each. The middle tap reads the odd
inputs; it is part of the products of the single outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx

from rtvc.engine.models.ops.winograd_groups import KERNEL, STRIDE, padded_groups

GROUP = 2


class PairedTaps(NamedTuple):
    """The weight of a convolution in the form for `convolve`.

    Attributes
    ----------
    shared
        Sum of the first and the last tap, (in channels, out channels).
    first, second
        The taps of the first and of the second output of a pair: an outer tap above the middle
        one, (2 * in channels, out channels).
    group
        Outputs that are computed together: the number of outputs should be a multiple of it.
    """

    shared: mx.array
    first: mx.array
    second: mx.array
    group: int = GROUP


def pack(weight: mx.array) -> PairedTaps:
    """Prepare a weight (out channels, 3, in channels) for `convolve`."""
    begin, middle, end = (weight[:, tap].T for tap in range(KERNEL))
    return PairedTaps(
        mx.contiguous(begin + end),
        mx.concatenate([begin, middle]),
        mx.concatenate([end, middle]),
    )


def convolve(x: mx.array, taps: PairedTaps) -> mx.array:
    """Cross-correlate with a stride of 2, without padding.

    Parameters
    ----------
    x
        (1, L, in channels).
    taps
        From `pack`.

    Returns
    -------
    mx.array
        (1, (L - 3) // 2 + 1, out channels).
    """
    channels = x.shape[2]
    x, outputs, pairs = padded_groups(x, GROUP)
    step = STRIDE * GROUP * channels
    # Inputs of a pair: three even ones, of which the last is the first of the next pair.
    first, odd, centre, next_odd, last = (
        mx.as_strided(x, (pairs, channels), (step, 1), n * channels) for n in range(5)
    )
    centre = mx.contiguous(centre)
    shared = centre @ taps.shared
    each = [
        mx.addmm(shared, mx.concatenate([outer - centre, between], axis=1), matrix)
        for outer, between, matrix in ((first, odd, taps.first), (last, next_odd, taps.second))
    ]
    return mx.concatenate(each, axis=1).reshape(1, GROUP * pairs, -1)[:, :outputs]
