"""Recording what is played: a tap between an engine and its endpoint."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from rtvc.audio.endpoint import ENGINE_RATE, Endpoint, Samples
from rtvc.audio.sound_file import SoundSink
from rtvc.errors import RtvcError
from rtvc.stats import DeviceHealth

_INTERVAL_S = 0.1


class Recording:
    """A sound file that grows while it is recorded; written by a thread of its own.

    Parameters
    ----------
    path
        Its extension says the format; it appears under its name when it is whole.

    Attributes
    ----------
    error
        Why the recording has ended by itself, "" while all is well.

    Raises
    ------
    RtvcError
        If the file exists already or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        self._sink = SoundSink(path, ENGINE_RATE)
        self._waiting: deque[Samples] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtvc recording", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """How long it is by now."""
        return self._sink.frames_written / ENGINE_RATE

    def push(self, samples: Samples) -> None:
        """Add samples; never waits."""
        if not self._ending.is_set():
            self._waiting.append(samples.copy())

    def finish(self) -> None:
        """Write what waits, and give the file its name.

        Raises
        ------
        RtvcError
            If it could not be written.
        """
        self._ending.set()
        self._thread.join()
        if self.error:
            raise RtvcError(self.error)
        self._sink.finish()

    def _run(self) -> None:
        try:
            ended = False
            while not ended:
                # Looked at before the last round, so that nothing pushed earlier is left.
                ended = self._ending.wait(_INTERVAL_S)
                while self._waiting:
                    self._sink.write(self._waiting.popleft())
        except RtvcError as error:
            self._ending.set()
            self._sink.discard()
            self.error = str(error)


class TappedEndpoint:
    """An endpoint whose output can be recorded; see `rtvc.audio.endpoint.Endpoint`.

    Parameters
    ----------
    inner
        Does the work.

    Attributes
    ----------
    recording
        Gets all that is written, None while nothing is recorded.
    """

    def __init__(self, inner: Endpoint) -> None:
        self.inner = inner
        self.realtime = inner.realtime
        self.wall_clock = inner.wall_clock
        self.recording: Recording | None = None

    def start(self, tick: Callable[[], None], delay: int) -> None:
        """Begin to move sound."""
        self.inner.start(tick, delay)

    def reconnect(self) -> bool:
        """Try to open a lost device again; return whether it is back."""
        return self.inner.reconnect()

    def stop(self) -> None:
        """Play what is queued, then close."""
        self.inner.stop()

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until so many input samples are there, and return how many are."""
        return self.inner.wait(samples, timeout)

    def read(self, samples: int) -> Samples:
        """Take exactly so many input samples."""
        return self.inner.read(samples)

    def queued(self) -> int:
        """Return how many output samples wait for the device."""
        return self.inner.queued()

    def write(self, samples: Samples) -> None:
        """Queue output, and record it."""
        recording = self.recording
        if recording is not None:
            recording.push(samples)
        self.inner.write(samples)

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
