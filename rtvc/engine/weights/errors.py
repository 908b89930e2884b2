"""What goes wrong inside a file, and how it becomes a sentence."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtvc.engine.weights.text import printable
from rtvc.errors import RtvcError


class ContentError(RtvcError):
    """What a file holds cannot be used; the message is a clause about it.

    Whoever knows the file's name puts the clause into a sentence: see `reading`.
    """


@contextmanager
def reading(path: Path, description: str) -> Iterator[None]:
    """Turn a `ContentError` or an `OSError` inside into a sentence about `path`.

    Parameters
    ----------
    path
        The file being read.
    description
        What it is read as: ``"a voice"``.
    """
    name = printable(path.name)
    try:
        yield
    except ContentError as reason:
        raise RtvcError(f"{name} cannot be read as {description}: {reason}.") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place in the file that cannot be
            raise RtvcError(
                f"{name} cannot be read as {description}: it is damaged or cut short."
            ) from None
        raise RtvcError(f"Cannot open {name}: {error.strerror or 'read error'}.") from None
