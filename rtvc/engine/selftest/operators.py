"""Cases of the self-test with one operator each, in the classes that MLX computes differently.

A GPU selects its kernel from kernel size, channels, stride, dilation and groups, so the cases
have those of the networks, and few frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from rtvc.engine.models.karatsuba import TiledConv
from rtvc.engine.models.ops import backend, mel, ops
from rtvc.engine.models.ops.decimate import Decimator
from rtvc.engine.models.ops.interpolate import interpolate_linear
from rtvc.engine.models.parameters import Conv1d
from rtvc.engine.selftest.numbers import uniform


class Case(NamedTuple):
    """One computation with a known result.

    Attributes
    ----------
    name
        Short name, as in the file of reference numbers.
    what
        The same in words, for a sentence.
    compute
        Returns the result, not evaluated.
    """

    name: str
    what: str
    compute: Callable[[], mx.array]


def _array(name: str, *shape: int, scale: float = 1.0) -> mx.array:
    """Return an array in the precision of the networks."""
    return mx.array(uniform(name, *shape, scale=scale)).astype(backend.default_precision())


def _signal(frames: int, channels: int) -> mx.array:
    return _array("x", 1, frames, channels)


def _kernel(out: int, taps: int, width: int) -> mx.array:
    return _array("w", out, taps, width, scale=(taps * width) ** -0.5)


def _packed(
    out: int, taps: int, width: int, frames: int, *, stride: int = 1, dilation: int = 1
) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        weight = ops.tap_major(_kernel(out, taps, width))
        packed = ops.pack_taps(weight, stride, dilation)
        padding = dilation * (taps - 1) // 2 if stride == 1 else 0
        return ops.conv1d_packed(_signal(frames, width), packed, padding=padding)

    return compute


def _tiled_conv() -> mx.array:
    conv = Conv1d(ops.tap_major(_kernel(48, 11, 32)), None, padding=15, dilation=3)
    tiled, bias = TiledConv(conv), _array("b", 48)
    tiles = tiled(_signal(tiled.inputs(48), 32), 48, 0.1)
    return tiles.flat(tiles.sum(bias), backend.default_precision())


def _conv1d(out: int, taps: int, width: int, frames: int, **options: int) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        weight = _kernel(out, taps, width)
        channels = width * options.get("groups", 1)
        return ops.conv1d(_signal(frames, channels), weight, _array("b", out), **options)

    return compute


def _conv_gelu() -> mx.array:
    return ops.conv1d_gelu(_signal(25, 64), ops.pack_taps(ops.tap_major(_kernel(48, 3, 64)), 2))


def _transposed(out: int, taps: int, width: int, stride: int) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        weight = ops.frame_major(_kernel(out, taps, width))
        return ops.conv_transpose1d(
            _signal(9, width), weight, stride=stride, padding=(taps - stride) // 2
        )

    return compute


def _grouped() -> mx.array:
    weight = ops.pack_grouped(_kernel(256, 128, 16), 16)
    # Two blocks of the convolution by spectra.
    return ops.grouped_conv1d(_signal(90, 256), weight, padding=64)


def _image(out: int, width: int, height: int, columns: int) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        weight = _array("w", out, 3, 3, width, scale=(9 * width) ** -0.5)
        convolve = ops.conv2d(weight, typical_size=(height, columns))
        return convolve(_array("x", 1, height, columns, width))

    return compute


def _dilated_image() -> mx.array:
    wide, narrow = (
        ops.conv2d(
            _array("w", 12, *kernel, 12, scale=(12 * math.prod(kernel)) ** -0.5),
            typical_size=(24, 5),
            dilation=dilation,
        )
        for kernel, dilation in (((7, 3), 2), ((5, 1), 7))
    )
    return narrow(wide(_array("x", 1, 24, 5, 12)))


def _small_image(height: int, columns: int) -> Callable[[], mx.array]:
    """Convolve an image of a few pixels with its activation: one kernel of rtvc on a GPU."""

    def compute() -> mx.array:
        weight = _array("w", 44, 3, 3, 40, scale=(9 * 40) ** -0.5)
        convolve = ops.conv2d(weight, typical_size=(height, columns))
        x, addend = _array("x", 1, height, columns, 40), _array("a", 1, height, columns, 44)
        bias = _array("b", 44)
        both = [ops.conv2d_relu(convolve, x, bias, addend), ops.conv2d_relu(convolve, x, bias)]
        return mx.concatenate(both, axis=3)

    return compute


def _doubled(height: int, columns: int) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        weight = _array("w", 16, 3, 3, 32, scale=(9 * 32) ** -0.5)
        upsample = ops.conv_transpose2d(weight, typical_size=(height, columns))
        return upsample(_array("x", 1, height, columns, 32))

    return compute


def _attention() -> mx.array:
    queries, keys, values = (_array(part, 1, 2, 40, 64) for part in "qkv")
    return ops.attention(queries, keys, values, scale=64**-0.5)


def _relative_attention() -> mx.array:
    keys, values = (_array(part, 1, 2, 45, 48) for part in "kv")
    relative_keys, relative_values = (_array(part, 1, 21, 48, scale=0.2) for part in ("rk", "rv"))
    queries = _array("q", 1, 2, 42, 48, scale=48**-0.5)
    return ops.relative_attention(queries, keys, values, relative_keys, relative_values, first=3)


def _linear(rows: int, width: int = 96, out: int = 80) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        weight = _array("w", out, width, scale=width**-0.5)
        return ops.linear(_signal(rows, width), weight, _array("b", out))

    return compute


def _elementwise(name: str) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        x, y = _array("x", 1, 9, 64, scale=2.0), _array("y", 1, 9, 64)
        bias = _array("b", 64)
        calls = {
            "gelu": lambda: ops.gelu(x, bias),
            "sigmoid": lambda: ops.sigmoid(x),
            "tanh": lambda: ops.tanh(x),
            "gated": lambda: ops.gated(x, y),
            "leaky_relu": lambda: ops.leaky_relu(x, 0.1, bias),
            "relu": lambda: ops.relu(x, bias),
            "residual": lambda: ops.residual(x, y, bias),
            "join": lambda: ops.keep_slice(ops.concatenate_time([x, y])[:, 3:]),
        }
        return calls[name]()

    return compute


def _large_inputs() -> mx.array:
    """Compute the activations of inputs whose exponentials overflow, to at most 1 each."""
    x, y = _array("x", 1, 9, 64, scale=60.0), _array("y", 1, 9, 64, scale=60.0)
    bias = mx.zeros(64, x.dtype)
    return mx.concatenate(
        [
            ops.tanh(x),
            ops.sigmoid(x),
            ops.gated(x, y),
            ops.gelu(x, bias) / 104.0,
            mx.softmax(x.astype(mx.float32), axis=-1, precise=True).astype(x.dtype),
        ],
        axis=1,
    )


def _layer_norm() -> mx.array:
    return ops.layer_norm(_signal(9, 96), 1.0 + 0.1 * _array("w", 96), _array("b", 96))


def _spectrum() -> mx.array:
    audio = mx.array(uniform("x", 1600))
    spectra = mel.spectra(mel.reflect(audio, 512), mel.hann(), 160)
    return mx.concatenate([spectra.real, spectra.imag], axis=1)


def _log_mel() -> mx.array:
    audio = mx.array(uniform("x", 1600))
    magnitude = mx.abs(mel.spectra(mel.reflect(audio, 512), mel.hann(), 160))
    filters = mel.mel_filters(32, 16_000, 30.0, 8000.0, htk=True)
    return mel.log_mel(magnitude, filters)


def _gather() -> mx.array:
    rows = np.arange(40, dtype=np.int32) * 7 % 256
    table = _array("w", 256, 24)
    return table[mx.array(rows)[None]]


def _interpolation() -> mx.array:
    return interpolate_linear(_signal(13, 24), 40)


def _phase() -> mx.array:
    steps = mx.array((uniform("x", 1, 40) * 1e6 + 8e6).astype(np.uint32))
    return ((mx.cumsum(steps, axis=1) - steps) % (1 << 24)).astype(mx.float32) * 2.0**-24 - 0.5


def _recurrent(hidden: int, frames: int) -> Callable[[], mx.array]:
    def compute() -> mx.array:
        projected = _array("x", frames, 6 * hidden)
        weight = _array("w", 2, hidden, 3 * hidden, scale=hidden**-0.5)
        return ops.bidirectional_gru(projected, weight, _array("b", 2, 1, hidden, scale=0.1))

    return compute


def _decimate() -> mx.array:
    decimate = Decimator(4, zero_crossings=16, rolloff=0.95, beta=14.77)
    return decimate(mx.array(uniform("x", 1, 512, 4)))


def _random() -> mx.array:
    return mx.random.normal((24, 8), key=mx.random.key(7))


def _maximum() -> mx.array:
    x = _array("x", 40, 60).astype(mx.float32)
    found = mx.argmax(x, axis=1, keepdims=True)
    return mx.take_along_axis(x, mx.minimum(found + mx.arange(3), 59), axis=1)


def _softmax() -> mx.array:
    return mx.softmax(_array("x", 40, 60).astype(mx.float32), axis=-1, precise=True)


def _moments() -> mx.array:
    groups = _array("x", 30, 4, 16).astype(mx.float32)
    centred = groups - groups.mean(axis=(0, 2), keepdims=True)
    return centred * mx.rsqrt(mx.square(centred).mean(axis=(0, 2), keepdims=True) + 1e-5)


GRU, GRU_WIDE, SMALL_IMAGE, SMALL_ROW = "gru", "gru wide", "image small", "image row small"
OWN_KERNELS = frozenset((GRU, GRU_WIDE, SMALL_IMAGE, SMALL_ROW))
"""Names of the cases that rtvc's own kernels compute on a GPU."""

