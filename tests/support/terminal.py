"""A real terminal without a window: a shell in tmux, on a server of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

from tests.support.processes import end, start


class Terminal:
    """A shell that gets keys and whose screen can be read.

    Parameters
    ----------
    folder
        Where the server's socket lies.
    columns, rows
        The size.
    term
        What programs in it find as TERM.
    """

    def __init__(
        self, folder: Path, columns: int = 80, rows: int = 24, term: str = "screen-256color"
    ) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull]
        kind = ["set-option", "-g", "default-terminal", term]
        size = ["-x", str(columns), "-y", str(rows)]
        self._run("start-server", ";", *kind, ";", "new-session", "-d", *size, "exec sh")
        # A client that stays, so that a key needs no new process to get there.
        self._keys = start(
            [*self._tmux, "-C", "attach-session", "-f", "no-output"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def _run(self, *words: str) -> str:
        command = [*self._tmux, *words]
        # Readline puts the size of its own terminal into a process's environment.
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=dict(os.environ)
        )
        return done.stdout

    def type(self, *keys: str) -> float:
        """Press keys, named as tmux names them; return when, on the monotonic clock."""
        assert self._keys.stdin is not None
        line = f"{shlex.join(['send-keys', *keys])}\n"
        now = time.monotonic()
        self._keys.stdin.write(line)
        return now

    def paste(self, garbage: bytes, folder: Path) -> None:
        """Let any bytes arrive as if they were pasted, whatever the terminal makes of them."""
        file = folder / "pasted"
        file.write_bytes(garbage)
        self._run("load-buffer", str(file), ";", "paste-buffer", "-p", "-r")

    def screen(self, *, colours: bool = False) -> str:
        """Return what is on the screen, line by line."""
        return self._run("capture-pane", "-p", *(["-e"] if colours else []))

    def text(self) -> str:
        """Return what is on the screen with single spaces and no line breaks."""
        return " ".join(self.screen().split())

    def find(self, pattern: str) -> str:
        """Return what is on the screen of a regular expression."""
        found = re.search(pattern, self.text())
        assert found, f"no {pattern!r} in:\n{self.screen()}"
        return found[0]

    def reads(self, *words: str, lacks: str = "", seconds: float = 40.0) -> None:
        """Wait until all these words are on the screen, and what it lacks is not."""
        end = time.monotonic() + seconds
        while not self._reads(words, lacks):
            assert time.monotonic() < end, f"no {words} without {lacks!r} in:\n{self.screen()}"
            time.sleep(0.02)

    def _reads(self, words: tuple[str, ...], lacks: str) -> bool:
        text = self.text()
        return all(word in text for word in words) and not (lacks and lacks in text)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        """Close the terminal, whatever runs in it; safe to repeat."""
        try:
            if self._keys.poll() is None:
                self._run("kill-server")
        finally:
            end(self._keys)
