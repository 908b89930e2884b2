"""The channel of a recording or of a microphone that is used."""

from __future__ import annotations

from rtvc.errors import UsageError

ChannelChoice = int | str
"""The number of a channel from 1, ``"mix"`` or ``"loudest"``."""

MIX = "mix"
LOUDEST = "loudest"


def parse_channel(text: str) -> ChannelChoice:
    """Return the channel that a text such as ``"2"`` or ``"loudest"`` names.

    Raises
    ------
    UsageError
        If it is something else.
    """
    if text in (MIX, LOUDEST):
        return text
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1:
        raise UsageError(
            f"--input-channel is {text!r}, but must be the number of a channel from 1, 'mix' or "
            "'loudest'."
        )
    return int(text[:9])


def check_channel(choice: ChannelChoice, channels: int, name: str) -> None:
    """Check that a recording or device has the channel that is asked for.

    Raises
    ------
    UsageError
        If there is no such channel.
    """
    if isinstance(choice, int) and not 1 <= choice <= channels:
        has = "one channel" if channels == 1 else f"{channels} channels"
        raise UsageError(f"There is no channel {choice} in {name}, which has {has}.")


def channel_label(choice: ChannelChoice) -> str:
    """Return the channel in words, "" for the mix of all."""
    if isinstance(choice, int):
        return f"channel {choice}"
    return "" if choice == MIX else f"{choice} channel"
