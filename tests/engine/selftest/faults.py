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


def _swapped(x: mx.array) -> mx.array:
    """Swap the first two channels."""
    if x.ndim == 0 or x.shape[-1] < 2:
        return -x
    return mx.concatenate([x[..., 1:2], x[..., :1], x[..., 2:]], axis=-1)


def _late(x: mx.array) -> mx.array:
    """Delay by one frame, or a single frame by one channel."""
    if x.ndim == 0:
        return -x
    return mx.roll(x, 1, -2 if x.ndim > 1 and x.shape[-2] > 1 else -1)


class Previous:
    """Returns what the call before has returned, if that was as large."""

    def __init__(self) -> None:
        self._last: dict[tuple[object, ...], mx.array] = {}

    def __call__(self, x: mx.array) -> mx.array:
        key = (x.shape, x.dtype)
        last, self._last[key] = self._last.get(key, x), x
        return last


class EveryOther:
    """Is right in every first call, and wrong in every second one."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, x: mx.array) -> mx.array:
        self._calls += 1
        return x if self._calls % 2 else (x * 1.05).astype(x.dtype)


ORDER_FAULTS: dict[str, Callable[[mx.array], mx.array]] = {
    "one frame late": _late,
    "swapped channels": _swapped,
}
CALL_FAULTS: dict[str, Callable[[], Callable[[mx.array], mx.array]]] = {
    "previous result": Previous,
    "every other call": EveryOther,
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
