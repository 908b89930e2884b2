"""A device stream whose callback is C code (rtmixer) and never waits for the interpreter lock."""

from __future__ import annotations

import threading
from typing import Any

import rtmixer

from rtvc.audio.streams import Counters, DeviceStream, StreamSpec

_CLASSES = {
    "duplex": rtmixer.MixerAndRecorder,
    "input": rtmixer.Recorder,
    "output": rtmixer.Mixer,
}
_FLOAT_BYTES = 4


class MixerStream(DeviceStream):
    """A device stream in which rtmixer copies between the device and PortAudio's ring buffers."""

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__(spec)
        self._lock = threading.Lock()
        self._record_action: Any = None
        self._play_action: Any = None
        self._input_full = self._output_empty = 0
        self._stream = _CLASSES[spec.kind](finished_callback=self.finished.set, **spec.arguments())
        # Only now: a device that is away is tried often, and each ring is up to a megabyte.
        if spec.input:
            size = _FLOAT_BYTES * spec.input.channels
            self._input_ring = rtmixer.RingBuffer(size, spec.ring_frames)
        if spec.output:
            size = _FLOAT_BYTES * spec.output.channels
            self._output_ring = rtmixer.RingBuffer(size, spec.ring_frames)

    def service(self) -> None:
        """Queue again the rtmixer actions that ended at a full or an empty ring buffer."""
        # rtmixer's command queue allows one thread; the writer and the service thread call this.
        with self._lock:
            actions = self._stream.actions
            if self._input_ring and self._record_action not in actions:
                self._input_full += self._record_action is not None
                self._record_action = self._stream.record_ringbuffer(self._input_ring)
            if self._play_action not in actions:
                self._output_empty += self._play_action is not None and not self._stopping
                self._play_action = None
                if self._output_ring and self._output_ring.read_available:
                    self._play_action = self._stream.play_ringbuffer(self._output_ring)

    def counters(self) -> Counters:
        """Return the callback's counters plus the actions that ended early."""
        stats = self._stream._state.stats  # no public attribute gives them while the stream runs
        return Counters(
            frames=stats.blocks * self.spec.block,
            underruns=stats.input_underflows + stats.output_underflows + self._output_empty,
            overflows=stats.input_overflows + stats.output_overflows + self._input_full,
        )
