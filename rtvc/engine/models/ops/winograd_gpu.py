"""Convolution of kernel 3 and stride 2 with two ninths fewer products, for GPUs.

Its first and last tap read the even inputs, and together are a convolution of two taps. Winograd's
F(3, 2) computes three outputs of it with four products instead of six ("Arithmetic Complexity of
Computations", 1980). The middle tap reads the odd inputs and is an ordinary product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from rtvc.engine.models.ops.winograd_groups import KERNEL, STRIDE, padded_groups

Activation = Callable[[mx.array], mx.array]

GROUP = 3

_INPUTS = np.array([[0.0, 0.0, -1.0, -1.0], [-1.0, 1.0, 0.0, 0.0]], np.float32)
"""Shares of the inputs 2 and 4 of a group, added to its inputs 0, 2, 4 and 6 for the products."""

_OUTPUTS = np.array([[1.0, 0.0, 0.0], [1.0, -1.0, 1.0], [0.0, 0.0, 1.0]], np.float32)
"""Share of the products 0, 2 and 3 in the three outputs of a group; product 1 is part of all."""


class WinogradTaps(NamedTuple):
    """The weight of a convolution in the form for `convolve`.

    Attributes
    ----------
    outer
        First and last tap, transformed, (4, out channels, in channels).
    middle
        Middle tap, (out channels, in channels).
    group
        Outputs that are computed together: the number of outputs should be a multiple of it.
    """

    outer: mx.array
    middle: mx.array
    group: int = GROUP


def pack(weight: mx.array) -> WinogradTaps:
    """Prepare a weight (out channels, 3, in channels) for `convolve`."""
    first, middle, last = (weight[:, tap] for tap in range(KERNEL))
    wide = [tap.astype(mx.float32) for tap in (first, last)]
    half_sum, half_difference = (0.5 * (wide[0] + sign * wide[1]) for sign in (1.0, -1.0))
    outer = [first, half_sum.astype(weight.dtype), half_difference.astype(weight.dtype), last]
    return WinogradTaps(mx.stack(outer), mx.contiguous(middle))


def convolve(x: mx.array, taps: WinogradTaps, activate: Activation | None = None) -> mx.array:
    """Cross-correlate with a stride of 2, without padding, then apply an activation.

    Parameters
    ----------
    x
        (1, L, in channels).
    taps
        From `pack`.
    activate
        Element-wise function, which becomes part of the last kernel; None for none.

    Returns
    -------
    mx.array
        (1, (L - 3) // 2 + 1, out channels).
    """
    channels = x.shape[2]
    x, outputs, groups = padded_groups(x, GROUP)
    step, pair = STRIDE * GROUP * channels, STRIDE * channels
    # MLX's fused kernels index with unsigned numbers, so no stride is negative.
    own = mx.as_strided(x, (4, groups, channels), (pair, step, 1))
    inner = [mx.as_strided(x, (1, groups, channels), (0, step, 1), n * pair) for n in (1, 2)]
    shares = [mx.array(share, x.dtype)[:, None, None] for share in _INPUTS]
    combined = own + (shares[0] * inner[0] + shares[1] * inner[1])
    products = combined @ taps.outer.transpose(0, 2, 1)
    middle = x[:, 1::STRIDE][:, : GROUP * groups].squeeze(0) @ taps.middle.T
    # What follows is one kernel on a GPU, in float32. MLX fuses no longer chains, and none over
    # a change of shape.
    first, always, difference, last = (
        product.reshape(groups, 1, -1).astype(mx.float32) for product in mx.split(products, 4)
    )
    shares = [mx.array(share)[:, None] for share in _OUTPUTS]
    y = (middle.reshape(groups, GROUP, -1) + always) + shares[1] * difference
    y = y + (shares[0] * first + shares[2] * last)
    y = y if activate is None else activate(y)
    return y.astype(x.dtype).reshape(1, GROUP * groups, -1)[:, :outputs]
