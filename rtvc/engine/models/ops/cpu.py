"""Operators in the form that is fastest on MLX's CPU backend.

Results and signatures equal those of the single primitives in ``gpu``; ``ops`` selects one
of the two modules. MLX's CPU convolutions use scalar code when they are dilated, transposed
or grouped, and its transcendental functions process one element at a time, whereas a matrix
product in an optimised BLAS is fast. The operators here are therefore matrix products on
shifted views of the input, which is not unfolded.

A weight stored by ``tap_major`` (``frame_major`` for a transposed convolution) provides its
taps as matrices without a copy. Any other layout works too, at one copy of the weight per call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import mlx.core as mx

from rtvc.engine.models.ops import spectral, winograd_cpu, winograd_groups
from rtvc.engine.models.ops.cpu_streams import partition, sum_streams
from rtvc.engine.models.ops.spectral import Spectrum
from rtvc.engine.models.ops.winograd_cpu import PairedTaps

_MAX_UNFOLDED_FRAMES = 64
"""Frames up to which one product over all taps is as fast as one per tap, in fewer operations."""

_MAX_PADDED_SIZE = 1 << 16
"""Elements up to which ``mx.pad`` is faster than concatenation, which is more operations."""

_PAIRED_CHANNELS = 128
"""Input channels from which fewer products cost less than two more copies."""

_MAX_TAPS_PER_PRODUCT = 4
"""Taps of a grouped convolution per product; unfolding more taps costs more than it saves."""

# Abramowitz and Stegun 7.1.28: erfc(z) = (sum of a[i] z^i)^-16, here for z = |x| / sqrt 2.
_ERFC = [
    coefficient * 0.5 ** (power / 2)
    for power, coefficient in enumerate(
        (
            1.0,
            0.0705230784,
            0.0422820123,
            0.0092705272,
            0.0001520143,
            0.0002765672,
            0.0000430638,
        )
    )
]


def tap_major(weight: mx.array) -> mx.array:
    """Store a (O, K, I) weight as (K, I, O); shape and values stay the same."""
    return mx.contiguous(weight.transpose(1, 2, 0)).transpose(2, 0, 1)


def frame_major(weight: mx.array) -> mx.array:
    """Store a (O, K, I) weight as (K, O, I); shape and values stay the same."""
    return mx.contiguous(weight.transpose(1, 0, 2)).transpose(1, 0, 2)


class PackedTaps(NamedTuple):
    """The weight of a convolution as matrices.

    Attributes
    ----------
    matrices
        (taps * in channels, out channels) each: one per tap, or with a larger stride one per
        `stride` adjacent taps (the last one may have fewer).
    whole
        All matrices stacked, (kernel * in channels, out channels); None unless stride and
        dilation are 1 and the kernel is larger than 1.
    kernel, stride, dilation
        Of the convolution.
    group
        Outputs that are computed together.
    """

    matrices: tuple[mx.array, ...]
    whole: mx.array | None
    kernel: int
    stride: int
    dilation: int
    group: int = 1


def pack_taps(weight: mx.array, stride: int = 1, dilation: int = 1) -> PackedTaps | PairedTaps:
    """See ``gpu.pack_taps``. Building these views of the weight in every step would be slow."""
    _, kernel, channels = weight.shape
    form = kernel, stride, dilation
    if form == (winograd_groups.KERNEL, winograd_groups.STRIDE, 1) and channels >= _PAIRED_CHANNELS:
        return winograd_cpu.pack(weight)
    return pack_matrices(weight, stride, dilation)


def pack_matrices(weight: mx.array, stride: int = 1, dilation: int = 1) -> PackedTaps:
    """Return the weight of a convolution as matrices, also where `pack_taps` has another form."""
    if stride > 1 and dilation > 1:
        raise ValueError(
            f"A stride of {stride} with a dilation of {dilation} is not supported on the CPU."
        )
    out, kernel, _ = weight.shape
    matrices = []
    for first in range(0, kernel, stride):
        taps = weight[:, first : first + stride].transpose(1, 2, 0)
        matrices.append(taps.reshape(-1, out))
    joined = stride == 1 and dilation == 1 and kernel > 1
    whole = weight.transpose(1, 2, 0).reshape(-1, out) if joined else None
    return PackedTaps(tuple(matrices), whole, kernel, stride, dilation)


def conv1d_packed(x: mx.array, taps: PackedTaps | PairedTaps, *, padding: int = 0) -> mx.array:
    """See ``gpu.conv1d_packed``."""
    x = pad_time(x, padding, padding)
    if isinstance(taps, PairedTaps):
        return winograd_cpu.convolve(x, taps)
    length = (x.shape[1] - (taps.kernel - 1) * taps.dilation - 1) // taps.stride + 1
    if taps.whole is not None and length <= _MAX_UNFOLDED_FRAMES and len(x) == 1:
        width = x.shape[2]
        windows = mx.as_strided(x, (1, length, taps.kernel * width), (0, width, 1))
        return windows @ taps.whole
    y = None
    for n, matrix in enumerate(taps.matrices):
        first = n * taps.stride * taps.dilation
        if taps.stride == 1:
            rows = x[:, first : first + length]
        else:
            rows = _strided_windows(x, first, matrix.shape[0] // x.shape[2], taps.stride, length)
        y = accumulate_product(y, rows, matrix)
    assert y is not None
    return y


def conv1d_gelu(x: mx.array, taps: PackedTaps | PairedTaps) -> mx.array:
    """See ``gpu.conv1d_gelu``."""
    return gelu(conv1d_packed(x, taps))


def _strided_windows(x: mx.array, first: int, taps: int, stride: int, length: int) -> mx.array:
    """Return the inputs of `taps` adjacent taps, (B, length, taps * C), from x (B, L, C)."""
    if taps == stride:  # adjacent windows: a view
        return x[:, first : first + length * stride].reshape(x.shape[0], length, -1)
    # The last matrix may have fewer taps; this is the only case that copies rows.
    each = [x[:, first + n :: stride][:, :length] for n in range(taps)]
    return mx.concatenate(each, axis=2)


def accumulate_product(total: mx.array | None, rows: mx.array, matrix: mx.array) -> mx.array:
    """Return total + rows @ matrix; a total of None is 0."""
    return rows @ matrix if total is None else mx.addmm(total, rows, matrix)


def keep_slice(part: mx.array) -> mx.array:
    """See ``gpu.keep_slice``; a copy, so that the rest of the array can be freed."""
    return mx.contiguous(part)


def concatenate_time(parts: Sequence[mx.array]) -> mx.array:
    """See ``gpu.concatenate_time``; copying pairs of float32 as int64 takes half the time."""
    if any(part.dtype != mx.float32 or part.shape[-1] % 2 for part in parts):
        return mx.concatenate(list(parts), axis=1)
    pairs = mx.concatenate([part.view(mx.int64) for part in parts], axis=1)
    return pairs.view(mx.float32)


def linear(x: mx.array, weight: mx.array, bias: mx.array | None = None) -> mx.array:
    """See ``gpu.linear``; ``mx.addmm`` takes longer to broadcast the bias than to add it."""
    y = x @ weight.T
    return y if bias is None else y + bias


def pad_time(x: mx.array, before: int, after: int) -> mx.array:
    """Pad axis 1 with zeros; for large arrays concatenation is faster than ``mx.pad``."""
    if not before and not after:
        return x
    if x.size <= _MAX_PADDED_SIZE:
        return mx.pad(x, [(0, 0), (before, after), (0, 0)])
    parts = [x]
    if before:
        parts.insert(0, mx.zeros((x.shape[0], before, x.shape[2]), x.dtype))
    if after:
        parts.append(mx.zeros((x.shape[0], after, x.shape[2]), x.dtype))
    return concatenate_time(parts)


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
    """See ``gpu.conv1d``."""
    x = pad_time(x, padding, padding)
    if groups == 1 and (stride == 1 or dilation == 1):
        y = conv1d_packed(x, pack_matrices(weight, stride, dilation))
    elif stride != 1:
        y = mx.conv1d(x, weight, stride=stride, dilation=dilation, groups=groups)
    elif weight.shape[2] == 1 and weight.shape[0] == groups:
        y = _depthwise(x, weight, dilation)
    else:
        y = _conv1d_by_group(x, _pack_groups(weight, groups), dilation)
    return y if bias is None else y + bias


def pack_grouped(weight: mx.array, groups: int) -> mx.array | Spectrum:
    """See ``gpu.pack_grouped``."""
    if weight.shape[1] >= spectral.MIN_KERNEL:
        return spectral.pack(weight, groups, inputs_first=True)
    return _pack_groups(weight, groups)


def _pack_groups(weight: mx.array, groups: int) -> mx.array:
    """Rearrange (O, K, I) into (K / n, groups, n I, O / groups), n taps per product."""
    out, kernel, width = weight.shape
    at_once = math.gcd(kernel, _MAX_TAPS_PER_PRODUCT)
    by_group = weight.reshape(groups, out // groups, kernel // at_once, at_once * width)
    return mx.contiguous(by_group.transpose(2, 0, 3, 1))


def grouped_conv1d(x: mx.array, weight: mx.array | Spectrum, *, padding: int = 0) -> mx.array:
    """See ``gpu.grouped_conv1d``."""
    if isinstance(weight, Spectrum):
        return spectral.convolve(x, weight, padding)
    return _conv1d_by_group(pad_time(x, padding, padding), weight)


def _conv1d_by_group(x: mx.array, weight: mx.array, dilation: int = 1) -> mx.array:
    """Convolve with the result of `_pack_groups`: its products have the groups as their batch."""
    products, groups, height, width = weight.shape
    batch, padded, channels = x.shape
    at_once = height * groups // channels
    length = padded - (products * at_once - 1) * dilation
    rows = x.reshape(batch, padded, groups, channels // groups).transpose(0, 2, 1, 3)
    last = padded - (at_once - 1) * dilation
    shifted = [rows[:, :, tap * dilation : tap * dilation + last] for tap in range(at_once)]
    wide = mx.concatenate(shifted, axis=3)
    y = None
    for n in range(products):
        begin = n * at_once * dilation
        view = wide[:, :, begin : begin + length]
        y = accumulate_product(y, view, weight[n])
    assert y is not None
    return y.transpose(0, 2, 1, 3).reshape(batch, length, groups * width)


def conv_transpose1d(
    x: mx.array,
    weight: mx.array,
    bias: mx.array | None = None,
    *,
    stride: int,
    padding: int = 0,
    output_padding: int = 0,
) -> mx.array:
    """See ``gpu.conv_transpose1d``.

    Polyphase form: the kernel is split into groups of `stride` taps. One matrix product per
    group maps each input frame to a block of `stride` output frames; successive groups
    contribute to successive blocks.
    """
    batch, frames, _ = x.shape
    channels, kernel, _ = weight.shape
    n_groups = -(-kernel // stride)
    blocks = frames + n_groups - 1
    x = pad_time(x, n_groups - 1, n_groups - 1)

    def sum_groups(groups: slice) -> mx.array:
        total = None
        for group in range(groups.start, groups.stop):
            taps = weight[:, group * stride : (group + 1) * stride]
            matrix = taps.transpose(1, 0, 2).reshape(-1, taps.shape[2]).T
            first = n_groups - 1 - group
            rows = x[:, first : first + blocks]
            missing = stride * channels - matrix.shape[1]
            if missing:  # the last group may have fewer taps than the stride
                product = mx.pad(rows @ matrix, [(0, 0), (0, 0), (0, missing)])
                total = product if total is None else total + product
            else:
                total = accumulate_product(total, rows, matrix)
        assert total is not None
        return total

    out = sum_streams(sum_groups, partition(n_groups))
    length = (frames - 1) * stride - 2 * padding + kernel + output_padding
    y = out.reshape(batch, blocks * stride, channels)
    y = pad_time(y, 0, max(0, padding + length - blocks * stride))[:, padding : padding + length]
    return y if bias is None else y + bias


def leaky_relu(x: mx.array, slope: float = 0.01, bias: mx.array | None = None) -> mx.array:
    """See ``gpu.leaky_relu``."""
    return _compiled_leaky(_add_bias(x, bias), slope)


def relu(x: mx.array, bias: mx.array | None) -> mx.array:
    """See ``gpu.relu``."""
    return mx.maximum(_add_bias(x, bias), 0.0)


def residual(x: mx.array, y: mx.array, bias: mx.array | None) -> mx.array:
    """See ``gpu.residual``."""
    return x + _add_bias(y, bias)


def gelu(x: mx.array, bias: mx.array | None = None) -> mx.array:
    """See ``gpu.gelu``.

    x * Phi(x) = (x + |x| - |x| erfc(|x| / sqrt 2)) / 2, with erfc from Abramowitz and
    Stegun 7.1.28: a rational function, which the compiler vectorises; it does not vectorise
    erf. Absolute error below 1e-6.
    """
    return _compiled_gelu(_add_bias(x, bias))


def sigmoid(x: mx.array) -> mx.array:
    """See ``gpu.sigmoid``; absolute error below 3e-7."""
    return _compiled_sigmoid(x)


def tanh(x: mx.array) -> mx.array:
    """See ``gpu.tanh``; absolute error below 4e-7."""
    return _compiled_tanh(x)


def gated(value: mx.array, gate: mx.array) -> mx.array:
    """See ``gpu.gated``; absolute error below 7e-7."""
    return _compiled_gated(value, gate)


def add_sum(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
    """Return x + a + b for arrays of one shape, in one pass over them."""
    return _compiled_add_sum(x, a, b)


def add_difference(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
    """Return x + a - b for arrays of one shape, in one pass over them."""
    return _compiled_add_difference(x, a, b)


def attention(queries: mx.array, keys: mx.array, values: mx.array, *, scale: float) -> mx.array:
    """See ``gpu.attention``."""
    weights, total = _softmax((queries * scale) @ keys.transpose(0, 1, 3, 2))
    return (weights @ values) / total


def relative_attention(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    relative_keys: mx.array,
    relative_values: mx.array,
    *,
    first: int,
) -> mx.array:
    """See ``gpu.relative_attention``."""
    frames, window = keys.shape[2], relative_keys.shape[1] // 2
    scores = queries @ keys.transpose(0, 1, 3, 2)
    relative = queries @ relative_keys.transpose(0, 2, 1)
    weights, total = _softmax(scores + _to_absolute(relative, frames, first))
    mixed = weights @ values + _to_relative(weights, window, first) @ relative_values
    return mixed / total


def _softmax(scores: mx.array) -> tuple[mx.array, mx.array]:
    """Return numerator and denominator of the softmax over the last axis.

    The caller divides the product with the values, which is much smaller than the weights.
    ``mx.softmax`` computes one exponential at a time.
    """
    weights = _compiled_exp(scores - mx.max(scores, axis=-1, keepdims=True))
    return weights, mx.sum(weights, axis=-1, keepdims=True)


def _to_absolute(relative: mx.array, frames: int, first: int) -> mx.array:
    """Index by key instead of distance: (1, h, Q, 2 window + 1) -> (1, h, Q, T).

    Distances beyond the window give zero. Rows that are one element too long shift by one
    more element each when they are read at the right length.
    """
    batch, heads, queries, distances = relative.shape
    before = mx.zeros((batch, heads, queries, first))
    after = mx.zeros((batch, heads, queries, frames - first))
    wide = mx.concatenate([before, relative, after], axis=-1)
    width = frames + distances - 1
    flat = wide.reshape(batch, heads, -1)[:, :, : queries * width]
    window = distances // 2
    return flat.reshape(batch, heads, queries, width)[..., window : window + frames]


def _to_relative(weights: mx.array, window: int, first: int) -> mx.array:
    """Index by distance instead of key: (1, h, Q, T) -> (1, h, Q, 2 window + 1).

    Keys outside the sequence give zero.
    """
    batch, heads, queries, _ = weights.shape
    margin = mx.zeros((batch, heads, queries, window))
    wide = mx.concatenate([margin, weights, margin], axis=-1).reshape(batch, heads, -1)
    tail = mx.zeros((batch, heads, queries))
    skewed = mx.concatenate([wide, tail], axis=-1).reshape(batch, heads, queries, -1)
    return skewed[..., first : first + 2 * window + 1]


def _depthwise(x: mx.array, weight: mx.array, dilation: int) -> mx.array:
    """Convolve with one channel per group: each tap is a vector, its product element-wise."""
    kernel = weight.shape[1]
    length = x.shape[1] - (kernel - 1) * dilation
    taps = weight[:, :, 0].T
    y = x[:, :length] * taps[0]
    for tap in range(1, kernel):
        y = y + x[:, tap * dilation : tap * dilation + length] * taps[tap]
    return y


def _add_bias(x: mx.array, bias: mx.array | None) -> mx.array:
    """Add a bias outside a compiled function.

    MLX's compiled functions process one element at a time if an input is broadcast.
    """
    return x if bias is None else x + bias


def _leaky(x: mx.array, slope: float) -> mx.array:
    return mx.maximum(x, slope * x)


def _gelu(x: mx.array) -> mx.array:
    z = mx.abs(x)
    p = mx.array(_ERFC[6])
    for coefficient in _ERFC[5::-1]:
        p = coefficient + z * p
    for _ in range(4):
        p = p * p
    return 0.5 * (x + z - z / p)


def _exp(x: mx.array) -> mx.array:
    """Return exp(x) for x <= 0; absolute error below 3e-7."""
    return 1.0 + _expm1(x)


def _add_sum(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
    return (x + a) + b


def _add_difference(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
    return (x + a) - b


def _expm1(x: mx.array) -> mx.array:
    """Return exp(x) - 1 for x <= 0, with multiplications only, so that the loop vectorises.

    A Taylor polynomial at x / 64, then six times exp(2 a) - 1 = q (q + 2) with
    q = exp(a) - 1; unlike squaring exp(a), this does not double the rounding error. Absolute
    error below 3e-7.
    """
    y = mx.maximum(x, -40.0) * (1 / 64)
    q = mx.array(1 / 5040)
    for factorial in (720, 120, 24, 6, 2, 1):
        q = 1 / factorial + y * q
    q = y * q
    for _ in range(6):
        q = q * (q + 2.0)
    return q


def _tanh(x: mx.array) -> mx.array:
    q = _expm1(-2.0 * mx.abs(x))
    return -mx.sign(x) * q / (q + 2.0)


def _sigmoid(x: mx.array) -> mx.array:
    q = _expm1(-mx.abs(x))
    return 0.5 - 0.5 * mx.sign(x) * q / (q + 2.0)


def _gated(value: mx.array, gate: mx.array) -> mx.array:
    return _tanh(value) * _sigmoid(gate)


# MLX compiles each function with the system's C++ compiler, which takes about a second, and
# keeps the result on disk. Without a compiler it evaluates them step by step: slower, with the
# same results.
_Function = Callable[..., mx.array]
_compiled_gelu: _Function = mx.compile(_gelu)
_compiled_leaky: _Function = mx.compile(_leaky)
_compiled_exp: _Function = mx.compile(_exp)
_compiled_sigmoid: _Function = mx.compile(_sigmoid)
_compiled_tanh: _Function = mx.compile(_tanh)
_compiled_gated: _Function = mx.compile(_gated)
_compiled_add_sum: _Function = mx.compile(_add_sum)
_compiled_add_difference: _Function = mx.compile(_add_difference)
