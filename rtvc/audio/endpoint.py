"""What the engine needs of any source and sink of sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rtvc._types import Float32
from rtvc.errors import RtvcError
from rtvc.stats import DeviceHealth

ENGINE_RATE = 48_000
"""Samples per second between an endpoint and the engine; a device at another rate
is converted at the endpoint's edge. It has whole samples in a 10 ms frame."""


class DeviceLostError(RtvcError):
    """The device went away while it was in use."""


class Endpoint(Protocol):
    """A microphone and a speaker: a device, a simulated device, or two sound files.

    One thread (the engine) calls `wait`, `read` and `discard`; writes come from
    the engine and from its watchdog, never at the same time. All counts are
    mono samples at `ENGINE_RATE`.
    """

    realtime: bool
    """Whether there are deadlines: sound that is not there in time is missed."""
    wall_clock: bool
    """Whether time passes while the engine is busy with something else."""

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Begin to move sound.

        Parameters
        ----------
        tick
            To be called every few milliseconds of the endpoint's own time, from
            any thread, while it runs: the engine's watchdog. An endpoint without
            deadlines never calls it.
        delay
            Samples by which what is written lags what is read: an endpoint
            without deadlines drops as many at the start, and supplies as much
            silence at the end.

        Raises
        ------
        RtvcError
            If the device cannot be opened: a sentence with what to do.
        """

    def reconnect(self) -> bool:
        """Try to open a lost device again, for at most about a second; return whether it is back.

        Both rings are empty afterwards.
        """

    def stop(self) -> None:
        """Let queued output play out (at most half a second), then close; safe to repeat."""

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until so many input samples are there, and return how many are.

        Returns fewer after `timeout` seconds. A source that has ended goes on as
        silence, so that the last block is whole, until it is `finished`.

        Raises
        ------
        DeviceLostError
            If the device went away.
        """

    def read(self, samples: int) -> Float32:
        """Take exactly so many input samples, which must be there."""

    def queued(self) -> int:
        """Return how many output samples wait for the device."""

    def write(self, samples: Float32) -> None:
        """Queue output; what does not fit into the bounded ring is dropped and counted."""

    def now(self) -> float:
        """Return the endpoint's time in seconds: a monotonic or a virtual clock."""

    @property
    def finished(self) -> bool:
        """Whether the source has ended and everything has been read; a device never is."""

    @property
    def latency(self) -> tuple[float, float]:
        """Delay of the device's own input and output side in seconds, resamplers included."""

    def health(self) -> DeviceHealth:
        """Return counters and ring fills."""
