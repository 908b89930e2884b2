"""The devices to choose from, and how they are opened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rtvc.device_choice import (
    MIX,
    SYSTEM_DEFAULT,
    ChannelChoice,
    DeviceIdentity,
    channel_label,
    check_channel,
)
from rtvc.errors import RtvcError, escaped

if TYPE_CHECKING:
    from rtvc.audio.devices import Device as Device  # noqa: PLC0414
    from rtvc.audio.devices import Direction as Direction  # noqa: PLC0414
    from rtvc.audio.endpoint import Endpoint
    from rtvc.audio.monitor import Monitor
    from rtvc.config.remembered import RememberedRun

_SCAN_S = 10.0
_SCAN = """\
import dataclasses, json
from rtvc.audio.devices import list_devices
from rtvc.system.library_output import separate_library_output
separate_library_output()
print(json.dumps([dataclasses.asdict(device) for device in list_devices()]))
"""


@dataclass(frozen=True, slots=True)
class AvailableDevices:
    """All microphones and speakers found by a scan.

    Attributes
    ----------
    inputs, outputs
        The microphones, and the speakers.
    scanned
        Whether a scan has ended; before, nothing is known.
    """

    inputs: tuple[Device, ...] = ()
    outputs: tuple[Device, ...] = ()
    scanned: bool = True

    def identities(self, direction: Direction) -> dict[DeviceIdentity, Device]:
        """Return the devices of a direction by their identities, in their order."""
        from rtvc.audio.device_search import identity_of

        devices = list(self.inputs if direction == "input" else self.outputs)
        return {identity_of(device, direction, devices): device for device in devices}


DeviceChoice = DeviceIdentity | str
"""A device, or what you typed for it: its name, a part of it, or its number; "" is none."""


class DeviceNames(NamedTuple):
    """The full names of devices in use; "" is not known yet, or no monitor."""

    input: str = ""
    output: str = ""
    monitor: str = ""


class DeviceSelection(NamedTuple):
    """The selected devices; "" is the system's default, or no monitor.

    `channel` is the channel of the input; it goes with the input, so that of another one is the
    mix.
    """

    input: DeviceChoice = ""
    output: DeviceChoice = ""
    monitor: DeviceChoice = ""
    channel: ChannelChoice = MIX

    @classmethod
    def of(cls, run: RememberedRun) -> DeviceSelection:
        """Return the devices of a remembered run."""
        return cls(run.input or "", run.output or "", run.monitor or "", run.input_channel)

    def remembered(self, run: RememberedRun) -> RememberedRun:
        """Return `run` with these devices; where only typed text is known yet, with its own."""

        def known(choice: DeviceChoice, before: DeviceIdentity | None) -> DeviceIdentity | None:
            if isinstance(choice, DeviceIdentity):
                return choice
            return before if choice else None

        return replace(
            run,
            input=known(self.input, run.input),
            output=known(self.output, run.output),
            monitor=known(self.monitor, run.monitor),
            input_channel=self.channel,
        )

    def with_input(self, choice: DeviceChoice) -> DeviceSelection:
        """Return the selection with another input, or the same with the same channel."""
        return self if choice == self.input else self._replace(input=choice, channel=MIX)

    def names(self) -> DeviceNames:
        """Return the names, or what was typed."""
        return DeviceNames(*(c.name if isinstance(c, DeviceIdentity) else c for c in self[:3]))


def input_label(selection: DeviceSelection) -> str:
    """Return the input and its channel for a terminal, such as ``default, channel 3``."""
    parts = device_label(selection.input) or "default", channel_label(selection.channel)
    return ", ".join(filter(None, parts))


def device_label(choice: DeviceChoice) -> str:
    """Return a device for a terminal, such as ``Headset (2 of 2)``; "" for the default or none."""
    if isinstance(choice, str):
        return escaped(choice)
    if choice == SYSTEM_DEFAULT:
        return "system default"
    place = f" ({choice.ordinal + 1} of {choice.count})" if choice.count > 1 else ""
    return escaped(choice.name) + place


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
    found
        Returns the selection with the identities of the devices found, None if not known.
    channel
        The channel of the microphone that is used.
    identities
        Returns the microphone and the speaker in use, None if there are none.
    """

    endpoint: Endpoint
    names: DeviceNames
    monitor: Monitor | None = None
    note: str = ""
    hint: Callable[[], str] = lambda: ""
    streams: Callable[[], str] = lambda: ""
    keep: Callable[[], str] = lambda: ""
    in_use: Callable[[], DeviceNames | None] = lambda: None
    found: Callable[[], DeviceSelection | None] = lambda: None
    channel: ChannelChoice = MIX
    identities: Callable[[], tuple[DeviceIdentity, DeviceIdentity] | None] = lambda: None

    def remembered(self, run: RememberedRun) -> RememberedRun:
        """Return `run` with the devices found."""
        found = self.found()
        return found.remembered(run) if found else run

    def described(self) -> dict[str, str]:
        """Return the names of the devices in use and the input's channel, for a report."""
        names = {what: name for what, name in self.names_now()._asdict().items() if name}
        return names if self.channel == MIX else {**names, "input_channel": str(self.channel)}

    def names_now(self) -> DeviceNames:
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
                [sys.executable, "-P", "-c", _SCAN],
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

        Without any device, without one that is selected by its identity, or while the sound
        server does not answer, the endpoint waits for it after its start.

        Raises
        ------
        RtvcError
            If there are devices, but no such microphone or speaker.
        """
        from rtvc.audio.echo_endpoint import EchoEndpoint
        from rtvc.audio.errors import AudioError
        from rtvc.audio.live import LiveEndpoint
        from rtvc.audio.monitor import find_monitor, open_monitor

        endpoint = LiveEndpoint(
            selection.input or None,
            selection.output or None,
            input_channel=selection.channel,
            wait_for_devices=True,
        )
        names, note, speaker = selection.names(), "", None
        monitor: Monitor | None = None
        try:
            microphone, speaker = self._find(selection)
            check_channel(selection.channel, microphone.inputs, repr(microphone.name))
            names = DeviceNames(microphone.name, speaker.name)
        except AudioError:  # it is not there yet
            pass
        if wanted := selection.monitor:
            try:
                if speaker is not None:
                    _, identity = find_monitor(wanted, speaker)
                    wanted = wanted if wanted == SYSTEM_DEFAULT else identity
            except AudioError:  # the same
                pass
            except RtvcError as error:
                note = f"There is no monitor. {error}"
            if not note:
                monitor = open_monitor(wanted, lambda: endpoint.devices and endpoint.devices[1])

        def monitor_name() -> str:
            if monitor is None:
                return ""
            return monitor.identity.name if monitor.identity else monitor.name

        def in_use() -> DeviceNames | None:
            names = endpoint.names
            return names and DeviceNames(*names, monitor_name())

        def found() -> DeviceSelection | None:
            identities = endpoint.identities
            return identities and DeviceSelection(
                selection.input and identities[0],
                selection.output and identities[1],
                selection.monitor
                if selection.monitor == SYSTEM_DEFAULT
                else (monitor and monitor.identity) or selection.monitor,
                selection.channel,
            )

        return OpenDevices(
            EchoEndpoint(endpoint),
            names._replace(monitor=monitor_name()),
            monitor,
            note,
            lambda: endpoint.hint,
            lambda: endpoint.streams,
            in_use=in_use,
            found=found,
            channel=selection.channel,
            identities=lambda: endpoint.identities,
        )

    def _find(self, selection: DeviceSelection) -> tuple[Device, Device]:
        """Return the selected microphone and speaker."""
        from rtvc.audio.device_search import find_device
        from rtvc.audio.portaudio import update_devices

        if self._opened:
            update_devices()
        self._opened = True
        microphone = find_device(selection.input or None, "input")
        return microphone, find_device(selection.output or None, "output")
