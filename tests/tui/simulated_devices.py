"""Simulated devices that can be plugged in and out."""

from __future__ import annotations

import numpy as np
import soundfile
import soxr

from rtvc.audio.devices import Device, Direction
from rtvc.audio.monitor import Monitor
from rtvc.audio.simulated import SimulatedDevice
from rtvc.device_choice import DeviceIdentity
from rtvc.errors import UsageError
from rtvc.live.devices import (
    AvailableDevices,
    DeviceChoice,
    DeviceNames,
    DeviceSelection,
    OpenDevices,
)
from tests.support.simulated_stream import SimulatedSpeaker
from tests.support.speech import UTTERANCES
from tests.support.virtual_clock import PacedDevice, VirtualClock


def microphone(name: str, *, rate: float = 48_000, default: bool = False) -> Device:
    return Device(0, name, "Core Audio", 1, 0, rate, default, False, False)


def speaker(name: str, *, default: bool = False, cable: bool = False) -> Device:
    return Device(0, name, "Core Audio", 0, 2, 48_000, False, default, cable)


BUILT_IN = microphone("MacBook Pro Microphone", default=True)
USB = microphone("USB Microphone", rate=44_100)
SPEAKERS = speaker("MacBook Pro Speakers", default=True)
HEADPHONES = speaker("External Headphones")
CABLE = speaker("BlackHole 2ch", cable=True)


def identity(device: Device) -> DeviceIdentity:
    return DeviceIdentity(device.name, device.host_api)


def selected(microphone: Device, output: Device, monitor: Device) -> DeviceSelection:
    return DeviceSelection(identity(microphone), identity(output), identity(monitor))


def speech(seconds: float) -> np.ndarray:
    samples, rate = soundfile.read(UTTERANCES[0], dtype="float32")
    once = soxr.resample(samples, rate, 48_000).astype(np.float32)
    return np.resize(once, round(seconds * 48_000))


class SimulatedDevices:
    """Every microphone hears speech; every speaker keeps what it plays, in `opened`.

    Its devices run in real time, unless it has a `clock`.
    """

    def __init__(self, seconds: float = 60.0, faults=()) -> None:
        self.clock: VirtualClock | None = None
        self.inputs = [BUILT_IN, USB]
        self.outputs = [SPEAKERS, HEADPHONES, CABLE]
        self.source = speech(seconds)
        self.faults = faults
        self.opened: list[tuple[DeviceNames, SimulatedDevice]] = []
        self.monitors: list[SimulatedSpeaker] = []

    def scan(self) -> AvailableDevices:
        return AvailableDevices(tuple(self.inputs), tuple(self.outputs))

    def cancel_scan(self) -> None:
        pass

    def open(self, selection: DeviceSelection) -> OpenDevices:
        devices = (
            _pick(selection.input, self.inputs, "input"),
            _pick(selection.output, self.outputs, "output"),
            _pick(selection.monitor, self.outputs, "output") if selection.monitor else None,
        )
        names = DeviceNames(*(device.name if device else "" for device in devices))
        microphone, output, monitor_device = (
            identity(device) if device and choice else ""
            for device, choice in zip(devices, selection, strict=False)
        )
        found = DeviceSelection(microphone, output, monitor_device, selection.channel)
        if self.clock is None:
            device = SimulatedDevice(self.source, wall_clock=True, faults=self.faults)
        else:
            device = PacedDevice(self.source, self.clock, faults=self.faults)
        self.opened.append((names, device))
        monitor = Monitor(names.monitor, self._open_monitor) if names.monitor else None
        return OpenDevices(device, names, monitor, found=lambda: found)

    @property
    def device(self) -> SimulatedDevice:
        return self.opened[-1][1]

    def _open_monitor(self) -> SimulatedSpeaker:
        self.monitors.append(SimulatedSpeaker())
        return self.monitors[-1]

    def unplug(self, seconds: float) -> None:
        """Take the device that is in use away for some time."""
        began = round(self.device.now() * 48_000)
        self.device._losses.append((began, began + round(seconds * 48_000)))


def _pick(choice: DeviceChoice, devices: list[Device], direction: Direction) -> Device:
    for device in devices:
        if choice in (device.name, identity(device)) or (
            not choice and device.is_default(direction)
        ):
            return device
    raise UsageError(f"There is no {direction} named {choice!r}.")
