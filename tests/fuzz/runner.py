"""Runs cases in a worker process, and starts a new one if a worker hangs or crashes."""

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
from tests.support.processes import Process, started

#: Wall time without output; long, so that a busy machine is not mistaken for a file that hangs.
_TIMEOUT_S = 20.0
_START_TIMEOUT_S = 120.0
_ROOT = Path(__file__).parents[2]


@dataclass
class Report:
    """Summary of many cases.

    Attributes
    ----------
    cases
        Number of cases.
    messages
        Number of cases per message, without the parts that vary; "read" counts accepted files.
    outcomes
        Name and message of each case; "" if the file was read.
    faults
        Number and name of the case, and description, of each fault.
    seconds
        Longest CPU time, and number of the case.
    allocated, resident
        Largest growth of objects and of the process beyond twice the size of the file, in bytes,
        and number of the case.
    """

    cases: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    seconds: tuple[float, int] = (0.0, 0)
    allocated: tuple[int, int] = (0, 0)
    resident: tuple[int, int] = (0, 0)

    def add(self, line: dict[str, Any], name: str) -> None:
        """Count one outcome."""
        number = line["number"]
        self.cases += 1
        self.messages[_generic(line["message"])] += 1
        self.outcomes.append((name, line["message"]))
        self.faults += [(number, name, fault) for fault in line["faults"]]
        self.seconds = max(self.seconds, (line["seconds"], number))
        for key in ("allocated", "resident"):
            beyond = line[key] - 2 * line["size"]
            setattr(self, key, max(getattr(self, key), (beyond, number)))


def run(kind: str, cases: int, seed: int, first: int = 0) -> Report:
    """Open the cases `first` to `first + cases - 1` of a kind.

    Parameters
    ----------
    kind
        ``"checkpoints"``, ``"indexes"`` or ``"archives"``.
    cases
        Number of cases.
    seed
        Seed of the mutations.
    first
        Number of the first case.
    """
    report = Report()
    number, last = first, first + cases
    while number < last:
        current, name = number, ""
        with _worker(kind, seed, number, last) as process:
            for line in _lines(process):
                if "begin" in line:
                    current, name = line["begin"], line["name"]
                else:
                    report.add(line, name)
                    number = current + 1
            process.kill()
            code = process.wait()
        if number < last:
            if number > current or not name:
                raise RuntimeError(f"The worker ended between cases (code {code}).")
            fault = "hangs" if code == -signal.SIGKILL else f"ends the process (code {code})"
            report.faults.append((current, name, fault))
            report.cases += 1
            number = current + 1
    return report


def write_case(path: Path, kind: str, seed: int, number: int) -> str:
    """Write one case to a file, and return its description."""
    written = case(kind, seed, number)
    path.write_bytes(written.content)
    return f"{written.name} (for {written.reader})"


def _worker(kind: str, seed: int, first: int, last: int) -> AbstractContextManager[Process]:
    # With a fixed threshold, freed large blocks return to the system, so the size of the process
    # shows the memory that one file needs.
    environment = os.environ | {
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(_ROOT),
        "PYTHONFAULTHANDLER": "1",
    }
    arguments = [kind, *map(str, (seed, first, last))]
    return started(
        [sys.executable, "-m", "tests.fuzz.worker", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=_ROOT,
    )


def _lines(process: Process) -> Iterator[dict[str, Any]]:
    """Yield the worker's lines until it ends or prints nothing for too long."""
    output: IO[str] | None = process.stdout
    assert output is not None
    with selectors.DefaultSelector() as selector:
        os.set_blocking(output.fileno(), False)
        selector.register(output, selectors.EVENT_READ)
        rest = b""
        timeout = _START_TIMEOUT_S
        while selector.select(timeout):
            timeout = _TIMEOUT_S
            data = os.read(output.fileno(), 2**16)
            if not data:
                process.wait()
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)


def _generic(message: str) -> str:
    """Return a message without the parts that differ from file to file."""
    if not message:
        return "read"
    message = message.split(": ", 1)[-1] if "cannot be read as" in message else message
    message = re.sub(r"/\S*/case", "case", message)
    message = re.sub(r"'[^']*'|b'[^']*'|\([^)]*\)?", "…", message)
    return re.sub(r"-?\d+", "#", message)[:90]
