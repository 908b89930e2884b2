"""The contents of a torch pickle: storages, tensors, and the tree of containers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtvc._types import AnyArray
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.pickle_machine import Constructor, SkippedObject
from rtvc.engine.weights.text import printable

MAX_TENSORS = 20_000
MAX_AXES = 8
MAX_AXIS = 2**31
MAX_DEPTH = 64
# Bytes of memory per byte of the file: half precision doubles as float32, and tensors can
# overlap in a storage. A file that needs more is hostile.
MAX_EXPANSION = 2
_BASE_BYTES = 2**20


@dataclass(frozen=True)
class StorageType:
    """Element type of a storage: torch name, NumPy type, and an optional conversion."""

    name: str
    dtype: np.dtype[Any]
    convert: Callable[[AnyArray], AnyArray] | None = None

    def decode(self, raw: bytes) -> AnyArray:
        """Return the elements as a flat array; bfloat16 as float32."""
        flat = np.frombuffer(raw, self.dtype)
        return flat if self.convert is None else self.convert(flat)


@dataclass(frozen=True)
class Storage:
    """`count` consecutive elements, stored under `key`."""

    key: str
    type: StorageType
    count: int

    @property
    def size(self) -> int:
        """Size in the file, in bytes."""
        return self.count * self.type.dtype.itemsize


@dataclass(frozen=True)
class TensorView:
    """A tensor: a view of a storage; offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def bfloat16_to_float32(raw: AnyArray) -> AnyArray:
    """Convert bfloat16 bit patterns to float32 values."""
    wide = raw.astype("<u4")
    wide <<= 16
    return wide.view("<f4")


_STORAGE_TYPES = [
    StorageType("HalfStorage", np.dtype("<f2")),
    StorageType("FloatStorage", np.dtype("<f4")),
    StorageType("DoubleStorage", np.dtype("<f8")),
    StorageType("BFloat16Storage", np.dtype("<u2"), bfloat16_to_float32),
    StorageType("LongStorage", np.dtype("<i8")),
    StorageType("IntStorage", np.dtype("<i4")),
    StorageType("ShortStorage", np.dtype("<i2")),
    StorageType("CharStorage", np.dtype("i1")),
    StorageType("ByteStorage", np.dtype("u1")),
    StorageType("BoolStorage", np.dtype("u1"), lambda raw: raw != 0),
]


def _ordered_dict(arguments: tuple[Any, ...]) -> object:
    if arguments:
        raise ContentError("it builds an OrderedDict in an unsupported way")
    return {}


def _check_sizes(value: object) -> tuple[int, ...]:
    if (
        type(value) is not tuple
        or len(value) > MAX_AXES
        or any(type(v) is not int or not 0 <= v < MAX_AXIS for v in value)
    ):
        raise ContentError("a tensor has an impossible shape or stride")
    return value


def _rebuild_tensor(arguments: tuple[Any, ...]) -> object:
    """``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)``."""
    if len(arguments) not in (6, 7) or not isinstance(arguments[0], Storage):
        raise ContentError("it builds a tensor in an unsupported way")
    storage, offset = arguments[0], arguments[1]
    shape, strides = _check_sizes(arguments[2]), _check_sizes(arguments[3])
    if type(offset) is not int or not 0 <= offset <= storage.count or len(shape) != len(strides):
        raise ContentError("a tensor lies outside its storage")
    if 0 in shape:
        if math.prod(n for n in shape if n) >= MAX_AXIS:
            raise ContentError("a tensor has an impossible shape or stride")
    else:
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if last >= storage.count:
            raise ContentError("a tensor lies outside its storage")
    return TensorView(storage, offset, shape, strides)


def _rebuild_parameter(arguments: tuple[Any, ...]) -> object:
    """``torch._utils._rebuild_parameter(data, requires_grad, hooks)``."""
    if len(arguments) != 3 or not isinstance(arguments[0], TensorView):
        raise ContentError("it builds a parameter in an unsupported way")
    return arguments[0]


def _skip(_arguments: tuple[Any, ...]) -> object:
    return SkippedObject()


#: All names that a weights file may refer to; no other name is looked up.
ALLOWED_NAMES: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): Constructor("OrderedDict", _ordered_dict),
    ("torch._utils", "_rebuild_tensor_v2"): Constructor("_rebuild_tensor_v2", _rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Constructor("_rebuild_parameter", _rebuild_parameter),
    # The label dictionary in hubert_base.pt, which inference does not use.
    ("fairseq.data.dictionary", "Dictionary"): Constructor("Dictionary", _skip),
} | {("torch", kind.name): kind for kind in _STORAGE_TYPES}


