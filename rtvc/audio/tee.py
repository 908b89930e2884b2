"""An endpoint that also copies its audio: to a recording, a monitor, a spectrum, a check."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from rtvc._types import Float32
from rtvc.audio.delay_monitor import DelayMonitor
from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.audio.fill_meter import FillMeter
from rtvc.audio.forwarding import ForwardingEndpoint
from rtvc.audio.monitor import Monitor
from rtvc.audio.recording import Recording, Side
from rtvc.audio.spectrum import Spectrum
from rtvc.stats import DeviceHealth

_SETTLED_BLOCKS = 10
"""Input blocks after a start until the queues have their nominal length."""
_SHORTEST_BLOCK = ENGINE_RATE // 100
"""Shorter writes are concealment."""


class Tap(Protocol):
    """Receives copies of input and output."""

    def push(self, side: Side, samples: Float32) -> None:
        """Receive input that was read, or output that was queued; must not block."""


class TeeEndpoint(ForwardingEndpoint):
    """An `Endpoint` that forwards to another one and copies its input and output.

    Parameters
    ----------
    inner
        The endpoint to forward to.
    monitor
        Plays a copy of the output on a second device; None for no monitor.
    flight
        Receives input and output as long as the endpoint exists; None for no such receiver.

    Attributes
    ----------
    recording
        Writes copies of input and output to files; None while nothing is recorded.
    delay_monitor
        Keeps the newest input and output, to compare the latency with the stated one.
    on_block
        Called after each input block.
    """

    def __init__(
        self, inner: Endpoint, monitor: Monitor | None = None, flight: Tap | None = None
    ) -> None:
        super().__init__(inner)
        self.monitor = monitor
        self.recording: Recording | None = None
        self.delay_monitor = DelayMonitor()
        self.on_block: Callable[[], object] = lambda: None
        self._available = 0
        self._blocks = 0
        self._input_fill, self._output_fill = FillMeter(), FillMeter()
        self._flight = flight
        self._spectrum = Spectrum()
        self._written = 0
        self._writing = False

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Start the endpoint and the monitor."""
        self.inner.start(tick, delay)
        self._start_monitor()

    def reconnect(self) -> bool:
        """Try to reopen a lost device; return whether it succeeded."""
        # Reconnecting may restart PortAudio, which closes the monitor's stream.
        if self.monitor is not None:
            self.monitor.stop(drain=False)
        connected = self.inner.reconnect()
        if connected:
            self._blocks = 0
            self.delay_monitor.restart()
            self._start_monitor()
        return connected

    def stop(self) -> None:
        """Play the queued output, then close."""
        self._stop_monitor()
        self.inner.stop()

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until `samples` input samples are available; return how many are."""
        self._available = self.inner.wait(samples, timeout)
        return self._available

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples."""
        queued = self.inner.queued()
        block = self.inner.read(samples)
        self._available -= samples
        self._blocks += 1
        if self._blocks > _SETTLED_BLOCKS:
            self._input_fill.add(self._available / ENGINE_RATE)
        self.delay_monitor.push_input(block, self._available, queued)
        self.on_block()
        recording = self.recording
        if recording is not None:
            recording.push("input", block)
        if self._flight is not None:
            self._flight.push("input", block)
        return block

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue output, and copy it to the spectrum, the recording and the monitor."""
        recording, monitor = self.recording, self.monitor
        if self._blocks > _SETTLED_BLOCKS and len(samples) >= _SHORTEST_BLOCK:
            self._output_fill.add(self.inner.queued() / ENGINE_RATE)
        self.delay_monitor.push_output(samples)
        self._writing = True
        self.inner.write(samples, tail)
        self._written += samples.size
        self._writing = False
        self._spectrum.push(samples)
        if recording is not None:
            recording.push("output", samples)
        if self._flight is not None:
            self._flight.push("output", samples)
        if monitor is not None:
            monitor.push(samples)

    def health(self) -> DeviceHealth:
        """Return the underrun and overflow counts and the ring buffers' fill."""
        return dataclasses.replace(
            self.inner.health(),
            input_fill_median=self._input_fill.median,
            input_fill_max=self._input_fill.highest,
            output_fill_median=self._output_fill.median,
            output_fill_min=self._output_fill.lowest,
        )

    def progress(self) -> tuple[int, int] | None:
        """Return the number of samples written, and how many of them wait for the device.

        None if a write happened in between, since the two numbers then do not match.
        """
        before = self._written
        waiting = self.inner.queued()
        if self._writing or self._written != before:
            return None
        return before, waiting

    def spectrum(self) -> tuple[float, ...]:
        """Return the level in dBFS of each band of the output that plays now, lowest first."""
        return self._spectrum.bands(self.inner.queued())

    def _start_monitor(self) -> None:
        if self.monitor is not None:
            self.monitor.start(self.progress)

    def _stop_monitor(self) -> None:
        if self.monitor is not None:
            self.monitor.stop()
