"""Messages to the user, which the app shows for some seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message
from textual.message_pump import MessagePump

from rtvc.errors import RtvcError


@dataclass
class Notice(Message):
    """A message to the user, shown in place of the previous one."""

    text: str

    def can_replace(self, message: Message) -> bool:
        """Return whether `message`, which follows this one, makes it obsolete."""
        return isinstance(message, Notice)


def outcome(act: Callable[[], str | None]) -> str:
    """Call `act`, and return its message, or the reason why it failed."""
    try:
        return act() or ""
    except RtvcError as error:
        return str(error)
    except OSError as error:
        # Rare, such as a deleted current folder; the panel keeps running.
        return f"The operation failed: {error.strerror or error}."


def report(pump: MessagePump, act: Callable[[], str | None]) -> None:
    """Call `act`, and post its outcome, unless it is "", as a `Notice`."""
    if text := outcome(act):
        pump.post_message(Notice(text))
