"""Microphones and speakers: what there is, and which one is meant."""

from __future__ import annotations

import difflib
import re
import sys
from dataclasses import dataclass
from typing import Any, Literal

from rtvc.audio.portaudio import AudioError, audio_error, capture_stderr, portaudio
from rtvc.errors import UsageError

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
        PortAudio's number; it changes when devices come and go.
    name, host_api
        Together they find the device again.
    inputs, outputs
        Channels in each direction, 0 for none.
    rate
        The rate that it has by itself, samples per second.
    default_input, default_output
        Whether the system uses it when nothing is said.
    virtual_cable
        Whether its name is that of a cable from one program to another.
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
        """Return whether the system uses it in a direction when nothing is said."""
        return self.default_input if direction == "input" else self.default_output


def list_devices() -> list[Device]:
    """Return every device that PortAudio saw when it was last started.

    Raises
    ------
    AudioError
        If PortAudio is missing.
    """
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
    """Return whether a name is that of a known cable from one program to another."""
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
    """Return which of the usual rates the device accepts now; a busy one may accept none."""
    if not device.channels(direction):
        return ()
    return tuple(rate for rate in COMMON_RATES if accepts(device, direction, rate))


def accepts(device: Device, direction: Direction, rate: float, channels: int = 1) -> bool:
    """Return whether the device would open at a rate with so many channels."""
    sounddevice = portaudio()
    check = getattr(sounddevice, f"check_{direction}_settings")
    with capture_stderr():
        try:
            check(device.index, channels=channels, dtype="float32", samplerate=rate)
        except sounddevice.PortAudioError:
            return False
    return True


def find_device(
    wanted: str | int | None, direction: Direction, devices: list[Device] | None = None
) -> Device:
    """Return the device that is meant.

    Parameters
    ----------
    wanted
        Its name, a part of its name in either case, its index, or None for the
        system's default.
    direction
        What it is to be used for.
    devices
        Where to look; all devices if not given.

    Raises
    ------
    UsageError
        If no device or more than one is meant; the message names the near ones.
    AudioError
        If PortAudio or every device is missing.
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
        raise UsageError(f"{text!r} could be any of these {direction}s: {names}; give its number")
    if other := _matches(text, everything):
        raise UsageError(
            f"{other[0].name!r} has no {direction}; {direction}s are: {_device_list(usable)}"
        )
    names_by_lower = {device.name.lower(): device for device in usable}
    near = difflib.get_close_matches(text.lower(), names_by_lower, n=3, cutoff=0.5)
    found = _device_list([names_by_lower[name] for name in near] or usable)
    raise UsageError(
        f"there is no {direction} named {text!r}; {'near' if near else 'there'}: {found}"
    )


def _matches(text: str, devices: list[Device]) -> list[Device]:
    """Return those that are meant by the strictest reading that means any."""
    lower = text.lower()
    readings = (
        [d for d in devices if d.name == text],
        [d for d in devices if d.name.lower() == lower],
        [d for d in devices if text.isdecimal() and d.index == int(text)],
        [d for d in devices if lower and lower in d.name.lower()],
    )
    return next((found for found in readings if found), [])


def _device_list(devices: list[Device]) -> str:
    return ", ".join(f"{d.index} {d.name!r} ({d.host_api})" for d in devices)


def _no_device_message(direction: Direction) -> str:
    what = "microphone" if direction == "input" else "speaker"
    how = (
        "plug one in, or see System Settings, Sound"
        if sys.platform == "darwin"
        else "plug one in, or start a sound server (on Debian: pulseaudio, libasound2-plugins)"
    )
    return f"there is no {what}: {how}"


def open_error(error: Exception, device: Device, direction: Direction, detail: str) -> AudioError:
    """Return the sentence for a device that did not open."""
    what = "microphone" if direction == "input" else "speaker"
    return audio_error(
        error,
        f"open the {what}",
        repr(device.name),
        microphone=direction == "input",
        detail=detail,
    )
