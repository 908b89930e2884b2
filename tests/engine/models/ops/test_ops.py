"""The CPU operators against the single primitives for GPUs, and both against float64."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rtvc._types import Float64
from rtvc.engine.models.ops import conv2d_cpu, conv2d_gpu, cpu, gpu, ops
from rtvc.engine.models.ops.backend import OPERATORS


def _random(*shape: int, seed: int = 0) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def _assert_same(actual: mx.array, expected: mx.array) -> None:
    assert actual.shape == expected.shape
    scale = float(mx.abs(expected).max())
    assert_allclose(np.array(actual), np.array(expected), atol=3e-6 * scale, rtol=0)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    "case",  # channels, out channels, kernel, stride, padding, dilation, groups
    [
        (6, 8, 1, 1, 0, 1, 1),
        (6, 8, 3, 1, 1, 1, 1),
        (6, 8, 11, 1, 25, 5, 1),
        (6, 8, 3, 2, 0, 1, 1),
        (1, 8, 10, 5, 0, 1, 1),
        (1, 8, 80, 40, 20, 1, 1),
        (12, 24, 4, 1, 2, 1, 3),
        (12, 12, 31, 1, 15, 1, 12),
        (12, 12, 3, 1, 2, 2, 12),
        (12, 12, 3, 1, 2, 2, 4),
    ],
)
def test_conv1d(case: tuple[int, ...], bias: bool) -> None:
    channels, out, kernel, stride, padding, dilation, groups = case
    x, w = _random(2, 130, channels), _random(out, kernel, channels // groups, seed=1)
    b = _random(out, seed=2) if bias else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    expected = gpu.conv1d(x, w, b, **options)
    _assert_same(cpu.conv1d(x, w, b, **options), expected)
    _assert_same(cpu.conv1d(x, cpu.tap_major(w), b, **options), expected)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding"),
    [
        (24, 12, 6, 0),  # the upsampling layers of RVC's voices
        (20, 10, 5, 0),
        (16, 10, 3, 0),
        (16, 6, 5, 0),
        (16, 4, 6, 0),
        (4, 2, 1, 0),
        (3, 2, 1, 1),
        (22, 11, 6, 1),
        (2, 5, 0, 0),  # kernel shorter than the stride: gaps
        (2, 5, 0, 4),
        (7, 1, 3, 0),
    ],
)
def test_conv_transpose1d(
    kernel: int, stride: int, padding: int, output_padding: int, bias: bool
) -> None:
    x, w = _random(2, 17, 6), _random(8, kernel, 6, seed=1)
    b = _random(8, seed=2) if bias else None
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    expected = gpu.conv_transpose1d(x, w, b, **options)
    _assert_same(cpu.conv_transpose1d(x, w, b, **options), expected)
    _assert_same(cpu.conv_transpose1d(x, cpu.tap_major(w), b, **options), expected)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding"), [(16, 10, 3, 0), (4, 2, 1, 0), (11, 5, 3, 1)]
)
def test_the_transposed_convolution_for_gpus_equals_the_1d_primitive(
    kernel: int, stride: int, padding: int, output_padding: int
) -> None:
    x, w = _random(1, 37, 12), _random(8, kernel, 12, seed=1)
    options: dict[str, Any] = {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
    }
    expected = mx.conv_transpose1d(x, w, **options)
    actual = gpu.conv_transpose1d(x, w, **options)
    np.testing.assert_array_equal(np.array(actual), np.array(expected))


def test_a_depthwise_convolution_is_padded_before_the_primitive() -> None:
    nodes: list[Any] = []
    w = _random(12, 31, 1)
    mx.export_function(
        nodes.append, lambda x: gpu.conv1d(x, w, padding=15, groups=12), _random(1, 40, 12)
    )
    (convolution,) = [node for node in nodes if node.get("name") == "Convolution"]
    assert convolution["arguments"][1] == convolution["arguments"][2] == [0]


def _convolved_images(convolve: Callable[[mx.array], mx.array], x: mx.array) -> list[list[int]]:
    """Return the shapes of the images that a function convolves, without running it."""
    nodes: list[Any] = []
    mx.export_function(nodes.append, convolve, x)
    return [list(node["inputs"][0][1]) for node in nodes if node.get("name") == "Convolution"]


@pytest.mark.parametrize(("height", "bands"), [(255, 1), (256, 2), (600, 3)])
def test_winograd_is_not_used_in_float16(height: int, bands: int) -> None:
    """MLX's condition for it, from `dispatch_conv_2D_gpu` in its Metal backend."""
    half = mx.zeros((1, height, 16, 160), mx.float16)
    weight = mx.zeros((96, 3, 3, 160), mx.float16)
    mx.eval(half, weight)
    shapes = _convolved_images(conv2d_gpu.conv2d(weight, typical_size=(4, 16)), half)
    assert len(shapes) == bands
    assert all(shape[1] * shape[2] < 4096 for shape in shapes)
    wide = half.astype(mx.float32), weight.astype(mx.float32)
    mx.eval(wide)
    assert len(_convolved_images(conv2d_gpu.conv2d(wide[1], typical_size=(4, 16)), wide[0])) == 1


