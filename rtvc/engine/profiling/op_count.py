"""Operation counts of a function: primitives, FLOP, bytes of weights.

They are counted in MLX's graph of the function before it is evaluated, so no particular hardware
is needed, such as a GPU.
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
"""Accepts arrays and returns arrays in lists, tuples and dicts, without evaluating any."""

Node = Mapping[str, Any]
"""A primitive as reported by ``mx.export_function``: name, arguments, inputs and outputs."""

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
"""Primitives that change only the layout of an array; a reshape may have to copy."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The operations of one call.

    Attributes
    ----------
    primitives
        Nodes of the graph that compute something, each at least one kernel launch on a GPU.
        Operations fused by ``mx.compile`` count as one, `VIEWS` as none.
    flop
        Floating-point operations of products, convolutions and attention; a multiplication and
        an addition count as two. Elementwise operations are not counted. Zeros that a transposed
        convolution inserts count where MLX's Metal backend multiplies them.
    weight_bytes
        Bytes read of constant arrays. Each array counts once, and of tables and slices only the
        elements read.
    kinds
        Number of primitives by name.
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
    """Count the operations of one call of a function, which is traced but not evaluated.

    Parameters
    ----------
    function
        The function. Arrays that it refers to are its weights.
    arrays
        Arguments, evaluated, in the shapes of a real call.
    as_gpu
        Whether to count layer norm and attention as one primitive each, as on MLX's GPU
        backends. Without a GPU, MLX builds them from several primitives.

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
    """Return stand-ins for the results of one kernel, to be counted but not evaluated.

    For use in `count` in place of a function with a custom kernel, which cannot be built on a
    machine without the GPU that it is for.

    Parameters
    ----------
    inputs
        Inputs of the kernel.
    shapes, dtypes
        Shapes and types of its outputs.
    """
    # Created by NumPy, so that no primitive creates them.
    outputs = [
        mx.array(np.zeros(shape, str(dtype).removeprefix("mlx.core.")))
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    return _standing(outputs, inputs)


def _standing(outputs: list[mx.array], inputs: Sequence[mx.array]) -> list[mx.array]:
    """Return `outputs` as one primitive that depends on the inputs."""
    dependent: list[mx.array] = mx.depends(outputs, list(inputs))
    return dependent


def _primitives(function: Function, arrays: Sequence[mx.array], as_gpu: bool) -> Counter[str]:
    """Count the primitives of the graph as evaluated, by name."""
    mx.eval(*arrays)
    text = io.StringIO()
    stand_ins = as_gpu and mx.default_device().type == mx.DeviceType.cpu
    # MLX caches compiled graphs by stream. A new stream keeps stand-ins out of the cache.
    with mx.stream(mx.new_stream(mx.default_device())), _single_kernels(stand_ins):
        mx.export_to_dot(text, *arrays_in(function(*arrays)))
    names = re.findall(r'label ="(\w+)"', text.getvalue())
    return Counter(name for name in names if name not in VIEWS)


@contextmanager
def _single_kernels(wanted: bool) -> Iterator[None]:
    """Make ``mx.fast`` build one primitive for each operation that is one kernel on a GPU."""

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
    """Make MLX build graphs that ``mx.export_function`` can export: not fused, no copies."""
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
    """Sums FLOP and bytes while ``mx.export_function`` reports the graph in order."""

    def __init__(self) -> None:
        self.flop = 0.0
        self._bytes: dict[str, int] = {}
        # By array name, for constants and views of them: the constant, the view, its bytes.
        self._parts: dict[str, tuple[str, str, int]] = {}
        self._read: dict[str, dict[str, int]] = {}

    @property
    def weight_bytes(self) -> int:
        """Bytes read of constants."""
        return sum(
            min(self._bytes[name], sum(views.values())) for name, views in self._read.items()
        )

    def __call__(self, entry: Node) -> None:
        if entry["type"] == "constants":
            for name, array in entry["constants"]:
                if array.size > 1:  # scalars are not weights
                    self._bytes[name] = array.nbytes
                    self._parts[name] = name, "", array.nbytes
        elif entry["type"] == "primitive":
            self.flop += _flop(entry)
            (self._view if entry["name"] in VIEWS else self._reading)(entry)

    def _view(self, node: Node) -> None:
        part = self._parts.get(node["inputs"][0][0])
        if part is None:
            return
        constant, path, size = part
        for number, output in enumerate(node["outputs"]):
            step = f"{path}/{node['name']}{node['arguments']}{number}"
            self._parts[output[0]] = constant, step, min(size, _nbytes(output))

    def _reading(self, node: Node) -> None:
        # The first inputs of a stand-in are its own outputs, not weights.
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
    """Return the FLOP of one primitive; 0 for primitives that are not counted."""
    shapes: list[list[int]] = [list(shape) for _, shape, _ in node["inputs"]]
    outputs: int = math.prod(node["outputs"][0][1])
    match node["name"]:
        case "Matmul" | "AddMM":
            return 2.0 * outputs * shapes[0][-1]
        case "Convolution":
            inserted: int = math.prod(node["arguments"][4])
            products = 2.0 * outputs * math.prod(shapes[1][1:])
            return products / inserted if _skips_inserted_zeros(node) else products
        case "CustomKernel" if "small_conv2d" in node["arguments"][0]:
            rows = 1 if shapes[0][1] == 1 else 3
            return 2.0 * outputs * rows * 3 * shapes[0][3]
        case "ScaledDotProductAttention":
            queries, keys, values = shapes[:3]
            pairs = math.prod(queries[:-1]) * keys[-2]
            return 2.0 * pairs * (queries[-1] + values[-1])
    return 0.0


def _skips_inserted_zeros(node: Node) -> bool:
    """Return whether MLX's Metal backend skips the zeros that a transposed convolution inserts.

    Only its kernel for 2-D convolutions without groups does. It takes inputs and outputs with a
    multiple of 16 channels, or images of at least 256 output pixels.
    """
    (_, image, _), (_, weight, _) = node["inputs"]
    pixels = math.prod(node["outputs"][0][1][1:-1])
    aligned = image[-1] % 16 == weight[0] % 16 == 0
    return len(image) == 4 and image[-1] == weight[-1] and (aligned or pixels >= 256)


def _nbytes(array: tuple[str, Sequence[int], mx.Dtype]) -> int:
    return math.prod(array[1]) * array[2].size


def arrays_in(value: Any) -> list[mx.array]:
    """Return the arrays in nested lists, tuples and dicts, in order."""
    found: list[mx.array] = []

    def keep(array: mx.array) -> mx.array:
        found.append(array)
        return array

    _mapped(value, keep)
    return found


def with_arrays(value: Any, arrays: Iterable[mx.array]) -> Any:
    """Return a copy of `value` with the arrays that `arrays_in` finds replaced, in order."""
    rest = iter(arrays)
    return _mapped(value, lambda _: next(rest))


def _mapped(value: Any, function: Callable[[mx.array], mx.array]) -> Any:
    if isinstance(value, mx.array):
        return function(value)
    if isinstance(value, dict):
        return {key: _mapped(part, function) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_mapped(part, function) for part in value]
        # A named tuple is constructed from its fields as arguments.
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
