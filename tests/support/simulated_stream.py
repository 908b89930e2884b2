"""A simulated speaker with the interface of a real device stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from rtvc._types import Float32
from rtvc.audio.streams import Counters, DeviceStream, Port, StreamSpec


class SimulatedSpeaker(DeviceStream):
    """Plays a block at each period of its clock, and stores the output.

    Parameters
    ----------
    rate
        Sample rate in Hz.
    clock
        Returns the time in seconds.
    drift_ppm
        How much faster its sample clock runs than `clock`, in parts per million.
    """

    def __init__(
        self,
        rate: int = 48_000,
        clock: Callable[[], float] = time.monotonic,
        drift_ppm: float = 0.0,
    ) -> None:
        super().__init__(StreamSpec(rate, rate // 100, output=Port(0, 2)))
        self._clock = clock
        self._speed = rate * (1 + drift_ppm * 1e-6)
        self._began: float | None = None
        self._frames = 0
        self._ring = np.zeros(0, np.float32)
        self._pieces: list[np.ndarray] = []
        self._lock = threading.Lock()
        self.dry = 0
        self.opened = True

    @property
    def played(self) -> np.ndarray:
        """One channel of the output since the start, with zeros at underruns."""
        self.service()
        with self._lock:
            return np.concatenate([np.zeros(0, np.float32), *self._pieces])

    def unplug(self) -> None:
        self.finished.set()

    @property
    def active(self) -> bool:
        return self.opened and not self.finished.is_set()

    @property
    def latency(self) -> tuple[float, float]:
        return 0.0, 0.010

    def start(self) -> None:
        self._began = self._clock()

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self.service()
        self.opened = False

    @property
    def queued(self) -> int:
        self.service()
        return len(self._ring)

    def write(self, frames: Float32, tail: Float32 | None = None) -> int:
        assert frames.dtype == np.float32
        assert np.array_equal(frames[:, 0], frames[:, 1])
        self.service()
        with self._lock:
            self._ring = np.concatenate([self._ring, frames[:, 0]])
        return len(frames)

    def service(self) -> None:
        if self._began is None or not self.active:
            return
        with self._lock:
            due = int((self._clock() - self._began) * self._speed) // self.spec.block
            while self._frames < due * self.spec.block:
                piece, self._ring = self._ring[: self.spec.block], self._ring[self.spec.block :]
                self.dry += len(piece) < self.spec.block
                self._pieces.append(np.pad(piece, (0, self.spec.block - len(piece))))
                self._frames += self.spec.block

    def counters(self) -> Counters:
        self.service()
        return Counters(self._frames, self.dry, 0)
