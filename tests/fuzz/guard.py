"""Opens one file and reports every action besides reading it, with an audit hook."""

from __future__ import annotations

import gc
import mmap
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtvc.engine.rvc.retrieval import load_index
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.fcpe import read_fcpe
from rtvc.engine.weights.recognise import recognise
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.errors import RtvcError
from rtvc.library.opening import open_source

LIMIT_S = 2.0
FACTOR = 2
CONSTANT_BYTES = 4 * 2**20
"""Memory limit for small files: 16,000 pickle operations and as many nodes of an object tree at up
to 130 bytes each, and 96 KiB of a JSON header or an archive directory as objects of up to 30 times
that size."""
LIMIT_MESSAGE = 600

#: Audit events of reading a file. Every other event is a fault and ends the case.
_HARMLESS = {
    "array.__new__",
    "builtins.id",
    "object.__getattr__",
    "sys._getframe",
    "os.listdir",
    "os.scandir",
}
#: Further events of unpacking an archive, allowed inside the working folder.
_STAGING = {
    "os.mkdir",
    "os.walk",
    "os.rmdir",
    "os.remove",
    "tempfile.mkdtemp",
    "shutil.rmtree",
    "fcntl.flock",
    "pathlib.Path.glob",
    "glob.glob",
    "glob.glob/2",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Outcome:
    """Result of opening one file.

    Attributes
    ----------
    message
        Error message; "" if the file was read.
    faults
        Descriptions of unwanted behaviour; empty if there was none.
    seconds
        CPU time.
    allocated, resident
        Peak growth of the memory of Python and NumPy objects and of the process, in bytes.
    """

    message: str
    faults: tuple[str, ...]
    seconds: float
    allocated: int
    resident: int


class Watch:
    """Records audit events while it is on; an audit hook cannot be removed from a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.events: list[str] | None = None
        sys.addaudithook(self._audit)

    @contextmanager
    def on(self) -> Iterator[list[str]]:
        """Yield the list of forbidden events in the block."""
        events = self.events = []
        try:
            yield events
        finally:
            self.events = None

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.events is None or event in _HARMLESS:
            return
        if event == "open":
            path, _, flags = arguments
            # A name without a folder is relative to a folder handle that was opened before.
            inside = str(path).startswith(self.folder) or "/" not in str(path)
            in_home = str(path).startswith(self.folder + "/home")
            if inside and (in_home or not (isinstance(flags, int) and flags & _WRITES)):
                return
        elif event in _STAGING:
            # A name without a folder, or a handle, refers to a folder that was opened before.
            path = arguments[0]
            if isinstance(path, int) or str(path).startswith(self.folder) or "/" not in str(path):
                return
        elif event == "mmap.__new__" and arguments[2] == mmap.ACCESS_READ:
            return
        self.events.append(f"{event} {arguments!r:.200}")
        raise PermissionError(f"{event} while a file is read")


def _read_index(path: Path) -> None:
    recognise(path)
    index = load_index(path)
    if not np.isfinite(index.retrieve(np.ones((2, index.width), np.float32))).all():
        raise AssertionError("the index returns values that are not finite")


def _open_archive(path: Path) -> None:
    with open_source(str(path), lambda _done, _total: None):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "voice": read_voice_checkpoint,
    "content": read_content_encoder,
    "rmvpe": read_rmvpe,
    "fcpe": read_fcpe,
    "index": _read_index,
    "archive": _open_archive,
}


def examine(path: Path, reader: str, watch: Watch) -> Outcome:
    """Open a file and return the outcome; tracemalloc must be running.

    Parameters
    ----------
    path
        The file, in the folder of `watch`.
    reader
        Name of a reader in `READERS`.
    watch
        The audit hook of this process.
    """
    message, faults = "", []
    gc.collect(0)
    start, before = time.process_time(), tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    resident = _reset_resident()
    with watch.on() as events:
        try:
            READERS[reader](path)
        except RtvcError as error:
            message = str(error)
        except BaseException as error:
            faults.append(f"raises {type(error).__name__}: {error!s:.200}")
    seconds = time.process_time() - start
    allocated = tracemalloc.get_traced_memory()[1] - before
    grown = _peak_resident() - resident
    faults += [f"does {event}" for event in events]
    if message and not (
        message.isprintable() and len(message) <= LIMIT_MESSAGE and message.endswith(".")
    ):
        faults.append(f"reports {message!r:.800}")
    if seconds > LIMIT_S:
        faults.append(f"takes {seconds:.1f} s")
    limit = FACTOR * path.stat().st_size + CONSTANT_BYTES
    for name, size in (("objects", allocated), ("the process", grown)):
        if size > limit:
            faults.append(f"{name} grow by {size / 2**20:.1f} MiB of {limit / 2**20:.1f}")
    return Outcome(message, tuple(faults), seconds, allocated, grown)


def _reset_resident() -> int:
    """Reset the peak size of the process, if the system supports it; return the current size."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak_resident()
    return _status("VmRSS")


def _peak_resident() -> int:
    if sys.platform == "linux":
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0
