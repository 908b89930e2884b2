"""Replaces an imported function of a loaded shared library.

A library calls imported functions through a table of addresses, which the dynamic linker fills
in (System V ABI, chapter "Dynamic Linking"). The table entry is looked up by the name of the
function, as the linker does. This works for processors with 64-bit ELF files and relocations
with addends, such as x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from pathlib import Path

_LINK_MAP = 2  # of dlinfo(3): RTLD_DI_LINKMAP
_STRING_TABLE, _SYMBOL_TABLE, _RELOCATIONS, _CALLS = 5, 6, 7, 23
_RELOCATIONS_SIZE, _CALLS_SIZE = 8, 2
_SYMBOL_SIZE = 24
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE


class _LinkMap(ctypes.Structure):
    """The first fields of struct link_map in link.h."""

    _fields_ = (
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.c_void_p),
    )


def patch_import(library: Path, name: str, function: int) -> bool:
    """Make a library call another function in place of an imported one.

    Parameters
    ----------
    library
        Path of a shared library that is loaded.
    name
        Name of the imported function.
    function
        Address of the replacement, which must stay loaded until the process ends.

    Returns
    -------
    bool
        Whether the library imports a function of that name.

    Raises
    ------
    OSError
        If the library is not loaded, or its table cannot be written.
    """
    handle = ctypes.CDLL(str(library), mode=os.RTLD_LAZY | os.RTLD_NOLOAD)
    program = ctypes.CDLL(None, use_errno=True)
    found = ctypes.POINTER(_LinkMap)()
    if program.dlinfo(ctypes.c_void_p(handle._handle), _LINK_MAP, ctypes.byref(found)):
        raise OSError(f"{library} has no link map")
    base = found.contents.base or 0
    slots = _slots(base, _dynamic(base, found.contents.dynamic or 0), name.encode())
    for slot in slots:
        # The linker may have made the table read-only after filling it.
        page = slot - slot % mmap.PAGESIZE
        if program.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), _READ_WRITE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        ctypes.c_void_p.from_address(slot).value = function
    return bool(slots)


def _dynamic(base: int, address: int) -> dict[int, int]:
    """Return the entries of the dynamic section by tag, with addresses in memory."""
    entries: dict[int, int] = {}
    while True:
        tag, value = struct.unpack("qQ", ctypes.string_at(address, 16))
        if not tag:
            return entries
        located = tag in (_STRING_TABLE, _SYMBOL_TABLE, _RELOCATIONS, _CALLS)
        # glibc's linker replaces offsets by addresses here; other linkers leave offsets.
        entries[tag] = value + base if located and value < base else value
        address += 16


def _slots(base: int, dynamic: dict[int, int], name: bytes) -> list[int]:
    """Return the addresses of a function's table entries."""
    for table, size in ((_CALLS, _CALLS_SIZE), (_RELOCATIONS, _RELOCATIONS_SIZE)):
        raw = ctypes.string_at(dynamic.get(table, 0), dynamic.get(size, 0))
        entries = struct.iter_unpack("QQq", raw)
        slots = [base + at for at, info, _ in entries if _name(dynamic, info >> 32) == name]
        if slots:
            return slots
    return []


def _name(dynamic: dict[int, int], symbol: int) -> bytes:
    at = ctypes.c_uint32.from_address(dynamic[_SYMBOL_TABLE] + symbol * _SYMBOL_SIZE).value
    return ctypes.string_at(dynamic[_STRING_TABLE] + at)
