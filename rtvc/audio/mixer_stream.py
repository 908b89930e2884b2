"""A device stream whose callback is C code (rtmixer) and never waits for the interpreter lock."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import rtmixer

from rtvc._types import Float32
from rtvc.audio.stream_times import TimedFrame
from rtvc.audio.streams import Counters, DeviceStream, StreamSpec
from rtvc.audio.tail_ring import TailRing

_CLASSES = {
    "duplex": rtmixer.MixerAndRecorder,
    "input": rtmixer.Recorder,
    "output": rtmixer.Mixer,
}
_FLOAT_BYTES = 4
_FADE_S = 0.005
_PROBE_S = 0.1
"""Time between two measurements of the latency, or two timed frames."""
_LONGEST_DRAIN_S = 0.05
"""Longest wait until a device has played a fade."""


class MixerStream(DeviceStream):
    """A device stream in which rtmixer copies between the device and PortAudio's ring buffers."""

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__(spec)
        self._lock = threading.Lock()
        self._record_action: Any = None
        self._play_action: Any = None
        self._tail_ring: TailRing | None = None
        self._probes: tuple[Any, Any] | None = None
        self._probe: tuple[Any, int] | None = None
        self._next_probe = 0.0
        self._input_full = self._output_empty = 0
        self._stream = _CLASSES[spec.kind](finished_callback=self.finished.set, **spec.arguments())
        # Only now: a device that is away is tried often, and each ring is up to a megabyte.
        if spec.input:
            size = _FLOAT_BYTES * spec.input.channels
            self._input_ring = rtmixer.RingBuffer(size, spec.ring_frames)
        if spec.output:
            self._tail_ring = _tail_ring(spec.ring_frames, spec.output.channels)

    def start(self) -> None:
        """Start the callback, and measure the latency again."""
        with self._lock:  # a measurement that has begun would contain the interruption
            self._probes, self._probe, self._next_probe = None, None, 0.0
            self._measured_latency = self._timed_frame = None
        super().start()

    def service(self) -> None:
        """Queue again the rtmixer actions that ended at a full or an empty ring buffer."""
        # rtmixer's command queue allows one thread; the writer and the service thread call this.
        with self._lock:
            actions = self._stream.actions
            if self._input_ring and self._record_action not in actions:
                self._input_full += self._record_action is not None
                self._record_action = self._stream.record_ringbuffer(self._input_ring)
            if (ring := self._tail_ring) is not None:
                ended = self._play_action is not None and self._play_action not in actions
                self._output_empty += ring.observe(self._frames, ended) and not self._stopping
                if self._play_action not in actions:
                    self._play_action = None
                    if ring.ring.read_available:
                        self._play_action = self._stream.play_ringbuffer(ring.ring)
            if self.spec.input and self.spec.output:
                self._measure(actions, self.spec.input.channels, self.spec.output.channels)
            else:
                self._time_frame(actions)

    def _measure(self, actions: Any, inputs: int, outputs: int) -> None:
        """Measure the latency: record and play a frame; the callback notes the time of each.

        The frame played is silent and is added to the output, which it does not change.
        """
        if self._probes and not any(action in actions for action in self._probes):
            recorded, played = self._probes
            self._probes = None
            latency = played.actual_time - recorded.actual_time
            # Some devices pass no times.
            if recorded.actual_time > 0 and latency > 0:
                self._measured_latency = latency
        now = time.monotonic()
        if self._probes is None and now >= self._next_probe:
            self._next_probe = now + _PROBE_S
            self._probes = (
                self._stream.record_buffer(np.zeros((1, inputs), np.float32), inputs),
                self._stream.play_buffer(np.zeros((1, outputs), np.float32), outputs),
            )

    def _time_frame(self, actions: Any) -> None:
        """Time the first frame of a callback, by recording or playing one as `_measure` does."""
        stats = self._stream._state.stats
        if self._probe and self._probe[0] not in actions:
            probe, before = self._probe
            self._probe = None
            # If the count is still the same, the callback before that one has taken it.
            if probe.actual_time > 0 and int(stats.blocks) > before:
                self._timed_frame = TimedFrame(before * self.spec.block, probe.actual_time)
        now = time.monotonic()
        if self._probe is None and now >= self._next_probe:
            self._next_probe = now + _PROBE_S
            port = self.spec.input or self.spec.output
            assert port
            add = self._stream.record_buffer if self.spec.input else self._stream.play_buffer
            frame = np.zeros((1, port.channels), np.float32)
            before = int(stats.blocks)
            action = add(frame, port.channels)
            # After a callback meanwhile it would not be certain which one takes it. How many
            # come before it is looked at does not matter: some sound servers send two at once.
            if int(stats.blocks) == before:
                self._probe = action, before

    @property
    def queued(self) -> int:
        """Number of output frames that wait to be played."""
        return self._tail_ring.read_available if self._tail_ring else 0

    @property
    def writable(self) -> int:
        """Number of output frames that can be queued."""
        return self._tail_ring.write_available if self._tail_ring else 0

    def write(self, frames: Float32, tail: Float32 | None = None) -> int:
        """Queue (frames, channels) float32; return the number of frames that fitted.

        Parameters
        ----------
        frames
            The output.
        tail
            What the callback plays after it if there is nothing else by then; the next output
            replaces it.
        """
        if self._tail_ring is None or not frames.size:
            return 0
        with self._lock:  # `service` observes the ring
            written = self._tail_ring.write(frames, self._frames, tail)
        self.service()
        return written

    def take_missed(self) -> int:
        """Return the frames that were due since the last call while no output was queued."""
        if self._tail_ring is None:
            return 0
        with self._lock:
            return self._tail_ring.take_missed(self._frames)

    @property
    def _frames(self) -> int:
        return int(self._stream._state.stats.blocks) * self.spec.block

    def restart(self) -> None:
        """Stop and start again; the output fades out before and in afterwards."""
        ring, rate, block = self._tail_ring, self.spec.rate, self.spec.block
        if ring is None or self._play_action is None:  # nothing is being played
            super().restart()
            return
        width = round(_FADE_S * rate)
        device = round(min(sum(self.latency), _LONGEST_DRAIN_S) * rate)
        with self._lock:
            ring.fade_out(2 * block, width, device + 2 * block)
        time.sleep((2 * block + width + device) / rate)
        self._stream.abort()
        with self._lock:
            ring.fade_in(width)
        self.finished.clear()
        self.start()

    def counters(self) -> Counters:
        """Return the callback's counters plus the actions that ended early."""
        stats = self._stream._state.stats  # no public attribute gives them while the stream runs
        return Counters(
            frames=self._frames,
            underruns=stats.input_underflows + stats.output_underflows + self._output_empty,
            overflows=stats.input_overflows + stats.output_overflows + self._input_full,
        )


def _tail_ring(frames: int, channels: int) -> TailRing:
    memory = np.zeros((frames, channels), np.float32)
    return TailRing(memory, rtmixer.RingBuffer(_FLOAT_BYTES * channels, buffer=memory))
