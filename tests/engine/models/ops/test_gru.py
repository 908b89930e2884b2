"""The recurrent layer: the loop against NumPy, the text of the GPU kernel against the loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc._types import Float32, Float64
from rtvc.engine.models.ops import gru
from tests.support.material import more
from tests.support.metal_shim import (
    COMPILER,
    NO_COMPILER,
    CompiledKernels,
    KernelText,
    kernel_text,
)


def _layer(frames: int, hidden: int) -> tuple[Float32, Float32, Float32]:
    rng = np.random.default_rng(frames * hidden)
    projected = rng.standard_normal((frames, 6 * hidden)).astype(np.float32)
    weight = rng.standard_normal((2, hidden, 3 * hidden)) / np.sqrt(hidden)
    bias = 0.3 * rng.standard_normal((2, 1, hidden))
    return projected, weight.astype(np.float32), bias.astype(np.float32)


def _reference(projected: Float32, weight: Float32, bias: Float32) -> Float64:
    """Compute the equations of torch.nn.GRU in float64, one direction after the other."""
    frames, hidden = len(projected), bias.shape[2]
    out = np.zeros((frames, 2, hidden))
    gates = projected.astype(np.float64).reshape(frames, 2, 3, hidden)
    for direction, order in enumerate((range(frames), reversed(range(frames)))):
        state = np.zeros(hidden)
        for frame in order:
            r, z, n = np.split(state @ weight[direction].astype(np.float64), 3)
            r, z = (
                1 / (1 + np.exp(-(gates[frame, direction, k] + g))) for k, g in ((0, r), (1, z))
            )
            n = np.tanh(gates[frame, direction, 2] + r * (n + bias[direction, 0]))
            state = (1 - z) * n + z * state
            out[frame, direction] = state
    return out.reshape(frames, -1)


@pytest.mark.parametrize(("frames", "hidden"), [(1, 4), (5, 16), (32, 48)])
def test_loop(frames: int, hidden: int) -> None:
    layer = _layer(frames, hidden)
    actual = gru.loop(*(mx.array(part) for part in layer))
    assert actual.dtype == mx.float32
    np.testing.assert_allclose(np.array(actual), _reference(*layer), atol=2e-6)


def test_state_is_float32_with_float16_weights() -> None:
    layer = [mx.array(part).astype(mx.float16) for part in _layer(64, 32)]
    actual = gru.loop(*layer)
    assert actual.dtype == mx.float32
    exact = _reference(*(np.array(part.astype(mx.float32)) for part in layer))
    np.testing.assert_allclose(np.array(actual), exact, atol=2e-6)


def _launch(*layer: mx.array) -> mx.array:
    return gru.kernel("metal", *layer)


DTYPES = [mx.float32, mx.float16]
# All of one width share a kernel. 512 is the widest; 7 and 300 do not divide the threads.
SHAPES = [(1, 1), (288, 7), (288, 64), (32, 256), (4, 300), (1, 512), (8, 512)]
LONG = pytest.param(288, 512, marks=pytest.mark.soak)


def _kernel(hidden: int, dtype: mx.Dtype) -> KernelText:
    return kernel_text(_launch, *(mx.array(part).astype(dtype) for part in _layer(8, hidden)))


@pytest.fixture(scope="module")
def run_kernel(tmp_path_factory: pytest.TempPathFactory) -> CompiledKernels:
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
    widths = {hidden for _, hidden in SHAPES}
    kernels = [_kernel(hidden, dtype) for hidden in sorted(widths) for dtype in DTYPES]
    broken = [_kernel(64, mx.float32).without_barrier(number) for number in range(3)]
    return CompiledKernels([*kernels, *broken], tmp_path_factory.mktemp("kernels"))


def _run(
    run_kernel: CompiledKernels, kernel: KernelText, layer: list[mx.array], seed: int
) -> Float32:
    projected, weight, bias = (np.array(part) for part in layer)
    kernel = replace(kernel, output_shape=(len(projected), 2 * bias.shape[2]))
    shape = np.array(projected.shape, np.int32)
    return run_kernel(kernel, projected, shape, weight, bias, seed=seed)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float16"])
@pytest.mark.parametrize(("frames", "hidden"), [*more(SHAPES[1:] + SHAPES[:1], keep=2), LONG])
def test_kernel_equals_the_loop(
    run_kernel: CompiledKernels, frames: int, hidden: int, dtype: mx.Dtype
) -> None:
    """The text that MLX gives to Metal, with threads in random order between the barriers."""
    layer = [mx.array(part).astype(dtype) for part in _layer(frames, hidden)]
    expected = np.array(gru.loop(*layer))
    first, second = (_run(run_kernel, _kernel(hidden, dtype), layer, seed) for seed in range(2))
    np.testing.assert_allclose(first, expected, atol=5e-6)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("number", range(3))
def test_every_barrier_is_needed(run_kernel: CompiledKernels, number: int) -> None:
    layer = [mx.array(part) for part in _layer(8, 64)]
    expected = np.array(gru.loop(*layer))
    kernel = _kernel(64, mx.float32).without_barrier(number)
    actual = _run(run_kernel, kernel, layer, seed=0)
    assert np.abs(actual - expected).max() > 1e-3


def test_both_headers_define_all_macros() -> None:
    macros = {"THREAD", "GROUP", "SHARED", "BARRIER", "EXP", "TANH"}
    for header in gru.HEADERS.values():
        assert {line.split()[1].split("(")[0] for line in header.split("\n") if line} == macros


def test_the_kernel_is_one_primitive() -> None:
    """MLX can export the launch of a Metal kernel on any machine."""
    nodes: list[Any] = []
    layer = [mx.array(part) for part in _layer(32, 256)]
    mx.export_function(nodes.append, lambda *parts: gru.kernel("metal", *parts), *layer)
    (node,) = [item for item in nodes if item["type"] == "primitive"]
    assert node["name"] == "CustomKernel"
    assert [(shape, dtype) for _, shape, dtype in node["outputs"]] == [((32, 512), mx.float32)]


@pytest.mark.skipif(gru.kernel_language() is None, reason="needs a GPU that MLX uses")
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_the_kernel_on_the_gpu(dtype: mx.Dtype) -> None:
    layer = [mx.array(part).astype(dtype) for part in _layer(32, 256)]
    actual, expected = gru.kernel_or_loop(*layer), gru.loop(*layer)
    np.testing.assert_allclose(np.array(actual), np.array(expected), atol=1e-5)
