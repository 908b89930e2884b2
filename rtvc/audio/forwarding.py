"""The part of an endpoint that only forwards to another one."""

from __future__ import annotations

from collections.abc import Callable

from rtvc._types import Float32
from rtvc.audio.endpoint import Endpoint
from rtvc.stats import DeviceHealth


class ForwardingEndpoint:
    """An `Endpoint` that forwards everything to another one; subclasses change some of it.

    Parameters
    ----------
    inner
        The endpoint to forward to.
    """

    def __init__(self, inner: Endpoint) -> None:
        self.inner = inner
        self.realtime = inner.realtime
        self.wall_clock = inner.wall_clock

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Start the endpoint."""
        self.inner.start(tick, delay)

    def reconnect(self) -> bool:
        """Try to reopen a lost device; return whether it succeeded."""
        return self.inner.reconnect()

    def stop(self) -> None:
        """Play the queued output, then close."""
        self.inner.stop()

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until `samples` input samples are available; return how many are."""
        return self.inner.wait(samples, timeout)

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples."""
        return self.inner.read(samples)

    def queued(self) -> int:
        """Return the number of output samples that wait for the device."""
        return self.inner.queued()

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue output."""
        self.inner.write(samples, tail)

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while no output was queued."""
        return self.inner.take_missed()

    def excess_latency(self) -> int:
        """Return by how many samples the devices are later than at first."""
        return self.inner.excess_latency()

    def now(self) -> float:
        """Return the endpoint's time in seconds."""
        return self.inner.now()

    @property
    def finished(self) -> bool:
        """Whether the source has ended and has been read completely."""
        return self.inner.finished

    @property
    def latency(self) -> tuple[float, float]:
        """Latency of input and output in seconds, without the engine."""
        return self.inner.latency

    def health(self) -> DeviceHealth:
        """Return the underrun and overflow counts and the ring buffers' fill."""
        return self.inner.health()
