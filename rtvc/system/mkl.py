"""Intel's MKL, an optional BLAS for MLX's CPU backend on Linux.

On processors from Intel its products are faster than those of OpenBLAS. On processors from other
makers MKL selects its kernels by the maker and not by the vector units: on those from AMD it uses
no AVX-512.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from pathlib import Path

MAX_CALLERS = 2
"""Threads that may call it at the same time; with more cores, OpenBLAS can use all of them."""

_CPUINFO = Path("/proc/cpuinfo")
_LIBRARY = "libmkl_rt.so"
_LP64, _SEQUENTIAL = 0, 1  # of MKL_Set_Interface_Layer and MKL_Set_Threading_Layer


def find_mkl() -> Path | None:
    """Return the path of the library of the package mkl, or None if it is not installed."""
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    # The name ends with the version of the interface, such as .so.2 or .so.3.
    found = [Path(str(f.locate())).resolve() for f in files if f.name.startswith(_LIBRARY)]
    return next((path for path in found if path.exists()), None)


def load_mkl(path: Path) -> ctypes.CDLL | None:
    """Load MKL without threads of its own; return None if that is not possible.

    Its threads need one of several OpenMP libraries, of which only one may be in a process, and
    wait for one another by computing.
    """
    try:
        library = ctypes.CDLL(str(path))
        # Both stay as they are if another package has called MKL before. With the other interface
        # the integers of a call have 64 bits.
        interface = library.MKL_Set_Interface_Layer(_LP64)
        threading = library.MKL_Set_Threading_Layer(_SEQUENTIAL)
    except (OSError, AttributeError):
        return None
    return library if (interface, threading) == (_LP64, _SEQUENTIAL) else None


def suits_mkl() -> bool:
    """Return whether the processor is one on which MKL is faster than OpenBLAS."""
    try:
        return {"GenuineIntel", "avx2"} <= set(_CPUINFO.read_text().split())
    except OSError:
        return False
