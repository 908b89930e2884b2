"""What comes from the terminal: one key after the other, and garbage ends nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.message_pump import MessagePump

_PATIENCE_S = 5.0
"""A key waits at most so long for the one before it."""
_ROUNDS = 3
"""From a key to what was typed, to what was chosen by that."""


class KeyDriver(LinuxDriver):
    """Textual's driver for Linux and macOS, with keys that wait for each other.

    Textual sends a key where the focus is when it comes. While it is busy, or
    where keys come fast, that is before the keys ahead of it have moved the focus:
    what is typed into a search would play on the controls.
    """

    def run_input_thread(self) -> None:
        """Hand on keys, pastes and the mouse; what is not UTF-8 is dropped."""
        while not self.exit_event.is_set():
            try:
                return super().run_input_thread()
            except UnicodeDecodeError:
                continue

    def process_message(self, message: Message) -> None:
        """Hand one thing on, and wait until a key has done what it does."""
        super().process_message(message)
        if not isinstance(message, (events.Key, events.Paste)):
            return
        handled, end = threading.Event(), time.monotonic() + _PATIENCE_S
        asyncio.run_coroutine_threadsafe(_follow(_way_up(self._app), handled), self._loop)
        while not (handled.wait(0.02) or self.exit_event.is_set() or time.monotonic() > end):
            pass


async def _follow(way: Iterator[MessagePump], handled: threading.Event) -> None:
    """Go through the queues on the way, each after what waits there, and tell the end."""

    def advance() -> None:
        if not any(pump.call_later(advance) for pump in way):
            handled.set()

    advance()


def _way_up(app: App[object]) -> Iterator[MessagePump]:
    """Where a key goes, and what comes of it: to the app, to the focus, and up from there."""
    for _ in range(_ROUNDS):
        yield app
        yield from (app.focused or app.screen).ancestors_with_self
