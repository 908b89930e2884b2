"""List audio devices, and find one by name, part of a name, or index."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any, Literal

from rtvc.audio.errors import AudioError
from rtvc.audio.portaudio import INITIALIZE_LIMIT_S, audio_error, portaudio
from rtvc.audio.portaudio_thread import PORTAUDIO
from rtvc.audio.stderr_capture import capture_stderr
from rtvc.errors import UsageError, close_matches

Direction = Literal["input", "output"]

COMMON_RATES = (
    8000,
    11025,
    16000,
    22050,
    24000,
    32000,
    44100,
    48000,
    88200,
    96000,
    176400,
    192000,
)

_CABLE = re.compile(
    r"blackhole|vb-?(audio|cable)|cable (in|out)put|voicemeeter|soundflower|loopback|virtual"
    r"|background music|monitor of|\.monitor|null",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Device:
    """One device of one host API.

    Attributes
    ----------
    index
        PortAudio's index; it changes when devices are added or removed.
    name, host_api
        Device and host API name; together they identify the device.
    inputs, outputs
        Number of input and output channels, 0 for none.
    rate
        Default sample rate in Hz.
    default_input, default_output
        Whether it is the system's default device.
    virtual_cable
        Whether it is a known virtual audio cable, by its name.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    rate: float
    default_input: bool
    default_output: bool
    virtual_cable: bool

    def channels(self, direction: Direction) -> int:
        """Return the number of channels in a direction."""
        return self.inputs if direction == "input" else self.outputs

    def is_default(self, direction: Direction) -> bool:
        """Return whether it is the system's default device in a direction."""
        return self.default_input if direction == "input" else self.default_output


def list_devices() -> list[Device]:
    """Return every device that PortAudio found when it was last initialised.

    Raises
    ------
    AudioError
        If sounddevice or the PortAudio library is not installed, or does not answer.
    """
    return PORTAUDIO.call(_list_devices, INITIALIZE_LIMIT_S)


def _list_devices() -> list[Device]:
    sounddevice = portaudio()
    with capture_stderr():
        hosts = sounddevice.query_hostapis()
        rows = sounddevice.query_devices()
        defaults = _default_indices(sounddevice)
    return [
        Device(
            index=row["index"],
            name=row["name"],
            host_api=hosts[row["hostapi"]]["name"],
            inputs=row["max_input_channels"],
            outputs=row["max_output_channels"],
            rate=row["default_samplerate"],
            default_input=row["index"] == defaults[0],
            default_output=row["index"] == defaults[1],
            virtual_cable=is_virtual_cable(row["name"]),
        )
        for row in rows
    ]


def is_virtual_cable(name: str) -> bool:
    """Return whether a device name belongs to a known virtual audio cable."""
    return bool(_CABLE.search(name))


def _default_indices(sounddevice: Any) -> tuple[int, int]:
    found = []
    for kind in ("input", "output"):
        try:
            found.append(sounddevice.query_devices(kind=kind)["index"])
        except (sounddevice.PortAudioError, ValueError):
            found.append(-1)
    return found[0], found[1]


def supported_rates(device: Device, direction: Direction) -> tuple[int, ...]:
    """Return the `COMMON_RATES` that the device accepts now; a busy device may accept none."""
    if not device.channels(direction):
        return ()
    return tuple(rate for rate in COMMON_RATES if accepts(device, direction, rate))


def accepts(device: Device, direction: Direction, rate: float, channels: int = 1) -> bool:
    """Return whether the device can be opened with `channels` channels at `rate` Hz."""
    return PORTAUDIO.call(lambda: _accepts(device, direction, rate, channels), INITIALIZE_LIMIT_S)


def _accepts(device: Device, direction: Direction, rate: float, channels: int) -> bool:
    sounddevice = portaudio()
    check = getattr(sounddevice, f"check_{direction}_settings")
    with capture_stderr():
        try:
            check(device.index, channels=channels, dtype="float32", samplerate=rate)
        except sounddevice.PortAudioError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What a device is found by after it was unplugged: its index has changed then.

    Attributes
    ----------
    name, host_api
        Device and host API name.
    ordinal
        Position among the devices with the same names and direction, such as two equal headsets.
    """

    name: str
    host_api: str
    ordinal: int

    @classmethod
    def of(cls, device: Device, direction: Direction, devices: list[Device]) -> DeviceIdentity:
        """Return the identity of one of `devices`."""
        alike = _alike(device.name, device.host_api, direction, devices)
        return cls(device.name, device.host_api, alike.index(device))

    def find(self, direction: Direction, devices: list[Device]) -> Device:
        """Return the device among `devices`; the last one of its name if fewer are left.

        Raises
        ------
        AudioError
            If it is not connected.
        """
        alike = _alike(self.name, self.host_api, direction, devices)
        if not alike:
            raise AudioError(f"{self.name!r} is not connected.")
        return alike[min(self.ordinal, len(alike) - 1)]


def _alike(name: str, host_api: str, direction: Direction, devices: list[Device]) -> list[Device]:
    return [
        device
        for device in devices
        if (device.name, device.host_api) == (name, host_api) and device.channels(direction)
    ]


def find_device(
    wanted: str | int | None, direction: Direction, devices: list[Device] | None = None
) -> Device:
    """Return the device that a name, part of a name or index selects.

    Parameters
    ----------
    wanted
        The name, a part of the name in upper or lower case, the index, or None for
        the system's default device. A complete name takes precedence over an index,
        and an index over a part of a name.
    direction
        The direction to use it in.
    devices
        The devices to search; all devices if not given.

    Raises
    ------
    UsageError
        If no device or more than one matches; the message lists similar or matching ones.
    AudioError
        If PortAudio is not installed, or no device has this direction.
    """
    everything = list_devices() if devices is None else devices
    usable = [device for device in everything if device.channels(direction)]
    if not usable:
        raise AudioError(_no_device_message(direction))
    if wanted is None:
        return next((device for device in usable if device.is_default(direction)), usable[0])
    text = str(wanted).strip()
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
    lower = text.lower()
    by_rule = (
        [d for d in devices if d.name == text],
        [d for d in devices if d.name.lower() == lower],
        [d for d in devices if text.isdecimal() and d.index == int(text)],
        [d for d in devices if lower and lower in d.name.lower()],
    )
    return next((found for found in by_rule if found), [])


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


def open_error(error: Exception, device: Device, direction: Direction, detail: str) -> AudioError:
    """Return the error to raise when a device does not open."""
    what = "microphone" if direction == "input" else "speaker"
    return audio_error(
        error,
        f"open the {what}",
        repr(device.name),
        microphone=direction == "input",
        detail=detail,
    )
