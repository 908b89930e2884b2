"""List audio devices, and ask what they accept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from rtvc.audio.core_audio import core_audio_transports
from rtvc.audio.errors import AudioError
from rtvc.audio.portaudio import INITIALIZE_LIMIT_S, audio_error, portaudio
from rtvc.audio.portaudio_thread import PORTAUDIO
from rtvc.audio.stderr_capture import capture_stderr

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

CORE_AUDIO = "Core Audio"
"""PortAudio's name of the host API of macOS."""

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
    transport
        How it is connected, as `core_audio_transports` says; "" if not known.
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
    transport: str = ""

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
    transports = core_audio_transports()
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
            transport=transports.get(row["name"], ""),
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
    """Return whether the device can be opened with `channels` channels at `rate` Hz.

    Core Audio converts any rate, and there a question would open the device: its microphone lamp
    lights, and Bluetooth headphones change to the quality of a call. So it is not asked.
    """
    if device.host_api == CORE_AUDIO:
        return channels <= device.channels(direction)
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
