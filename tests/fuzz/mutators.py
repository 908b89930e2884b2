"""Mutations of a file, from truncation to a consistent change of several fields."""

from __future__ import annotations

import contextlib
import io
import json
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

from tests.engine.weights import torch_writer as tw

Mutator = Callable[[bytes, random.Random, bytes], bytes]

_EXTREMES = (0, 1, 2, 255, 256, 65535, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63)
_ZIP_FIELDS = {  # signature: (offset, size) of the fields to change
    b"PK\x03\x04": ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": (
        (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4),
    ),
    b"PK\x05\x06": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}  # fmt: skip
_INDEX_MARKS = (b"IwFl", b"IxF2", b"ilar", b"full", b"sprs")
_OPCODES = [op.code.encode("latin-1") for op in pickletools.opcodes]
_SNIPPETS = [
    tw.name("os", "system") + tw.sequence(tw.text("exit 1")) + b"R",
    tw.name("builtins", "eval") + tw.sequence(tw.text("1")) + b"R",
    tw.name("builtins", "getattr") + b")R",
    tw.name("torch", "FloatStorage"),
    b"\x82\x01",
    b"\x83\x01\x00",
    b"r\xff\xff\xff\xff",
    b"h\x00",
    b"j\xff\xff\xff\x7f",
    tw.tensor("0", "FloatStorage", 2**40, (2**30,), (1,)),
    tw.tensor("0", "HalfStorage", 1, (2,), (0,)),
    tw.integer(2**62),
    tw.integer(-1),
    b"G" + struct.pack(">d", float("nan")),
    b"G" + struct.pack(">d", float("inf")),
    tw.text("\x1b[2J\n\u202e" + "x" * 300),
    b"N",
    b"]",
    b"}",
    b")",
]
_JSON_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, 1e308, "", "\x1b[2J", "x" * 5000, [], {}, [[[]]], "F64",
    float("nan"),
)  # fmt: skip