OPERATOR_CASES = (
    Case("conv stride 2", "a strided convolution", _packed(64, 3, 64, 25, stride=2)),
    Case(
        "conv stride 2 wide",
        "a strided convolution of many channels",
        _packed(64, 3, 128, 25, stride=2),
    ),
    Case("conv dilated", "a dilated convolution of kernel 11", _packed(32, 11, 32, 70, dilation=5)),
    Case("conv tiled", "a convolution in tiles of four outputs", _tiled_conv),
    Case("conv short", "a convolution of few frames", _packed(48, 5, 32, 20)),
    Case("conv gelu", "a strided convolution with its activation", _conv_gelu),
    Case("conv bias", "a convolution of kernel 7", _conv1d(32, 7, 48, 70, padding=3)),
    Case("conv one channel", "a convolution of one channel", _conv1d(32, 80, 1, 480, stride=40)),
    Case("conv grouped", "a convolution of kernel 128 in 16 groups", _grouped),
    Case(
        "conv depthwise",
        "a depthwise convolution",
        _conv1d(64, 31, 1, 24, padding=15, groups=64),
    ),
    Case("transposed 10", "a transposed convolution of stride 10", _transposed(32, 16, 64, 10)),
    Case("transposed 2", "a transposed convolution of stride 2", _transposed(32, 4, 64, 2)),
    Case("image", "a 3x3 convolution", _image(16, 8, 8, 16)),
    Case("image dilated", "dilated convolutions of an image", _dilated_image),
    Case("image wide", "a 3x3 convolution of many channels", _image(64, 40, 6, 8)),
    Case("image one row", "a 3x3 convolution of one row", _image(128, 64, 1, 4)),
    Case(SMALL_IMAGE, "a 3x3 convolution of few pixels", _small_image(2, 8)),
    Case(SMALL_ROW, "a 3x3 convolution of one short row", _small_image(1, 4)),
    Case("doubled", "a transposed 3x3 convolution", _doubled(8, 12)),
    Case("doubled one row", "a transposed 3x3 convolution of one row", _doubled(1, 4)),
    Case("linear", "a matrix product", _linear(70)),
    Case("linear one row", "a product of one row with a matrix", _linear(1)),
    # Metal has other kernels for widths that fill their tiles, and for long sums of few results.
    Case("linear 768", "a matrix product of width 768", _linear(70, 768, 128)),
    Case("linear 1024", "a matrix product of width 1024", _linear(33, 1024, 64)),
    # Kernels with larger tiles: from 2^20 results of a product, and 8,192 frames of 64 channels.
    # A miscompiled one has been right in every smaller product (mlx 3586).
    Case("linear large", "a large matrix product", _linear(2080, 256, 512)),
    Case("conv long", "a convolution of many frames", _packed(64, 3, 64, 8250)),
    Case("attention", "attention", _attention),
    Case("relative attention", "attention with relative positions", _relative_attention),
    Case("layer norm", "a layer norm", _layer_norm),
    Case("moments", "a group norm", _moments),
    *(
        Case(name, what, _elementwise(name))
        for name, what in (
            ("gelu", "the activation GELU"),
            ("sigmoid", "the logistic function"),
            ("tanh", "the hyperbolic tangent"),
            ("gated", "a gated activation"),
            ("leaky_relu", "the activation leaky ReLU"),
            ("relu", "the activation ReLU"),
            ("residual", "a residual sum"),
            ("join", "the concatenation of two signals"),
        )
    ),
    Case("large inputs", "the activations of large inputs", _large_inputs),
    Case("spectrum", "a Fourier transform", _spectrum),
    Case("log mel", "a log-mel spectrum", _log_mel),
    Case("gather", "a table look-up", _gather),
    Case("interpolation", "linear interpolation", _interpolation),
    Case("phase", "a cumulative sum of integers", _phase),
    Case("maximum", "values at the maximum", _maximum),
    Case("softmax", "a softmax", _softmax),
    Case("decimate", "a decimation filter", _decimate),
    Case("random", "random numbers", _random),
    Case(GRU, "the recurrent layer", _recurrent(32, 20)),
    # The width of RMVPE: other constants make another kernel, with the most threads of all.
    Case(GRU_WIDE, "the recurrent layer", _recurrent(256, 6)),
)
