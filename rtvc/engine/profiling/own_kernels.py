"""Stand-ins for rtvc's own GPU kernels, to count a step on a machine that cannot build them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx

from rtvc.engine.models.ops import gru, small_conv2d
from rtvc.engine.profiling.op_count import stand_in_kernel


@contextmanager
def counted_as_one() -> Iterator[None]:
    """Build networks with one operation for each of rtvc's own kernels, not to be evaluated."""
    language, kernel, convolution = gru.kernel_language, gru.kernel, small_conv2d.kernel
    gru.kernel_language, gru.kernel = lambda: "metal", _recurrent
    small_conv2d.kernel = _convolution
    try:
        yield
    finally:
        gru.kernel_language, gru.kernel, small_conv2d.kernel = language, kernel, convolution


def _recurrent(
    language: str, projected: mx.array, state_weight: mx.array, state_bias: mx.array
) -> mx.array:
    frames, gates = projected.shape
    inputs = projected, state_weight, state_bias
    return stand_in_kernel(inputs, [(frames, gates // 3)], [mx.float32])[0]


def _convolution(
    language: str,
    x: mx.array,
    weight: mx.array,
    bias: mx.array,
    addend: mx.array | None,
    *,
    by_row: bool,
) -> mx.array:
    if not by_row:
        return mx.conv2d(x, weight, padding=1)
    if x.shape[1] > 1:
        return stand_in_kernel((x, weight, bias), [x.shape[:3] + bias.shape], [x.dtype])[0]
    return mx.conv2d(x, weight[1:2].squeeze(0)[:, None], padding=(0, 1))
