"""Which device is used, and which of its channels: as it is remembered."""

from __future__ import annotations

from dataclasses import dataclass

from rtvc.errors import UsageError


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What a device is found by in another list of devices, where its index is another one.

    Attributes
    ----------
    name
        Name of the device, exactly as the system spells it.
    host_api
        Name of its host API; "" is any, as for a device of which only the name is known.
    ordinal
        Position from 0 among the devices with the same names and direction, such as two equal
        headsets.
    count
        Number of these devices. If it has changed, their positions have too.
    """

    name: str
    host_api: str = ""
    ordinal: int = 0
    count: int = 1


SYSTEM_DEFAULT = DeviceIdentity("")
"""Whatever the system's default device is, where None would be no device."""

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
        If there is no such channel, or the choice is neither a number nor a known word.
    """
    if isinstance(choice, bool) or (not isinstance(choice, int) and choice not in (MIX, LOUDEST)):
        raise UsageError(
            f"The input channel is {choice!r}. Give the number of a channel from 1, {MIX!r} or "
            f"{LOUDEST!r}."
        )
    if isinstance(choice, int) and not 1 <= choice <= channels:
        has = "one channel" if channels == 1 else f"{channels} channels"
        raise UsageError(f"There is no channel {choice} in {name}, which has {has}.")


def channel_label(choice: ChannelChoice) -> str:
    """Return the channel in words, "" for the mix of all."""
    if isinstance(choice, int):
        return f"channel {choice}"
    return "" if choice == MIX else f"{choice} channel"
