"""The kernel for small images: the text that MLX gives to Metal, against the convolution."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.engine.models.ops import conv2d_gpu, gru, small_conv2d
from rtvc.engine.profiling.op_count import count
from tests.support.metal_shim import (
    COMPILER,
    NO_COMPILER,
    CompiledKernels,
    KernelText,
    kernel_text,
)

# Height, width, input channels, output channels, weight by row, addend, precision. The channels
# of the last two divide neither threads nor groups.
CASES = [
    (1, 4, 64, 32, True, False, mx.float16),
    (1, 4, 64, 64, True, True, mx.float32),
    (2, 4, 64, 32, True, True, mx.float16),
    (2, 8, 48, 32, False, False, mx.float32),
    (2, 8, 96, 40, False, True, mx.float16),
    (4, 4, 7, 13, False, True, mx.float32),
    (1, 1, 33, 5, True, False, mx.float32),
]
Case = tuple[int, int, int, int, bool, bool, mx.Dtype]


def _layer(case: Case) -> list[mx.array]:
    height, width, channels, outputs, by_row, adds, dtype = case
    rng = np.random.default_rng(height * width + channels)
    weight = rng.standard_normal((outputs, 3, 3, channels)) / np.sqrt(9 * channels)
    arrays = [
        rng.standard_normal((1, height, width, channels)),
        weight.transpose(1, 0, 2, 3) if by_row else weight,
        0.3 * rng.standard_normal(outputs),
        *([rng.standard_normal((1, height, width, outputs))] if adds else []),
    ]
    return [mx.array(np.ascontiguousarray(array, np.float32)).astype(dtype) for array in arrays]


def _launch(case: Case) -> KernelText:
    def run(x: mx.array, weight: mx.array, bias: mx.array, *rest: mx.array) -> mx.array:
        addend = rest[0] if rest else None
        return small_conv2d.kernel("metal", x, weight, bias, addend, by_row=case[4])

    return kernel_text(run, *_layer(case))


def _expected(case: Case) -> Float32:
    x, weight, bias, *rest = (part.astype(mx.float32) for part in _layer(case))
    weight = weight.transpose(1, 0, 2, 3) if case[4] else weight
    y = mx.maximum(mx.conv2d(x, weight, padding=1) + bias, 0.0)
    return np.array(y + rest[0] if rest else y)


@pytest.fixture(scope="module")
def run_kernel(tmp_path_factory: pytest.TempPathFactory) -> CompiledKernels:
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
    kernels = {kernel.name: kernel for kernel in map(_launch, CASES)}
    broken = _launch(CASES[1]).without_barrier(0)
    return CompiledKernels([*kernels.values(), broken], tmp_path_factory.mktemp("kernels"))


def _run(run_kernel: CompiledKernels, kernel: KernelText, case: Case) -> Float32:
    x, weight, bias, *rest = (np.array(part) for part in _layer(case))
    shapes = [np.array(part.shape, np.int32) for part in (x, bias)]
    addend = rest[0] if rest else bias
    return run_kernel(kernel, x, shapes[0], weight, bias, shapes[1], addend)


@pytest.mark.parametrize("case", CASES)
def test_kernel_equals_the_convolution(run_kernel: CompiledKernels, case: Case) -> None:
    actual = _run(run_kernel, _launch(case), case)
    tolerance = 2e-3 if case[-1] == mx.float16 else 2e-6
    assert actual.dtype == (np.float16 if case[-1] == mx.float16 else np.float32)
    np.testing.assert_allclose(actual, _expected(case), atol=tolerance, rtol=tolerance)


def test_the_barrier_is_needed(run_kernel: CompiledKernels) -> None:
    actual = _run(run_kernel, _launch(CASES[1]).without_barrier(0), CASES[1])
    assert not np.allclose(actual, _expected(CASES[1]), atol=1e-2)


@pytest.mark.parametrize(
    ("size", "typical", "launches"),
    [((1, 4), (1, 4), 1), ((2, 4), (1, 4), 1), ((2, 8), (2, 8), 1), ((4, 8), (2, 8), 3)],
)
def test_small_images_take_one_launch(
    size: tuple[int, int],
    typical: tuple[int, int],
    launches: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gru, "kernel_language", lambda: "metal")
    calls: list[bool] = []

    def kernel(language: str, x: mx.array, *rest: mx.array | None, by_row: bool) -> mx.array:
        calls.append(by_row)
        return mx.exp(x)

    monkeypatch.setattr(small_conv2d, "kernel", kernel)
    weight, bias, x = mx.zeros((16, 3, 3, 16)), mx.zeros(16), mx.zeros((1, *size, 16))
    mx.eval(weight, bias)
    convolve = conv2d_gpu.conv2d(weight, typical_size=typical)
    counts = count(lambda x: conv2d_gpu.conv2d_relu(convolve, x, bias), x)
    assert counts.primitives == launches
    assert set(calls) == ({typical[0] == 1} if launches == 1 else set())


@pytest.mark.skipif(gru.kernel_language() is None, reason="needs a GPU that MLX uses")
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_on_the_gpu(case: Case) -> None:
    x, weight, bias, *rest = _layer(case)
    language = gru.kernel_language()
    assert language is not None
    actual = small_conv2d.kernel(
        language, x, weight, bias, rest[0] if rest else None, by_row=case[4]
    )
    tolerance = 2e-3 if case[-1] == mx.float16 else 1e-5
    np.testing.assert_allclose(np.array(actual), _expected(case), atol=tolerance, rtol=tolerance)
