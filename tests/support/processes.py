"""Processes that are always killed at the end of the test that started them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


class Process(subprocess.Popen[Any]):
    """A process; each of its streams that a test uses is a pipe."""

    stdin: IO[Any]
    stdout: IO[Any]
    stderr: IO[Any]


def start(words: Sequence[str | Path], **options: Any) -> Process:
    """Start a process in its own session, with the options of `subprocess.Popen`."""
    return Process(words, start_new_session=True, **options)


def end(process: Process) -> None:
    """Kill a process of `start` and its process group; safe to repeat."""
    # The group may be empty or, on macOS, contain only zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    streams: tuple[IO[Any] | None, ...] = process.stdin, process.stdout, process.stderr
    for stream in streams:
        if stream is not None:
            with suppress(OSError):  # data that is not flushed has no reader any more
                stream.close()


@contextmanager
def started(words: Sequence[str | Path], **options: Any) -> Iterator[Process]:
    """Start a process; kill it and its process group at the end of the block."""
    process = start(words, **options)
    try:
        yield process
    finally:
        end(process)
