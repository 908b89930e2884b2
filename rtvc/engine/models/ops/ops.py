"""Operators of the networks, in the variant for this machine's device.

The variant is selected once, at import: single primitives for a GPU (``gpu``,
``conv2d_gpu``), matrix products for the CPU (``cpu``, ``conv2d_cpu``). Their results agree
to about 1e-6, and tests compare them.

Arrays are (batch, frames, channels); convolution weights are
(out channels, kernel, in channels / groups).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from weakref import ref

import mlx.core as mx

from rtvc.engine.models.ops import conv2d_cpu, conv2d_gpu, cpu, gpu, gru
from rtvc.engine.models.ops.backend import OPERATORS, TRACES_STEPS

_CPU = OPERATORS == "cpu"

conv1d = cpu.conv1d if _CPU else gpu.conv1d
conv_transpose1d = cpu.conv_transpose1d if _CPU else gpu.conv_transpose1d
conv2d = conv2d_cpu.conv2d if _CPU else conv2d_gpu.conv2d
conv_transpose2d = conv2d_cpu.conv_transpose2d if _CPU else conv2d_gpu.conv_transpose2d
pack_grouped = cpu.pack_grouped if _CPU else gpu.pack_grouped
grouped_conv1d = cpu.grouped_conv1d if _CPU else gpu.grouped_conv1d
linear = cpu.linear if _CPU else gpu.linear
concatenate_time = cpu.concatenate_time if _CPU else gpu.concatenate_time
leaky_relu = cpu.leaky_relu if _CPU else gpu.leaky_relu
relu = cpu.relu if _CPU else gpu.relu
residual = cpu.residual if _CPU else gpu.residual
gelu = cpu.gelu if _CPU else gpu.gelu
sigmoid = cpu.sigmoid if _CPU else gpu.sigmoid
tanh = cpu.tanh if _CPU else gpu.tanh
gated = cpu.gated if _CPU else gpu.gated
attention = cpu.attention if _CPU else gpu.attention
relative_attention = cpu.relative_attention if _CPU else gpu.relative_attention
frame_major = cpu.frame_major if _CPU else gpu.frame_major
tap_major = cpu.tap_major if _CPU else gpu.tap_major
pack_taps: Callable[..., Any] = cpu.pack_taps if _CPU else gpu.pack_taps
conv1d_packed: Callable[..., mx.array] = cpu.conv1d_packed if _CPU else gpu.conv1d_packed
keep_slice = cpu.keep_slice if _CPU else gpu.keep_slice
bidirectional_gru = gru.loop if _CPU else gru.kernel_or_loop

USE_WINOGRAD: bool = _CPU
"""Whether residual blocks run as `winograd.WinogradBlock` where they can."""

OpWeights = dict[str, mx.array]
Method = TypeVar("Method", bound=Callable[..., object])


def compiled(method: Method) -> Method:
    """Return a bound method that ``mx.compile`` traces and fuses on a GPU.

    It is traced once per combination of array shapes and non-array arguments, so a step
    builds no graph in Python.

    On the CPU the method is returned unchanged: each fused chain would run the system's C++
    compiler before the first output. ``cpu`` compiles the few chains that matter.
    """
    function, owner = method.__func__, ref(method.__self__)  # type: ignore[attr-defined]

    def call(*arguments: object) -> object:
        # The network refers to this closure; a reference back would keep both alive.
        return function(owner(), *arguments)

    return cast(Method, mx.compile(call) if TRACES_STEPS else call)


def affine(weights: OpWeights, name: str) -> tuple[mx.array, mx.array]:
    """Return the weight and the bias of the layer `name`."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def layer_norm(x: mx.array, weight: mx.array, bias: mx.array, eps: float = 1e-5) -> mx.array:
    """Normalise the last axis to zero mean and unit variance, then scale and shift."""
    return mx.fast.layer_norm(x, weight, bias, eps)


def mean(signals: Sequence[mx.array]) -> mx.array:
    """Return the mean of arrays of one shape."""
    return functools.reduce(mx.add, signals) * (1.0 / len(signals))