@pytest.mark.parametrize("height", [7, 8, 9, 30])
def test_a_convolution_in_bands_equals_the_whole(
    height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv2d_gpu, "_WINOGRAD_PIXELS", 64)
    monkeypatch.setattr(conv2d_gpu, "_WINOGRAD_CHANNELS", 64)
    x, w = _random(1, height, 8, 32), 0.05 * _random(32, 3, 3, 32, seed=1)
    half = x.astype(mx.float16), w.astype(mx.float16)
    convolve = conv2d_gpu.conv2d(half[1], typical_size=(4, 16))
    mx.eval(half)
    assert (len(_convolved_images(convolve, half[0])) > 1) == (height > 7)
    _assert_close(convolve(half[0]), mx.conv2d(x, w, padding=1), db=55)


def _assert_close(actual: mx.array, expected: mx.array, *, db: float) -> None:
    assert actual.shape == expected.shape
    exact = np.array(expected)
    error = np.mean((np.array(actual.astype(mx.float32)) - exact) ** 2)
    assert -10 * math.log10(error / np.mean(exact**2)) > db


@pytest.mark.parametrize("height", [20, 27, 13])
@pytest.mark.parametrize(("rows", "columns"), [(7, 1), (3, 1), (7, 3)])
@pytest.mark.parametrize("dilation", [2, 5, 40])
@pytest.mark.parametrize("module", [conv2d_cpu, conv2d_gpu])
def test_a_dilated_convolution_skips_rows(
    module: ModuleType, rows: int, columns: int, dilation: int, height: int
) -> None:
    x, weight = _random(1, height, 6, 12), _random(10, rows, columns, 12, seed=1)
    # The same kernel with rows of zeros between its rows.
    full = np.zeros((10, (rows - 1) * dilation + 1, columns, 12), np.float32)
    full[:, ::dilation] = np.array(weight)
    expected = mx.conv2d(x, mx.array(full), padding=(full.shape[1] // 2, columns // 2))
    convolve = module.conv2d(weight, typical_size=(20, 6), dilation=dilation)
    _assert_same(convolve(x), expected)


@pytest.mark.parametrize("height", [24, 26])
@pytest.mark.parametrize(
    ("kernel", "dilation", "kept"),
    [
        ((7, 3), 1, None),
        ((7, 3), 2, None),
        ((7, 3), 2, (18, 8)),
        ((7, 3), 2, (18, 10)),
        ((7, 1), 5, None),
        ((3, 1), 10, None),
        ((3, 1), 10, (20, 10)),
    ],
)
@pytest.mark.parametrize("module", [conv2d_cpu, conv2d_gpu])
def test_a_residual_block_is_two_convolutions(
    module: ModuleType,
    kernel: tuple[int, int],
    dilation: int,
    kept: tuple[int, int] | None,
    height: int,
) -> None:
    x = _random(1, height, 5, 12)
    layers = [(_random(12, *kernel, 12, seed=n) * 0.1, _random(12, seed=n + 2)) for n in (1, 2)]
    between, left = (height, height) if kept is None else kept
    padding = kernel[0] // 2 * dilation, kernel[1] // 2
    y = mx.conv2d(x, layers[0][0], padding=padding, dilation=(dilation, 1))
    y = mx.maximum(y + layers[0][1], 0)[:, :between]
    y = mx.conv2d(y, layers[1][0], padding=padding, dilation=(dilation, 1))[:, :left]
    expected = mx.maximum(x[:, :left] + y + layers[1][1], 0)
    block = module.residual2d(*layers, typical_size=(24, 5), dilation=dilation, kept=kept)
    _assert_same(block(x), expected)


@pytest.mark.parametrize("variant", [cpu.gelu, gpu.gelu])
def test_gelu_is_exact(variant: object) -> None:
    x = np.linspace(-12, 12, 20001)
    expected = x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))
    assert callable(variant)
    assert_allclose(np.array(variant(mx.array(x.astype(np.float32)))), expected, atol=1.5e-6)


