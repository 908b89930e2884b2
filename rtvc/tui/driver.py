"""What comes from the terminal: one key after the other, and garbage ends nothing."""

from __future__ import annotations

import asyncio
import time
from concurrent import futures
from contextlib import suppress

from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.message_pump import MessagePump

_PATIENCE_S = 3.0
"""A key waits at most so long for the one before it."""
_AGAIN_S = 0.1
_ROUNDS = 3
"""From a key to what was typed, to what was chosen by that."""


class Driver(LinuxDriver):
    """Textual's driver for Linux and macOS, with keys that wait for each other.

    Textual sends a key where the focus is when it comes. While it is busy, or
    where keys come fast, that is before the keys ahead of it have moved the focus:
    what is typed into a search would play on the controls.
    """

    def run_input_thread(self) -> None:
        """Hand on keys, pastes and the mouse; what is not UTF-8 is dropped."""
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
            except UnicodeDecodeError:
                continue

    def process_message(self, message: Message) -> None:
        """Hand one thing on, and wait until a key has done what it does."""
        super().process_message(message)
        if not isinstance(message, (events.Key, events.Paste)):
            return
        handled = asyncio.run_coroutine_threadsafe(_handle(self._app), self._loop)
        end = time.monotonic() + _PATIENCE_S
        while not self.exit_event.is_set() and time.monotonic() < end:
            if futures.wait([handled], 0.02).done:
                return
        handled.cancel()


async def _handle(app: App[object]) -> None:
    """Return when all that has come until now went from the focus up to the app."""
    for _ in range(_ROUNDS):
        await _reach(app)
        for node in (app.focused or app.screen).ancestors_with_self:
            await _reach(node)


async def _reach(pump: MessagePump) -> None:
    """Return when a widget has handled the messages that wait for it, or is closed."""
    reached = asyncio.Event()
    while not reached.is_set() and pump.call_later(reached.set):
        with suppress(TimeoutError):
            await asyncio.wait_for(reached.wait(), _AGAIN_S)
