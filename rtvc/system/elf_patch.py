"""Lets a loaded shared library call another function in the place of one that it imports.

What a library imports it calls through a table of addresses, which the dynamic linker fills
in (System V ABI, chapter "Dynamic Linking"). The table is found as the linker finds it, by the
name of the function, so this works for every processor whose ELF files have 64 bits and
relocations with addends, such as x86-64 and arm64.
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
    """The beginning of struct link_map, link.h."""

    _fields_ = (
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.c_void_p),
    )


def patch_import(library: Path, name: str, function: int) -> bool:
    """Have a library call another function from now on.

    Parameters
    ----------
    library
        A shared library that is loaded already.
    name
        The function that it imports.
    function
        Address of the one to call instead; it stays loaded as long as the process runs.

    Returns
    -------
    bool
        Whether the library imports a function of that name.

    Raises
    ------
    OSError
        If it is not loaded, or its table cannot be written.
    """
    handle = ctypes.CDLL(str(library), mode=os.RTLD_LAZY | os.RTLD_NOLOAD)
    program = ctypes.CDLL(None, use_errno=True)
    found = ctypes.POINTER(_LinkMap)()
    if program.dlinfo(ctypes.c_void_p(handle._handle), _LINK_MAP, ctypes.byref(found)):
        raise OSError(f"{library} has no link map")
    base = found.contents.base or 0
    slots = _slots(base, _dynamic(base, found.contents.dynamic or 0), name.encode())
    for slot in slots:
        # The table may have been made read-only once it was filled.
        page = slot - slot % mmap.PAGESIZE
        if program.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), _READ_WRITE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        ctypes.c_void_p.from_address(slot).value = function
    return bool(slots)


def _dynamic(base: int, address: int) -> dict[int, int]:
    """Return the entries of the dynamic section by tag, addresses as they are in memory."""
    entries: dict[int, int] = {}
    while True:
        tag, value = struct.unpack("qQ", ctypes.string_at(address, 16))
        if not tag:
            return entries
        located = tag in (_STRING_TABLE, _SYMBOL_TABLE, _RELOCATIONS, _CALLS)
        # The linker of glibc has put addresses there; others leave offsets.
        entries[tag] = value + base if located and value < base else value
        address += 16


def _slots(base: int, dynamic: dict[int, int], name: bytes) -> list[int]:
    """Return where the addresses of a function are kept."""
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
