"""Finds and opens the selected microphone and speaker, at first and after a loss."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from rtvc.audio.device_search import find_device, find_identity, identity_of
from rtvc.audio.devices import CORE_AUDIO, Device, Direction, is_virtual_cable, list_devices
from rtvc.audio.duplex import Duplex, SilentDeviceError, open_duplex
from rtvc.audio.errors import AudioError
from rtvc.audio.portaudio import (
    listed_marks,
    restart_portaudio,
    set_alsa_printing,
    update_devices,
)
from rtvc.audio.route_watch import CABLE_GONE, LOOP, RouteWatch
from rtvc.audio.sound_system import DeviceMarks, server_is_down
from rtvc.device_choice import DeviceIdentity
from rtvc.errors import RtvcError
from rtvc.system.audio_priority import realtime_threads

START_TIMEOUT_S, _LEAST_TIMEOUT_S = 2.0, 0.4
"""Time that a device may take to start; Bluetooth needs more than a second. One that has started
before may take `_TIMES_USUAL` as long as its fastest start, and twice as long after each attempt
that fails."""
_TIMES_USUAL = 4.0
_MOST_DOUBLINGS = 10
"""A device that another program keeps for hours fails thousands of times."""
LONGEST_START_S = 3.0
"""Time that every start may take on macOS. A headset that plays music takes up to that long to open
its microphone, and another attempt would first send it back to music."""
_ANSWER_LIMIT_S, _OPENING_S = 2.0, 1.0
"""See `answer_limit_s`, and the time that a device of macOS may take to open before its start."""
SERVER_DEVICES = ("default", "pulse", "pipewire", "sysdefault")
"""ALSA's devices that are whatever the sound server's default is."""
DIRECTIONS: tuple[Direction, Direction] = ("input", "output")
Wanted = DeviceIdentity | str | int | None


def answer_limit_s() -> float:
    """Return the seconds after which an attempt to open counts as hung if others will follow."""
    return LONGEST_START_S + _OPENING_S if sys.platform == "darwin" else _ANSWER_LIMIT_S


class StartTimeout:
    """How long the streams may take to start: sometimes PortAudio never calls back.

    Another attempt then succeeds, so it should not come later than necessary.
    """

    def __init__(self) -> None:
        self._usual_s: float | None = None
        self._failed = 0

    @property
    def seconds(self) -> float:
        """The limit of the next attempt."""
        if self._usual_s is None:
            return START_TIMEOUT_S
        least = max(_LEAST_TIMEOUT_S, _TIMES_USUAL * self._usual_s)
        return min(START_TIMEOUT_S, least * 2.0 ** min(self._failed, _MOST_DOUBLINGS))

    def started(self, after_s: float) -> None:
        """Note how long a start took; one of a device that was suspended took longer than usual."""
        self._usual_s = after_s if self._usual_s is None else min(after_s, self._usual_s)
        self._failed = 0

    def failed(self) -> None:
        """Note that the streams did not start in time."""
        self._failed += 1


class OpenedDevices(NamedTuple):
    """Running streams and their devices, and the system's devices when they were listed."""

    devices: tuple[Device, Device]
    identities: tuple[DeviceIdentity, DeviceIdentity]
    duplex: Duplex
    marks: DeviceMarks

    def close(self) -> None:
        """Close the streams, which nobody uses."""
        self.duplex.close()


