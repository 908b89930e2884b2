"""The terminal: single key presses as input, one line redrawn in place as output."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TextIO

from rtvc.cli.status_line import plain_line, progress_line, status_line, transfer_line
from rtvc.errors import escaped
from rtvc.stats import Stats

_PLAIN_INTERVAL_S = 5.0
_DRAW_INTERVAL_S = 0.1


class Keyboard:
    """Reads single key presses from standard input, without echo, inside a ``with`` block.

    It reads nothing if standard input is not a terminal or belongs to another job.
    """

    def __enter__(self) -> Self:
        self._fd = -1
        self._modes: list[Any] = []
        self._decode = getincrementaldecoder("utf-8")(errors="replace").decode
        try:
            self._fd = sys.stdin.fileno()
            self._modes = termios.tcgetattr(self._fd) if self._ours() else []
        except (OSError, ValueError, AttributeError, termios.error):
            self._modes = []
        if self._modes:
            self._cbreak()
            self._on_continue = signal.signal(signal.SIGCONT, self._cbreak)
            # Where it is ignored no shell would continue the program.
            self._on_stop = signal.getsignal(signal.SIGTSTP)
            if self._on_stop == signal.SIG_DFL:
                signal.signal(signal.SIGTSTP, self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._modes:
            signal.signal(signal.SIGCONT, self._on_continue)
            signal.signal(signal.SIGTSTP, self._on_stop)
            self._restore()

    @property
    def reads(self) -> bool:
        """Whether keys can be read at all."""
        return bool(self._modes)

    def pressed(self, seconds: float = 0.0) -> str:
        """Return the keys pressed since the last call; wait at most `seconds` for the first."""
        if not self._modes or not self._ours():
            time.sleep(seconds)
            return ""
        if not select.select([self._fd], [], [], seconds)[0]:
            return ""
        data = os.read(self._fd, 1 << 12)
        if not data:  # the terminal is gone; SIGHUP ends the run
            time.sleep(seconds)
        return self._decode(data)

    def _ours(self) -> bool:
        # The system stops a background job that changes the terminal.
        return os.isatty(self._fd) and os.tcgetpgrp(self._fd) == os.getpgrp()

    def _restore(self) -> None:
        if self._ours():
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._modes)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        # Some shells restore their own modes, others take those that they find.
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _cbreak(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        if self._ours():
            tty.setcbreak(self._fd, termios.TCSADRAIN)


class RedrawnLine:
    """One line of a terminal that is redrawn in place, if the stream is `live`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = is_live(stream)
        self._drawn = False

    def draw(self, line: str) -> None:
        """Replace the line."""
        self.stream.write(f"\r{line}\x1b[K")
        self.stream.flush()
        self._drawn = True

    def clear(self) -> None:
        """Erase the line."""
        if self._drawn:
            self.draw("")
            self._drawn = False

    def note(self, text: str) -> None:
        """Print a sentence on a line of its own; the redrawn line is erased first."""
        self.clear()
        print(escaped(text), file=self.stream, flush=True)

    @property
    def width(self) -> int:
        """Columns available to a line; some terminals wrap when the last column is filled."""
        return shutil.get_terminal_size().columns - 1


class StatusDisplay(RedrawnLine):
    """Shows the state of the engine: redrawn in place on a terminal, else a line every 5 s.

    Parameters
    ----------
    stream
        Where to write.
    muted
        Whether the settings ask for silence.
    """

    def __init__(self, stream: TextIO, *, muted: bool = False) -> None:
        super().__init__(stream)
        self._muted = muted
        self._started = time.monotonic()
        self._last = -_PLAIN_INTERVAL_S
        self._unicode = "utf" in (stream.encoding or "").lower()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the display was made."""
        return time.monotonic() - self._started

    def show(self, stats: Stats) -> None:
        """Show these statistics."""
        if self.live:
            line = status_line(stats, self.width, unicode=self._unicode, muted=self._muted)
            self.draw(line)
        elif self.elapsed_s - self._last >= _PLAIN_INTERVAL_S:
            self._last = self.elapsed_s
            self.note(plain_line(stats, self.elapsed_s, muted=self._muted))


class ProgressBar(RedrawnLine):
    """The progress of a conversion or download and the time left; only on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._shown = float("-inf")

    def show(self, title: str, share: float, elapsed_s: float) -> None:
        """Show the share that is done, 0 to 1, after `elapsed_s` seconds; not too often."""
        now = time.monotonic()
        if self.live and now - self._shown >= _DRAW_INTERVAL_S:
            self._shown = now
            self.draw(progress_line(title, share, elapsed_s, self.width))

    def transfer(self, title: str) -> Callable[[int, int | None], None]:
        """Return a function that shows a download; call it with bytes done and total (or None)."""
        began, first, shown = time.monotonic(), -1, 0.0

        def show(done: int, total: int | None) -> None:
            nonlocal first, shown
            now = time.monotonic()
            first = done if first < 0 else min(first, done)
            if not self.live or (now - shown < _DRAW_INTERVAL_S and done != total):
                return
            shown = now
            rate = (done - first) / max(now - began, 1e-3)
            self.draw(transfer_line(title, done, total, rate, self.width))

        return show


def is_live(stream: TextIO) -> bool:
    """Return whether a line can be redrawn in place on this stream."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextlib.contextmanager
def discard_library_messages() -> Iterator[None]:
    """Discard what libraries print on file descriptor 2 inside a ``with`` block.

    Decoders warn there in the middle of a line. What Python prints still appears.
    """
    try:
        mine = sys.stderr.fileno() == 2
    except (OSError, ValueError):  # a test has replaced it
        mine = False
    if not mine:
        yield
        return
    stream, kept, nothing = sys.stderr, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    stream.flush()
    visible = os.fdopen(
        kept, "w", encoding=stream.encoding, errors="backslashreplace", buffering=1, closefd=False
    )
    os.dup2(nothing, 2)
    sys.stderr = visible
    try:
        yield
    finally:
        visible.close()
        sys.stderr = stream
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


@contextlib.contextmanager
def redirect_stderr(log: Path) -> Iterator[None]:
    """Redirect file descriptor 2, where libraries print, to `log` inside a ``with`` block.

    Textual draws on ``sys.__stderr__``, which is a copy of the terminal's
    descriptor meanwhile. If the file cannot be written, the output is discarded.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        noise = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError:
        noise = os.open(os.devnull, os.O_WRONLY)
    sys.stderr.flush()
    before, stream = os.dup(2), sys.__stderr__
    terminal = 2 if os.isatty(2) else sys.stdout.fileno()
    drawn_on = os.fdopen(os.dup(terminal), "w", encoding="utf-8", errors="replace")
    os.dup2(noise, 2)
    sys.__stderr__ = drawn_on  # type: ignore[misc]
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.__stderr__ = stream  # type: ignore[misc]
        os.dup2(before, 2)
        drawn_on.close()
        os.close(before)
        os.close(noise)
