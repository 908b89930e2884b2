"""What Winograd's convolutions of kernel 3 and stride 2 have in common on all devices."""

from __future__ import annotations

import mlx.core as mx

KERNEL, STRIDE = 3, 2


def padded_groups(x: mx.array, group: int) -> tuple[mx.array, int, int]:
    """Pad the input of a convolution without padding, so that its outputs form whole groups.

    Parameters
    ----------
    x
        (1, L, channels).
    group
        Outputs that are computed together.

    Returns
    -------
    x
        The padded input, or `x` itself.
    outputs
        Number of outputs of `x`.
    groups
        Number of groups.
    """
    length = x.shape[1]
    outputs = (length - KERNEL) // STRIDE + 1
    groups = -(-outputs // group)
    missing = STRIDE * group * groups + 1 - length
    if missing > 0:
        x = mx.pad(x, [(0, 0), (0, missing), (0, 0)])
    return x, outputs, groups
