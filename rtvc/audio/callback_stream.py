"""A device stream with a callback in Python.

The callback is late whenever another thread holds the interpreter lock, so it is only
the fallback for platforms without rtmixer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rtvc._types import Float32
from rtvc.audio.portaudio import portaudio
from rtvc.audio.stream_times import TimedFrame
from rtvc.audio.streams import Counters, DeviceStream, StreamSpec


class _ArrayRingBuffer:
    """A ring buffer for one writer and one reader.

    It needs no lock: each side changes only its own count.
    """

    def __init__(self, frames: int, channels: int) -> None:
        self._data = np.zeros((frames, channels), np.float32)
        self._written = self._read = 0

    @property
    def read_available(self) -> int:
        return self._written - self._read

    @property
    def write_available(self) -> int:
        return len(self._data) - self.read_available

    def write(self, data: Float32) -> int:
        count = min(len(data), self.write_available)
        at = self._written % len(self._data)
        first = min(count, len(self._data) - at)
        self._data[at : at + first] = data[:first]
        self._data[: count - first] = data[first:count]
        self._written += count
        return count

    def readinto(self, data: Float32) -> int:
        count = min(len(data), self.read_available)
        at = self._read % len(self._data)
        first = min(count, len(self._data) - at)
        data[:first] = self._data[at : at + first]
        data[first:count] = self._data[: count - first]
        self._read += count
        return count


class CallbackStream(DeviceStream):
    """A device stream on sounddevice's own classes, where rtmixer cannot be imported."""

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__(spec)
        sounddevice = portaudio()
        if spec.input:
            self._input_ring = _ArrayRingBuffer(spec.ring_frames, spec.input.channels)
        if spec.output:
            self._output_ring = _ArrayRingBuffer(spec.ring_frames, spec.output.channels)
        self._frames = self._underruns = self._overflows = 0
        self._next_probe = 0
        self._playing = False
        make, callback = {
            "duplex": (sounddevice.Stream, self._duplex_callback),
            "input": (sounddevice.InputStream, self._input_callback),
            "output": (sounddevice.OutputStream, self._output_callback),
        }[spec.kind]
        self._stream = make(
            dtype="float32",
            callback=callback,
            finished_callback=self.finished.set,
            **spec.arguments(),
        )

    def service(self) -> None:
        """Do nothing: the callback uses the ring buffers directly."""

    def counters(self) -> Counters:
        """Return the callback's counts."""
        return Counters(self._frames, self._underruns, self._overflows)

    def _duplex_callback(
        self, indata: Float32, outdata: Float32, frames: int, time: Any, status: Any
    ) -> None:
        self._count(frames, status)
        latency = time.outputBufferDacTime - time.inputBufferAdcTime
        if self._frames >= self._next_probe and time.inputBufferAdcTime > 0 and latency > 0:
            self._next_probe = self._frames + self.spec.rate // 10
            self._measured_latency = latency
        self._store_input(indata)
        self._fill_output(outdata)

    def _input_callback(self, indata: Float32, frames: int, time: Any, status: Any) -> None:
        self._time_frame(time.inputBufferAdcTime)
        self._count(frames, status)
        self._store_input(indata)

    def _output_callback(self, outdata: Float32, frames: int, time: Any, status: Any) -> None:
        self._time_frame(time.outputBufferDacTime)
        self._count(frames, status)
        self._fill_output(outdata)

    def _time_frame(self, seconds: float) -> None:
        if self._frames >= self._next_probe and seconds > 0:
            self._next_probe = self._frames + self.spec.rate // 10
            self._timed_frame = TimedFrame(self._frames, seconds)

    def _count(self, frames: int, status: Any) -> None:
        self._frames += frames
        self._underruns += bool(status.input_underflow) + bool(status.output_underflow)
        self._overflows += bool(status.input_overflow) + bool(status.output_overflow)

    def _store_input(self, indata: Float32) -> None:
        assert self._input_ring
        self._overflows += self._input_ring.write(indata) < len(indata)

    def _fill_output(self, outdata: Float32) -> None:
        assert self._output_ring
        played = self._output_ring.readinto(outdata)
        outdata[played:] = 0.0
        empty = played < len(outdata)
        # Count an underrun once, when playback stops, and not for every silent block.
        self._underruns += self._playing and empty and not self._stopping
        self._playing = not empty
