"""Reads a pickle as data, with a stack machine limited to the opcodes of weights files.

Python's unpickler imports and calls any object that the file names, and allocates its memo by
an index from the file. This machine has a table of the few names that weights files need, each
mapped to a function of rtvc; any other name or opcode is an error. It never imports a module,
never looks up an attribute and never allocates by a number from the file.

Source of the opcodes: the documentation of ``pickletools`` in the standard library.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.text import printable

MAX_OPERATIONS = 1_000_000  # a voice has 15,000, a training checkpoint 60,000
_BASE_OPERATIONS = 16_000
_FILE_BYTES_PER_OPERATION = 256  # real files have 3,000 or more
_TEXT_BYTES_PER_OPERATION = 32
MAX_INTEGER_BYTES = 16


@dataclass(frozen=True)
class Constructor:
    """A callable for a name in the file; `build` is called with the stored arguments."""

    name: str
    build: Callable[[tuple[Any, ...]], object]


class SkippedObject:
    """Placeholder of an object that is skipped; its state is dropped."""


def operation_limit(file_size: int) -> int:
    """Return the maximum number of steps for the object tree of a file of `file_size` bytes.

    One byte of a pickle can create an object of a hundred bytes. Nearly all of a weights file
    is tensor data, so the limit is proportional to the size of the file.
    """
    return min(MAX_OPERATIONS, _BASE_OPERATIONS + file_size // _FILE_BYTES_PER_OPERATION)


def read_pickle(
    data: bytes,
    start: int,
    allowed: Mapping[tuple[str, str], object],
    persistent: Callable[[object], object],
    limit: int,
) -> tuple[object, int]:
    """Read one pickle.

    Parameters
    ----------
    data
        Bytes that contain the pickle.
    start
        Offset of its first byte.
    allowed
        Objects for the allowed (module, name) pairs. Only a `Constructor` can be called.
    persistent
        Called with each persistent identifier; returns its object.
    limit
        Maximum number of steps.

    Returns
    -------
    tuple
        The object, and the offset after its last byte.

    Raises
    ------
    ContentError
        The pickle has an unknown opcode or name, is damaged, or exceeds the limit.
    """
    machine = _Machine(data, start, allowed, persistent, limit)
    return machine.run(), machine.position


class _Machine:
    def __init__(
        self,
        data: bytes,
        start: int,
        allowed: Mapping[tuple[str, str], object],
        persistent: Callable[[object], object],
        limit: int,
    ) -> None:
        self.limit = self.steps_left = limit
        self.data = data
        self.position = start
        self.allowed = allowed
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        while True:
            self.count_steps(1)
            opcode = self.read(1)
            if opcode == b".":
                if self.marks or len(self.stack) != 1:
                    raise ContentError("its object tree is damaged")
                return self.stack.pop()
            operation = _OPERATIONS.get(opcode)
            if operation is None:
                raise ContentError(
                    f"it uses pickle opcode {opcode!r}, which weights files do not need"
                )
            operation(self)

    def count_steps(self, steps: int) -> None:
        self.steps_left -= steps
        if self.steps_left < 0:
            raise ContentError(
                f"its object tree takes more than {self.limit} steps, too many for its size"
            )

    # -- reading ---------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise ContentError("its object tree is cut short or too large")
        raw = self.data[self.position : end]
        self.position = end
        return raw

    def read_number(self, layout: str) -> Any:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def read_line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 512)
        if end < 0:
            raise ContentError("a name in its object tree is damaged")
        return self.decode(self.read(end + 1 - self.position)[:-1])

    @staticmethod
    def decode(raw: bytes) -> str:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise ContentError("a text in its object tree is damaged") from None

    # -- stack -----------------------------------------------------------------------------

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise ContentError("its object tree is damaged")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise ContentError("its object tree is damaged")
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise ContentError("its object tree is damaged")
        items, self.stack = self.stack, self.marks.pop()
        return items

    # -- opcodes ---------------------------------------------------------------------------

    def protocol(self) -> None:
        if self.read_number("<B") not in range(2, 6):
            raise ContentError("its pickle protocol is unknown")

    def frame(self) -> None:
        self.read(8)  # frame size, a hint for buffering

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def push_long(self) -> None:
        count = self.read_number("<B")
        if count > MAX_INTEGER_BYTES:
            raise ContentError("it holds an integer that is too large")
        self.push(int.from_bytes(self.read(count), "little", signed=True))

    def push_text(self, layout: str) -> None:
        raw = self.read(self.read_number(layout))
        # A single wide character makes every character of a Python string wide.
        self.count_steps(len(raw) // _TEXT_BYTES_PER_OPERATION)
        self.push(self.decode(raw))

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def tuple_from_mark(self) -> None:
        items = self.pop_mark()
        self.push(tuple(items))

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            raise ContentError("it appends to something that is not a list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not dict or len(items) % 2:
            raise ContentError("it sets items of something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Small integers only: crafted large ones collide in the hash table.
            if not (type(key) is str or (type(key) is int and abs(key) < 2**31)):
                raise ContentError(
                    "it has a dictionary key that is neither text nor a small integer"
                )
            target[key] = value

    def set_item(self) -> None:
        value = self.pop()
        self.update([self.pop(), value])

    def store(self, index: int) -> None:
        self.memo[index] = self.top()

    def fetch(self, index: int) -> None:
        if index not in self.memo:
            raise ContentError("its object tree is damaged")
        self.push(self.memo[index])

    def resolve(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise ContentError("a name in its object tree is damaged")
        if (module, name) not in self.allowed:
            raise ContentError(
                f"it refers to '{printable(module)}.{printable(name)}', which is not one of the "
                "few names that a weights file needs"
            )
        self.push(self.allowed[module, name])

    def resolve_from_stack(self) -> None:
        name = self.pop()
        self.resolve(self.pop(), name)

    def call(self) -> None:
        arguments = self.pop()
        function = self.pop()
        if not isinstance(function, Constructor) or type(arguments) is not tuple:
            raise ContentError("it calls something that cannot be called")
        self.push(function.build(arguments))

    def build(self) -> None:
        # The `_metadata` of a state dict or the attributes of a skipped object; both are
        # dropped.
        state = self.pop()
        if type(self.top()) not in (dict, SkippedObject) or type(state) is not dict:
            raise ContentError("it sets the state of something that has none")

    def persistent_id(self) -> None:
        self.push(self.persistent(self.pop()))


_OPERATIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine.protocol,
    b"\x95": _Machine.frame,
    b"(": _Machine.mark,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.read_number("<i")),
    b"K": lambda m: m.push(m.read_number("<B")),
    b"M": lambda m: m.push(m.read_number("<H")),
    b"\x8a": _Machine.push_long,
    b"G": lambda m: m.push(m.read_number(">d")),
    b"X": lambda m: m.push_text("<I"),
    b"\x8c": lambda m: m.push_text("<B"),
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b")": lambda m: m.push(()),
    b"t": _Machine.tuple_from_mark,
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.pop_mark()),
    b"s": _Machine.set_item,
    b"u": lambda m: m.update(m.pop_mark()),
    b"q": lambda m: m.store(m.read_number("<B")),
    b"r": lambda m: m.store(m.read_number("<I")),
    b"\x94": lambda m: m.store(len(m.memo)),
    b"h": lambda m: m.fetch(m.read_number("<B")),
    b"j": lambda m: m.fetch(m.read_number("<I")),
    b"c": lambda m: m.resolve(m.read_line(), m.read_line()),
    b"\x93": _Machine.resolve_from_stack,
    b"R": _Machine.call,
    b"\x81": _Machine.call,  # cls.__new__(cls, *arguments), the same as a call for a `Constructor`
    b"b": _Machine.build,
    b"Q": _Machine.persistent_id,
}