def test_gelu_is_finite_for_large_arguments() -> None:
    y = cpu.gelu(mx.array([1e30, -1e30, 100.0, -100.0, 0.0]))
    assert_allclose(np.array(y), [1e30, 0, 100, 0, 0])


@pytest.mark.parametrize(
    ("name", "function"),
    [("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("tanh", np.tanh)],
)
def test_sigmoid_and_tanh(name: str, function: Callable[[Float64], Float64]) -> None:
    x = np.concatenate([np.linspace(-70, 70, 20001), [-1e30, -1e-6, 0, 1e-6, 1e30]])
    x = x.astype(np.float32).astype(np.float64)
    with np.errstate(over="ignore"):
        expected = function(x)
    for variant in (cpu, gpu):
        actual = np.array(getattr(variant, name)(mx.array(x.astype(np.float32))))
        assert_allclose(actual, expected, atol=5e-7, rtol=0)


def test_tanh_is_precise_near_zero() -> None:
    x = np.array([1e-6, 1e-4, 1e-2, -1e-3], np.float32)
    assert_allclose(np.array(cpu.tanh(mx.array(x))), np.tanh(x), rtol=1e-6)


@pytest.mark.parametrize("typical_size", [(1, 4), (2, 8), (32, 128)])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (1, 1)])
@pytest.mark.parametrize(("height", "width"), [(1, 4), (1, 1), (2, 8), (5, 3)])
@pytest.mark.parametrize("channels", [(6, 8), (1, 8), (6, 64), (7, 40), (3, 128)])
def test_conv2d(
    height: int,
    width: int,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    typical_size: tuple[int, int],
) -> None:
    inner, out = channels
    x, w = _random(1, height, width, inner), _random(out, *kernel, inner, seed=1)
    padding = kernel[0] // 2, kernel[1] // 2
    padded = np.pad(np.array(x), [(0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    expected = mx.array(np.einsum("bhwiyx,oyxi->bhwo", windows, np.array(w)))
    for variant in (conv2d_cpu, conv2d_gpu):
        _assert_same(variant.conv2d(w, typical_size=typical_size)(x), expected)


@pytest.mark.parametrize("typical_size", [(1, 4), (2, 8), (16, 64)])
@pytest.mark.parametrize(("height", "width"), [(1, 4), (1, 1), (2, 8), (5, 3)])
def test_conv_transpose2d(height: int, width: int, typical_size: tuple[int, int]) -> None:
    x, w = _random(1, height, width, 6), _random(8, 3, 3, 6, seed=1)
    y = np.zeros(
        (1, 2 * height + 2, 2 * width + 2, 8)
    )  # by definition, each input pixel adds a scaled kernel
    for i in range(height):
        for j in range(width):
            patch = np.einsum("bi,oyxi->byxo", np.array(x)[:, i, j], np.array(w))
            y[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += patch
    expected = y[:, 1:-1, 1:-1]
    for variant in (conv2d_cpu, conv2d_gpu):
        actual = np.array(variant.conv_transpose2d(w, typical_size=typical_size)(x))
        assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


def test_gated_units_agree() -> None:
    shape, gate = _random(1, 33, 16), 3 * _random(1, 33, 16, seed=1)
    expected = np.tanh(np.array(shape, np.float64)) / (1 + np.exp(-np.array(gate, np.float64)))
    for variant in (cpu, gpu):
        assert_allclose(np.array(variant.gated(shape, gate)), expected, atol=1e-6, rtol=0)


def test_attention_variants_agree() -> None:
    q, k, v = (_random(1, 4, 33, 16, seed=seed) for seed in range(3))
    _assert_same(cpu.attention(q, k, v, scale=0.25), gpu.attention(q, k, v, scale=0.25))


@pytest.mark.parametrize("variant", [cpu, gpu], ids=["cpu", "gpu"])
@pytest.mark.parametrize(
    ("frames", "first"), [(1, 0), (3, 0), (3, 2), (11, 4), (40, 0), (40, 15), (40, 39)]
)
def test_relative_attention(variant: ModuleType, frames: int, first: int) -> None:
    heads, width, window = 2, 8, 10
    q = _random(1, heads, frames - first, width)
    k, v = (_random(1, heads, frames, width, seed=seed) for seed in (1, 2))
    relative_k, relative_v = (_random(1, 2 * window + 1, width, seed=seed) for seed in (3, 4))
    # By definition: the key and the value of each pair of frames, plus the term of its distance.
    distance = np.arange(frames) - np.arange(first, frames)[:, None]
    inside = np.abs(distance) <= window
    row = np.clip(distance, -window, window) + window
    terms = [np.where(inside[..., None], np.array(t)[0][row], 0) for t in (relative_k, relative_v)]
    keys, values = (np.array(x)[0][:, None] + t for x, t in zip((k, v), terms, strict=True))
    scores = np.einsum("hqw,hqkw->hqk", np.array(q)[0].astype(float), keys)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("hqk,hqkw->hqw", weights, values)[None]
    actual = variant.relative_attention(q, k, v, relative_k, relative_v, first=first)
    assert_allclose(np.array(actual), expected, atol=1e-5)


class _Network:
    def __init__(self) -> None:
        self.weight = _random(4)
        self.calls = 0
        self.run = ops.compiled(self._run)

    def _run(self, x: mx.array, scale: float, extra: mx.array | None) -> mx.array:
        self.calls += 1
        y = mx.tanh(x * self.weight) * scale
        return y if extra is None else y + extra


def test_compiled_methods_give_the_same_results_and_hold_no_reference() -> None:
    network, x = _Network(), _random(3, 4, seed=1)
    expected = np.tanh(np.array(x) * np.array(network.weight))
    for scale, extra in ((2.0, None), (2.0, x), (3.0, x), (2.0, None)):
        added = 0 if extra is None else np.array(x)
        assert_allclose(np.array(network.run(x, scale, extra)), expected * scale + added, rtol=1e-5)
    # A compiled method is not traced again for the same arguments.
    assert network.calls == (4 if OPERATORS == "cpu" else 3)
    calls = network.calls
    with ops.untraced():
        for _ in range(2):
            assert_allclose(np.array(network.run(x, 2.0, None)), expected * 2.0, rtol=1e-5)
    assert network.calls == calls + 2
    reference = weakref.ref(network)
    gc.disable()
    try:
        del network
        assert reference() is None
    finally:
        gc.enable()


def test_leaky_relu_layer_norm_linear() -> None:
    x = _random(1, 9, 16)
    a = np.array(x)
    assert_allclose(np.array(ops.leaky_relu(x, 0.1)), np.where(a > 0, a, 0.1 * a), rtol=1e-6)
    w, b = _random(16, seed=1), _random(16, seed=2)
    mean, var = a.mean(-1, keepdims=True), a.var(-1, keepdims=True)
    assert_allclose(
        np.array(ops.layer_norm(x, w, b)),
        (a - mean) / np.sqrt(var + 1e-5) * np.array(w) + np.array(b),
        atol=1e-5,
    )
    matrix = _random(5, 16, seed=3)
    for bias in (None, _random(5, seed=4)):
        expected = a @ np.array(matrix).T + (0 if bias is None else np.array(bias))
        assert_allclose(np.array(ops.linear(x, matrix, bias)), expected, atol=1e-5)


def test_tap_major_changes_only_the_memory_layout() -> None:
    w = _random(3, 5, 7)
    for variant in (cpu.tap_major, gpu.tap_major):
        assert_allclose(np.array(variant(w)), np.array(w))
