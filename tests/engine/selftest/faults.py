"""Planted faults: functions whose results are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx


def _one_row(x: mx.array) -> mx.array:
    """Set one row of each matrix to zero, or one element of a vector."""
    axis = max(x.ndim - 2, 0)
    shape = [1] * x.ndim
    shape[axis] = -1
    kept = (mx.arange(x.shape[axis]) != x.shape[axis] // 2).reshape(shape)
    return mx.where(kept, x, mx.zeros_like(x))


FAULTS: dict[str, Callable[[mx.array], mx.array]] = {
    "sign": lambda x: -x,
    "scale 1.01": lambda x: (x * 1.01).astype(x.dtype),
    "one row": _one_row,
    "NaN": lambda x: x * float("nan"),
    "zeros": mx.zeros_like,
}


def spoil(result: Any, fault: Callable[[mx.array], mx.array]) -> Any:
    """Apply a fault to all arrays of real numbers in a result, or to what it will return."""
    if isinstance(result, mx.array):
        return _spoiled_array(result, fault)
    if isinstance(result, (tuple, list)):
        parts = [spoil(part, fault) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return spoiled(result, fault) if callable(result) else result


def _spoiled_array(array: mx.array, fault: Callable[[mx.array], mx.array]) -> mx.array:
    if array.dtype == mx.complex64:
        return fault(array.real) + 1j * fault(array.imag)
    return fault(array) if mx.issubdtype(array.dtype, mx.floating) else mx.zeros_like(array)


def spoiled(function: Callable[..., Any], fault: Callable[[mx.array], mx.array]) -> Any:
    """Return the function with a fault in its result."""
    return lambda *arguments, **options: spoil(function(*arguments, **options), fault)
