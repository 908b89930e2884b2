"""Messages to the user, which the app shows and keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message
from textual.message_pump import MessagePump

from rtvc.errors import RtvcError


@dataclass
class Notice(Message):
    """A message to the user; one that is urgent stays until a key is pressed."""

    text: str
    urgent: bool = False


def outcome(act: Callable[[], str | None]) -> Notice:
    """Call `act`, and return its message, or the reason why it failed, which is urgent."""
    try:
        return Notice(act() or "")
    except RtvcError as error:
        return Notice(str(error), urgent=True)
    except OSError as error:
        # Rare, such as a deleted current folder; the panel keeps running.
        return Notice(f"The operation failed: {error.strerror or error}.", urgent=True)


def report(pump: MessagePump, act: Callable[[], str | None]) -> None:
    """Call `act`, and post its outcome, unless it is "", as a `Notice`."""
    notice = outcome(act)
    if notice.text:
        pump.post_message(notice)
