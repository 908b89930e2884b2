"""How freed memory is kept and given back."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
_KEPT = 64 << 20
_LARGEST = (1 << 30, 32 << 20)  # older versions of glibc allow no more than the second


def keep_memory() -> None:
    """Have the C library keep what is freed, for the next array of that size.

    By default glibc gets large arrays from the system one by one and gives them back, so
    that every step pays for thousands of page faults: a tenth of its time, and unevenly.
    On Linux only; elsewhere there is nothing to do.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2 * _KEPT)
        mallopt(_TOP_PAD, _KEPT)
        any(mallopt(_MMAP_THRESHOLD, largest) for largest in _LARGEST)


def trim_memory() -> None:
    """Give back what loading has freed.

    After the weights of a network have been converted that is as much as the network itself,
    and nobody asks for it again. On Linux only, as `keep_memory`.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """Return a function of the C library; musl has neither of them."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
