"""A device on which one hears oneself, while the main output goes elsewhere.

It is a guest: nothing waits for it, and when it is lost the main output does not notice.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from rtvc._types import Float32
from rtvc.audio.drift import ClockTrim
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.resample import EdgeResampler
from rtvc.audio.stream_watchdog import StreamWatchdog
from rtvc.audio.streams import DeviceStream
from rtvc.errors import RtvcError
from rtvc.system.audio_priority import urge_this_thread, urgent_threads

OFF_DB = -60.0
"""A gain so low is silence."""
SPARE_S = 0.030
"""More sound waits here than at the main output: what this thread may be late by."""
TOLERANCE_S = 0.020
"""By so much the sound that waits may differ from that before some is left out or added."""
_LOOK_S = 1.0
"""What waits is averaged for so long: both devices take their sound in pieces."""
_JOIN = ENGINE_RATE // 200
_TICK_S = 0.0025
_SILENT_S = 0.4
_DRAIN_S = 0.5
_PATIENCE_S = 2.0

OutputPosition = Callable[[], tuple[int, int] | None]
"""Gives how many samples the engine has written, and how many of them wait at the main output."""


class Feed:
    """Brings the engine's sound to a stream with a clock of its own, at a constant distance.

    The main output's clock is what it has taken of the written sound, so both
    devices play the same moment, `SPARE_S` apart.

    Parameters
    ----------
    stream
        The monitor's.
    progress
        See `OutputPosition`.
    """

    def __init__(self, stream: DeviceStream, progress: OutputPosition) -> None:
        self._stream = stream
        self._progress = progress
        self._rate = stream.spec.rate
        self._fifo = SampleFifo()
        self._clocks = ClockTrim()
        self._resampler = EdgeResampler(ENGINE_RATE, self._rate)
        self._gain = 0.0
        self._flowing = False
        self._owed = 0
        self._excess, self._looks, self._since = 0.0, 0, 0.0
        self.corrections = 0
        """Times that sound had to be left out or added at once."""

    def put(self, samples: Float32) -> None:
        """Take (n,) float32 of the engine's."""
        self._fifo.put(samples)

    def move(self, now: float, gain: float) -> None:
        """Hand on what has come; to be called every few milliseconds.

        Parameters
        ----------
        now
            Seconds on a steady clock.
        gain
            Factor for the sound, approached within a piece.
        """
        progress = self._progress()
        if progress is None:
            return
        written, waiting = progress
        played = self._stream.counters().frames / self._rate
        if self._clocks.observe(now, (written - waiting) / ENGINE_RATE, played):
            self._resampler.trim(self._clocks.trim)
        ahead = self._stream.queued / self._rate
        if self._fifo.size and (not self._flowing or not ahead):
            self._begin(now, waiting)
        elif self._flowing and not self._owed:
            self._excess += ahead + (self._fifo.size - waiting) / ENGINE_RATE - SPARE_S
            self._looks += 1
            if now - self._since >= _LOOK_S:
                self._hold(now, self._excess / self._looks)
        if self._owed:
            self._leave_out()
        if self._fifo.size:
            self._write(self._fifo.take(self._fifo.size), gain)

    def _begin(self, now: float, waiting: int) -> None:
        """Begin, or begin again: with as much silence as the distance needs."""
        self.corrections += self._flowing
        self._flowing = True
        self._silence((waiting - self._fifo.size) / ENGINE_RATE + SPARE_S)
        self._look_anew(now)

    def _hold(self, now: float, excess: float) -> None:
        """Bring the distance back at once, where it is further off than a clock drifts."""
        if abs(excess) > TOLERANCE_S:
            self.corrections += 1
            self._silence(-excess)
            self._owed = max(round(excess * ENGINE_RATE), 0)
        self._look_anew(now)

    def _look_anew(self, now: float) -> None:
        self._excess, self._looks, self._since = 0.0, 0, now

    def _leave_out(self) -> None:
        """Drop what is owed of the oldest samples, blending what is before and after it."""
        samples = min(self._owed, self._fifo.size - _JOIN)
        if samples <= 0:
            return
        self._owed -= samples
        before = self._fifo.take(samples)[:_JOIN]
        rest = self._fifo.take(self._fifo.size)
        size = len(before)
        rise = np.linspace(0.0, 1.0, size, dtype=np.float32)
        blended = before * (1 - rise) + rest[:size] * rise
        self._fifo.put(np.concatenate([blended, rest[size:]]))

    def _silence(self, seconds: float) -> None:
        if seconds > 0:
            self._put_out(np.zeros(round(seconds * self._rate), np.float32))
            self._gain = 0.0  # what comes after it fades in

    def _write(self, samples: Float32, gain: float) -> None:
        size = min(_JOIN, samples.size)
        gains = np.full(samples.size, gain, np.float32)
        gains[:size] = np.linspace(self._gain, gain, size)
        self._gain = gain
        self._put_out(self._resampler.process(samples * gains))

    def _put_out(self, mono: Float32) -> None:
        output = self._stream.spec.output
        assert output
        self._stream.write(np.repeat(mono[:, np.newaxis], output.channels, axis=1))


