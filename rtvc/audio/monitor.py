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
from rtvc.system.audio_priority import make_thread_realtime, realtime_threads

MUTE_BELOW_DB = -60.0
"""A gain so low is silence."""
EXTRA_QUEUE_S = 0.030
"""More sound waits here than at the main output: what this thread may be late by."""
TOLERANCE_S = 0.020
"""By so much the sound that waits may differ from that before some is left out or added."""
_AVERAGE_S = 1.0
"""What waits is averaged for so long: both devices take their sound in pieces."""
_CROSSFADE = ENGINE_RATE // 200
_TICK_S = 0.0025
_STALL_TIMEOUT_S = 0.4
_DRAIN_TIMEOUT_S = 0.5
_CLOSE_TIMEOUT_S = 2.0

OutputPosition = Callable[[], tuple[int, int] | None]
"""Gives how many samples the engine has written, and how many of them wait at the main output."""


class SyncedWriter:
    """Brings the engine's sound to a stream with a clock of its own, at a constant distance.

    The main output's clock is what it has taken of the written sound, so both
    devices play the same moment, `EXTRA_QUEUE_S` apart.

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
        self._playing = False
        self._to_drop = 0
        self._excess, self._observations, self._average_start = 0.0, 0, 0.0
        self.corrections = 0
        """Times that sound had to be left out or added at once."""

    def put(self, samples: Float32) -> None:
        """Take (n,) float32 of the engine's."""
        self._fifo.put(samples)

    def process(self, now: float, gain: float) -> None:
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
        if self._fifo.size and (not self._playing or not ahead):
            self._start_playback(now, waiting)
        elif self._playing and not self._to_drop:
            self._excess += ahead + (self._fifo.size - waiting) / ENGINE_RATE - EXTRA_QUEUE_S
            self._observations += 1
            if now - self._average_start >= _AVERAGE_S:
                self._correct_offset(now, self._excess / self._observations)
        if self._to_drop:
            self._drop_excess()
        if self._fifo.size:
            self._write(self._fifo.take(self._fifo.size), gain)

    def _start_playback(self, now: float, waiting: int) -> None:
        """Begin, or begin again: with as much silence as the distance needs."""
        self.corrections += self._playing
        self._playing = True
        self._write_silence((waiting - self._fifo.size) / ENGINE_RATE + EXTRA_QUEUE_S)
        self._reset_average(now)

    def _correct_offset(self, now: float, excess: float) -> None:
        """Bring the distance back at once, where it is further off than a clock drifts."""
        if abs(excess) > TOLERANCE_S:
            self.corrections += 1
            self._write_silence(-excess)
            self._to_drop = max(round(excess * ENGINE_RATE), 0)
        self._reset_average(now)

    def _reset_average(self, now: float) -> None:
        self._excess, self._observations, self._average_start = 0.0, 0, now

    def _drop_excess(self) -> None:
        """Drop what is owed of the oldest samples, blending what is before and after it."""
        samples = min(self._to_drop, self._fifo.size - _CROSSFADE)
        if samples <= 0:
            return
        self._to_drop -= samples
        before = self._fifo.take(samples)[:_CROSSFADE]
        rest = self._fifo.take(self._fifo.size)
        size = len(before)
        rise = np.linspace(0.0, 1.0, size, dtype=np.float32)
        blended = before * (1 - rise) + rest[:size] * rise
        self._fifo.put(np.concatenate([blended, rest[size:]]))

    def _write_silence(self, seconds: float) -> None:
        if seconds > 0:
            self._write_frames(np.zeros(round(seconds * self._rate), np.float32))
            self._gain = 0.0  # what comes after it fades in

    def _write(self, samples: Float32, gain: float) -> None:
        size = min(_CROSSFADE, samples.size)
        gains = np.full(samples.size, gain, np.float32)
        gains[:size] = np.linspace(self._gain, gain, size)
        self._gain = gain
        self._write_frames(self._resampler.process(samples * gains))

    def _write_frames(self, mono: Float32) -> None:
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
        How much louder than the main output it is; from `MUTE_BELOW_DB` down it is silent.
    error
        Why it is silent until the next start, "" while all is well.
    """

    def __init__(self, name: str, open: Callable[[], DeviceStream]) -> None:
        self.name = name
        self.gain_db = 0.0
        self.error = ""
        self._open = open
        self._waiting: deque[Float32] = deque()
        self._stop_requested = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, progress: OutputPosition) -> None:
        """Begin, in the background, also after a loss."""
        if self._thread is None:
            self.error = ""
            self._stop_requested.clear()
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
        self._stop_requested.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_DRAIN_TIMEOUT_S + _CLOSE_TIMEOUT_S)

    def _run(self, progress: OutputPosition) -> None:
        try:
            with realtime_threads():
                stream = self._open()
                stream.start()
        except RtvcError as error:
            self._set_error(f"{error}")
            return
        except Exception as error:  # PortAudio's own, whose kind is known only to its module
            self._set_error(f"{self.name!r} does not start: {error}")
            return
        try:
            self._play(stream, progress)
            if not self.error:
                stream.stop()
        except Exception as error:
            self._set_error(
                f"{self.name!r} failed with an unexpected {type(error).__name__}: {error}"
            )
        finally:
            stream.close()

    def _play(self, stream: DeviceStream, progress: OutputPosition) -> None:
        make_thread_realtime()
        writer, watchdog = SyncedWriter(stream, progress), StreamWatchdog(stream, self.name)
        end = float("inf")
        while time.monotonic() < end:
            while self._waiting:
                writer.put(self._waiting.popleft())
            gain = 10 ** (self.gain_db / 20) if self.gain_db > MUTE_BELOW_DB else 0.0
            writer.process(time.monotonic(), gain)
            stream.service()
            if lost := watchdog.lost(_STALL_TIMEOUT_S):
                self._set_error(lost)
                return
            if self._stop_requested.is_set():
                if not stream.queued:
                    return
                end = min(end, time.monotonic() + _DRAIN_TIMEOUT_S)
            time.sleep(_TICK_S)

    def _set_error(self, why: str) -> None:
        self.error = (
            f"The monitor is silent: {why}. The main output goes on; d chooses another monitor."
        )
        self._waiting.clear()
