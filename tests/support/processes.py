"""Processes that end with the test that started them, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def start(words: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a process in a session of its own, with the options of `subprocess.Popen`."""
    return subprocess.Popen(words, start_new_session=True, **options)


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process of `start`, and all that it started; safe to repeat."""
    # A group that is empty, or on macOS one of zombies, has nobody to kill.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError):  # What was written and not flushed has no reader now.
                stream.close()


@contextmanager
def started(words: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a process, and kill it and all that it started at the end of the block."""
    process = start(words, **options)
    try:
        yield process
    finally:
        end(process)
