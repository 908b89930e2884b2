"""Operators as single MLX primitives: for GPUs, and the reference for the CPU variants.

On a GPU the number of kernel launches determines the time. Each operator is therefore one
primitive where possible; ``ops.compiled`` fuses the element-wise operations between them.

Arrays are (batch, frames, channels); convolution weights are
(out channels, kernel, in channels / groups), which is MLX's own layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mlx.core as mx

from rtvc.engine.models.ops import spectral, winograd_gpu, winograd_groups
from rtvc.engine.models.ops.spectral import Spectrum
from rtvc.engine.models.ops.winograd_gpu import WinogradTaps

_WINOGRAD_CHANNELS = 128
"""Input channels from which fewer products cost less than two more launches."""


def tap_major(weight: mx.array) -> mx.array:
    """Return the weight unchanged: the primitives need it contiguous."""
    return weight


def frame_major(weight: mx.array) -> mx.array:
    """Return the weight unchanged: the primitives need it contiguous."""
    return weight


class PackedTaps(NamedTuple):
    """The weight of a convolution in the form for ``conv1d_packed``: unchanged.

    `group` is the number of outputs that are computed together.
    """

    weight: mx.array
    stride: int
    dilation: int
    group: int = 1


def pack_taps(weight: mx.array, stride: int = 1, dilation: int = 1) -> PackedTaps | WinogradTaps:
    """Prepare a weight (out channels, kernel, in channels) for ``conv1d_packed`` of this module.

    The CPU variant takes a stride or a dilation, but not both.
    """
    _, kernel, channels = weight.shape
    form = kernel, stride, dilation
    if (
        form == (winograd_groups.KERNEL, winograd_groups.STRIDE, 1)
        and channels >= _WINOGRAD_CHANNELS
    ):
        return winograd_gpu.pack(weight)
    return PackedTaps(weight, stride, dilation)


def conv1d_packed(x: mx.array, taps: PackedTaps | WinogradTaps, *, padding: int = 0) -> mx.array:
    """Cross-correlate along time, as ``conv1d`` without groups and without bias."""
    if isinstance(taps, WinogradTaps):
        padded = mx.pad(x, [(0, 0), (padding, padding), (0, 0)]) if padding else x
        return winograd_gpu.convolve(padded, taps)
    return conv1d(x, taps.weight, stride=taps.stride, padding=padding, dilation=taps.dilation)


def conv1d_gelu(x: mx.array, taps: PackedTaps | WinogradTaps) -> mx.array:
    """Return ``gelu(conv1d_packed(x, taps))``."""
    if isinstance(taps, WinogradTaps):
        return winograd_gpu.convolve(x, taps, gelu)
    return gelu(conv1d_packed(x, taps))


def keep_slice(part: mx.array) -> mx.array:
    """Return a slice that outlives the rest of its array.

    On a GPU it stays a view: the memory of the whole array costs less than one launch per
    slice.
    """
    return part


def concatenate_time(parts: Sequence[mx.array]) -> mx.array:
    """Concatenate (batch, frames, channels) along time."""
    return mx.concatenate(list(parts), axis=1)


def linear(x: mx.array, weight: mx.array, bias: mx.array | None = None) -> mx.array:
    """Return x @ weight.T + bias for x (..., in), weight (out, in), bias (out,)."""
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


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
    if padding and stride == dilation == 1 and groups == x.shape[2] == weight.shape[0]:
        # MLX's Metal kernel for one channel per group takes no padding.
        x, padding = mx.pad(x, [(0, 0), (padding, padding), (0, 0)]), 0
    y = mx.conv1d(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return y if bias is None else y + bias


def pack_grouped(weight: mx.array, groups: int) -> mx.array | Spectrum:
    """Prepare a weight (out channels, kernel, in channels / groups) for ``grouped_conv1d``."""
    return spectral.pack(weight, groups) if weight.shape[1] >= spectral.MIN_KERNEL else weight


def grouped_conv1d(x: mx.array, weight: mx.array | Spectrum, *, padding: int = 0) -> mx.array:
    """Cross-correlate along time, each group of channels separately.

    Parameters
    ----------
    x
        (1, frames, in channels).
    weight
        From this module's ``pack_grouped``.
    padding
        As in ``conv1d``.
    """
    if isinstance(weight, Spectrum):
        return spectral.convolve(x, weight, padding)
    return conv1d(x, weight, padding=padding, groups=x.shape[2] // weight.shape[2])


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
    # On Metal the 1-D form unfolds the input with zeros between its samples and multiplies them;
    # the 2-D form skips them.
    image = mx.conv_transpose2d(
        x[:, :, None],
        weight[:, :, None],
        stride=(stride, 1),
        padding=(padding, 0),
        output_padding=(output_padding, 0),
    )
    y = image.squeeze(2)
    return y if bias is None else y + bias


def leaky_relu(x: mx.array, slope: float = 0.01, bias: mx.array | None = None) -> mx.array:
    """Return max(y, slope * y) for y = x + bias; 0 <= slope <= 1."""
    y = x if bias is None else x + bias
    return mx.maximum(y, slope * y)


def relu(x: mx.array, bias: mx.array | None) -> mx.array:
    """Return max(x + bias, 0)."""
    return mx.maximum(x if bias is None else x + bias, 0.0)


def residual(x: mx.array, y: mx.array, bias: mx.array | None) -> mx.array:
    """Return x + y + bias."""
    return x + y if bias is None else x + (y + bias)


def gelu(x: mx.array, bias: mx.array | None = None) -> mx.array:
    """Return the exact Gaussian error linear unit, y * Phi(y), for y = x + bias."""
    return _compiled_gelu(x if bias is None else x + bias)


def sigmoid(x: mx.array) -> mx.array:
    """Return the logistic function, 1 / (1 + exp(-x))."""
    return mx.sigmoid(x)


def tanh(x: mx.array) -> mx.array:
    """Return the hyperbolic tangent."""
    return mx.tanh(x)


def gated(value: mx.array, gate: mx.array) -> mx.array:
    """Return tanh(value) * sigmoid(gate), the gated activation unit of WaveNet."""
    return mx.tanh(value) * mx.sigmoid(gate)


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


def relative_attention(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    relative_keys: mx.array,
    relative_values: mx.array,
    *,
    first: int,
) -> mx.array:
    """Self-attention with relative position terms for keys and values (Shaw et al. 2018).

    Pairs of frames that are more than `window` frames apart have no such term.

    Parameters
    ----------
    queries
        (1, heads, Q, head width), scaled, for frames `first` to `first` + Q - 1.
    keys, values
        (1, heads, T, head width); T >= `first` + Q.
    relative_keys, relative_values
        (1, 2 * window + 1, head width), for distances from -window to window frames.
    first
        Index of the frame of the first query.

    Returns
    -------
    mx.array
        (1, heads, Q, head width).
    """
    _, heads, n_queries, _ = queries.shape
    frames, distances = keys.shape[2], relative_keys.shape[1]
    window = distances // 2
    # From distances to keys: each row is read one element further to the left. The table is
    # padded rather than the product: it is a constant of the trace, so that is no launch.
    padded = mx.pad(relative_keys, [(0, 0), (first, frames - first), (0, 0)])
    mx.eval(padded)
    wide = queries @ padded.transpose(0, 2, 1)
    row = frames + distances
    bias = mx.as_strided(
        wide,
        (1, heads, n_queries, frames),
        (heads * n_queries * row, n_queries * row, row - 1, 1),
        window,
    )
    scores = mx.addmm(bias, queries, keys.transpose(0, 1, 3, 2))
    weights = mx.softmax(scores, axis=-1, precise=True)
    # From keys to distances: each row is read one element further to the right.
    wide = mx.pad(weights, [(0, 0), (0, 0), (0, 0), (window, window)])
    row = frames + 2 * window
    by_distance = mx.as_strided(
        wide,
        (1, heads, n_queries, distances),
        (heads * n_queries * row, n_queries * row, row + 1, 1),
        first,
    )
    return mx.addmm(weights @ values, by_distance, relative_values)


def _gelu(x: mx.array) -> mx.array:
    # float32 costs nothing within one kernel, and 1 + erf would cancel in float16.
    wide = x.astype(mx.float32)
    return (wide * (0.5 * (1.0 + mx.erf(wide * 0.7071067811865476)))).astype(x.dtype)


_compiled_gelu: Callable[[mx.array], mx.array] = mx.compile(_gelu)
