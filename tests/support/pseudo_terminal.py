"""A pseudo-terminal, and programs that run on it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Process, started

ROOT = Path(__file__).parents[2]
# A session without a terminal gets the first one that it opens.
_OWN_TERMINAL = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR))"


class PseudoTerminal:
    """A pseudo-terminal that is read all the time, so that a program never blocks on it.

    Parameters
    ----------
    answers
        What the terminal types when a text is in the output.

    Attributes
    ----------
    inner
        File descriptor of the program's end.
    """

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        self._answers = answers or {}
        self._outer, self.inner = pty.openpty()
        self._more = threading.Condition()
        self._seen = b""
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._outer, 4096)
            except OSError:  # no process has the inner end open any more
                return
            if not piece:
                return
            for text, answer in self._answers.items():
                if text.encode() in piece:
                    self.type(answer)
            with self._more:
                self._seen += piece
                self._more.notify_all()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._outer, text.encode())

    def modes(self) -> str:
        """Return the output of ``stty -a``."""
        return subprocess.run(
            ["stty", "-a"], stdin=self.inner, capture_output=True, text=True, check=True
        ).stdout

    def read_until(self, text: str, times: int = 1, seconds: float = 20.0) -> str:
        """Wait for a text in the output; return the output since the last call."""
        wanted = text.encode()
        with self._more:
            found = self._more.wait_for(lambda: self._seen.count(wanted) >= times, seconds)
            assert found, f"no {text!r} ({times} times) in {self._seen!r}"
        return self.take()

    def take(self) -> str:
        """Return the output since the last call, without waiting."""
        with self._more:
            seen, self._seen = self._seen, b""
        return seen.decode(errors="replace")

    def close(self) -> None:
        """Close both ends; processes that use the inner one must have ended."""
        os.close(self.inner)
        self._reader.join(5)
        os.close(self._outer)


class OnTerminal(PseudoTerminal):
    """A pseudo-terminal and the process that runs on it.

    Attributes
    ----------
    process
        The process.
    before
        The terminal's modes before the process started.
    """

    process: Process
    before: str


@contextmanager
def on_terminal(code: str) -> Iterator[OnTerminal]:
    """Run Python code in a subprocess with its own controlling terminal."""
    terminal = OnTerminal()
    try:
        terminal.before = terminal.modes()
        with started(
            [sys.executable, "-X", "utf8", "-c", f"{_OWN_TERMINAL}\n{code}"],
            stdin=terminal.inner,
            stdout=terminal.inner,
            stderr=terminal.inner,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "140", "PYTHONPATH": str(ROOT)},
        ) as terminal.process:
            yield terminal
    finally:
        terminal.close()
