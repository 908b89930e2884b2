"""The devices to choose from, and how they are opened."""

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
    """All microphones and speakers found by a scan."""

    inputs: tuple[Device, ...] = ()
    outputs: tuple[Device, ...] = ()


class DeviceSelection(NamedTuple):
    """The selected devices by name; "" is the system's default, or no monitor."""

    input: str = ""
    output: str = ""
    monitor: str = ""


@dataclass(frozen=True, slots=True)
class OpenDevices:
    """A microphone and a speaker, ready to start.

    Attributes
    ----------
    endpoint
        The endpoint for the session, not started yet.
    names
        Full names of the devices, as far as they are known before the start.
    monitor
        Plays the output on a second device as well, None if there is none.
    note
        A message about a device that could not be opened, "" if all are open.
    hint
        Returns what is probably wrong while the devices run, "" if nothing is.
    streams
        Returns sample rates and block of the streams while they run, "" if unknown.
    keep
        Writes the output to its file, if it has one, and returns a message about it, or "".
    in_use
        Returns the full names of the devices in use, None if there are none.
    """

    endpoint: Endpoint
    names: DeviceSelection
    monitor: Monitor | None = None
    note: str = ""
    hint: Callable[[], str] = lambda: ""
    streams: Callable[[], str] = lambda: ""
    keep: Callable[[], str] = lambda: ""
    in_use: Callable[[], DeviceSelection | None] = lambda: None

    def names_now(self) -> DeviceSelection:
        """Return the full names of the devices in use, before the start those to be opened."""
        return self.in_use() or self.names


class DeviceProvider(Protocol):
    """Lists and opens devices."""

    def scan(self) -> AvailableDevices:
        """Return the devices that are connected now; may take a second."""

    def cancel_scan(self) -> None:
        """End the scan that another thread waits for."""

    def open(self, selection: DeviceSelection) -> OpenDevices:
        """Return the selected devices; a missing monitor is left out and noted.

        Raises
        ------
        RtvcError
            If there is no such microphone or speaker.
        """


class SystemDevices:
    """The devices of this machine."""

    def __init__(self) -> None:
        self._opened = False
        self._scan: subprocess.Popen[str] | None = None

    def scan(self) -> AvailableDevices:
        """Return the devices that are connected now.

        PortAudio lists the devices of the moment when it was initialized, and initializing
        it again would stop the audio. So a subprocess lists them.

        Raises
        ------
        RtvcError
            If the subprocess fails.
        """
        from rtvc.audio.devices import Device

        try:
            with subprocess.Popen(
                [sys.executable, "-c", _SCAN],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as self._scan:
                try:
                    output, _ = self._scan.communicate(timeout=_SCAN_S)
                finally:
                    self._scan.kill()
            devices = [Device(**row) for row in json.loads(output)]
        except (subprocess.SubprocessError, OSError, ValueError):
            raise RtvcError(
                "The devices cannot be listed. Run 'rtvc doctor' to find out why."
            ) from None
        return AvailableDevices(
            tuple(device for device in devices if device.inputs),
            tuple(device for device in devices if device.outputs),
        )

    def cancel_scan(self) -> None:
        """Kill the subprocess of a scan, which hangs if the sound server does."""
        if self._scan is not None:
            self._scan.kill()

    def open(self, selection: DeviceSelection) -> OpenDevices:
        """Return the selected devices; call it only while no others are open.

        Without any device, or while the sound server does not answer, the endpoint waits for
        them after its start.

        Raises
        ------
        RtvcError
            If there are devices, but no such microphone or speaker.
        """
        from rtvc.audio.errors import AudioError
        from rtvc.audio.live import LiveEndpoint
        from rtvc.audio.monitor import open_monitor, open_monitor_later

        endpoint = LiveEndpoint(
            selection.input or None, selection.output or None, wait_for_devices=True
        )
        names, note = selection, ""
        monitor: Monitor | None = None
        try:
            names = self._find(selection)
        except AudioError:  # there is none yet
            if selection.monitor:
                monitor = open_monitor_later(selection.monitor, endpoint)
        else:
            if selection.monitor:
                try:
                    monitor = open_monitor(selection.monitor, names.output)
                except RtvcError as error:
                    note = f"There is no monitor. {error}"
        monitor_name = monitor.name if monitor else ""

        def in_use() -> DeviceSelection | None:
            devices = endpoint.devices
            return devices and DeviceSelection(devices[0].name, devices[1].name, monitor_name)

        return OpenDevices(
            endpoint,
            names._replace(monitor=monitor_name),
            monitor,
            note,
            lambda: endpoint.hint,
            lambda: endpoint.streams,
            in_use=in_use,
        )

    def _find(self, selection: DeviceSelection) -> DeviceSelection:
        """Return the full names of the selected microphone and speaker."""
        from rtvc.audio.devices import find_device
        from rtvc.audio.portaudio import update_devices

        if self._opened:
            update_devices()
        self._opened = True
        microphone = find_device(selection.input or None, "input")
        speaker = find_device(selection.output or None, "output")
        return DeviceSelection(microphone.name, speaker.name)
