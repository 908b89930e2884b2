"""The terminal: keys in order, pastes, frames at its pace, signals, and its end."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from rich.console import Console
from textual import events
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.message_pump import MessagePump

from rtvc.tui.cell_diff import CellDiff
from rtvc.tui.flood import Flood
from rtvc.tui.frame_pace import REPORT, FramePace
from rtvc.tui.open_paste import OpenPaste

_MAX_WAIT_S = 5.0
"""Longest wait of a key for the previous one, in seconds."""
_TICK_S = 0.1
_BURST = 16
"""Bytes in one read that nobody types: more of them are waited for."""
_BURST_GAP_S, _BURST_S = 0.01, 0.05
"""Pause after which a burst is complete, and longest wait for all of it."""
_PASSES = 3
"""Passes through the queues: for the key, for what it typed, and for what that selected."""


class KeyDriver(LinuxDriver):
    """Textual's driver for Linux and macOS, with keys handled strictly in order.

    Textual sends a key to the widget that has the focus when it arrives. If keys arrive
    fast, or the app is busy, the keys before it may not have moved the focus yet: text
    typed into a search would change settings.

    Textual enters its screen at every SIGCONT, also if it never left it. A terminal that closes
    sends one, and a program that was stopped by SIGSTOP gets one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._screen = _Screen(self._file)
        self._file: IO[str] = self._screen  # type: ignore[assignment]
        self._pace = FramePace()
        self._cells = CellDiff()
        self._writes = 0
        self._open = self._leaving = self._continuing = False

    @property
    def ready(self) -> bool:
        """Whether the terminal has taken the last frame."""
        return self._screen.taken == self._writes and self._pace.ready

    @property
    def slow(self) -> bool:
        """Whether a frame takes long to reach the terminal."""
        return self._pace.slow

    @property
    def near(self) -> bool:
        """Whether frames are written whole, since the terminal takes them at once."""
        if self._pace.near:
            self._cells.reset()
        return self._pace.near

    def changes(self, update: LayoutUpdate | ChopsUpdate, console: Console) -> str:
        """Return what to write of an update, "" if the terminal shows it already."""
        return self._cells.changes(update, console)

    def forget(self) -> None:
        """Write the next frame whole."""
        self._cells.reset()

    def start_application_mode(self) -> None:
        """Take over the terminal, and find out whether it answers."""
        self._leaving = False
        self.forget()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self._open = self._writer_thread is not None and os.isatty(self.fileno)
        self.flush()

    def disable_input(self) -> None:
        """Stop reading, once the terminal has answered."""
        self._open, self._leaving = False, True
        self._pace.settle()
        super().disable_input()

    def write(self, data: str) -> None:
        """Write without waiting for the terminal; while it is left, write nothing."""
        # After SIGSTOP the shell has the screen until `_continue` has taken it over again.
        left = self._writer_thread is not None and not self._writer_thread.is_alive()
        if not (left or self._continuing):
            self._writes += 1
            super().write(data)

    def flush(self) -> None:
        """End a frame."""
        super().flush()
        if self._open and self._pace.drawn():
            self.write(REPORT)

    # A signal handler may interrupt another one, or a write; a callback of the loop interrupts
    # neither. The loop may have ended.
    def _sigtstp_application(self, *_: Any) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(super()._sigtstp_application)

    def _sigcont_application(self, *_: Any) -> None:
        # Two of them may come at once, from the shell and from the guard.
        if not self._continuing:
            self._continuing = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._continue)

    def _continue(self) -> None:
        """Show the screen again, after leaving it if it was not left before the stop."""
        self._continuing = False
        if self._writer_thread is None or not os.isatty(self.fileno):
            return
        if self._auto_restart and not self._must_signal_resume:
            self.suspend_application_mode()
        super()._sigcont_application()
        # The terminal's screen is empty. Textual draws only what changes if the size is the same.
        self._app.call_later(self._redraw)

    def _redraw(self) -> None:
        self.forget()
        self._app.screen.refresh()

    def run_input_thread(self) -> None:
        """Pass on keys, pastes and mouse events; drop bytes that are not UTF-8."""
        parser, flood, paste = XTermParser(), Flood(), OpenPaste()
        decode = getincrementaldecoder("utf-8")(errors="ignore").decode
        while not self.exit_event.is_set():
            if text := paste.complete(decode(self._read())):
                for message in flood.filter(list(parser.feed(text))):
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)

    def _read(self) -> bytes:
        """Return what has arrived, of a paste as much as possible; b"" after a short wait."""
        data = self._piece(_TICK_S)
        end = time.monotonic() + _BURST_S
        # Not of escape sequences, such as those of a mouse that is moved.
        while len(data) >= _BURST and not data.startswith(b"\x1b") and time.monotonic() < end:
            piece = self._piece(_BURST_GAP_S)
            if not piece:
                break
            data += piece
        return data

    def _piece(self, seconds: float) -> bytes:
        if not select.select([self.fileno], [], [], seconds)[0]:
            return b""
        with suppress(OSError):
            if piece := os.read(self.fileno, 1 << 12):
                return piece
        # The terminal is gone, and answers no more. SIGHUP ends the panel.
        self._pace.answered()
        self.exit_event.wait(_TICK_S)
        return b""

    def process_message(self, message: Message) -> None:
        """Pass on one event; if it is a key or a paste, wait until it has been handled."""
        if isinstance(message, events.CursorPosition):
            self._pace.answered()
            return
        super().process_message(message)
        if not isinstance(message, (events.Key, events.Paste)):
            return
        handled, end = threading.Event(), time.monotonic() + _MAX_WAIT_S
        asyncio.run_coroutine_threadsafe(_follow(_queues(self._app), handled), self._loop)
        while not (
            handled.wait(0.02)
            or self.exit_event.is_set()
            or self._leaving
            or time.monotonic() > end
        ):
            pass


class _Screen:
    """The file of the terminal; once that is closed, what is written is dropped.

    Otherwise the error would end Textual's thread, and the app would wait for it for ever.

    Attributes
    ----------
    taken
        Number of writes that have left the program.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._buffered = 0
        self.taken = 0

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)
        self._buffered += 1

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()
        self.taken, self._buffered = self.taken + self._buffered, 0

    def fileno(self) -> int:
        return self._file.fileno()


async def _follow(way: Iterator[MessagePump], handled: threading.Event) -> None:
    """Pass through the queues in order, behind what they hold, and then set `handled`."""

    def advance() -> None:
        if not any(pump.call_later(advance) for pump in way):
            handled.set()

    advance()


def _queues(app: App[object]) -> Iterator[MessagePump]:
    """Yield the queues that a key and its consequences pass: the app's, then from the focus up."""
    for _ in range(_PASSES):
        yield app
        yield from (app.focused or app.screen).ancestors_with_self
