"""An optimised BLAS for MLX's CPU backend on Linux.

The Linux wheel of MLX links the reference BLAS, which reaches a few GFLOP/s on a
core that can do a hundred. The dynamic linker binds MLX's ``cblas_sgemm`` when
``mlx.core`` is first imported and looks in the global scope first, so an OpenBLAS
that is already there serves MLX as well. The faiss-cpu wheel, which rtvc needs
anyway, carries one.

On macOS there is nothing to do: MLX uses Metal and Accelerate.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MAX_THREADS = 8  # a step's matrices are too small to feed more


@dataclass(frozen=True)
class BlasReport:
    """Which BLAS multiplies MLX's matrices on the CPU.

    Attributes
    ----------
    library
        Path of the shared library, or a name where the system provides it.
    optimised
        Whether it is one that uses the processor's vector units.
    before_mlx
        Whether it was in place before ``mlx.core`` was imported; later has no effect.
    threads
        Threads of one matrix product; None where the library decides for itself.
    remedy
        What to do when MLX is left with the slow library, else None.
    """

    library: str
    optimised: bool
    before_mlx: bool
    threads: int | None
    remedy: str | None

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} thread(s)"
        return f"{self.library}{threads}" + (f": {self.remedy}" if self.remedy else "")


@cache
def load_blas() -> BlasReport:
    """Load an optimised BLAS into the global scope, once; call it before ``import mlx.core``.

    Order of search: a BLAS that is already in the global scope (``LD_PRELOAD``), the
    OpenBLAS inside the faiss-cpu wheel, the system's ``libopenblas.so.0``.

    The number of threads is ``OMP_NUM_THREADS`` or ``OPENBLAS_NUM_THREADS`` if set.
    Otherwise it is one less than the cores this process may use (at least one, at most
    eight): one core stays free for the audio callback and the panel, since a missed
    deadline costs more than the last part of throughput.

    Returns
    -------
    BlasReport
        What serves MLX from now on; the same at every call.
    """
    if sys.platform != "linux":
        name = "Accelerate" if sys.platform == "darwin" else "the BLAS that MLX was built with"
        return BlasReport(name, sys.platform == "darwin", True, None, None)
    before_mlx = "mlx.core" not in sys.modules
    path = _global_blas()
    if path is None and before_mlx:
        threads = _thread_count()
        with _environment(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads)):
            any(_load(candidate) for candidate in _candidates())
        path = _global_blas()
        if path is not None:
            _call("openblas_set_num_threads", threads)
    if path is not None:
        return BlasReport(path, True, before_mlx, _call("openblas_get_num_threads"), None)
    if before_mlx:
        remedy = "install faiss-cpu (pip) or libopenblas0 (apt), then start again"
    else:
        remedy = "import rtvc.engine before mlx.core, or preload an OpenBLAS with LD_PRELOAD"
    return BlasReport(
        "the reference BLAS of the MLX wheel",
        False,
        before_mlx,
        1,
        f"about forty times slower than this machine can be; {remedy}",
    )


def blas_report() -> BlasReport:
    """Say which BLAS serves MLX: the result of ``load_blas``."""
    return load_blas()


def _thread_count() -> int:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one entry for each level of nesting.
        first = os.environ.get(variable, "").split(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            return int(first)
    return max(1, min(len(os.sched_getaffinity(0)) - 1, _MAX_THREADS))


def _candidates() -> Iterator[tuple[Path | str, ...]]:
    """Each a chain of libraries to load in order, the BLAS last."""
    spec = importlib.util.find_spec("faiss")  # locates, does not import
    for package in (spec and spec.submodule_search_locations) or ():
        folder = Path(package).parent / "faiss_cpu.libs"
        # The names carry a hash. What OpenBLAS needs must be there before it.
        chain: list[Path | str] = []
        for name in ("libquadmath", "libgfortran", "libgomp", "libopenblas"):
            chain += sorted(folder.glob(f"{name}*.so*"))
        yield tuple(chain)
    yield ("libopenblas.so.0",)


def _load(chain: tuple[Path | str, ...]) -> bool:
    """Load the chain; only its last library, the BLAS, becomes visible to others."""
    if not chain or "libopenblas" not in Path(chain[-1]).name:
        return False
    try:
        for library in chain[:-1]:
            ctypes.CDLL(str(library))
        blas = ctypes.CDLL(str(chain[-1]), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return hasattr(blas, "cblas_sgemm")


class _SymbolInfo(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _global_blas() -> str | None:
    """Path of the library whose ``cblas_sgemm`` the global scope offers, or None."""
    process = ctypes.CDLL(None)
    try:
        symbol = process.cblas_sgemm
    except AttributeError:
        return None
    info = _SymbolInfo()
    address = ctypes.cast(symbol, ctypes.c_void_p)
    found = process.dladdr(address, ctypes.byref(info))
    return info.file.decode(errors="replace") if found and info.file else "a preloaded BLAS"


def _call(function: str, *arguments: int) -> int | None:
    """Call an OpenBLAS function of the global scope; None if the BLAS is another one."""
    try:
        return int(getattr(ctypes.CDLL(None), function)(*arguments))
    except AttributeError:
        return None


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables while libraries read them, then put the old ones back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
