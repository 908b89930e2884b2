"""A simulated Core Audio with PortAudio on it: devices come, go, and become the default."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.audio import devices, duplex, monitor, portaudio, sound_system
from rtvc.audio.core_audio import CoreAudioDevices
from rtvc.audio.devices import Device
from rtvc.audio.portaudio import portaudio as load_portaudio
from rtvc.audio.streams import Counters, DeviceStream, StreamSpec


@dataclass(eq=False)
class _Hardware:
    """One device. PortAudio's index of it may be another one after a restart."""

    number: int
    listed: Device
    speed: float = 1.0
    start_s: float = 0.0


class SimulatedStream(DeviceStream):
    """A stream whose callbacks follow the machine's clock while its devices are connected.

    Attributes
    ----------
    used
        Its devices.
    loudest
        Peak of what was written.
    """

    def __init__(self, spec: StreamSpec, system: SimulatedSystem, used: list[_Hardware]) -> None:
        super().__init__(spec)
        self._system, self.used = system, used
        self._frames, self._taken, self._written = 0.0, 0, 0
        self._last: float | None = None
        self._opened = True
        self.loudest = 0.0
        self._counting = threading.Lock()

    @property
    def latency(self) -> tuple[float, float]:
        return 0.010, 0.010

    @property
    def active(self) -> bool:
        self._advance()
        return self._opened and not self.finished.is_set()

    def start(self) -> None:
        self._last = time.monotonic() + max(one.start_s for one in self.used)

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._opened = False

    @property
    def readable(self) -> int:
        return self.counters().frames - self._taken if self.spec.input else 0

    @property
    def queued(self) -> int:
        return max(self._written - self.counters().frames, 0)

    def read(self, frames: int) -> Float32:
        assert self.spec.input
        count = min(frames, self.readable)
        self._taken += count
        return np.full((count, self.spec.input.channels), 0.1, np.float32)

    def write(self, frames: Float32, tail: Float32 | None = None) -> int:
        self.loudest = max(self.loudest, float(np.abs(frames).max(initial=0.0)))
        self._written = max(self._written, self.counters().frames) + len(frames)
        return len(frames)

    def service(self) -> None:
        pass

    def counters(self) -> Counters:
        self._advance()
        return Counters(int(self._frames) // self.spec.block * self.spec.block, 0, 0)

    def _advance(self) -> None:
        with self._counting:
            now, last = time.monotonic(), self._last
            if not self._opened or last is None:
                return
            if not all(one in self._system.hardware for one in self.used):
                self.finished.set()
                return
            if now > last:
                self._frames += (now - last) * self.spec.rate * min(one.speed for one in self.used)
                self._last = now


class SimulatedSystem:
    """The devices of a Mac, and PortAudio, which knows those of when it was initialised.

    Parameters
    ----------
    listed
        The devices, with their defaults.

    Attributes
    ----------
    hardware
        What is connected now.
    streams
        The streams that were opened.
    openings
        Names of the devices of each of them.
    questions
        The formats that devices were asked for: name, direction, rate and channels.
    refuses
        Returns whether devices refuse a format, by direction, rate and channels.
    restarts
        Number of times that PortAudio was initialised again.
    """

    def __init__(self, listed: list[Device]) -> None:
        self.hardware = [_Hardware(50 + n, device) for n, device in enumerate(listed)]
        self.default_input, self.default_output = (
            next((one for one in self.hardware if one.listed.is_default(direction)), None)
            for direction in ("input", "output")
        )
        self.openings: list[tuple[str, ...]] = []
        self.questions: list[tuple[str, str, float, int]] = []
        self.refuses: Callable[[str, float, int], bool] = lambda direction, rate, channels: False
        self.restarts = 0
        self.streams: list[SimulatedStream] = []
        self._known = list(self.hardware)
        self._known_defaults = self.default_input, self.default_output

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of Core Audio and PortAudio until the end of the test."""
        load_portaudio()  # it has the class of PortAudio's errors
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setattr(sound_system, "core_audio_devices", self._numbers)
        monkeypatch.setattr(monitor, "core_audio_transports", self._transports)
        monkeypatch.setattr(devices, "_list_devices", self._list)
        monkeypatch.setattr(devices, "_accepts", self._accepts)
        monkeypatch.setattr(portaudio, "_restart", self._restart)
        monkeypatch.setattr(portaudio, "_listing", portaudio._listing)
        monkeypatch.setattr(duplex, "open_stream", self._open)
        portaudio._note_listing()

    def connect(self, device: Device, *, at: int | None = None) -> None:
        """Connect a device."""
        number = 1 + max((one.number for one in self.hardware), default=50)
        place = len(self.hardware) if at is None else at
        self.hardware.insert(place, _Hardware(number, device))

    def remove(self, name: str) -> list[Device]:
        """Remove all devices of a name, and return them; other devices become the defaults."""
        gone = [one for one in self.hardware if one.listed.name == name]
        self.hardware = [one for one in self.hardware if one not in gone]
        if self.default_input in gone:
            self.default_input = next((o for o in self.hardware if o.listed.inputs), None)
        if self.default_output in gone:
            self.default_output = next((o for o in self.hardware if o.listed.outputs), None)
        return [one.listed for one in gone]

    def make_default_output(self, name: str) -> None:
        """Make a device the default output."""
        self.default_output = next(
            one for one in self.hardware if one.listed.name == name and one.listed.outputs
        )

    def make_default_input(self, name: str) -> None:
        """Make a device the default input."""
        self.default_input = next(
            one for one in self.hardware if one.listed.name == name and one.listed.inputs
        )

    def run_at(self, name: str, speed: float) -> None:
        """Let all devices of a name run at a multiple of their rate."""
        for one in self.hardware:
            if one.listed.name == name:
                one.speed = speed

    def start_after(self, name: str, seconds: float) -> None:
        """Let all devices of a name take some time to start."""
        for one in self.hardware:
            if one.listed.name == name:
                one.start_s = seconds

    @property
    def open_streams(self) -> list[SimulatedStream]:
        """The streams that are open now."""
        return [stream for stream in self.streams if stream._opened]

    def _numbers(self) -> CoreAudioDevices:
        return CoreAudioDevices(
            tuple(one.number for one in self.hardware),
            self.default_input.number if self.default_input else 0,
            self.default_output.number if self.default_output else 0,
        )

    def _transports(self) -> dict[str, str]:
        return {one.listed.name: one.listed.transport for one in self.hardware}

    def _list(self) -> list[Device]:
        return [
            replace(
                one.listed,
                index=index,
                default_input=one is self._known_defaults[0],
                default_output=one is self._known_defaults[1],
            )
            for index, one in enumerate(self._known)
        ]

    def _accepts(self, device: Device, direction: str, rate: float, channels: int) -> bool:
        self.questions.append((device.name, direction, rate, channels))
        return not self.refuses(direction, rate, channels)

    def _restart(self) -> None:
        self.restarts += 1
        for stream in self.open_streams:
            stream.close()
        self._known = list(self.hardware)
        self._known_defaults = self.default_input, self.default_output
        portaudio._note_listing()

    def _open(self, spec: StreamSpec, *, in_python: bool = False) -> SimulatedStream:
        used = []
        for port, direction in ((spec.input, "input"), (spec.output, "output")):
            if port is None:
                continue
            one = self._known[port.device]
            if one not in self.hardware or port.channels > one.listed.channels(direction):  # type: ignore[arg-type]
                raise load_portaudio().PortAudioError("Error opening Stream", -9996)
            used.append(one)
        self.openings.append(tuple(dict.fromkeys(one.listed.name for one in used)))
        stream = SimulatedStream(spec, self, used)
        self.streams.append(stream)
        return stream
