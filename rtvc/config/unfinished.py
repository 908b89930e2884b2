"""Recordings that were in progress when rtvc was killed, so that the next run reports them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from rtvc.config.paths import config_folder, write_atomically
from rtvc.errors import RtvcError
from rtvc.system.processes import is_running

_PREFIX = "recording-in-progress-"


def note_recording(paths: Iterable[Path]) -> None:
    """Remember the files of a recording that has started; failures are ignored."""
    with contextlib.suppress(RtvcError):
        # As bytes: a name on Linux may have line breaks, and bytes that are not UTF-8.
        write_atomically(_own_file(), b"".join(os.fsencode(path) + b"\0" for path in paths))


def forget_recording() -> None:
    """Forget the recording: it is complete."""
    with contextlib.suppress(OSError):
        _own_file().unlink(missing_ok=True)


def take_unfinished() -> list[Path]:
    """Return the files of recordings whose program no longer runs, once."""
    found = []
    for file in sorted(config_folder().glob(f"{_PREFIX}*")):
        process = file.name.removeprefix(_PREFIX)
        if not process.isdigit() or (file != _own_file() and is_running(int(process))):
            continue
        with contextlib.suppress(OSError, ValueError):
            names = file.read_bytes().split(b"\0")[:-1]
            file.unlink()
            found += [path for path in map(Path, map(os.fsdecode, names)) if path.is_file()]
    return found


def _own_file() -> Path:
    return config_folder() / f"{_PREFIX}{os.getpid()}"
