"""A slow line between a terminal and a program, as ssh has over a bad network.

    python -m tests.support.slow_line BYTES_PER_S DELAY_S COUNT_FILE COMMAND...

The output of the program passes at BYTES_PER_S, and both directions are delayed by DELAY_S.
COUNT_FILE holds the number of bytes that have reached the terminal.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from pathlib import Path

_PIECE = 64
"""Bytes at once, so that the rate is even."""


class _Delayed:
    """Bytes on their way."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._pieces: deque[tuple[float, bytes]] = deque()

    def put(self, piece: bytes) -> None:
        self._pieces.append((time.monotonic() + self._delay, piece))

    def arrived(self) -> bytes:
        pieces = []
        while self._pieces and self._pieces[0][0] <= time.monotonic():
            pieces.append(self._pieces.popleft()[1])
        return b"".join(pieces)

    def rest(self) -> bytes:
        """Wait for all that is on its way, and return it."""
        if self._pieces:
            time.sleep(max(0.0, self._pieces[-1][0] - time.monotonic()))
        return self.arrived()


def run(rate: float, delay: float, count_file: Path, command: list[str]) -> int:
    """Run the command behind the line, and return its exit code."""
    child, outer = pty.fork()
    if not child:
        os.execvp(command[0], command)

    def resize(*_: object) -> None:
        termios.tcsetwinsize(outer, termios.tcgetwinsize(0))

    resize()
    signal.signal(signal.SIGWINCH, resize)
    modes = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        _pass_on(outer, rate, delay, count_file)
    finally:
        termios.tcsetattr(0, termios.TCSANOW, modes)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _pass_on(outer: int, rate: float, delay: float, count_file: Path) -> None:
    keys, screen = _Delayed(delay), _Delayed(delay)
    due = time.monotonic()
    arrived = 0
    counter = os.open(count_file, os.O_CREAT | os.O_WRONLY)
    while True:
        now = time.monotonic()
        readable, _, _ = select.select([0, *([outer] if now >= due else [])], [], [], 0.005)
        if 0 in readable:
            keys.put(os.read(0, 1 << 12))
        if outer in readable:
            try:
                piece = os.read(outer, _PIECE)
            except OSError:  # the program has ended
                os.write(1, screen.rest())
                return
            due = max(due, now - 0.01) + len(piece) / rate
            screen.put(piece)
        if text := keys.arrived():
            os.write(outer, text)
        if text := screen.arrived():
            os.write(1, text)
            arrived += len(text)
            os.pwrite(counter, b"%012d" % arrived, 0)


if __name__ == "__main__":
    rate, delay, file, *words = sys.argv[1:]
    sys.exit(run(float(rate), float(delay), Path(file), words))
