"""Other runs of rtvc on the same output: both voices would be heard, mixed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = (folder / str(os.getpid())).open("w", encoding="utf-8")
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield ""
        return
    with own:
        own.write(name)
        own.flush()
        try:
            yield _warning(others, name)
        finally:
            Path(own.name).unlink(missing_ok=True)


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
