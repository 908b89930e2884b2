"""Hands cases to a worker, and starts another where one hangs or falls."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.fuzz.cases import case
from tests.support.processes import started

#: Of the clock, not of the processor: a busy machine must not look like a file that hangs.
_PATIENCE_S = 20.0
_STARTING_S = 120.0
_ROOT = Path(__file__).parents[2]


@dataclass
class Report:
    """What came of many cases.

    Attributes
    ----------
    messages
        How often each kind of sentence came; "read" counts files that were accepted.
    faults
        Number and name of each case that did what it should not, and what.
    seconds, share, resident
        The worst, each with its case: time of the processor, largest growth of objects and of the
        process in bytes beyond twice the size of the file.
    """

    cases: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    seconds: tuple[float, int] = (0.0, 0)
    allocated: tuple[int, int] = (0, 0)
    resident: tuple[int, int] = (0, 0)

    def add(self, line: dict[str, Any], name: str) -> None:
        """Count one outcome."""
        number = line["number"]
        self.cases += 1
        self.messages[_kind(line["message"])] += 1
        self.faults += [(number, name, fault) for fault in line["faults"]]
        self.seconds = max(self.seconds, (line["seconds"], number))
        for what in ("allocated", "resident"):
            beyond = line[what] - 2 * line["size"]
            setattr(self, what, max(getattr(self, what), (beyond, number)))


def run(kind: str, cases: int, seed: int, first: int = 0) -> Report:
    """Open cases `first` up to `first + cases` of a kind.

    Parameters
    ----------
    kind
        ``"checkpoints"``, ``"indexes"`` or ``"archives"``.
    cases
        How many.
    seed
        Of the mutations.
    first
        Number of the first one.
    """
    report = Report()
    number, last = first, first + cases
    while number < last:
        begun, name = number, ""
        with _worker(kind, seed, number, last) as process:
            for line in _lines(process):
                if "begin" in line:
                    begun, name = line["begin"], line["name"]
                else:
                    report.add(line, name)
                    number = begun + 1
            process.kill()
            code = process.wait()
        if number < last:
            if number > begun or not name:
                raise RuntimeError(f"The worker ended between cases (code {code}).")
            ended = "hangs" if code == -signal.SIGKILL else f"ends the process (code {code})"
            report.faults.append((begun, name, ended))
            report.cases += 1
            number = begun + 1
    return report


def write_case(path: Path, kind: str, seed: int, number: int) -> str:
    """Write one case as a file, and return how it was made."""
    made = case(kind, seed, number)
    path.write_bytes(made.content)
    return f"{made.name} (for {made.reader})"


def _worker(
    kind: str, seed: int, first: int, last: int
) -> AbstractContextManager[subprocess.Popen[str]]:
    # A fixed threshold gives every large block back to the system when it is freed, so that the
    # size of the process tells what one file takes.
    environment = os.environ | {
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(_ROOT),
        "PYTHONFAULTHANDLER": "1",
    }
    words = [kind, *map(str, (seed, first, last))]
    return started(
        [sys.executable, "-m", "tests.fuzz.worker", *words],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=_ROOT,
    )


def _lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Give what the worker prints, until it ends or is silent for too long."""
    output: IO[str] | None = process.stdout
    assert output is not None
    with selectors.DefaultSelector() as selector:
        os.set_blocking(output.fileno(), False)
        selector.register(output, selectors.EVENT_READ)
        rest = b""
        patience = _STARTING_S
        while selector.select(patience):
            patience = _PATIENCE_S
            piece = os.read(output.fileno(), 2**16)
            if not piece:
                process.wait()
                return
            *whole, rest = (rest + piece).split(b"\n")
            yield from map(json.loads, whole)


def _kind(message: str) -> str:
    """Return a message without what differs from file to file."""
    if not message:
        return "read"
    message = message.split(": ", 1)[-1] if "cannot be read as" in message else message
    message = re.sub(r"/\S*/case", "case", message)
    message = re.sub(r"'[^']*'|b'[^']*'|\([^)]*\)?", "…", message)
    return re.sub(r"-?\d+", "#", message)[:90]
