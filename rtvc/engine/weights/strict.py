"""Compares what a network needs with what a file holds: every name and every shape."""

from collections.abc import Mapping

import numpy as np

from rtvc._types import AnyArray, Float32
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.text import printable

Shape = tuple[int, ...]

_MAX_LISTED = 3


def check_keys(expected: Mapping[str, Shape], actual: Mapping[str, AnyArray]) -> None:
    """Raise unless `actual` has exactly the expected names with the expected shapes.

    Raises
    ------
    ContentError
        With counts and the first few of what is missing, unexpected, or mis-shaped.
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
    """Return the arrays in float32, after checking that they are finite numbers.

    What is float32 already is not copied, and stays read-only if it is.

    Raises
    ------
    ContentError
        When an array holds something other than floating-point numbers, infinities or NaN.
    """
    result: dict[str, Float32] = {}
    # A file can give one tensor many names: each is converted once.
    converted: dict[int, Float32] = {}
    for name, array in weights.items():
        if id(array) not in converted:
            converted[id(array)] = _as_float32(name, array)
        result[name] = converted[id(array)]
    return result


def _as_float32(name: str, array: AnyArray) -> Float32:
    if array.dtype.kind != "f":
        raise ContentError(f"'{printable(name)}' does not hold floating-point numbers")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise ContentError(f"'{printable(name)}' holds values that are not finite numbers")
    return values


def shape_of(weights: Mapping[str, AnyArray], name: str, axes: int) -> Shape:
    """Return the shape of a weight that must be there with `axes` axes.

    Raises
    ------
    ContentError
        When it is not.
    """
    array = weights.get(name)
    if array is None or array.ndim != axes:
        raise ContentError(f"'{name}' is missing or has the wrong shape")
    return array.shape


def count_consecutive(weights: Mapping[str, AnyArray], pattern: str) -> int:
    """Return how many of ``pattern.format(0)``, ``pattern.format(1)`` … follow each other."""
    found = 0
    while pattern.format(found) in weights:
        found += 1
    return found


def _summary(what: str, items: list[str]) -> str:
    if not items:
        return ""
    more = "" if len(items) <= _MAX_LISTED else f" and {len(items) - _MAX_LISTED} more"
    return (
        f"{len(items)} {what} ({', '.join(printable(i, 100) for i in items[:_MAX_LISTED])}{more})"
    )


def _format_shape(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
