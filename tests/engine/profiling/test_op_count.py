"""Counts of small graphs against what can be counted by hand."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.models.ops import cpu, gpu
from rtvc.engine.profiling.op_count import Counts, count, stand_in_kernel


def _array(*shape):
    return mx.array(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_a_product_costs_two_flop_an_element_and_reads_its_weight_once():
    weight, bias = _array(7, 5), _array(7)

    def twice(x):
        return mx.addmm(bias, x, weight.T) + x @ weight.T

    counts = count(twice, _array(3, 5))
    assert counts.flop == 2 * (2 * 3 * 5 * 7)
    assert counts.weight_bytes == 4 * (7 * 5 + 7)
    assert counts.kinds == {"AddMM": 1, "Matmul": 1, "Add": 1}
    assert counts.primitives == 3
    assert counts + counts == Counts(
        6, 2 * counts.flop, 2 * counts.weight_bytes, counts.kinds + counts.kinds
    )


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 0, 1, 1), (1, 5, 5, 3)]
)
@pytest.mark.parametrize("layers", [cpu, gpu])
def test_a_convolution_costs_the_same_in_both_operator_sets(
    layers, stride, padding, dilation, groups
):
    weight = _array(12, 3, 6 // groups)
    x = _array(1, 40, 6)

    def convolve(x):
        return layers.conv1d(
            x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    counts = count(convolve, x)
    frames = convolve(x).shape[1]
    assert counts.flop == 2 * frames * 12 * 3 * (6 // groups)
    assert counts.weight_bytes == weight.nbytes
    if layers is gpu:
        assert counts.primitives == 1


def test_inserted_zeros_count_where_they_are_multiplied():
    weight, x = _array(32, 16, 16), _array(1, 30, 16)
    options: dict[str, Any] = {"stride": 10, "padding": 3}
    useful = 2 * 30 * 16 * 16 * 32
    one_dimension = count(lambda x: mx.conv_transpose1d(x, weight, **options), x)
    assert one_dimension.flop == pytest.approx(10 * useful, rel=0.01)
    plain = count(lambda x: gpu.conv_transpose1d(x, weight, **options), x)
    assert plain.flop == pytest.approx(useful, rel=0.01)
    assert plain.primitives == 1
    tapped = cpu.tap_major(weight)
    mx.eval(tapped)
    by_phases = count(lambda x: cpu.conv_transpose1d(x, tapped, **options), x)
    assert useful <= by_phases.flop <= 1.05 * useful
    assert plain.weight_bytes == by_phases.weight_bytes == weight.nbytes


@pytest.mark.parametrize(("frames", "channels", "skips"), [(10, 8, False), (30, 8, True)])
def test_small_images_with_few_channels_are_unfolded_with_their_zeros(frames, channels, skips):
    weight, x = _array(4, 16, channels), _array(1, frames, channels)
    flop = count(lambda x: gpu.conv_transpose1d(x, weight, stride=10), x).flop
    useful = 2 * frames * 16 * channels * 4
    assert flop == pytest.approx(useful * (1 if skips else 10), rel=0.1)


def test_only_what_is_looked_at_of_a_weight_is_read():
    table, kernel = _array(100, 8), _array(6, 3, 4)
    rows = mx.array([1, 5, 5])
    assert count(lambda rows: table[rows], rows).weight_bytes == 4 * 3 * 8
    x = _array(1, 10, 4)
    middle = count(lambda x: mx.conv1d(x, kernel[:, 1:2]), x)
    assert middle.weight_bytes == kernel.nbytes // 3
    both = count(lambda x: mx.conv1d(x, kernel[:, 1:2]) + mx.conv1d(x, kernel[:, 2:]), x)
    assert both.weight_bytes == 2 * kernel.nbytes // 3


def test_what_the_compiler_fuses_is_one_primitive():
    fused = mx.compile(lambda x: mx.exp(x * 0.5) + x)
    x = _array(50)
    assert count(lambda x: mx.exp(x * 0.5) + x, x).primitives == 3
    assert count(fused, x).primitives == 1
    fused(x)  # compiled for real
    assert count(fused, x).primitives == 1
    assert count(lambda x: fused(x.reshape(5, 10).T), x).primitives == 1


@pytest.mark.thorough
def test_what_a_gpu_runs_as_one_kernel_is_one_primitive_and_does_not_stay():
    gain = _array(64)
    fused = mx.compile(lambda x: 2 * mx.fast.layer_norm(x, gain, None, 1e-5))
    x = _array(1, 2, 30, 64)

    def attend(x):
        return mx.fast.scaled_dot_product_attention(x, x, fused(x), scale=0.125)

    expected = np.array(attend(x))
    small = count(attend, x)
    whole = count(attend, x, as_gpu=True)
    assert small.flop == whole.flop == 4 * 2 * 30 * 30 * 64
    assert whole.weight_bytes == small.weight_bytes
    assert whole.primitives == 3
    assert small.primitives > 5
    np.testing.assert_array_equal(np.array(attend(x)), expected)


def test_a_kernel_of_our_own_can_be_stood_for():
    weight = _array(6, 5)

    def gru(x):
        state, last = stand_in_kernel([x, weight], [(2, 3), (4,)], [mx.float32, mx.float16])
        return mx.exp(state), last

    counts = count(gru, _array(5))
    assert counts.kinds == {"Depends": 1, "Exp": 1}
    assert counts.weight_bytes == weight.nbytes
    first, second = stand_in_kernel([_array(5)], [(2, 3), (4,)], [mx.float32, mx.float16])
    assert (first.shape, first.dtype) == ((2, 3), mx.float32)
    assert (second.shape, second.dtype) == ((4,), mx.float16)


def test_a_function_that_evaluates_is_refused():
    with pytest.raises(ValueError, match="eval"):
        count(lambda x: mx.array(np.array(x + 1)), _array(3))
