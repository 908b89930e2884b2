"""Messages to the user, shown in one place for some seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message
from textual.message_pump import MessagePump

from rtvc.errors import RtvcError


@dataclass
class Notice(Message):
    """A message to the user; the app shows it in place of the one before."""

    text: str

    def can_replace(self, message: Message) -> bool:
        """Return whether this one may be dropped because `message` follows it."""
        return isinstance(message, Notice)


def outcome(act: Callable[[], str | None]) -> str:
    """Call `act`, and return what it answers, or the reason why it failed."""
    try:
        return act() or ""
    except RtvcError as error:
        return str(error)
    except OSError as error:
        # Rarities, such as a current folder that has been deleted; they end nothing.
        return f"The system says: {error.strerror or error}."


def report(pump: MessagePump, act: Callable[[], str | None]) -> None:
    """Call `act`, and post its outcome as a `Notice`, if there is one."""
    if text := outcome(act):
        pump.post_message(Notice(text))
