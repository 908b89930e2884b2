"""Operators of the networks, in the variant for this machine's device.

The variant is selected at import: single primitives for a GPU (``gpu``, ``conv2d_gpu``),
matrix products for the CPU (``cpu``, ``conv2d_cpu``). Their results agree to about 1e-6, and
tests compare them. `use` selects again, after a failed self-test.

Arrays are (batch, frames, channels); convolution weights are
(out channels, kernel, in channels / groups).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast
from weakref import ref

import mlx.core as mx

from rtvc.engine.models.ops import backend, conv2d_cpu, conv2d_gpu, cpu, gpu, gru
from rtvc.engine.models.ops.backend import Compute

_F = TypeVar("_F", bound=Callable[..., Any])
_active: dict[str, Callable[..., Any]] = {"bidirectional_gru": gru.loop}
"""Operators in use, by name; filled by `use`."""


def _operator(reference: _F) -> _F:
    """Return a function that calls the operator in use with the name of `reference`."""
    name = reference.__name__

    @functools.wraps(reference)
    def call(*arguments: Any, **options: Any) -> Any:
        return _active[name](*arguments, **options)

    _active[name] = reference
    return cast(_F, call)


conv1d = _operator(gpu.conv1d)
conv_transpose1d = _operator(gpu.conv_transpose1d)
conv2d = _operator(conv2d_gpu.conv2d)
conv_transpose2d = _operator(conv2d_gpu.conv_transpose2d)
conv2d_relu = _operator(conv2d_gpu.conv2d_relu)
residual2d = _operator(conv2d_gpu.residual2d)
pack_grouped: Callable[..., Any] = _operator(gpu.pack_grouped)
grouped_conv1d: Callable[..., mx.array] = _operator(gpu.grouped_conv1d)
linear = _operator(gpu.linear)
concatenate_time = _operator(gpu.concatenate_time)
leaky_relu = _operator(gpu.leaky_relu)
relu = _operator(gpu.relu)
residual = _operator(gpu.residual)
gelu = _operator(gpu.gelu)
sigmoid = _operator(gpu.sigmoid)
tanh = _operator(gpu.tanh)
gated = _operator(gpu.gated)
attention = _operator(gpu.attention)
relative_attention = _operator(gpu.relative_attention)
frame_major = _operator(gpu.frame_major)
tap_major = _operator(gpu.tap_major)
pack_taps: Callable[..., Any] = _operator(gpu.pack_taps)
conv1d_packed: Callable[..., mx.array] = _operator(gpu.conv1d_packed)
conv1d_gelu: Callable[..., mx.array] = _operator(gpu.conv1d_gelu)
keep_slice = _operator(gpu.keep_slice)


def bidirectional_gru(
    projected: mx.array, state_weight: mx.array, state_bias: mx.array
) -> mx.array:
    """See ``gru.loop``."""
    states: mx.array = _active["bidirectional_gru"](projected, state_weight, state_bias)
    return states


def operators() -> dict[str, Callable[..., Any]]:
    """Return the operators in use by name. Tests exchange some of them."""
    return _active


def use(compute: Compute) -> None:
    """Compute in another way from now on, in all threads.

    Networks that were built before may fail: their weights are stored for other operators.
    """
    plain, images = (cpu, conv2d_cpu) if compute.operators == "cpu" else (gpu, conv2d_gpu)
    for name in _active:
        module = images if hasattr(images, name) and "2d" in name else plain
        if name != "bidirectional_gru":
            _active[name] = getattr(module, name)
    by_kernel = compute.operators == "gpu" and compute.gru_kernel
    _active["bidirectional_gru"] = gru.kernel_or_loop if by_kernel else gru.loop
    backend.set_compute(compute)


use(backend.compute)


def uses_winograd() -> bool:
    """Return whether residual blocks run as `winograd.WinogradBlock` where they can."""
    return backend.compute.operators == "cpu"


_traced = ContextVar("_traced", default=True)


@contextmanager
def untraced(*, when: bool = True) -> Iterator[None]:
    """Within it, `compiled` methods run as they are, if `when` is set, and are traced otherwise.

    For arrays whose lengths differ from call to call: MLX keeps each trace, with buffers of the
    GPU, until the network is released.
    """
    token = _traced.set(not when)
    try:
        yield
    finally:
        _traced.reset(token)


OpWeights = dict[str, mx.array]
Method = TypeVar("Method", bound=Callable[..., object])


def compiled(method: Method) -> Method:
    """Return a bound method that ``mx.compile`` traces and fuses on a GPU.

    It is traced once per combination of array shapes and non-array arguments, so a step
    builds no graph in Python; not within `untraced`.

    On the CPU the method is returned unchanged: each fused chain would run the system's C++
    compiler before the first output. ``cpu`` compiles the few chains that matter.
    """
    function, owner = method.__func__, ref(method.__self__)  # type: ignore[attr-defined]

    def call(*arguments: object) -> object:
        # The network refers to this closure; a reference back would keep both alive.
        return function(owner(), *arguments)

    if not backend.traces_steps():
        return cast(Method, call)
    traced = mx.compile(call)

    def traced_or_not(*arguments: object) -> object:
        return (traced if _traced.get() else call)(*arguments)

    return cast(Method, traced_or_not)


def affine(weights: OpWeights, name: str) -> tuple[mx.array, mx.array]:
    """Return the weight and the bias of the layer `name`."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def layer_norm(x: mx.array, weight: mx.array, bias: mx.array, eps: float = 1e-5) -> mx.array:
    """Normalise the last axis to zero mean and unit variance, then scale and shift."""
    return mx.fast.layer_norm(x, weight, bias, eps)


def mean(signals: Sequence[mx.array]) -> mx.array:
    """Return the mean of arrays of one shape."""
    return functools.reduce(mx.add, signals) * (1.0 / len(signals))
