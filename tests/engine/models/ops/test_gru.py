"""The recurrent layer: the loop against NumPy, the source of the GPU kernel against the loop."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc._types import Float32, Float64
from rtvc.engine.models.ops import gru


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


# The environment of a Metal or CUDA kernel in C++: a threadgroup of CPU threads.
_HARNESS = """
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
#define SHARED static
#define BARRIER group.arrive_and_wait()
#define EXP std::exp
#define TANH std::tanh
#define THREAD thread
#define GROUP threadgroup

template <int HIDDEN, int PARTS>
void kernel(int thread, int threadgroup, std::barrier<>& group, const float* projected,
            const int* projected_shape, const float* state_weight, const float* state_bias,
            float* out) {
%(source)s
}

extern "C" void run(const float* projected, int frames, const float* state_weight,
                    const float* state_bias, float* out) {
    for (int threadgroup = 0; threadgroup < 2; ++threadgroup) {
        std::barrier<> group(%(hidden)d * %(parts)d);
        std::vector<std::thread> threads;
        for (int thread = 0; thread < %(hidden)d * %(parts)d; ++thread) {
            threads.emplace_back([=, &group] {
                kernel<%(hidden)d, %(parts)d>(thread, threadgroup, group, projected, &frames,
                                              state_weight, state_bias, out);
            });
        }
        for (auto& thread : threads) thread.join();
    }
}
"""


@pytest.mark.parametrize(("frames", "hidden", "parts"), [(5, 8, 1), (7, 6, 4), (3, 12, 2)])
def test_kernel_source(tmp_path: Path, frames: int, hidden: int, parts: int) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler, to run the kernel source on CPU threads")
    source, library = tmp_path / "kernel.cpp", tmp_path / "kernel.so"
    source.write_text(_HARNESS % {"source": gru.SOURCE, "hidden": hidden, "parts": parts})
    options = ["-std=c++20", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *options, str(source), "-o", str(library)], check=True)
    layer = _layer(frames, hidden)
    out = np.zeros((frames, 2 * hidden), np.float32)
    projected, weight, bias, out_pointer = (
        part.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for part in (*layer, out)
    )
    ctypes.CDLL(str(library)).run(projected, frames, weight, bias, out_pointer)
    expected = np.array(gru.loop(*(mx.array(part) for part in layer)))
    np.testing.assert_allclose(out, expected, atol=2e-6)


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
