"""A tap between an engine and its endpoint: what is played is recorded, shown and heard twice."""

from __future__ import annotations

from collections.abc import Callable

from rtvc._types import Float32
from rtvc.audio.endpoint import Endpoint
from rtvc.audio.monitor import Monitor
from rtvc.audio.recording import Recording
from rtvc.audio.spectrum import Spectrum
from rtvc.stats import DeviceHealth


class TeeEndpoint:
    """An endpoint whose output goes to others, too; see `rtvc.audio.endpoint.Endpoint`.

    Parameters
    ----------
    inner
        Does the work.
    monitor
        Plays all that is written on another device, None for nothing.

    Attributes
    ----------
    recording
        Gets all that is written, None while nothing is recorded.
    """

    def __init__(self, inner: Endpoint, monitor: Monitor | None = None) -> None:
        self.inner = inner
        self.realtime = inner.realtime
        self.wall_clock = inner.wall_clock
        self.monitor = monitor
        self.recording: Recording | None = None
        self._spectrum = Spectrum()
        self._written = 0
        self._writing = False

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Begin to move sound."""
        self.inner.start(tick, delay)
        self._start_monitor()

    def reconnect(self) -> bool:
        """Try to open a lost device again; return whether it is back."""
        # The sound system is started anew, which would pull the monitor's stream from under it.
        self._stop_monitor()
        back = self.inner.reconnect()
        if back:
            self._start_monitor()
        return back

    def stop(self) -> None:
        """Play what is queued, then close."""
        self._stop_monitor()
        self.inner.stop()

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until so many input samples are there, and return how many are."""
        return self.inner.wait(samples, timeout)

    def read(self, samples: int) -> Float32:
        """Take exactly so many input samples."""
        return self.inner.read(samples)

    def queued(self) -> int:
        """Return how many output samples wait for the device."""
        return self.inner.queued()

    def write(self, samples: Float32) -> None:
        """Queue output, and hand it on."""
        recording, monitor = self.recording, self.monitor
        self._writing = True
        self.inner.write(samples)
        self._written += samples.size
        self._writing = False
        self._spectrum.push(samples)
        if recording is not None:
            recording.push(samples)
        if monitor is not None:
            monitor.push(samples)

    def now(self) -> float:
        """Return the endpoint's time in seconds."""
        return self.inner.now()

    @property
    def finished(self) -> bool:
        """Whether the source has ended and everything has been read."""
        return self.inner.finished

    @property
    def latency(self) -> tuple[float, float]:
        """Delay of the device's two sides in seconds."""
        return self.inner.latency

    def health(self) -> DeviceHealth:
        """Return counters and ring fills."""
        return self.inner.health()

    def progress(self) -> tuple[int, int] | None:
        """Return how many samples were written and how many of them wait.

        None if a write got in between, for then the two do not belong together.
        """
        before = self._written
        waiting = self.inner.queued()
        if self._writing or self._written != before:
            return None
        return before, waiting

    def spectrum(self) -> tuple[float, ...]:
        """Return the level in dBFS of each band of what is heard now, the lowest first."""
        return self._spectrum.bands(self.inner.queued())

    def _start_monitor(self) -> None:
        if self.monitor is not None:
            self.monitor.start(self.progress)

    def _stop_monitor(self) -> None:
        if self.monitor is not None:
            self.monitor.stop()
