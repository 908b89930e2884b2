"""The library's folders, and how files get into them: complete, or not at all."""

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
from rtvc.system.durable import flush_file, flush_folder
from rtvc.system.permission import permission_advice

_STAGING_PREFIX = ".adding-"
_ABANDONED_S = 60.0
_RESERVED_BYTES = 64 * 2**20
"""Space that stays free, since a full disk disturbs other programs too."""


def data_folder() -> Path:
    """Return the folder of voices and base models; it may not exist.

    RTVC_HOME overrides it; that folder then also contains the remembered settings and the
    presets.
    """
    override = os.environ.get("RTVC_HOME")
    if override:
        # Not every program that sets a variable replaces '~', as shells do.
        return Path(os.path.expanduser(override)).absolute()
    import platformdirs

    return platformdirs.user_data_path("rtvc", appauthor=False)


def voices_folder() -> Path:
    """Return the folder with a subfolder for each installed voice."""
    return data_folder() / "voices"


def removed_folder() -> Path:
    """Return the folder of removed voices, which can be restored."""
    return data_folder() / "removed"


def models_folder() -> Path:
    """Return the folder with a subfolder for each base model."""
    return data_folder() / "models"


def downloads_folder() -> Path:
    """Return the folder of downloads, complete and partial."""
    return data_folder() / "downloads"


@contextmanager
def explain_write_errors() -> Iterator[None]:
    """Convert an `OSError` in the block to an error that says what to do.

    Raises
    ------
    RtvcError
        In place of the `OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or "write error"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RtvcError(
                f"There is no space left for {data_folder()}. Free some, or set RTVC_HOME to a "
                "folder on another disk."
            ) from None
        raise RtvcError(
            f"{data_folder()} cannot be written to: {reason}. Set RTVC_HOME to a writable folder."
        ) from None


@contextmanager
def staging_folder() -> Iterator[Path]:
    """Create a temporary folder on the disk of the library, and remove it after the block.

    Raises
    ------
    RtvcError
        If it cannot be created, or if writing in the block fails.
    """
    with explain_write_errors():
        data_folder().mkdir(parents=True, exist_ok=True)
        _remove_abandoned()
        stage = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=data_folder()))
        # The lock lasts as long as the process, so a folder without a lock is abandoned.
        lock = os.open(stage, os.O_RDONLY)
        try:
            # Some network disks have no locks, NFS none for folders; what is abandoned stays then.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            os.close(lock)


def move_into_place(prepared: Path, target: Path) -> None:
    """Move a finished folder to `target` atomically.

    Raises
    ------
    FileExistsError
        If `target` exists.
    OSError
        If it cannot be moved.
    """
    for file in prepared.iterdir():
        # The rename could reach the disk before the content.
        flush_file(file)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # which would mean `target`
        reason = f"{target.parent.name!r} in it is not a folder"
        raise NotADirectoryError(errno.ENOTDIR, reason, str(target.parent)) from None
    try:
        prepared.rename(target)
        flush_folder(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "exists already", str(target)) from None
        raise


def unreadable_path(error: OSError) -> RtvcError:
    """Return the error about a folder whose names, or a file whose type, cannot be read."""
    what = "the folder " if os.path.isdir(error.filename) else ""
    return RtvcError(
        f"Cannot read {what}{error.filename}: {error.strerror}.{permission_advice(error)}"
    )


def copy_file(source: Path, target: Path) -> None:
    """Copy the content of a file to a new file.

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
    """Check that `size` more bytes fit on the disk of the library.

    Parameters
    ----------
    size
        Bytes.
    what
        What needs the space, for the message.

    Raises
    ------
    RtvcError
        If there is not enough space.
    """
    folder = data_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return  # some network disks do not report it; writing gives the error then
    free = usage.free
    if usage.total and size + _RESERVED_BYTES > free:
        raise RtvcError(
            f"There is not enough space for {what} in {data_folder()}: it takes "
            f"{format_size(size)}, and {format_size(free)} are free. Free some, or set RTVC_HOME "
            "to a folder on another disk."
        )


def format_size(size: int) -> str:
    """Return a number of bytes as text, in MB."""
    return f"{size / 1e6:,.1f} MB" if size < 10e6 else f"{size / 1e6:,.0f} MB"


def _remove_abandoned() -> None:
    """Remove the staging folders of processes that were killed."""
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
