"""An endpoint that plays silence instead of its output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import Endpoint
from rtvc.stats import DeviceHealth


class SilentOutput:
    """An `Endpoint` that forwards to another one, but plays silence of the same length.

    The engine works as usual, and nobody hears it.

    Parameters
    ----------
    inner
        The endpoint to forward to.
    """

    def __init__(self, inner: Endpoint) -> None:
        self._inner = inner
        self.realtime = inner.realtime
        self.wall_clock = inner.wall_clock

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Start the endpoint."""
        self._inner.start(tick, delay)

    def reconnect(self) -> bool:
        """Try to reopen a lost device; return whether it succeeded."""
        return self._inner.reconnect()

    def stop(self) -> None:
        """Play the queued silence, then close."""
        self._inner.stop()

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until `samples` input samples are available; return how many are."""
        return self._inner.wait(samples, timeout)

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples."""
        return self._inner.read(samples)

    def queued(self) -> int:
        """Return the number of output samples that wait for the device."""
        return self._inner.queued()

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue silence of the same length; nothing is played after it either."""
        self._inner.write(np.zeros_like(samples))

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while no output was queued."""
        return self._inner.take_missed()

    def now(self) -> float:
        """Return the endpoint's time in seconds."""
        return self._inner.now()

    @property
    def finished(self) -> bool:
        """Whether the source has ended and has been read completely."""
        return self._inner.finished

    @property
    def latency(self) -> tuple[float, float]:
        """Latency of input and output in seconds, without the engine."""
        return self._inner.latency

    def health(self) -> DeviceHealth:
        """Return the underrun and overflow counts and the ring buffers' fill."""
        return self._inner.health()
