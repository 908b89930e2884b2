"""The messages of the panel: those to show now, and the newest ones with their times."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

_SHOWN_S = 6.0
_KEPT = 50
_MOST = 2
"""Urgent messages that are shown at the same time."""
_READ_S = 1.0
"""Time that a message which waits for a key stays at least: the key may have been on its way."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A message.

    Attributes
    ----------
    text
        One or more sentences.
    clock
        The time of day, such as 14:03:59.
    urgent
        Whether it stays until a key is pressed: an error, or news that no key has caused.
    topic
        What it is about, "" if that is not named.
    """

    text: str
    clock: str
    urgent: bool
    topic: str = ""


class MessageLog:
    """Keeps the newest messages, and knows which ones to show.

    Urgent messages and the newest other one are shown at the same time, so that none pushes
    another out.

    Attributes
    ----------
    entries
        The newest messages, oldest first.
    """

    def __init__(self) -> None:
        self.entries: deque[LogEntry] = deque(maxlen=_KEPT)
        self._urgent: deque[tuple[LogEntry, float]] = deque(maxlen=_MOST)
        """The newest ones, each with the time since when it is shown."""
        self._other: tuple[LogEntry, float] | None = None

    def add(self, text: str, now: float, *, urgent: bool = False, topic: str = "") -> None:
        """Show a message; `now` is a monotonic time in seconds.

        An urgent message with a topic takes the place of the one before on that topic.
        """
        entry = LogEntry(text, time.strftime("%H:%M:%S"), urgent, topic)
        self.entries.append(entry)
        if urgent:
            others = (
                shown
                for shown in self._urgent
                if shown[0].text != text and not (topic and shown[0].topic == topic)
            )
            self._urgent = deque([*others, (entry, now)], maxlen=_MOST)
        else:
            self._other = entry, now

    def supersede(self) -> None:
        """Remove the message that is not urgent: what it says is no longer so."""
        self._other = None

    def key_pressed(self, now: float) -> None:
        """Remove the urgent messages that have been on the screen for a second."""
        while self._urgent and now - self._urgent[0][1] >= _READ_S:
            self._urgent.popleft()

    def current(self, now: float) -> tuple[LogEntry, ...]:
        """Return the messages to show: the other one, then the urgent ones, newest first."""
        if self._other is not None and now - self._other[1] > _SHOWN_S:
            self._other = None
        others = () if self._other is None else (self._other[0],)
        return (*others, *(entry for entry, _ in reversed(self._urgent)))
