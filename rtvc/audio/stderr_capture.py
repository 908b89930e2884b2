"""Capture what C libraries print to file descriptor 2."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

_lock = threading.Lock()
"""Held while descriptors are exchanged, never while captured code runs."""
_open_captures: list[_OpenCapture] = []


class StderrCapture:
    """What C libraries printed to file descriptor 2; `text` is set when the capture ends."""

    text = ""


class _OpenCapture(StderrCapture):
    def __init__(self, saved: int, file: BinaryIO) -> None:
        self._saved = saved
        self._file = file

    def restore(self) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        self._file.seek(0)
        self.text = self._file.read().decode(errors="replace").strip()
        self._file.close()


@contextlib.contextmanager
def capture_stderr() -> Iterator[StderrCapture]:
    """Capture what C libraries print to file descriptor 2, so that it is not on the terminal.

    The descriptor belongs to the whole process: the output of other threads is captured
    as well, so keep the block short. Captures may be nested.
    """
    capture = _begin()
    if capture is None:
        yield StderrCapture()
        return
    try:
        yield capture
    finally:
        end_captures(capture)


def _begin() -> _OpenCapture | None:
    file: BinaryIO
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `restore`
    except OSError:  # the disk is full: what is printed is lost
        file = open(os.devnull, "w+b")  # noqa: SIM115
    with _lock:
        try:
            capture = _OpenCapture(os.dup(2), file)
        except OSError:  # the descriptor is closed: there is no terminal to protect
            file.close()
            return None
        os.dup2(file.fileno(), 2)
        _open_captures.append(capture)
        return capture


def end_captures(first: _OpenCapture | None = None) -> None:
    """End a capture and those inside it; by default all, as when the captured code hangs.

    A capture that has ended stays so: ending it again does nothing.
    """
    with _lock:
        if first is not None and first not in _open_captures:
            return
        while _open_captures:
            capture = _open_captures.pop()
            capture.restore()
            if capture is first:
                return
