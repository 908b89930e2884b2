"""The narrow seam to a device: rings that its callback fills and empties."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rtvc._types import Float32

RING_S = 2.0
"""Seconds that a ring holds at least: what a stall of the engine may pile up."""


@dataclass(frozen=True, slots=True)
class Port:
    """One direction of a stream: a device's index, and how many channels of it."""

    device: int
    channels: int


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How to open a stream: at least one of `input` and `output`, in blocks of so many frames."""

    rate: int
    block: int
    input: Port | None = None
    output: Port | None = None
    latency: str | float = "low"

    @property
    def kind(self) -> str:
        """PortAudio's word for the direction."""
        if self.input and self.output:
            return "duplex"
        return "input" if self.input else "output"

    @property
    def ring_frames(self) -> int:
        """Frames in a ring, a power of two as PortAudio's rings need it."""
        return 1 << math.ceil(math.log2(RING_S * self.rate))

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that sounddevice's and rtmixer's classes share."""
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
    """What happened in the callback so far.

    Attributes
    ----------
    frames
        Frames that the device's clock has counted, whether or not a ring took them.
    underflows, overflows
        What the device reported, plus the times a ring was empty or full.
    """

    frames: int
    underflows: int
    overflows: int


class Ring(Protocol):
    """What `DeviceStream` needs of a ring; PortAudio's is one."""

    @property
    def read_available(self) -> int:
        """Frames that can be read."""

    @property
    def write_available(self) -> int:
        """Frames for which there is room."""

    def write(self, data: Float32) -> int:
        """Copy in what fits, and return how many frames that was."""

    def readinto(self, data: Float32) -> int:
        """Copy out what is there, and return how many frames that was."""


class DeviceStream(ABC):
    """An open stream with a ring for each of its directions.

    Nothing here waits except `stop` and `close`. One thread reads, one at a
    time writes, any may call the rest; after `close` none may.

    Attributes
    ----------
    spec
        How it was opened.
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

    @property
    def latency(self) -> tuple[float, float]:
        """Seconds of the device's own (input, output) side as PortAudio states them."""
        stated = self._stream.latency
        if self.spec.kind == "duplex":
            return stated[0], stated[1]
        return (stated, 0.0) if self.spec.input else (0.0, stated)

    @property
    def active(self) -> bool:
        """Whether the stream runs, as far as PortAudio knows."""
        return not self.finished.is_set() and bool(self._stream.active)

    def start(self) -> None:
        """Let the callback run."""
        self.service()
        self._stream.start()

    def stop(self) -> None:
        """Play out what the device holds, then stop."""
        self._stopping = True
        self._stream.stop()

    def close(self) -> None:
        """Stop at once and give the device back."""
        self._stopping = True
        self._stream.abort()
        self._stream.close()

    @property
    def readable(self) -> int:
        """Frames of input that wait."""
        return self._input_ring.read_available if self._input_ring else 0

    @property
    def queued(self) -> int:
        """Frames of output that wait."""
        return self._output_ring.read_available if self._output_ring else 0

    @property
    def writable(self) -> int:
        """Frames of output for which there is room."""
        return self._output_ring.write_available if self._output_ring else 0

    def read(self, frames: int) -> Float32:
        """Take up to so many frames of input."""
        channels = self.spec.input.channels if self.spec.input else 0
        taken = np.empty((min(frames, self.readable), channels), np.float32)
        if self._input_ring and taken.size:
            self._input_ring.readinto(taken)
        return taken

    def write(self, frames: Float32) -> int:
        """Queue output, and return for how many frames there was room."""
        if not self._output_ring or not frames.size:
            return 0
        written = self._output_ring.write(np.ascontiguousarray(frames))
        self.service()
        return written

    @abstractmethod
    def service(self) -> None:
        """Keep the callback supplied; to be called every few milliseconds."""

    @abstractmethod
    def counters(self) -> Counters:
        """Return what happened so far."""
