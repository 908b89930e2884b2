"""Processes that are always killed at the end of the test that started them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def start(words: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a process in its own session, with the options of `subprocess.Popen`."""
    return subprocess.Popen(words, start_new_session=True, **options)


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process of `start` and its process group; safe to repeat."""
    # The group may be empty or, on macOS, contain only zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError):  # data that is not flushed has no reader any more
                stream.close()


@contextmanager
def started(words: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a process; kill it and its process group at the end of the block."""
    process = start(words, **options)
    try:
        yield process
    finally:
        end(process)
