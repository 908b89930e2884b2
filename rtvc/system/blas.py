"""An optimised BLAS for MLX's CPU backend on Linux.

The Linux wheel of MLX links the reference BLAS, which reaches a few GFLOP/s on a core capable of
a hundred. All its matrix products call one function, ``cblas_sgemm``, which is replaced by the
one of OpenBLAS: the build of NumPy and SciPy (the scipy-openblas32 wheel), or else the older
build in the faiss-cpu wheel. Where MKL is installed and the processor is from Intel, it takes the
place of OpenBLAS.

On macOS nothing is replaced, because MLX uses Metal and Accelerate.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rtvc.errors import UsageError
from rtvc.system.elf_patch import patch_import
from rtvc.system.mkl import MAX_CALLERS, find_mkl, load_mkl, suits_mkl
from rtvc.system.mlx_environment import set_mlx_environment

_PRODUCT = "cblas_sgemm"
_SWITCHES = ("auto", "openblas", "mkl", "off")
_MAX_THREADS = 8  # the matrices of a step are too small for more


@dataclass(frozen=True)
class BlasReport:
    """The BLAS that MLX uses on the CPU.

    Attributes
    ----------
    library
        Path of the shared library, or its name if the system provides it.
    optimised
        Whether it uses the vector units of the processor.
    threads
        Total number of threads, or None if the library decides.
    streams
        Number of concurrent callers among which the threads are divided; see
        `rtvc.engine.models.ops.cpu_streams`.
    remedy
        What to do if MLX is left with the reference BLAS, else None.
    """

    library: str
    optimised: bool
    threads: int | None
    remedy: str | None
    streams: int = 1

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} thread(s)"
        return f"{self.library}{threads}" + (f": {self.remedy}" if self.remedy else "")


class _Blas(NamedTuple):
    """A loaded BLAS.

    `prefix` precedes the names of its functions. If it is our `own`, only MLX uses it. `callers`
    is the number of threads that call it at the same time, if it has none of its own.
    """

    path: str
    library: ctypes.CDLL
    prefix: str = ""
    own: bool = True
    callers: int | None = None

    def call(self, name: str, *arguments: int) -> int | None:
        """Call a function of OpenBLAS; return None if this is another BLAS."""
        try:
            return int(getattr(self.library, f"{self.prefix}openblas_{name}")(*arguments))
        except AttributeError:
            return None

    def product(self) -> int:
        """Return the address of its matrix product."""
        function = getattr(self.library, self.prefix + _PRODUCT)
        return ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def load_blas() -> BlasReport:
    """Give MLX an optimised BLAS, once; imports ``mlx.core``.

    ``RTVC_BLAS=off`` leaves MLX as it is; ``auto`` is the default, ``openblas`` is the same
    without MKL, and ``mkl`` uses MKL only.

    Order of search: a BLAS that is in the global scope (``LD_PRELOAD``), MKL if it is faster on
    this processor with this number of threads, the BLAS in the scipy-openblas32 wheel, the one in
    the faiss-cpu wheel, the system's ``libopenblas.so.0``.

    The number of threads is ``OMP_NUM_THREADS`` or ``OPENBLAS_NUM_THREADS`` if set.
    Otherwise it is one less than the cores that this process may use, at least one and at most
    eight. One core stays free for the audio callback and the panel, because a missed deadline
    costs more than the lost throughput. Two threads are used as two callers with one thread
    each, which also compute in parallel between the products. More threads are more efficient
    within each product; MKL, which is used without threads of its own, gets no more than two
    callers.

    Returns
    -------
    BlasReport
        The BLAS that MLX uses; the same object for every call.

    Raises
    ------
    UsageError
        If ``RTVC_BLAS`` has another value, or is ``mkl`` where MKL cannot be used.
    """
    switch = os.environ.get("RTVC_BLAS") or "auto"
    if switch not in _SWITCHES:
        raise UsageError(f"RTVC_BLAS is {switch!r}; it can be auto, openblas, mkl or off.")
    if sys.platform != "linux":
        name = "Accelerate" if sys.platform == "darwin" else "the BLAS that MLX was built with"
        return BlasReport(name, sys.platform == "darwin", None, None)
    set_mlx_environment()
    import mlx.core as mx

    if switch == "off":
        return _reference("RTVC_BLAS is off; unset it")
    mlx = Path(mx.__file__).parent / "lib" / "libmlx.so"
    trouble = "install scipy-openblas32 with pip, then restart rtvc"
    for blas in _libraries(switch):
        try:
            if patch_import(mlx, _PRODUCT, blas.product()):
                threads = blas.callers or blas.call("get_num_threads")
                streams = 2 if threads == 2 and blas.own else 1
                if streams > 1:
                    blas.call("set_num_threads", 1)
                return BlasReport(blas.path, True, threads, None, streams)
            trouble = f"this version of MLX does not call {_PRODUCT}; install the version of MLX "
            trouble += "that rtvc was tested with"
        except OSError as error:
            trouble = f"{error}; preload an OpenBLAS with LD_PRELOAD"
    return _reference(trouble)


def _reference(fix: str) -> BlasReport:
    """Return the report for MLX with the reference BLAS of its wheel."""
    return BlasReport(
        "the reference BLAS of the MLX wheel",
        False,
        1,
        f"about forty times slower than an optimised BLAS; {fix}",
    )


def _libraries(switch: str) -> Iterator[_Blas]:
    """Load the available BLAS libraries one by one, the best one first."""
    threads = _thread_count()
    if switch == "mkl":
        yield _chosen_mkl(threads)
        return
    path = _global_blas()
    if path is not None:
        yield _Blas(path, ctypes.CDLL(None), own=False)
    suitable = switch == "auto" and threads <= MAX_CALLERS and suits_mkl()
    if suitable and (mkl := _mkl(threads)) is not None:
        yield mkl
    for chain, prefix in _candidates():
        with _environment(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads)):
            library = _load(chain, prefix)
        if library is not None:
            blas = _Blas(str(chain[-1]), library, prefix)
            blas.call("set_num_threads", threads)
            yield blas


def _mkl(threads: int) -> _Blas | None:
    path = find_mkl()
    library = None if path is None else load_mkl(path)
    if library is None:
        return None
    return _Blas(str(path), library, callers=min(threads, MAX_CALLERS))


def _chosen_mkl(threads: int) -> _Blas:
    """Return MKL; raise a `UsageError` if it cannot be used."""
    mkl = _mkl(threads)
    if mkl is not None:
        return mkl
    if find_mkl() is None:
        raise UsageError(
            "RTVC_BLAS is 'mkl', but the package mkl is not installed here. Install it with "
            "pip install 'rtvc-live[mkl]'."
        )
    raise UsageError(
        "RTVC_BLAS is 'mkl', but it does not load, or another package uses it with other "
        "settings. Set RTVC_BLAS to auto."
    )


class _SingleNumpyThread:
    """A context in which NumPy's own BLAS computes with one thread, in the whole process.

    It does not know of the threads that `load_blas` gives to MLX, and would use all cores for
    every product. Does nothing where NumPy's BLAS is not the one in its wheel for Linux.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users, self._threads = 0, 1

    def __enter__(self) -> None:
        blas = _numpy_blas()
        if blas is not None:
            with self._lock:
                if not self._users:
                    self._threads = blas.get()
                    blas.set(1)
                self._users += 1

    def __exit__(self, *error: object) -> None:
        blas = _numpy_blas()
        if blas is not None:
            with self._lock:
                self._users -= 1
                if not self._users:
                    blas.set(self._threads)


