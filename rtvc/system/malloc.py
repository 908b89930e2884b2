"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
_KEPT = 64 << 20
_LARGEST = (1 << 30, 32 << 20)  # older versions of glibc allow at most the second value


def keep_memory() -> None:
    """Make glibc keep freed memory for later arrays.

    By default glibc maps each large array separately and unmaps it when freed. Each step then
    has thousands of page faults, which take a tenth of its time and vary. Linux with glibc only;
    does nothing elsewhere.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2 * _KEPT)
        mallopt(_TOP_PAD, _KEPT)
        any(mallopt(_MMAP_THRESHOLD, largest) for largest in _LARGEST)


def trim_memory() -> None:
    """Return freed memory to the system.

    Call it after loading: converting the weights of a network frees as much memory as the
    network uses. Linux with glibc only; does nothing elsewhere.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """Return a function of glibc, or None on other systems; musl has neither function."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
