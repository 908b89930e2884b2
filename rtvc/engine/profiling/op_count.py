"""What a piece of a network costs on any machine: primitives, FLOP, bytes of weights.

MLX hands out the graph of a function before anything of it is evaluated, so a graph can
be counted on a machine that could never run it in time, or that has no GPU.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import mlx.core as mx
import numpy as np

Function = Callable[..., Any]
"""Takes arrays, and gives arrays in lists, tuples and dicts; nothing is evaluated within."""

Node = Mapping[str, Any]
"""A primitive as ``mx.export_function`` tells it: name, arguments, inputs and outputs."""

VIEWS = frozenset(
    {
        "AsStrided",
        "Broadcast",
        "BroadcastAxes",
        "ExpandDims",
        "Flatten",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "StopGradient",
        "Transpose",
        "Unflatten",
        "View",
    }
)
"""Primitives that say where elements lie and move none, except a reshape that has to."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one call costs.

    Attributes
    ----------
    primitives
        Nodes of the graph that compute something, each at least one launch on a GPU; what
        ``mx.compile`` fuses is one, and `VIEWS` are none.
    flop
        Floating-point operations of products, convolutions and attention, a multiplication
        and an addition counted as two; what is element by element is not counted.
    weight_bytes
        Bytes of constant arrays that are read, each once however often it is used, and of a table
        or a part of a weight only what is looked at.
    kinds
        How many of the primitives have which name.
    """

    primitives: int = 0
    flop: float = 0.0
    weight_bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.primitives + other.primitives,
            self.flop + other.flop,
            self.weight_bytes + other.weight_bytes,
            self.kinds + other.kinds,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.primitives - other.primitives,
            self.flop - other.flop,
            self.weight_bytes - other.weight_bytes,
            self.kinds - other.kinds,
        )


def count(function: Function, *arrays: mx.array, as_gpu: bool = False) -> Counts:
    """Count one call of a function, which is traced and not evaluated.

    Parameters
    ----------
    function
        What is counted. Arrays that it holds are its weights.
    arrays
        What it is called with, evaluated, in the shapes of a real call.
    as_gpu
        Count what every GPU backend of MLX runs as one kernel (layer norm, attention) as one
        primitive, on a machine without a GPU too; there MLX builds it from smaller ones.

    Raises
    ------
    ValueError
        If the function evaluates an array.
    """
    kinds = _primitives(function, arrays, as_gpu)
    tally = _Tally()
    with _exportable():
        mx.export_function(tally, lambda *inputs: arrays_in(function(*inputs)), *arrays)
    return Counts(kinds.total(), tally.flop, tally.weight_bytes, kinds)


def stand_in_kernel(
    inputs: Sequence[mx.array],
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[mx.Dtype],
) -> list[mx.array]:
    """Return arrays that stand for the results of one kernel: to be counted, not evaluated.

    For what `count` is given in the place of a function that launches a kernel of its own,
    which cannot be built on a machine without that kind of GPU.

    Parameters
    ----------
    inputs
        What the kernel reads.
    shapes, dtypes
        Of what it writes.
    """
    # Made by NumPy, so that there is no primitive that makes them.
    outputs = [
        mx.array(np.zeros(shape, str(dtype).removeprefix("mlx.core.")))
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    return _standing(outputs, inputs)


def _standing(outputs: list[mx.array], inputs: Sequence[mx.array]) -> list[mx.array]:
    """Return `outputs` as one primitive that has to wait for the inputs."""
    made: list[mx.array] = mx.depends(outputs, list(inputs))
    return made


def _primitives(function: Function, arrays: Sequence[mx.array], as_gpu: bool) -> Counter[str]:
    """Count the primitives of the graph as it would be evaluated, by name."""
    mx.eval(*arrays)
    text = io.StringIO()
    stand_ins = as_gpu and mx.default_device().type == mx.DeviceType.cpu
    # A stream of its own: MLX keeps compiled graphs by stream, and none may be a stand-in.
    with mx.stream(mx.new_stream(mx.default_device())), _single_kernels(stand_ins):
        mx.export_to_dot(text, *arrays_in(function(*arrays)))
    names = re.findall(r'label ="(\w+)"', text.getvalue())
    return Counter(name for name in names if name not in VIEWS)


@contextmanager
def _single_kernels(wanted: bool) -> Iterator[None]:
    """Let ``mx.fast`` build the graph of a GPU: one primitive for what is one kernel there."""

    def layer_norm(x: mx.array, *parts: Any, **_: Any) -> mx.array:
        return _standing([x], [part for part in parts if isinstance(part, mx.array)] or [x])[0]

    def attention(queries: mx.array, keys: mx.array, values: mx.array, **_: Any) -> mx.array:
        return _standing([queries], [keys, values])[0]

    stand_ins: dict[str, Function] = {
        "layer_norm": layer_norm,
        "scaled_dot_product_attention": attention,
    }
    with _replaced(mx.fast, stand_ins if wanted else {}):
        yield


@contextmanager
def _exportable() -> Iterator[None]:
    """Build graphs that ``mx.export_function`` can tell: nothing fused, no copies."""
    compiles = "MLX_DISABLE_COMPILE" not in os.environ
    mx.disable_compile()
    try:
        with _replaced(mx, {"contiguous": lambda x, *_, **__: x}):
            yield
    finally:
        if compiles:
            mx.enable_compile()


@contextmanager
def _replaced(module: ModuleType, functions: Mapping[str, Function]) -> Iterator[None]:
    real = {name: getattr(module, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(module, name, function)
        yield
    finally:
        for name, function in real.items():
            setattr(module, name, function)


class _Tally:
    """Adds up FLOP and bytes as ``mx.export_function`` tells the graph, in order."""

    def __init__(self) -> None:
        self.flop = 0.0
        self._bytes: dict[str, int] = {}
        # Constants and views of them, by the array's name: which constant, which view, its bytes.
        self._parts: dict[str, tuple[str, str, int]] = {}
        self._read: dict[str, dict[str, int]] = {}

    @property
    def weight_bytes(self) -> int:
        """Bytes of constants that were read."""
        return sum(
            min(self._bytes[name], sum(views.values())) for name, views in self._read.items()
        )

    def __call__(self, told: Node) -> None:
        if told["type"] == "constants":
            for name, array in told["constants"]:
                if array.size > 1:  # a number is part of the arithmetic
                    self._bytes[name] = array.nbytes
                    self._parts[name] = name, "", array.nbytes
        elif told["type"] == "primitive":
            self.flop += _flop(told)
            (self._view if told["name"] in VIEWS else self._reading)(told)

    def _view(self, node: Node) -> None:
        part = self._parts.get(node["inputs"][0][0])
        if part is None:
            return
        constant, path, size = part
        for number, output in enumerate(node["outputs"]):
            step = f"{path}/{node['name']}{node['arguments']}{number}"
            self._parts[output[0]] = constant, step, min(size, _nbytes(output))

    def _reading(self, node: Node) -> None:
        # The first inputs of a stand-in are only as large as its results.
        stood_for = len(node["outputs"]) if node["name"] == "Depends" else 0
        for place, (name, _, _) in enumerate(node["inputs"]):
            if name in self._parts and place >= stood_for:
                constant, path, size = self._parts[name]
                if node["name"].startswith("Gather") and place == 0:
                    size, path = (
                        min(size, _nbytes(node["outputs"][0])),
                        path + node["outputs"][0][0],
                    )
                self._read.setdefault(constant, {})[path] = size


def _flop(node: Node) -> float:
    """FLOP of one primitive; 0 for those that are not counted."""
    shapes: list[list[int]] = [list(shape) for _, shape, _ in node["inputs"]]
    made: int = math.prod(node["outputs"][0][1])
    match node["name"]:
        case "Matmul" | "AddMM":
            return 2.0 * made * shapes[0][-1]
        case "Convolution":
            # A transposed convolution is one whose input is spread out, with zeros between.
            spread: int = math.prod(node["arguments"][4])
            return 2.0 * made * math.prod(shapes[1][1:]) / spread
        case "ScaledDotProductAttention":
            queries, keys, values = shapes[:3]
            pairs = math.prod(queries[:-1]) * keys[-2]
            return 2.0 * pairs * (queries[-1] + values[-1])
    return 0.0


def _nbytes(array: tuple[str, Sequence[int], mx.Dtype]) -> int:
    return math.prod(array[1]) * array[2].size


def arrays_in(value: Any) -> list[mx.array]:
    """Return the arrays in lists, tuples and dicts, nested as they may be."""
    found: list[mx.array] = []

    def keep(array: mx.array) -> mx.array:
        found.append(array)
        return array

    _mapped(value, keep)
    return found


def with_arrays(value: Any, arrays: Iterable[mx.array]) -> Any:
    """Return the same with other arrays in the places of those that `arrays_in` finds."""
    rest = iter(arrays)
    return _mapped(value, lambda _: next(rest))


def _mapped(value: Any, function: Callable[[mx.array], mx.array]) -> Any:
    if isinstance(value, mx.array):
        return function(value)
    if isinstance(value, dict):
        return {key: _mapped(part, function) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_mapped(part, function) for part in value]
        # A named tuple takes its fields one by one.
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