class StorageTable:
    """Resolves the persistent identifiers of a pickle, and collects their storages."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def __call__(self, identifier: object) -> Storage:
        """Return the storage of ``("storage", type, key, location, count[, view])``."""
        if (
            type(identifier) is not tuple
            or len(identifier) not in (5, 6)
            or identifier[0] != "storage"
            or not isinstance(identifier[1], StorageType)
            or type(identifier[2]) is not str
            or type(identifier[4]) is not int
            or identifier[4] < 0
            or identifier[5:] not in ((), (None,))
        ):
            raise ContentError("it refers to tensor data in an unsupported way")
        storage = Storage(identifier[2], identifier[1], identifier[4])
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ContentError("it describes the same tensor data in two different ways")
        if len(self.storages) > MAX_TENSORS:
            raise ContentError(f"it holds more than {MAX_TENSORS} tensors")
        return storage


def convert_tree(
    root: object, read: Callable[[Storage], bytes], *, file_size: int, max_nodes: int
) -> Any:
    """Convert the objects of a pickle to plain Python values and NumPy arrays.

    Parameters
    ----------
    root
        The root object of the pickle.
    read
        Returns the bytes of a storage, exactly `Storage.size` of them.
    file_size
        Size of the file in bytes; the memory limit for the tensors is proportional to it.
    max_nodes
        Maximum number of values in the tree; a shared value counts once per reference.

    Returns
    -------
    Any
        dict, list, str, int, float, bool, None and read-only NumPy arrays. Tuples become lists,
        skipped objects None.

    Raises
    ------
    ContentError
        The tree is too deep, too large, contains itself, or contains another type.
    """
    return _TreeConverter(read, MAX_EXPANSION * file_size + _BASE_BYTES, max_nodes).convert(root, 0)


class _TreeConverter:
    def __init__(self, read: Callable[[Storage], bytes], max_bytes: int, max_nodes: int) -> None:
        self.read = read
        self.nodes_left = max_nodes
        self.bytes_left = max_bytes
        self.flat: dict[str, AnyArray] = {}
        self.arrays: dict[TensorView, AnyArray] = {}

    def convert(self, value: object, depth: int) -> Any:
        # A shared container is expanded and counted at every reference, so both lists that
        # double and trees that contain themselves reach a limit.
        self.nodes_left -= 1
        if depth > MAX_DEPTH or self.nodes_left < 0:
            raise ContentError("its object tree is too deep or too large")
        if isinstance(value, dict):
            return {k: self.convert(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.convert(v, depth + 1) for v in value]
        if isinstance(value, TensorView):
            return self.array(value)
        if isinstance(value, SkippedObject):
            return None
        if value is None or isinstance(value, str | int | float):
            return value
        raise ContentError(
            f"it holds a bare '{printable(getattr(value, 'name', '') or 'storage')}'"
        )

    def array(self, view: TensorView) -> AnyArray:
        if view not in self.arrays:
            if len(self.arrays) >= MAX_TENSORS:
                raise ContentError(f"it holds more than {MAX_TENSORS} tensors")
            self.arrays[view] = self.materialise(view)
        return self.arrays[view]

    def materialise(self, view: TensorView) -> AnyArray:
        flat = self.storage(view.storage)
        count = math.prod(view.shape)
        self.bytes_left -= count * max(flat.itemsize, 4)  # all tensors become float32
        self.require_bytes()
        contiguous = tuple(math.prod(view.shape[i + 1 :]) for i in range(len(view.shape)))
        if count == 0 or view.strides == contiguous:
            array = flat[view.offset : view.offset + count].reshape(view.shape)
        else:
            if view.storage.type.convert is not None:  # the converted data and the copy
                self.bytes_left -= count * flat.itemsize
                self.require_bytes()
            array = np.lib.stride_tricks.as_strided(
                flat[view.offset :], view.shape, [s * flat.itemsize for s in view.strides]
            ).copy()
        array.flags.writeable = False
        return array

    def require_bytes(self) -> None:
        if self.bytes_left < 0:
            raise ContentError("its tensors are far larger than the data in the file")

    def storage(self, storage: Storage) -> AnyArray:
        if storage.key not in self.flat:
            self.flat[storage.key] = storage.type.decode(self.read(storage))
        return self.flat[storage.key]