class DeviceOpening:
    """Opens the devices; its methods run on PortAudio's thread.

    Parameters
    ----------
    wanted
        Input and output, as for `LiveEndpoint`.
    arguments
        Further arguments of `open_duplex`.
    routes
        Knows whether the input would be the output again.

    Attributes
    ----------
    identities
        The devices that were used last, which are found again; None before the first.
    """

    def __init__(
        self, wanted: tuple[Wanted, Wanted], arguments: dict[str, Any], routes: RouteWatch
    ) -> None:
        self._wanted, self._arguments, self._routes = wanted, arguments, routes
        self.identities: tuple[DeviceIdentity, DeviceIdentity] | None = None
        self._held: tuple[tuple[Device, Device], float] | None = None
        self._timeout = StartTimeout()

    def hold(self, devices: tuple[Device, Device] | None, duplex: Duplex) -> None:
        """Open these devices with the latency that their streams have now, if it is known."""
        latency = duplex.held_latency
        self._held = (devices, latency) if devices and latency is not None else None

    def open_patiently(self) -> OpenedDevices:
        """Open; sometimes PortAudio opens a stream and never calls it back: try a second one."""
        try:
            return self._open()
        except SilentDeviceError:
            restart_portaudio()
            return self._open()

    def reopen(self) -> OpenedDevices:
        """Open again, with a new list of devices if the system's devices have changed."""
        wanted = self._wanted[0]
        name = wanted.name if isinstance(wanted, DeviceIdentity) else wanted
        follows_default = name is None or name in SERVER_DEVICES
        if follows_default and self._routes.still_loops():
            raise AudioError(LOOP)
        if self._routes.cable_is_gone():
            raise AudioError(CABLE_GONE)
        update_devices(hardware_only=True)
        try:
            # A sound server that has started again mostly has the same devices as before.
            return self._open()
        except RtvcError:
            # A list that is made while it starts has none of them.
            if server_is_down() or self._routes.server_is_away or not update_devices():
                raise
        return self._open()

    def _open(self) -> OpenedDevices:
        devices, identities = self._find()
        set_alsa_printing(True)
        try:
            with realtime_threads():
                duplex = open_duplex(*devices, **self._arguments)
                try:
                    mac = devices[0].host_api == CORE_AUDIO
                    timeout = LONGEST_START_S if mac else self._timeout.seconds
                    duplex.start(timeout, self._held_latency(devices))
                except BaseException as error:
                    duplex.close()
                    if isinstance(error, SilentDeviceError):
                        self._timeout.failed()
                    raise
                self._timeout.started(duplex.started_after)
        finally:
            set_alsa_printing(False)
        return OpenedDevices(devices, identities, duplex, listed_marks())

    def _held_latency(self, devices: tuple[Device, Device]) -> float | None:
        if self._held is None:
            return None
        before, latency = self._held
        # The number of a device changes with the others.
        same = all(
            (old.name, old.host_api) == (new.name, new.host_api)
            for old, new in zip(before, devices, strict=True)
        )
        return latency if same else None

    def _find(self) -> tuple[tuple[Device, Device], tuple[DeviceIdentity, DeviceIdentity]]:
        """Return the selected devices; finds devices that were open before by their identity.

        A default input that becomes the virtual cable into which the output plays is not followed.

        Raises
        ------
        AudioError
            If it is that from the start, or the microphone before is not connected.
        """
        everything = list_devices()
        microphone, speaker = (
            find_device(None if wanted is None else earlier or wanted, direction, everything)
            for wanted, earlier, direction in zip(
                self._wanted, self.identities or (None, None), DIRECTIONS, strict=True
            )
        )
        if self._wanted[0] is None and _is_own_cable(microphone, speaker):
            if self.identities is None:
                raise AudioError(
                    f"The system's default input is {microphone.name!r}, into which rtvc plays, so "
                    "it would convert its own output again and again. Choose your microphone as "
                    "the input."
                )
            microphone = find_identity(self.identities[0], "input", everything)
        identities = (
            identity_of(microphone, "input", everything),
            identity_of(speaker, "output", everything),
        )
        return (microphone, speaker), identities


def _is_own_cable(microphone: Device, speaker: Device) -> bool:
    """Return whether these are the two ends of one virtual cable of macOS."""
    same = (microphone.name, microphone.host_api) == (speaker.name, CORE_AUDIO)
    return same and (microphone.transport == "virtual" or is_virtual_cable(microphone.name))
