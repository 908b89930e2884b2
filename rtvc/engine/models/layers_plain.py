"""Operators as single MLX primitives: what a GPU runs best, and what the others are tested against.

Arrays are (batch, frames, channels); convolution weights are
(out channels, kernel, in channels / groups), which is MLX's own layout.
"""

from __future__ import annotations

import mlx.core as mx


def tap_major(weight: mx.array) -> mx.array:
    """Return the weight as it is: the primitives want it contiguous."""
    return weight


def conv1d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> mx.array:
    """Cross-correlate along time.

    Parameters
    ----------
    x
        (batch, frames, in channels).
    weight
        (out channels, kernel, in channels / groups).
    bias
        (out channels,) or None.
    stride, padding, dilation, groups
        As in ``torch.nn.functional.conv1d``; `padding` is on both sides, with zeros.

    Returns
    -------
    mx.array
        (batch, (frames + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1, out channels).
    """
    y = mx.conv1d(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return y if bias is None else y + bias


def conv_transpose1d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    *,
    stride: int,
    padding: int = 0,
    output_padding: int = 0,
) -> mx.array:
    """Transposed convolution along time, as in ``torch.nn.functional.conv_transpose1d``.

    Parameters
    ----------
    x
        (batch, frames, in channels).
    weight
        (out channels, kernel, in channels).
    bias
        (out channels,) or None.
    stride, padding, output_padding
        `padding` frames are cut from both ends; `output_padding` is added to the end.

    Returns
    -------
    mx.array
        (batch, (frames - 1) * stride - 2 * padding + kernel + output_padding, out channels).
    """
    y = mx.conv_transpose1d(
        x, weight, stride=stride, padding=padding, output_padding=output_padding
    )
    return y if bias is None else y + bias


def doubling(weight: mx.array) -> mx.array:
    """Return the weight as ``double2d`` of this module wants it: as it is."""
    return weight


def double2d(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    """Transposed convolution 3 x 3 of stride 2 that doubles height and width exactly.

    ``torch.nn.ConvTranspose2d(kernel_size=3, stride=2, padding=1, output_padding=1)``.

    Parameters
    ----------
    x
        (batch, height, width, in channels).
    weight
        (out channels, 3, 3, in channels), through this module's ``doubling``.
    bias
        (out channels,).

    Returns
    -------
    mx.array
        (batch, 2 * height, 2 * width, out channels).
    """
    return mx.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1) + bias


def gelu(x: mx.array) -> mx.array:
    """Exact Gaussian error linear unit, x * Phi(x)."""
    return x * (0.5 * (1.0 + mx.erf(x * 0.7071067811865476)))


def sigmoid(x: mx.array) -> mx.array:
    """Logistic function, 1 / (1 + exp(-x))."""
    return mx.sigmoid(x)


def tanh(x: mx.array) -> mx.array:
    """Hyperbolic tangent."""
    return mx.tanh(x)


def attention(queries: mx.array, keys: mx.array, values: mx.array, *, scale: float) -> mx.array:
    """Scaled dot-product attention without a mask.

    Parameters
    ----------
    queries, keys, values
        (batch, heads, frames, head width).
    scale
        Factor on the scores, before the softmax.

    Returns
    -------
    mx.array
        (batch, heads, frames, head width).
    """
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale)
