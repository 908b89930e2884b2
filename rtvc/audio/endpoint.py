"""The interface between the engine and a source and sink of audio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rtvc._types import Float32
from rtvc.errors import RtvcError
from rtvc.stats import DeviceHealth

ENGINE_RATE = 48_000
"""Sample rate in Hz between an endpoint and the engine.

The endpoint converts a device or file at another rate. A 10 ms frame is a whole
number of samples at this rate.
"""


class DeviceLostError(RtvcError):
    """The device disappeared or stopped while it was in use."""


class Endpoint(Protocol):
    """An input and an output: live devices, a simulated device, or two sound files.

    One thread (the engine's) calls `wait` and `read`. The engine and its watchdog
    call `write`, never at the same time. All counts are mono samples at
    `ENGINE_RATE`.
    """

    realtime: bool
    """Whether there are deadlines: output that is late causes an underrun."""
    wall_clock: bool
    """Whether time passes while the engine computes."""

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Open the devices or files and start the streams.

        Parameters
        ----------
        tick
            The engine's watchdog. While the endpoint runs, it calls this every few
            milliseconds of its own time, from any thread. An endpoint without
            deadlines never calls it.
        delay
            The engine's algorithmic delay from input to output, in samples. An
            endpoint without deadlines compensates it: it drops this many samples
            at the start and supplies as many samples of silence at the end.

        Raises
        ------
        RtvcError
            If a device or file cannot be opened.
        """

    def reconnect(self) -> bool:
        """Try for about 0.2 s to reopen a lost device; return whether it succeeded.

        Both ring buffers are empty afterwards.
        """

    def stop(self) -> None:
        """Play the queued output (at most half a second), then close; safe to repeat."""

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until `samples` input samples are available; return how many are.

        Returns fewer after `timeout` seconds. After the end of a source come zeros,
        so that the last block is complete, until the endpoint is `finished`.

        Raises
        ------
        DeviceLostError
            If the device was lost.
        """

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples, (samples,) float32; they must be available."""

    def queued(self) -> int:
        """Return the number of output samples that wait for the device."""

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue (n,) float32 for output; drops and counts what the ring buffer cannot hold.

        Parameters
        ----------
        samples
            The output.
        tail
            (n,) float32 that a device plays after it if there is nothing else by then, without
            the help of any thread of this program; the next output replaces it. It is not
            counted as queued.
        """

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while no output was queued.

        They were the tail of the last `write`, and silence after it.
        """

    def excess_latency(self) -> int:
        """Return by how many samples the devices are later than after the first start.

        It is negative where they are earlier, and 0 where that is not known. The engine keeps as
        much less output queued, so the sound is not later.
        """

    def now(self) -> float:
        """Return the endpoint's time in seconds, from a monotonic or a virtual clock."""

    @property
    def finished(self) -> bool:
        """Whether the source has ended and has been read completely; never true of a device."""

    @property
    def latency(self) -> tuple[float, float]:
        """Latency of input and output in seconds, resamplers included, without the engine."""

    def health(self) -> DeviceHealth:
        """Return the underrun and overflow counts and the ring buffers' fill."""
