"""A real terminal without a window: a shell in tmux with its own server."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import time
from pathlib import Path

from tests.support.processes import end, start

_NUMBERS = itertools.count()


class Terminal:
    """A shell to which keys can be sent and whose screen can be read.

    Parameters
    ----------
    folder
        The folder for the server's socket.
    columns, rows
        Size in characters.
    term
        The value of TERM.
    """

    def __init__(
        self, folder: Path, columns: int = 80, rows: int = 24, term: str = "screen-256color"
    ) -> None:
        # The server of a terminal before may still be about to end.
        self._tmux = ["tmux", "-S", str(folder / f"tmux-{next(_NUMBERS)}"), "-f", os.devnull]
        kind = ["set-option", "-g", "default-terminal", term]
        size = ["-x", str(columns), "-y", str(rows)]
        self._run("start-server", ";", *kind, ";", "new-session", "-d", *size, "exec sh")
        # A permanent client, so that sending a key starts no process.
        self._keys = start(
            [*self._tmux, "-C", "attach-session", "-f", "no-output"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def _run(self, *words: str) -> str:
        command = [*self._tmux, *words]
        # Readline sets LINES and COLUMNS of its own terminal in the process's environment.
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=dict(os.environ)
        )
        return done.stdout

    def type(self, *keys: str) -> float:
        """Send keys by their names in tmux; return the time on the monotonic clock."""
        line = f"{shlex.join(['send-keys', *keys])}\n"
        now = time.monotonic()
        self._keys.stdin.write(line)
        return now

    def paste(self, garbage: bytes, folder: Path, *, bracketed: bool = True) -> None:
        """Paste any bytes, marked as a paste if the program has asked for that."""
        file = folder / "pasted"
        file.write_bytes(garbage)
        marks = ["-p"] if bracketed else []
        self._run("load-buffer", str(file), ";", "paste-buffer", "-r", *marks)

    def screen(self, *, colours: bool = False) -> str:
        """Return the screen, line by line."""
        return self._run("capture-pane", "-p", *(["-e"] if colours else []))

    def text(self) -> str:
        """Return the screen's text with single spaces and no line breaks."""
        return " ".join(self.screen().split())

    def find(self, pattern: str) -> str:
        """Return the first match of a regular expression in the screen's text."""
        found = re.search(pattern, self.text())
        assert found, f"no {pattern!r} in:\n{self.screen()}"
        return found[0]

    def reads(self, *words: str, lacks: str = "", seconds: float = 40.0) -> None:
        """Wait until all `words` are on the screen and `lacks` is not."""
        end = time.monotonic() + seconds
        while not self._reads(words, lacks):
            assert time.monotonic() < end, f"no {words} without {lacks!r} in:\n{self.screen()}"
            time.sleep(0.02)

    def reads_row(self, pattern: str, seconds: float = 40.0) -> None:
        """Wait until a regular expression matches a part of one row."""
        end = time.monotonic() + seconds
        while not any(re.search(pattern, row) for row in self.screen().splitlines()):
            assert time.monotonic() < end, f"no row with {pattern!r} in:\n{self.screen()}"
            time.sleep(0.02)

    def _reads(self, words: tuple[str, ...], lacks: str) -> bool:
        text = self.text()
        return all(word in text for word in words) and not (lacks and lacks in text)

    def resize(self, columns: int, rows: int) -> None:
        """Resize the window."""
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        """Close the terminal, whatever runs in it; safe to repeat."""
        try:
            if self._keys.poll() is None:
                self._run("kill-server")
        finally:
            end(self._keys)
