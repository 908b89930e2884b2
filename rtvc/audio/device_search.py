"""Find a device again by its identity, or by what you type: a name, part of a name, or number."""

from __future__ import annotations

import sys

from rtvc.audio.devices import Device, Direction, list_devices
from rtvc.audio.errors import AudioError
from rtvc.device_choice import SYSTEM_DEFAULT, DeviceIdentity
from rtvc.errors import UsageError, close_matches
from rtvc.system.unicode_names import comparison_key


def identity_of(device: Device, direction: Direction, devices: list[Device]) -> DeviceIdentity:
    """Return the identity of one of `devices`."""
    alike = _alike(device.name, device.host_api, direction, devices)
    return DeviceIdentity(device.name, device.host_api, alike.index(device), len(alike))


def find_identity(identity: DeviceIdentity, direction: Direction, devices: list[Device]) -> Device:
    """Return the device with this identity among `devices`, never another one.

    Raises
    ------
    AudioError
        If it is not connected, or cannot be told from devices with the same name.
    """
    name, count = identity.name, identity.count
    alike = _alike(name, identity.host_api, direction, devices)
    if len(alike) == count:
        return alike[identity.ordinal]
    if not alike:
        raise AudioError(f"The {direction} {name!r} is not connected.")
    raise AudioError(
        f"{_counted(len(alike), direction)} named {name!r}, but it was one of {count} before, so "
        "which of them it is cannot be told. Choose it again."
        if count > 1
        else f"{_counted(len(alike), direction)} named {name!r}, but before there was only one, "
        "so which of them it is cannot be told. Choose it again."
    )


def _counted(count: int, direction: Direction) -> str:
    return f"There is one {direction}" if count == 1 else f"There are {count} {direction}s"


def _alike(name: str, host_api: str, direction: Direction, devices: list[Device]) -> list[Device]:
    return [
        device
        for device in devices
        if device.name == name and host_api in ("", device.host_api) and device.channels(direction)
    ]


def find_device(
    wanted: str | int | DeviceIdentity | None,
    direction: Direction,
    devices: list[Device] | None = None,
) -> Device:
    """Return the device that a name, part of a name, index or identity selects.

    Parameters
    ----------
    wanted
        The name, a part of the name in upper or lower case, the index, an identity, or
        None for the system's default device. A complete name takes precedence over an index,
        and an index over a part of a name. An identity never selects another device.
    direction
        The direction to use it in.
    devices
        The devices to search; all devices if not given.

    Raises
    ------
    UsageError
        If no device or more than one matches; the message lists similar or matching ones.
    AudioError
        If PortAudio is not installed, no device has this direction, or the device of an
        identity is not connected.
    """
    everything = list_devices() if devices is None else devices
    usable = [device for device in everything if device.channels(direction)]
    if not usable:
        raise AudioError(_no_device_message(direction))
    if wanted is None or wanted == SYSTEM_DEFAULT:
        return next((device for device in usable if device.is_default(direction)), usable[0])
    if isinstance(wanted, DeviceIdentity):
        return find_identity(wanted, direction, usable)
    text = str(wanted)
    matches = _matches(text, usable)
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = _device_list(matches)
        raise UsageError(f"{text!r} matches more than one {direction}: {names}. Give its number.")
    title = f"{direction.capitalize()}s"
    if other := _matches(text, everything):
        raise UsageError(f"{other[0].name!r} has no {direction}. {title}: {_device_list(usable)}.")
    similar = close_matches(text, [device.name for device in usable], n=3)
    near = [device for device in usable if device.name in similar]
    hint = f"Did you mean {_device_list(near)}?" if near else f"{title}: {_device_list(usable)}."
    raise UsageError(f"There is no {direction} named {text!r}. {hint}")


def _matches(text: str, devices: list[Device]) -> list[Device]:
    """Return the devices that match by the strictest rule with a match."""
    bare = text.strip()
    key = name_key(bare)
    by_rule = (
        [d for d in devices if d.name == text],
        [d for d in devices if d.name == bare],
        [d for d in devices if name_key(d.name) == key],
        [d for d in devices if bare.isdecimal() and d.index == int(bare)],
        [d for d in devices if key and key in name_key(d.name)],
    )
    return next((found for found in by_rule if found), [])


def name_key(name: str) -> str:
    """Return what a name and what you type for it have in common.

    macOS calls devices by names such as "Anna's AirPods", with an apostrophe that no key types.
    """
    return comparison_key(name).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _device_list(devices: list[Device]) -> str:
    return ", ".join(f"{d.index} {d.name!r} ({d.host_api})" for d in devices)


def _no_device_message(direction: Direction) -> str:
    what = "microphone" if direction == "input" else "speaker"
    how = (
        "plug one in, or see System Settings, Sound"
        if sys.platform == "darwin"
        else "plug one in, or start a sound server (on Debian: pulseaudio, libasound2-plugins)"
    )
    return f"There is no {what}: {how}."
