"""Winograd convolutions of polyphase signals against direct convolutions."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.models import winograd
from rtvc.engine.models.ops import cpu, gpu
from rtvc.engine.models.parameters import Conv1d
from rtvc.engine.models.winograd import (
    Polyphase,
    _WinogradConv,
    can_use_winograd,
    interleave_phases,
    split_phases,
)
from rtvc.engine.profiling.op_count import count

WIDTH = 6


def conv(kernel: int, dilation: int = 1, stride: int = 1, bias: mx.array | None = None) -> Conv1d:
    random = np.random.default_rng(kernel + dilation)
    weight = random.standard_normal((WIDTH, kernel, WIDTH)).astype(np.float32)
    padding = dilation * (kernel - 1) // 2
    return Conv1d(cpu.tap_major(mx.array(weight)), bias, stride, padding, dilation)


def signal(samples: int) -> mx.array:
    random = np.random.default_rng(1)
    return mx.array(random.standard_normal((1, samples, WIDTH)).astype(np.float32))


def test_interleaving_reverts_the_split() -> None:
    x = signal(20)
    phases = split_phases(x)
    assert np.array_equal(phases.odd, x[:, 1::2])
    assert np.array_equal(interleave_phases(phases), x)


def test_mean() -> None:
    signals = [split_phases(signal(8)), split_phases(3.0 * signal(8))]
    actual = interleave_phases(winograd.mean_phases(signals))
    np.testing.assert_allclose(actual, 2.0 * signal(8), rtol=1e-6)


@pytest.mark.parametrize("dilation", [1, 3, 5, 7])
@pytest.mark.parametrize("kernel", [3, 5, 7, 9, 11, 13])
@pytest.mark.parametrize("outputs", [2, 4, 30])
def test_sums_equal_a_direct_convolution(kernel: int, dilation: int, outputs: int) -> None:
    direct = conv(kernel, dilation)
    fast = _WinogradConv(direct)
    # Pairs need more input samples at each end than the taps alone.
    extra = fast.margin - direct.padding
    assert extra == dilation - 1
    x = signal(2 * fast.margin + outputs)
    expected = gpu.conv1d(x, direct.weight, dilation=dilation)
    sums = fast(split_phases(x))
    assert sums.even.shape == sums.odd.shape == (1, outputs // 2, WIDTH)
    inside = expected[:, extra : expected.shape[1] - extra]
    np.testing.assert_allclose(interleave_phases(Polyphase(*sums)), inside, atol=2e-5)


@pytest.mark.parametrize("dilation", [1, 3, 5])
def test_bias_and_residual_path_are_added(dilation: int) -> None:
    bias = mx.arange(WIDTH, dtype=mx.float32)
    plain, biased = (_WinogradConv(conv(7, dilation, bias=b)) for b in (None, bias))
    x = split_phases(signal(2 * plain.margin + 20))
    for sums, alone, path, both in zip(plain(x), biased(x), x, biased(x, x), strict=True):
        np.testing.assert_allclose(alone, sums + bias, atol=1e-5)
        np.testing.assert_allclose(both, sums + bias + path[:, : sums.shape[1]], atol=1e-5)


@pytest.mark.parametrize(("kernel", "products"), [(3, 2), (5, 3.5), (7, 5), (9, 6), (11, 7.5)])
def test_products_per_sample(kernel: int, products: float) -> None:
    x = split_phases(signal(2 * (kernel - 1) // 2 + 100))
    flop = count(lambda even, odd: [*_WinogradConv(conv(kernel))(Polyphase(even, odd))], *x).flop
    assert flop == 2 * 100 * WIDTH**2 * products


def test_what_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_use_winograd([[conv(3, 3), conv(3)]])  # too few channels to be faster
    monkeypatch.setattr(winograd, "MIN_CHANNELS", WIDTH)
    assert can_use_winograd([[conv(3, 3), conv(3)], [conv(11, 5), conv(11)]])
    assert not can_use_winograd([[conv(3, 2), conv(3)]])  # both outputs of a pair in one phase
    assert not can_use_winograd([[conv(4), conv(4)]])
    assert not can_use_winograd([[conv(3)]])  # the residual path would be offset by half a pair
    assert not can_use_winograd([[conv(3, 1, 2), conv(3)]])
