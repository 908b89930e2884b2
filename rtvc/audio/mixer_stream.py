"""A stream whose callback is C (rtmixer): it never waits for the interpreter lock."""

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
    """rtmixer moves sound between the device and PortAudio's ring buffers."""

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__(spec)
        if spec.input:
            size = _FLOAT_BYTES * spec.input.channels
            self._heard = rtmixer.RingBuffer(size, spec.ring_frames)
        if spec.output:
            size = _FLOAT_BYTES * spec.output.channels
            self._said = rtmixer.RingBuffer(size, spec.ring_frames)
        self._lock = threading.Lock()
        self._recording: Any = None
        self._playing: Any = None
        self._full = self._empty = 0
        self._stream = _CLASSES[spec.kind](finished_callback=self.finished.set, **spec.arguments())

    def tend(self) -> None:
        """Queue again the actions that a full or an empty ring has ended."""
        # rtmixer's queues serve one thread each way; the writer and the heartbeat come here.
        with self._lock:
            actions = self._stream.actions
            if self._heard and self._recording not in actions:
                self._full += self._recording is not None
                self._recording = self._stream.record_ringbuffer(self._heard)
            if self._playing not in actions:
                self._empty += self._playing is not None and not self._stopping
                self._playing = None
                if self._said and self._said.read_available:
                    self._playing = self._stream.play_ringbuffer(self._said)

    def counters(self) -> Counters:
        """Read the callback's own counters, and add the actions that had ended."""
        stats = self._stream._state.stats  # they have no public reader while the stream runs
        return Counters(
            frames=stats.blocks * self.spec.block,
            underflows=stats.input_underflows + stats.output_underflows + self._empty,
            overflows=stats.input_overflows + stats.output_overflows + self._full,
        )
