"""Where the library lives, and how something new comes into it: whole, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtvc.errors import RtvcError

_STAGING_PREFIX = ".adding-"
_ABANDONED_S = 60.0
_RESERVED_BYTES = 64 * 2**20
"""Stays free: a full disk harms other programs too."""


def data_folder() -> Path:
    """Return the folder of voices and base models; it need not exist.

    RTVC_HOME names another one, which then holds the choices and presets too.
    """
    override = os.environ.get("RTVC_HOME")
    if override:
        return Path(override).absolute()
    import platformdirs

    return platformdirs.user_data_path("rtvc", appauthor=False)


def voices_folder() -> Path:
    """Return the folder with one folder for each installed voice."""
    return data_folder() / "voices"


def removed_folder() -> Path:
    """Return the folder with the voices that were removed and can be restored."""
    return data_folder() / "removed"


def models_folder() -> Path:
    """Return the folder with one folder for each base model."""
    return data_folder() / "models"


def downloads_folder() -> Path:
    """Return the folder of what has been downloaded so far."""
    return data_folder() / "downloads"


@contextmanager
def explain_write_errors() -> Iterator[None]:
    """Turn an `OSError` of writing inside into a sentence.

    Raises
    ------
    RtvcError
        In its place.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or "write error"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RtvcError(
                f"There is no space left for {data_folder()}; free some, or set RTVC_HOME to a "
                "folder on another disk."
            ) from None
        raise RtvcError(
            f"{data_folder()} cannot be written to: {reason}. Set RTVC_HOME to a folder that can."
        ) from None


@contextmanager
def staging_folder() -> Iterator[Path]:
    """Make a folder beside the library, on the same disk, that is gone afterwards in any case.

    Raises
    ------
    RtvcError
        If it cannot be made, or if writing inside fails.
    """
    with explain_write_errors():
        data_folder().mkdir(parents=True, exist_ok=True)
        _remove_abandoned()
        stage = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=data_folder()))
        # The lock lasts as long as the process: it tells a folder in use from an abandoned one.
        lock = os.open(stage, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            os.close(lock)


def move_into_place(prepared: Path, target: Path) -> None:
    """Move a finished folder to where it belongs, in one step.

    Raises
    ------
    FileExistsError
        If there is something at `target`.
    OSError
        If it cannot be moved.
    """
    for file in prepared.iterdir():
        # A rename can reach the disk before the content does.
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        prepared.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "exists already", str(target)) from None
        raise


def copy_file(source: Path, target: Path) -> None:
    """Copy the content of a file to a new one.

    Raises
    ------
    RtvcError
        If the source cannot be read.
    OSError
        If the target cannot be written.
    """
    try:
        file = source.open("rb")
    except OSError as error:
        raise RtvcError(f"Cannot open {source}: {error.strerror}.") from None
    with file, target.open("xb") as copy:
        shutil.copyfileobj(file, copy, 2**20)


def require_space(size: int, what: str) -> None:
    """Check that so many more bytes fit on the disk of the library.

    Raises
    ------
    RtvcError
        If they do not.
    """
    folder = data_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return  # Some network disks do not tell; writing will.
    free = usage.free
    if usage.total and size + _RESERVED_BYTES > free:
        raise RtvcError(
            f"There is not enough space for {what} in {data_folder()}: it takes "
            f"{format_size(size)}, and {format_size(free)} are free. Free some, or set RTVC_HOME "
            "to a folder on another disk."
        )


def format_size(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / 1e6:,.1f} MB" if size < 10e6 else f"{size / 1e6:,.0f} MB"


def _remove_abandoned() -> None:
    """Remove what a process that was killed has left behind."""
    for stage in data_folder().glob(_STAGING_PREFIX + "*"):
        with suppress(OSError):
            if time.time() - stage.stat().st_mtime < _ABANDONED_S:
                continue
            lock = os.open(stage, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stage, ignore_errors=True)
            finally:
                os.close(lock)
