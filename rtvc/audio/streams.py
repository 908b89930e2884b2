"""A device stream with a ring buffer per direction, which its callback fills and empties."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rtvc._types import Float32
from rtvc.audio.stream_times import TimedFrame

RING_S = 2.0
"""Minimum length of a ring buffer in seconds: the longest stall of the engine without loss."""


@dataclass(frozen=True, slots=True)
class Port:
    """One direction of a stream: the device's index and the number of channels to open."""

    device: int
    channels: int


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """The parameters of a stream.

    Attributes
    ----------
    rate
        Sample rate in Hz.
    block
        Frames per callback.
    input, output
        The directions to open, at least one.
    latency
        As in sounddevice: ``"low"``, ``"high"`` or seconds.
    fixed_rate
        Whether the device keeps its rate while it is open, as all do under ALSA. A count that
        advances slower there is one of a busy machine.
    """

    rate: int
    block: int
    input: Port | None = None
    output: Port | None = None
    latency: str | float = "low"
    fixed_rate: bool = False

    @property
    def kind(self) -> str:
        """``"duplex"``, ``"input"`` or ``"output"``."""
        if self.input and self.output:
            return "duplex"
        return "input" if self.input else "output"

    @property
    def ring_frames(self) -> int:
        """Length of a ring buffer in frames: a power of two, as PortAudio requires."""
        return 1 << math.ceil(math.log2(RING_S * self.rate))

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that the classes of sounddevice and rtmixer share."""
        ports = [port for port in (self.input, self.output) if port]
        one = len(ports) == 1
        return {
            "device": ports[0].device if one else tuple(p.device for p in ports),
            "channels": ports[0].channels if one else tuple(p.channels for p in ports),
            "samplerate": self.rate,
            "blocksize": self.block,
            "latency": self.latency,
        }


@dataclass(frozen=True, slots=True)
class Counters:
    """The callback's counts since the stream was opened.

    Attributes
    ----------
    frames
        Frames on the device's clock, whether or not a ring buffer had room for them.
    underruns, overflows
        Underruns and overflows that the device reported, plus the times that a ring
        buffer was empty or full.
    """

    frames: int
    underruns: int
    overflows: int


class Ring(Protocol):
    """The interface of a ring buffer that `DeviceStream` uses, such as PortAudio's."""

    @property
    def read_available(self) -> int:
        """Number of frames that can be read."""

    @property
    def write_available(self) -> int:
        """Number of frames that can be written."""

    def write(self, data: Float32) -> int:
        """Copy in the (frames, channels) that fit; return the number of frames written."""

    def readinto(self, data: Float32) -> int:
        """Copy available frames into `data`, (frames, channels); return the number read."""


class DeviceStream(ABC):
    """An open stream with a ring buffer for each of its directions.

    Only `stop` and `close` block. One thread reads, one thread at a time writes, and
    any thread may call the rest; none may after `close`.

    Attributes
    ----------
    spec
        The parameters it was opened with.
    finished
        Set when PortAudio has ended the stream.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.finished = threading.Event()
        self._stopping = False
        self._stream: Any = None
        self._input_ring: Ring | None = None
        self._output_ring: Ring | None = None
        self._measured_latency: float | None = None
        self._timed_frame: TimedFrame | None = None

    @property
    def latency(self) -> tuple[float, float]:
        """Input and output latency of the device in seconds, as PortAudio reports them."""
        reported = self._stream.latency
        if self.spec.kind == "duplex":
            return reported[0], reported[1]
        return (reported, 0.0) if self.spec.input else (0.0, reported)

    def take_measured_latency(self) -> float | None:
        """Return the newest measurement of a duplex device's latency that was not taken yet.

        It is the time from when the first sample of a callback's input was recorded until the
        first one of its output will be played, in seconds; None if there is none.
        """
        measured, self._measured_latency = self._measured_latency, None
        return measured

    def take_timed_frame(self) -> TimedFrame | None:
        """Return the newest timed frame that was not taken yet, None if there is none.

        Only a stream of one direction times its frames.
        """
        timed, self._timed_frame = self._timed_frame, None
        return timed

    @property
    def active(self) -> bool:
        """Whether the stream runs, according to PortAudio."""
        return not self.finished.is_set() and bool(self._stream.active)

    def start(self) -> None:
        """Start the callback."""
        self.service()
        self._stream.start()

    def stop(self) -> None:
        """Play what the device has buffered, then stop."""
        self._stopping = True
        self._stream.stop()

    def restart(self) -> None:
        """Stop at once and start again, which empties the buffers of device and sound server."""
        self._stream.abort()
        self.finished.clear()
        self.start()

    def close(self) -> None:
        """Stop at once and release the device."""
        self._stopping = True
        self._stream.abort()
        self._stream.close()

    @property
    def readable(self) -> int:
        """Number of input frames that can be read."""
        return self._input_ring.read_available if self._input_ring else 0

    @property
    def queued(self) -> int:
        """Number of output frames that wait to be played."""
        return self._output_ring.read_available if self._output_ring else 0

    @property
    def writable(self) -> int:
        """Number of output frames that can be queued."""
        return self._output_ring.write_available if self._output_ring else 0

    def read(self, frames: int) -> Float32:
        """Return up to `frames` input frames, (n, channels) float32."""
        channels = self.spec.input.channels if self.spec.input else 0
        data = np.empty((min(frames, self.readable), channels), np.float32)
        if self._input_ring and data.size:
            self._input_ring.readinto(data)
        return data

    def write(self, frames: Float32, tail: Float32 | None = None) -> int:
        """Queue (frames, channels) float32; return the number of frames that fitted.

        Parameters
        ----------
        frames
            The output.
        tail
            What to play after it if there is nothing else by then, where that is possible
            without the interpreter.
        """
        if not self._output_ring or not frames.size:
            return 0
        written = self._output_ring.write(np.ascontiguousarray(frames))
        self.service()
        return written

    def take_missed(self) -> int:
        """Return the frames that were due since the last call while no output was queued."""
        return 0

    @abstractmethod
    def service(self) -> None:
        """Keep the callback supplied; call it every few milliseconds."""

    @abstractmethod
    def counters(self) -> Counters:
        """Return the callback's counts since the stream was opened."""
