"""The folder of the user's files, and writing to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rtvc.errors import RtvcError
from rtvc.system.durable import flush_folder

_LOCK_LIMIT_S = 2.0
"""Longest wait for another program, which may be suspended."""


def config_folder() -> Path:
    """Return the folder of the user's settings and presets; it may not exist.

    RTVC_CONFIG_DIR overrides it, and so does RTVC_HOME, which also contains the voices.
    """
    override = os.environ.get("RTVC_CONFIG_DIR") or os.environ.get("RTVC_HOME")
    if override:
        # Not every program that sets a variable replaces '~', as shells do.
        return Path(os.path.expanduser(override))
    import platformdirs

    return platformdirs.user_config_path("rtvc", appauthor=False)


def unused_path(path: Path) -> Path:
    """Return `path`, or a path with a number that does not exist yet."""
    if not path.exists():
        return path
    for number in range(2, 10_000):
        numbered = path.with_stem(f"{path.stem}-{number}")
        if not numbered.exists():
            return numbered
    raise RtvcError(f"There are too many files like {path}; remove some.")


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Let no other program or thread read, change and write files in `folder` during the block.

    Only those wait that use this function. Where the system has no locks, as on some network
    disks, or another program keeps the lock, the block runs all the same.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield  # which fails to write, and says why
        return
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    until = time.monotonic() + _LOCK_LIMIT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return
            time.sleep(0.01)
        except OSError:
            return
        else:
            return


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a temporary file and rename it to `path`, so that `path` is never incomplete.

    A link stays one, and its target is replaced.

    Raises
    ------
    RtvcError
        If the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp gives the file to the user only; use the usual permissions.
            os.chmod(temporary, _mode_of(target))
            os.replace(temporary, target)
            flush_folder(target.parent)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise RtvcError(f"{path} cannot be written: {error.strerror}.") from None


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
