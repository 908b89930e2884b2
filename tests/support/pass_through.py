"""A minimal engine that copies its input to its output."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from tests.support.sound_server import in_real_time


@dataclass
class PassThrough:
    """Copies from an endpoint's input to its output in its own thread.

    Attributes
    ----------
    block, headroom
        Samples per read, and samples that wait at the output at that time.
    """

    endpoint: Endpoint
    block: int = 4800
    headroom: int = 2880
    ticks: int = 0
    error: Exception | None = None
    ahead: list[int] = field(default_factory=list)

    def __enter__(self) -> PassThrough:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        with in_real_time():
            self.endpoint.start(self._tick, 0)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(5)
        self.endpoint.stop()

    @property
    def reported(self) -> float:
        """The latency from microphone to speaker in seconds, as a program would report it."""
        return sum(self.endpoint.latency) + (self.block + self.headroom) / ENGINE_RATE

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _tick(self) -> None:
        self.ticks += 1

    def _run(self) -> None:
        try:
            # The first block only synchronises to the input; silence replaces it.
            self.endpoint.wait(self.block, 2.0)
            self.endpoint.read(self.block)
            self.endpoint.write(np.zeros(self.block + self.headroom, np.float32))
            while not self._ending.is_set():
                if self.endpoint.wait(self.block, 0.5) >= self.block:
                    self.ahead.append(self.endpoint.queued())
                    self.endpoint.write(self.endpoint.read(self.block))
        except Exception as error:
            self.error = error