class Monitor:
    """Plays what it is given on a device of its own, on a thread of its own.

    Parameters
    ----------
    name
        The device's, for messages.
    open
        Opens its stream.

    Attributes
    ----------
    gain_db
        How much louder than the main output it is; from `OFF_DB` down it is silent.
    error
        Why it is silent until the next start, "" while all is well.
    """

    def __init__(self, name: str, open: Callable[[], DeviceStream]) -> None:
        self.name = name
        self.gain_db = 0.0
        self.error = ""
        self._open = open
        self._waiting: deque[Float32] = deque()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, progress: OutputPosition) -> None:
        """Begin, in the background, also after a loss."""
        if self._thread is None:
            self.error = ""
            self._ending.clear()
            self._waiting.clear()
            self._thread = threading.Thread(
                target=self._run, args=(progress,), name="rtvc monitor", daemon=True
            )
            self._thread.start()

    def push(self, samples: Float32) -> None:
        """Play (n,) float32 after what was given before; never waits."""
        if not self.error:
            self._waiting.append(samples.copy())

    def stop(self) -> None:
        """Let what waits play out, and close the device; safe to repeat.

        Takes half a second at most, or two where the device never answers.
        """
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_DRAIN_S + _PATIENCE_S)

    def _run(self, progress: OutputPosition) -> None:
        try:
            with urgent_threads():
                stream = self._open()
                stream.start()
        except RtvcError as error:
            self._fail(f"{error}")
            return
        except Exception as error:  # PortAudio's own, whose kind is known only to its module
            self._fail(f"{self.name!r} does not start: {error}")
            return
        try:
            self._play(stream, progress)
            if not self.error:
                stream.stop()
        except Exception as error:
            self._fail(f"{self.name!r} failed with an unexpected {type(error).__name__}: {error}")
        finally:
            stream.close()

    def _play(self, stream: DeviceStream, progress: OutputPosition) -> None:
        urge_this_thread()
        feed, pulse = Feed(stream, progress), StreamWatchdog(stream, self.name)
        end = float("inf")
        while time.monotonic() < end:
            while self._waiting:
                feed.put(self._waiting.popleft())
            gain = 10 ** (self.gain_db / 20) if self.gain_db > OFF_DB else 0.0
            feed.move(time.monotonic(), gain)
            stream.tend()
            if lost := pulse.lost(_SILENT_S):
                self._fail(lost)
                return
            if self._ending.is_set():
                if not stream.queued:
                    return
                end = min(end, time.monotonic() + _DRAIN_S)
            time.sleep(_TICK_S)

    def _fail(self, why: str) -> None:
        self.error = (
            f"The monitor is silent: {why}. The main output goes on; d chooses another monitor."
        )
        self._waiting.clear()
