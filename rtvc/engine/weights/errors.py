"""Errors in the contents of a file, and their messages."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtvc.engine.weights.text import printable
from rtvc.errors import RtvcError
from rtvc.system.permission import permission_advice


class ContentError(Exception):
    """The contents of a file cannot be used.

    The message is a clause about the file; `reading` adds the file's name to it.
    """


@contextmanager
def reading(path: Path, description: str) -> Iterator[None]:
    """Convert a `ContentError` or an `OSError` in the block to an `RtvcError` about `path`.

    Parameters
    ----------
    path
        The file.
    description
        Expected contents, such as ``"a voice"``.

    Raises
    ------
    RtvcError
        With a whole sentence that names the file and the reason.
    """
    name = printable(path.name)
    try:
        yield
    except ContentError as reason:
        raise RtvcError(f"{name} cannot be read as {description}: {reason}.") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a seek to an impossible offset
            raise RtvcError(
                f"{name} cannot be read as {description}: it is damaged or cut short."
            ) from None
        raise RtvcError(not_opened(path, error)) from None


def not_opened(path: Path, error: OSError) -> str:
    """Return the message about a file that cannot be opened or read."""
    reason = error.strerror or "read error"
    return f"Cannot open {printable(path.name)}: {reason}.{permission_advice(error)}"
