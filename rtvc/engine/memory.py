"""Memory that has been freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys


def trim_memory() -> None:
    """Give back what loading has freed.

    The C library of Linux keeps freed memory for later; after the weights of a network
    have been converted that is as much as the network itself, and nobody asks for it again.
    Elsewhere there is nothing to do.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
    if trim is not None:
        trim(0)
