"""The terminal: keys in order, bytes that are not text, signals, and its end."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.message_pump import MessagePump

_MAX_WAIT_S = 5.0
"""Longest wait of a key for the previous one, in seconds."""
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
        self._file: IO[str] = _Screen(self._file)  # type: ignore[assignment]

    def _sigcont_application(self, *args: Any) -> None:
        """Show the screen again, after leaving it if it was not left before the stop."""
        if self._writer_thread is None or not os.isatty(self.fileno):
            return
        if self._auto_restart and not self._must_signal_resume:
            self.suspend_application_mode()
        super()._sigcont_application(*args)

    def run_input_thread(self) -> None:
        """Pass on keys, pastes and mouse events; drop bytes that are not UTF-8."""
        while not self.exit_event.is_set():
            try:
                return super().run_input_thread()
            except UnicodeDecodeError:
                continue

    def process_message(self, message: Message) -> None:
        """Pass on one event; if it is a key or a paste, wait until it has been handled."""
        super().process_message(message)
        if not isinstance(message, (events.Key, events.Paste)):
            return
        handled, end = threading.Event(), time.monotonic() + _MAX_WAIT_S
        asyncio.run_coroutine_threadsafe(_follow(_queues(self._app), handled), self._loop)
        while not (handled.wait(0.02) or self.exit_event.is_set() or time.monotonic() > end):
            pass


class _Screen:
    """The file of the terminal; once that is closed, what is written is dropped.

    Otherwise the error would end Textual's thread, and the app would wait for it for ever.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

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
