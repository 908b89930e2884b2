"""Compares the names and shapes of the weights in a file with those that a network needs."""

from collections.abc import Mapping

import numpy as np

from rtvc._types import AnyArray, Float32
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.text import printable

Shape = tuple[int, ...]

_MAX_LISTED = 3


def check_keys(expected: Mapping[str, Shape], actual: Mapping[str, AnyArray]) -> None:
    """Check that `actual` has exactly the expected names with the expected shapes.

    Raises
    ------
    ContentError
        It has not; the message has the number of missing, unexpected and mis-shaped weights,
        and the first few of each.
    """
    problems = [
        _summary("missing", [n for n in expected if n not in actual]),
        _summary("unexpected", [n for n in actual if n not in expected]),
        _summary(
            "mis-shaped",
            [
                f"{n} {_format_shape(actual[n].shape)} instead of {_format_shape(shape)}"
                for n, shape in expected.items()
                if n in actual and actual[n].shape != shape
            ],
        ),
    ]
    text = "; ".join(p for p in problems if p)
    if text:
        raise ContentError(f"its weights do not fit the network: {text}")


def as_float32(weights: Mapping[str, AnyArray]) -> dict[str, Float32]:
    """Return the arrays as float32, after a check that all values are finite.

    float32 arrays are not copied, and stay read-only if they are.

    Raises
    ------
    ContentError
        An array does not have a floating-point type, or contains infinities or NaN.
    """
    result: dict[str, Float32] = {}
    # A file can list one tensor under many names; it is converted once.
    converted: dict[int, Float32] = {}
    for name, array in weights.items():
        if id(array) not in converted:
            converted[id(array)] = _as_float32(name, array)
        result[name] = converted[id(array)]
    return result


def _as_float32(name: str, array: AnyArray) -> Float32:
    if array.dtype.kind != "f":
        raise ContentError(f"'{printable(name)}' does not contain floating-point numbers")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise ContentError(f"'{printable(name)}' contains values that are not finite numbers")
    return values


def shape_of(weights: Mapping[str, AnyArray], name: str, axes: int) -> Shape:
    """Return the shape of the weight `name`, which must have `axes` axes.

    Raises
    ------
    ContentError
        The weight is missing or has another number of axes.
    """
    array = weights.get(name)
    if array is None or array.ndim != axes:
        raise ContentError(f"'{name}' is missing or has the wrong shape")
    return array.shape


def count_consecutive(weights: Mapping[str, AnyArray], pattern: str) -> int:
    """Return the number of names ``pattern.format(0)``, ``pattern.format(1)`` … without a gap."""
    found = 0
    while pattern.format(found) in weights:
        found += 1
    return found


def _summary(problem: str, items: list[str]) -> str:
    if not items:
        return ""
    shown = ", ".join(printable(item, 100) for item in items[:_MAX_LISTED])
    more = "" if len(items) <= _MAX_LISTED else f" and {len(items) - _MAX_LISTED} more"
    return f"{len(items)} {problem} ({shown}{more})"


def _format_shape(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
