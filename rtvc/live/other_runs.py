"""Other runs of rtvc on the same output: both voices would be heard, mixed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from rtvc.config.paths import config_folder


@contextmanager
def claim_output(name: str) -> Iterator[str]:
    """Hold a lock file for an output while the block runs; yield a warning, "" if there is none.

    The lock is the system's, which ends with the process: a file that was left behind does not
    count. Where no file can be written, nothing is claimed.

    Parameters
    ----------
    name
        The output as it is opened; "" is the system's default.
    """
    folder = config_folder() / "running"
    others = [process for process, output in _runs(folder) if output == name]
    own = _locked_file(folder / str(os.getpid()), name)
    if own is None:
        yield ""
        return
    with own:
        try:
            yield _warning(others, name)
        finally:
            Path(own.name).unlink(missing_ok=True)


def _locked_file(path: Path, text: str) -> IO[bytes] | None:
    """Return a new file with a text, open and locked; None where it cannot be written."""
    with suppress(OSError), ExitStack() as failed:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = failed.enter_context(path.open("wb", buffering=0))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        failed.callback(path.unlink, missing_ok=True)
        file.write(text.encode())
        failed.pop_all()
        return file
    return None


def _warning(others: list[str], name: str) -> str:
    if not others:
        return ""
    output = f"the output {name!r}" if name else "the default output"
    return (
        f"Another rtvc (process {others[0]}) plays on {output} too, so both voices are heard. "
        "End one of them."
    )


def _runs(folder: Path) -> list[tuple[str, str]]:
    """Return process and output of each run; removes files that were left behind."""
    found = []
    for path in sorted(folder.glob("[0-9]*")) if folder.is_dir() else []:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append((path.name, file.read()))
                else:
                    path.unlink()
        except OSError:
            continue  # it has ended meanwhile
    return found
