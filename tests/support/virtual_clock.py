"""A virtual clock that a test advances, for simulated devices and for the panel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from rtvc.audio.simulated import Fault, SimulatedDevice

_RATE = 48_000
_PERIOD_S = 0.01
"""Duration of a device's callback period."""
_PATIENCE_S = 5.0
"""Real time to wait for an engine to read its input."""


class VirtualClock:
    """A clock in seconds that advances together with its devices."""

    def __init__(self) -> None:
        self._periods = 0
        self._devices: list[PacedDevice] = []
        self._repeated: list[_Repeated] = []

    def __call__(self) -> float:
        return self._periods * _PERIOD_S

    def every(self, seconds: float, act: Callable[[], object], wanted: Callable[[], bool]) -> None:
        """Call `act` every `seconds` while `wanted` returns True."""
        self._repeated.append(_Repeated(seconds, self() + seconds, act, wanted))

    def pass_time(self, seconds: float) -> None:
        """Advance the clock; the engines process each period before the next one starts."""
        for _ in range(round(seconds / _PERIOD_S)):
            self._periods += 1
            for device in tuple(self._devices):
                device.move()
            for repeated in tuple(self._repeated):
                if not repeated.wanted():
                    self._repeated.remove(repeated)
                elif self() >= repeated.due:
                    repeated.due += repeated.seconds
                    repeated.act()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Advance the clock from a thread while the block waits; cancels all `every` calls."""
        self._repeated.clear()
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(0.001):
                self.pass_time(_PERIOD_S)

        thread = threading.Thread(target=run, name="virtual clock")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def join(self, device: PacedDevice) -> None:
        """Add a device to the clock."""
        self._devices.append(device)

    def leave(self, device: PacedDevice) -> None:
        """Remove a device from the clock; safe to repeat."""
        if device in self._devices:
            self._devices.remove(device)


class _Repeated:
    def __init__(
        self,
        seconds: float,
        due: float,
        act: Callable[[], object],
        wanted: Callable[[], bool],
    ) -> None:
        self.seconds, self.due, self.act, self.wanted = seconds, due, act, wanted


class PacedDevice(SimulatedDevice):
    """A device on a `VirtualClock` that never runs ahead of the engine.

    To the engine it behaves as a device in real time: time passes while a voice is loaded, and
    the device can be lost. But the engine is never late.
    """

    def __init__(
        self,
        source: NDArray[np.float32],
        clock: VirtualClock,
        *,
        faults: Sequence[Fault] = (),
    ) -> None:
        super().__init__(source, wall_clock=True, faults=faults)
        self._clock = clock
        self._wanted: tuple[int, int] | None = None
        """The samples that the engine waits for, and its timeout in samples."""
        self._abandoned = False
        """Whether the engine has ended and does not read any more."""
        self._moving = threading.Lock()

    def start(self, tick: Callable[[], None], delay: int) -> None:
        self._tick = tick
        self._running = True
        self._clock.join(self)

    def stop(self) -> None:
        self._clock.leave(self)
        with self._moving:
            super().stop()

    def wait(self, samples: int, timeout: float) -> int:
        with self._lock:
            self._wanted = samples, self._now + round(timeout * _RATE)
            self._abandoned = False
            self._lock.notify_all()
            try:
                return super().wait(samples, timeout)
            finally:
                self._wanted = None

    def reconnect(self) -> bool:
        with self._lock:
            self._lock.wait(0.005)
            lost = self._within(self._losses)
        return not lost and super().reconnect()

    def move(self) -> None:
        """Advance by one period, and wait until the engine has read all available input."""
        with self._moving:
            if self._running:
                self.pass_time(_PERIOD_S)
        with self._lock:
            if not self._abandoned:
                self._abandoned = not self._lock.wait_for(self._settled, _PATIENCE_S)

    def _settled(self) -> bool:
        if self._lost or not self._running:
            return True
        if self._wanted is None:
            return False
        samples, limit = self._wanted
        return len(self._input) < samples and self._now < limit
