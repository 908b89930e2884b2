"""Shared operators of the networks, each in the variant that suits the device.

The choice is made here, once, when the module is imported: single primitives on
a GPU (``layers_plain``), matrix products on the CPU (``layers_cpu``). Both give
the same numbers to about 1e-6 and are tested against each other.

Arrays are (batch, frames, channels); convolution weights are
(out channels, kernel, in channels / groups).
"""

from __future__ import annotations

import mlx.core as mx

from rtvc.engine.models import layers_cpu, layers_plain

RUNS_ON_CPU: bool = mx.default_device().type == mx.DeviceType.cpu

conv1d = layers_cpu.conv1d if RUNS_ON_CPU else layers_plain.conv1d
conv_transpose1d = layers_cpu.conv_transpose1d if RUNS_ON_CPU else layers_plain.conv_transpose1d
doubling = layers_cpu.doubling if RUNS_ON_CPU else layers_plain.doubling
double2d = layers_cpu.double2d if RUNS_ON_CPU else layers_plain.double2d
gelu = layers_cpu.gelu if RUNS_ON_CPU else layers_plain.gelu
sigmoid = layers_cpu.sigmoid if RUNS_ON_CPU else layers_plain.sigmoid
tanh = layers_cpu.tanh if RUNS_ON_CPU else layers_plain.tanh
attention = layers_cpu.attention if RUNS_ON_CPU else layers_plain.attention
tap_major = layers_cpu.tap_major if RUNS_ON_CPU else layers_plain.tap_major


Weights = dict[str, mx.array]


def affine(weights: Weights, name: str) -> tuple[mx.array, mx.array]:
    """Return the weight and the bias that belong to `name`."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def leaky_relu(x: mx.array, slope: float = 0.01) -> mx.array:
    """Return x where it is positive, slope * x elsewhere; 0 <= slope <= 1."""
    return mx.maximum(x, slope * x)


def layer_norm(x: mx.array, weight: mx.array, bias: mx.array, eps: float = 1e-5) -> mx.array:
    """Normalise the last axis to zero mean and unit variance, then scale and shift."""
    return mx.fast.layer_norm(x, weight, bias, eps)


def linear(x: mx.array, weight: mx.array, bias: mx.array | None = None) -> mx.array:
    """Return x @ weight.T + bias for x (..., in), weight (out, in), bias (out,)."""
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


def conv2d(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    """Cross-correlate with zero padding so that the size stays the same.

    Parameters
    ----------
    x
        (batch, height, width, in channels).
    weight
        (out channels, kernel height, kernel width, in channels), odd kernel.
    bias
        (out channels,).

    Returns
    -------
    mx.array
        (batch, height, width, out channels).
    """
    rows, columns = weight.shape[1] // 2, weight.shape[2] // 2
    if x.shape[1] == 1:
        # A single row sees padding above and below: the middle of the kernel is all.
        weight, rows = weight[:, rows : rows + 1], 0
    return mx.conv2d(x, weight, padding=(rows, columns)) + bias
