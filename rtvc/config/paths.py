"""Where rtvc keeps its files, and how it writes them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rtvc.errors import RtvcError


def config_folder() -> Path:
    """Return the folder of the user's choices and presets.

    RTVC_CONFIG_DIR names another one, and so does RTVC_HOME, which is for voices too.
    """
    override = os.environ.get("RTVC_CONFIG_DIR") or os.environ.get("RTVC_HOME")
    if override:
        return Path(override)
    import platformdirs

    return platformdirs.user_config_path("rtvc", appauthor=False)


def unused_path(path: Path) -> Path:
    """Return `path`, or a numbered one beside it that does not exist yet."""
    if not path.exists():
        return path
    for number in range(2, 10_000):
        numbered = path.with_stem(f"{path.stem}-{number}")
        if not numbered.exists():
            return numbered
    raise RtvcError(f"There are too many files like {path}; remove some.")


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file beside `path` and rename it, so that `path` is old or new but never half.

    Raises
    ------
    RtvcError
        If that is not possible.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp is private to the user; a new file should have the usual rights.
            os.chmod(temporary, _mode_of(path))
            os.replace(temporary, path)
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
