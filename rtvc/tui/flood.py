"""Text pasted without the terminal saying so, which arrives as a flood of keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from textual import events
from textual.message import Message

_FLOOD = 64
"""Keys at once that are a paste. An app that is busy for a second gets 30 of a held key."""
_HELD_KEYS = 3
"""Different keys in a flood up to which it comes from held keys."""
_PAUSE_S = 0.1
"""Pause that ends a flood."""


class Flood:
    """Turns floods of keys into pastes, so that none of them acts as a key.

    A field takes the first line of a paste; other widgets ignore it. Of a key that is held, at
    most 64 repetitions in one read are kept.

    Parameters
    ----------
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("-inf")

    def filter(self, messages: Sequence[Message]) -> Iterator[Message]:
        """Yield what is to be handled of the events of one read, in order."""
        typed = [text for message in messages if (text := _typed(message))]
        continues = bool(typed) and self._clock() < self._until
        if not continues and (len(typed) < _FLOOD or len(set(typed)) <= _HELD_KEYS):
            yield from _without_repetitions(messages)
            return
        yield events.Paste("".join(typed))
        yield from (message for message in messages if not isinstance(message, events.Key))
        self._until = self._clock() + _PAUSE_S  # after all of it has been handled


def _without_repetitions(messages: Sequence[Message]) -> Iterator[Message]:
    last, run = "", 0
    for message in messages:
        key = message.key if isinstance(message, events.Key) else ""
        run = run + 1 if key == last else 1
        last = key
        if not key or run <= _FLOOD:
            yield message


def _typed(message: Message) -> str:
    """Return the text of a key that types or ends a line, "" for other events."""
    if not isinstance(message, events.Key):
        return ""
    if message.key in ("enter", "ctrl+j"):
        return "\n"
    if message.key == "tab":
        return "\t"
    return (message.is_printable and message.character) or ""