single_numpy_thread = _SingleNumpyThread()


class _ThreadCount(NamedTuple):
    """Functions of a BLAS."""

    get: Callable[[], int]
    set: Callable[[int], object]


@cache
def _numpy_blas() -> _ThreadCount | None:
    """Return the functions of the OpenBLAS in NumPy's wheel, None without it."""
    for package in _folders("numpy"):
        for path in (package.parent / "numpy.libs").glob("*openblas*.so"):
            library = ctypes.CDLL(str(path))
            # The names depend on the version of NumPy.
            for prefix in ("scipy_openblas", "openblas"):
                try:
                    return _ThreadCount(
                        getattr(library, f"{prefix}_get_num_threads64_"),
                        getattr(library, f"{prefix}_set_num_threads64_"),
                    )
                except AttributeError:
                    continue
    return None


def _thread_count() -> int:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one entry for each level of nesting.
        first = os.environ.get(variable, "").split(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            return int(first)
    return max(1, min(len(os.sched_getaffinity(0)) - 1, _MAX_THREADS))


def _candidates() -> Iterator[tuple[tuple[Path | str, ...], str]]:
    """Yield libraries to load in order, the BLAS last, and the prefix of its functions."""
    for package in _folders("scipy_openblas32"):
        yield tuple(sorted((package / "lib").glob("libscipy_openblas.so"))), "scipy_"
    for package in _folders("faiss"):
        folder = package.parent / "faiss_cpu.libs"
        # The file names contain a hash. The dependencies of OpenBLAS must be loaded before it.
        chain: list[Path | str] = []
        for name in ("libquadmath", "libgfortran", "libgomp", "libopenblas"):
            chain += sorted(folder.glob(f"{name}*.so*"))
        yield tuple(chain), ""
    yield ("libopenblas.so.0",), ""


def _folders(package: str) -> list[Path]:
    """Return the folders of a package without importing it."""
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _load(chain: tuple[Path | str, ...], prefix: str) -> ctypes.CDLL | None:
    """Load the libraries in order; return the last one if it is a BLAS."""
    library = None
    try:
        for path in chain:
            library = ctypes.CDLL(str(path))
    except OSError:
        return None
    return library if library is not None and hasattr(library, prefix + _PRODUCT) else None


class _SymbolInfo(ctypes.Structure):
    """Struct Dl_info of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _global_blas() -> str | None:
    """Return the path of the library that provides ``cblas_sgemm`` globally, or None."""
    process = ctypes.CDLL(None)
    try:
        symbol = getattr(process, _PRODUCT)
    except AttributeError:
        return None
    info = _SymbolInfo()
    address = ctypes.cast(symbol, ctypes.c_void_p)
    found = process.dladdr(address, ctypes.byref(info))
    return info.file.decode(errors="replace") if found and info.file else "a preloaded BLAS"


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables in the context, then restore them."""
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