def truncate(raw: bytes, rng: random.Random, _other: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def drop_beginning(raw: bytes, rng: random.Random, _other: bytes) -> bytes:
    return raw[rng.randrange(min(len(raw), 64) + 1) :]


def flip_bits(raw: bytes, rng: random.Random, _other: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        # Beginning and end contain the structure, the middle mostly numbers.
        edge = min(len(raw), 4096)
        at = rng.choice((rng.randrange(len(raw)), rng.randrange(edge), -1 - rng.randrange(edge)))
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def forge_number(raw: bytes, rng: random.Random, _other: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    limit = min(len(raw), rng.choice((64, 256, 1 << 40)))
    return _overwritten(raw, rng.randrange(limit), size, rng)


def forge_zip_field(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    signature = rng.choice(list(_ZIP_FIELDS))
    places = _occurrences(raw, signature)
    if not places:
        return forge_number(raw, rng, other)
    offset, size = rng.choice(_ZIP_FIELDS[signature])
    return _overwritten(raw, rng.choice(places) + offset, size, rng)


def forge_member_sizes(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change the declared size of a member in its header and in the directory."""
    entries = _occurrences(raw, b"PK\x01\x02")
    if not entries:
        return forge_number(raw, rng, other)
    changed = bytearray(raw)
    entry = rng.choice(entries)
    if entry + 46 > len(raw):
        return forge_number(raw, rng, other)
    header = struct.unpack_from("<I", raw, entry + 42)[0]
    true = struct.unpack_from("<I", raw, entry + 24)[0]
    size = rng.choice((true + 1, max(true - 1, 0), true * 2 % 2**32, 0, 2**32 - 1, 2**31))
    both = rng.random() < 0.7
    for at in (entry + 20, header + 18):
        if at + 8 <= len(raw):
            struct.pack_into("<I", changed, at + 4, size)
            if both:
                struct.pack_into("<I", changed, at, size)
    return bytes(changed)


def forge_index_field(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    places = [at for mark in _INDEX_MARKS for at in _occurrences(raw, mark)]
    if not places:
        return forge_number(raw, rng, other)
    offset, size = rng.choice(((-9, 1), (-8, 8), (4, 4), (4, 8), (8, 8), (12, 8), (20, 8), (33, 4)))
    return _overwritten(raw, max(rng.choice(places) + offset, 0), size, rng)


def splice(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)] + other[rng.randrange(len(other) + 1) :]


def repeat_or_clear(raw: bytes, rng: random.Random, _other: bytes) -> bytes:
    start = rng.randrange(len(raw))
    end = min(len(raw), start + rng.choice((1, 8, 64, 1024)))
    new = rng.choice((b"", raw[start:end] * 2, bytes(end - start), b"\xff" * (end - start)))
    return raw[:start] + new + raw[end:]


def change_members(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    """Remove, repeat, rename or replace a member, and write a valid archive again."""
    members = _members(raw)
    if not members:
        return splice(raw, rng, other)
    at = rng.randrange(len(members))
    name, content = members[at]
    top = name.split("/", maxsplit=1)[0]
    match rng.randrange(5):
        case 0:
            del members[at]
        case 1:
            members.append((name, content[::-1]))
        case 2:
            names = ("../x", "/etc/passwd", "a\\..\\x", "C:\\x", "x" * 3000, "\x1b[2J", "é/\u202e")
            members[at] = (rng.choice((*names, f"{top}/data/0", f"{top}/data.pkl")), content)
        case 3:
            members[at] = (name, rng.choice((b"", bytes(4096), other[:4096], content + b"\0")))
        case _:
            members.append((f"{top}/{rng.choice(('code/x.py', 'constants.pkl', 'more'))}", b"x"))
    return _archive(members, rng)


def change_pickle(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change the object tree of a torch file, with a valid checksum."""
    members = _members(raw)
    places = [i for i, (name, _) in enumerate(members) if name.endswith("data.pkl")]
    if not places:
        return _changed_program(raw, rng) if raw[:1] == b"\x80" else flip_bits(raw, rng, other)
    name, program = members[places[0]]
    members[places[0]] = (name, _changed_program(program, rng))
    return _archive(members, rng)


def change_json(raw: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change the header of a safetensors file, with a valid length."""
    length = int.from_bytes(raw[:8], "little")
    try:
        header = json.loads(raw[8 : 8 + length])
    except (ValueError, RecursionError):
        return forge_number(raw, rng, other)
    for _ in range(rng.choice((1, 1, 3))):
        _change_node(header, rng)
    text = json.dumps(header).encode()
    if rng.random() < 0.1:
        depth = rng.choice((100, 900, 100_000))
        text = text[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"
    return struct.pack("<Q", len(text)) + text + raw[8 + length :]


GENERAL: tuple[Mutator, ...] = (
    truncate,
    drop_beginning,
    flip_bits,
    flip_bits,
    forge_number,
    forge_number,
    splice,
    repeat_or_clear,
)
ZIP: tuple[Mutator, ...] = (forge_zip_field, forge_zip_field, forge_member_sizes, change_members)


def mutated(raw: bytes, rng: random.Random, other: bytes) -> tuple[str, bytes]:
    """Apply one to three mutations for the format of a file.

    Returns
    -------
    tuple
        The names of the mutations, and the file.
    """
    mutators = list(GENERAL)
    if raw.startswith(b"PK"):
        mutators += ZIP
        if b"data.pkl" in raw[:4096]:
            mutators += [change_pickle] * 6
    elif raw[:2] == b"\x80\x02":
        mutators += [change_pickle] * 6
    elif raw.startswith(b"IwFl"):
        mutators += [forge_index_field] * 6
    elif raw[8:9] == b"{":
        mutators += [change_json] * 8
    chosen = rng.choices(mutators, k=rng.choice((1, 1, 1, 2, 3)))
    for mutate in chosen:
        if raw:
            raw = mutate(raw, rng, other)
    return " + ".join(mutate.__name__ for mutate in chosen), raw


def _overwritten(raw: bytes, at: int, size: int, rng: random.Random) -> bytes:
    value = rng.choice((*_EXTREMES, rng.getrandbits(64), len(raw), len(raw) + 1))
    number: bytes = (value % 2 ** (8 * size)).to_bytes(size, "little")
    return raw[:at] + number + raw[at + size :]


def _occurrences(raw: bytes, piece: bytes) -> list[int]:
    found, at = [], raw.find(piece)
    while at >= 0:
        found.append(at)
        at = raw.find(piece, at + 1)
    return found


def _members(raw: bytes) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if sum(m.file_size for m in archive.infolist()) > 2**24:
                return []
            return [(member.filename, archive.read(member)) for member in archive.infolist()]
    except Exception:  # an earlier mutation has damaged the archive
        return []


def _archive(members: list[tuple[str, bytes]], rng: random.Random) -> bytes:
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # duplicate names are intended
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def _changed_program(program: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = _operations(program)
        at = rng.randrange(len(places) - 1) if len(places) > 1 else 0
        start, end = (places[at], places[at + 1]) if len(places) > 1 else (0, len(program))
        other = rng.randrange(len(places) - 1) if len(places) > 1 else 0
        operation = program[start:end]
        match rng.randrange(7):
            case 0:  # another opcode with the argument of this one
                operation = rng.choice(_OPCODES) + operation[1:]
            case 1:
                operation = b""
            case 2:
                operation *= rng.choice((2, 2, 3, 1000))
            case 3:
                operation = rng.choice(_SNIPPETS) + operation
            case 4:
                operation = rng.choice(_SNIPPETS)
            case 5 if len(places) > 1:
                operation = program[places[other] : places[other + 1]]
            case _:
                operation = operation[:1] + _overwritten(
                    operation[1:], 0, max(len(operation) - 1, 0), rng
                )
        program = program[:start] + operation + program[end:]
    return program


def _operations(program: bytes) -> list[int]:
    """Return the offset of each operation, up to the first invalid one."""
    places: list[int] = []
    with contextlib.suppress(Exception):  # an earlier mutation may have damaged the rest
        places.extend(at or 0 for _, _, at in pickletools.genops(program))
    return places


def _change_node(value: Any, rng: random.Random) -> None:
    """Change a random value in a tree of lists and dictionaries."""
    while isinstance(value, dict | list) and value:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        child = value[key]
        if isinstance(child, dict | list) and child and rng.random() < 0.9:
            value = child
            continue
        if key == "config" and isinstance(child, str) and rng.random() < 0.9:
            with contextlib.suppress(ValueError):  # an earlier mutation may have damaged it
                inner = json.loads(child)
                _change_node(inner, rng)
                value[key] = json.dumps(inner)
        elif rng.random() < 0.2:
            del value[key]
        else:
            value[key] = rng.choice(_JSON_VALUES)
        return
