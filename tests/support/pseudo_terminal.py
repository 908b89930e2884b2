"""A terminal without a window, and programs on it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import started

ROOT = Path(__file__).parents[2]
# A session without a terminal gets the first one that it opens.
_OWN_TERMINAL = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR))"


class PseudoTerminal:
    """Reads all the time what is written to it, so that no program waits for its terminal.

    Attributes
    ----------
    inner
        The end that a program has: what it writes there can be read here.
    """

    def __init__(self) -> None:
        self._outer, self.inner = pty.openpty()
        self._more = threading.Condition()
        self._seen = b""
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._outer, 4096)
            except OSError:  # Nobody has the inner end any more.
                return
            if not piece:
                return
            with self._more:
                self._seen += piece
                self._more.notify_all()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._outer, text.encode())

    def modes(self) -> str:
        """Return what stty says about it."""
        return subprocess.run(
            ["stty", "-a"], stdin=self.inner, capture_output=True, text=True, check=True
        ).stdout

    def read_until(self, text: str, times: int = 1, seconds: float = 20.0) -> str:
        """Wait until a text has been written, and return all that came since the last call."""
        wanted = text.encode()
        with self._more:
            found = self._more.wait_for(lambda: self._seen.count(wanted) >= times, seconds)
            assert found, f"no {text!r} ({times} times) in {self._seen!r}"
            seen, self._seen = self._seen, b""
        return seen.decode(errors="replace")

    def close(self) -> None:
        """Close both ends; what else has the inner one must have ended."""
        os.close(self.inner)
        self._reader.join(5)
        os.close(self._outer)


class OnTerminal(PseudoTerminal):
    """A terminal and the process on it.

    Attributes
    ----------
    process
        The program's.
    before
        The terminal's modes before the program began.
    """

    process: subprocess.Popen[bytes]
    before: str


@contextmanager
def on_terminal(code: str) -> Iterator[OnTerminal]:
    """Run Python code on a terminal of its own, which is also its controlling one."""
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
