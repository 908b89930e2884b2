"""A simulated sound card, for tests with scripted faults and for machines without a sound card."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError
from rtvc.stats import DeviceHealth

_PERIOD = 480
"""Samples per callback."""
_TICK = 120
"""Samples between two calls of the watchdog."""
_RING = 4 * ENGINE_RATE


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the device at a set time.

    Attributes
    ----------
    at
        Seconds since the start.
    kind
        ``"stall"``: the engine's thread does not run;
        ``"gap"``: input samples are lost;
        ``"lost"``: the device is unplugged.
    seconds
        Duration in seconds.
    """

    at: float
    kind: Literal["stall", "gap", "lost"]
    seconds: float


class SimulatedDevice:
    """A duplex device with a given input signal; it stores the output.

    Parameters
    ----------
    source
        (samples,) float32 at `ENGINE_RATE`: the input. Silence follows it.
    wall_clock
        True: use real time, as a real device does. False: use a virtual clock that
        advances only while the engine waits, so that a run is fast and reproducible.
    tail
        Seconds of silence after the source until the device is finished.
    faults
        Faults in chronological order. A stall needs the virtual clock.
    drift_ppm
        How much faster the output's clock runs than the input's, in parts per million.
    """

    realtime = True

    def __init__(
        self,
        source: Float32,
        *,
        wall_clock: bool = False,
        tail: float = 0.5,
        faults: Sequence[Fault] = (),
        drift_ppm: float = 0.0,
    ) -> None:
        self._source = np.asarray(source, np.float32)
        self._end = len(source) + round(tail * ENGINE_RATE)
        self.wall_clock = wall_clock
        self._stalls = deque(f for f in faults if f.kind == "stall")
        self._gaps = [_span(f) for f in faults if f.kind == "gap"]
        self._losses = [_span(f) for f in faults if f.kind == "lost"]
        self._speed = 1.0 + drift_ppm * 1e-6
        self._lock = threading.Condition()
        self._now = 0
        self._taken = self._supplied = 0
        self._input = np.zeros(0, np.float32)
        self._output: deque[Float32] = deque()
        self._queued = 0
        self._frames_due = 0
        self._played: list[Float32] = []
        self._tail = np.zeros(0, np.float32)
        self._missed = 0
        self._underruns = self._overflows = 0
        self._lost = False
        self._running = False
        self._tick: Callable[[], None] = lambda: None
        self._clock_thread: threading.Thread | None = None

    @property
    def played(self) -> Float32:
        """The output since the start, (samples,) float32, with zeros at underruns."""
        with self._lock:
            return np.concatenate([np.zeros(0, np.float32), *self._played])

    # The Endpoint protocol.

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Start the clock; `delay` is not used, as with any live device."""
        self._tick = tick
        self._running = True
        if self.wall_clock:
            self._clock_thread = threading.Thread(
                target=self._run_clock, name="simulated device", daemon=True
            )
            self._clock_thread.start()

    def stop(self) -> None:
        """Play the queued output, then stop."""
        if not self._running:
            return
        self._running = False
        if self._clock_thread is not None:
            self._clock_thread.join()
            self._clock_thread = None
        while self._queued and not self._lost:
            self._advance(_PERIOD, call_tick=False)

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until `samples` input samples are available; return how many are.

        Raises
        ------
        DeviceLostError
            During a ``"lost"`` fault, and after it until `reconnect`.
        """
        limit = self._now + round(timeout * ENGINE_RATE)
        while True:
            with self._lock:
                if self._lost:
                    raise DeviceLostError("The simulated device was unplugged.")
                have = len(self._input)
                if have >= samples or self._now >= limit or not self._running or self.finished:
                    return have
                if self.wall_clock:
                    self._lock.wait(0.05)
                    continue
            self._advance(_TICK)

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples; they must be available."""
        with self._lock:
            if len(self._input) < samples:
                raise ValueError(
                    f"{samples} samples were requested, but {len(self._input)} are available"
                )
            block, self._input = self._input[:samples], self._input[samples:]
            self._taken += samples
        while self._stalls and self._stalls[0].at <= self.now():
            self.pass_time(self._stalls.popleft().seconds)
        return block

    def pass_time(self, seconds: float) -> None:
        """Advance the virtual clock by `seconds`, as during a step that takes this long."""
        self._advance(round(seconds * ENGINE_RATE))

    def queued(self) -> int:
        """Return the number of output samples that wait for the device."""
        return self._queued

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue output; drops what exceeds 4 s and counts an overflow."""
        with self._lock:
            room = _RING - self._queued
            if len(samples) > room:
                self._overflows += 1
                samples = samples[:room]
            self._output.append(samples.astype(np.float32))
            self._queued += len(samples)
            self._tail = np.zeros(0, np.float32) if tail is None else tail

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while no output was queued."""
        with self._lock:
            missed, self._missed = self._missed, 0
        return missed

    def excess_latency(self) -> int:
        """Return 0: the device's latency does not change."""
        return 0

    def now(self) -> float:
        """Return the device's time in seconds."""
        return self._now / ENGINE_RATE

    def reconnect(self) -> bool:
        """Try to reopen the device; return whether it succeeded."""
        if self.wall_clock:
            time.sleep(0.05)
        else:
            self._advance(_PERIOD)
        with self._lock:
            if self._lost and not self._within(self._losses):
                self._lost = False
                self._taken += len(self._input)
                self._input = np.zeros(0, np.float32)
                self._output.clear()
                self._queued = self._missed = 0
                self._tail = np.zeros(0, np.float32)
            return not self._lost

    @property
    def finished(self) -> bool:
        """Whether the source and the silence after it have been read."""
        return self._now >= self._end and self._taken >= self._supplied

    @property
    def latency(self) -> tuple[float, float]:
        """Input and output latency in seconds: zero."""
        return 0.0, 0.0

    def health(self) -> DeviceHealth:
        """Return the underrun and overflow counts and the buffers' fill."""
        return DeviceHealth(
            underruns=self._underruns,
            overflows=self._overflows,
            input_fill=len(self._input) / ENGINE_RATE,
            output_fill=self._queued / ENGINE_RATE,
        )

    # The device's clock and callback.

    def _run_clock(self) -> None:
        began = time.monotonic()
        while self._running:
            time.sleep(_TICK / ENGINE_RATE)
            self._advance(round((time.monotonic() - began) * ENGINE_RATE) - self._now)

    def _advance(self, samples: int, *, call_tick: bool = True) -> None:
        """Advance the clock tick by tick."""
        target = self._now + samples
        while self._now < target:
            with self._lock:
                step = min(_TICK - self._now % _TICK, target - self._now)
                self._now += step
                if self._now % _PERIOD == 0:
                    self._run_callback()
            # Without the lock, since the watchdog may call `write`.
            if call_tick and self._now % _TICK == 0:
                self._tick()

    def _run_callback(self) -> None:
        """Exchange one period of input and output."""
        if self._within(self._losses):
            self._lost = True
        if self._lost:
            return
        at = self._now - _PERIOD
        captured = np.zeros(_PERIOD, np.float32)
        piece = self._source[at : at + _PERIOD]
        captured[: len(piece)] = piece
        if self._within(self._gaps):
            self._overflows += 1
        else:
            self._input = np.concatenate([self._input, captured])
            if at < self._end:
                self._supplied += _PERIOD
        if len(self._input) > _RING:
            self._overflows += 1
            self._taken += len(self._input) - _RING
            self._input = self._input[-_RING:]
        due = int(self._now * self._speed) - self._frames_due
        self._frames_due += due
        available = min(due, self._queued)
        if available < due and self._played:
            self._underruns += 1
        if available or self._played:
            self._played.append(self._pop_output(available, due))
        self._lock.notify_all()

    def _pop_output(self, available: int, due: int) -> Float32:
        self._queued -= available
        out = np.zeros(due, np.float32)
        filled = 0
        while filled < available:
            piece = self._output.popleft()
            used = min(len(piece), available - filled)
            out[filled : filled + used] = piece[:used]
            filled += used
            if used < len(piece):
                self._output.appendleft(piece[used:])
        tail, self._tail = self._tail[: due - filled], self._tail[due - filled :]
        out[filled : filled + len(tail)] = tail
        if self._played:
            self._missed += due - filled
        return out

    def _within(self, spans: list[tuple[int, int]]) -> bool:
        return any(start <= self._now < end for start, end in spans)


def _span(fault: Fault) -> tuple[int, int]:
    return round(fault.at * ENGINE_RATE), round((fault.at + fault.seconds) * ENGINE_RATE)
