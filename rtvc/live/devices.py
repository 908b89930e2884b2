"""What can be plugged in: the devices to choose from, and how they are opened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rtvc.errors import RtvcError

if TYPE_CHECKING:
    # Re-exported for the panel, which must not import rtvc.audio.
    from rtvc.audio.devices import Device as Device  # noqa: PLC0414
    from rtvc.audio.endpoint import Endpoint
    from rtvc.audio.monitor import Monitor

_SCAN_S = 10.0
_SCAN = """\
import dataclasses, json
from rtvc.audio.devices import list_devices
print(json.dumps([dataclasses.asdict(device) for device in list_devices()]))
"""


@dataclass(frozen=True, slots=True)
class AvailableDevices:
    """All microphones and speakers of a moment."""

    inputs: tuple[Device, ...] = ()
    outputs: tuple[Device, ...] = ()


class DeviceSelection(NamedTuple):
    """The chosen devices by name; "" is the system's default, and no monitor."""

    input: str = ""
    output: str = ""
    monitor: str = ""


@dataclass(frozen=True, slots=True)
class OpenDevices:
    """A microphone and a speaker, ready to be started.

    Attributes
    ----------
    endpoint
        For the session; not started yet.
    names
        What the devices are called.
    monitor
        Plays the output once more on a device of its own, None for nothing.
    note
        A sentence about what could not be had, "" if nothing is missing.
    hint
        Tells what is probably wrong while it runs, "" if nothing is.
    keep
        Keeps what it made, and returns a sentence about it, "" if there is nothing to keep.
    """

    endpoint: Endpoint
    names: DeviceSelection
    monitor: Monitor | None = None
    note: str = ""
    hint: Callable[[], str] = lambda: ""
    keep: Callable[[], str] = lambda: ""


class DeviceProvider(Protocol):
    """Devices to choose from."""

    def scan(self) -> AvailableDevices:
        """Return what is plugged in now; may take a second."""

    def open(self, selection: DeviceSelection) -> OpenDevices:
        """Return the chosen devices; a monitor that is not there is noted and done without.

        Raises
        ------
        RtvcError
            If there is no such microphone or speaker.
        """


class SystemDevices:
    """The devices of this machine."""

    def __init__(self) -> None:
        self._opened = False

    def scan(self) -> AvailableDevices:
        """Return what is plugged in now.

        PortAudio sees the devices of the moment at which it was started, and
        starting it again would end the sound. So another process looks.

        Raises
        ------
        RtvcError
            If the sound system cannot be asked.
        """
        from rtvc.audio.devices import Device

        try:
            done = subprocess.run(
                [sys.executable, "-c", _SCAN],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_SCAN_S,
                check=True,
            )
            devices = [Device(**row) for row in json.loads(done.stdout)]
        except (subprocess.SubprocessError, OSError, ValueError):
            raise RtvcError("The devices could not be listed; 'rtvc doctor' says why.") from None
        return AvailableDevices(
            tuple(device for device in devices if device.inputs),
            tuple(device for device in devices if device.outputs),
        )

    def open(self, selection: DeviceSelection) -> OpenDevices:
        """Return the chosen devices; to be called only while no others are open.

        Raises
        ------
        RtvcError
            If there is no such microphone or speaker.
        """
        from rtvc.audio.devices import find_device
        from rtvc.audio.live import LiveEndpoint
        from rtvc.audio.monitor import open_monitor
        from rtvc.audio.portaudio import restart_portaudio

        if self._opened:
            # What has been plugged in since is seen only so.
            restart_portaudio()
        self._opened = True
        microphone = find_device(selection.input or None, "input")
        speaker = find_device(selection.output or None, "output")
        endpoint = LiveEndpoint(selection.input or None, selection.output or None)
        monitor, note = None, ""
        if selection.monitor:
            try:
                monitor = open_monitor(selection.monitor, speaker.name)
            except RtvcError as error:
                note = f"There is no monitor. {error}"
        names = DeviceSelection(microphone.name, speaker.name, monitor.name if monitor else "")
        return OpenDevices(endpoint, names, monitor, note, lambda: endpoint.hint)
