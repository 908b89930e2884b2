"""Play a copy of the output on a second device, such as your headphones.

The main output never waits for the monitor and continues if the monitor's device is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from rtvc._types import Float32
from rtvc.audio.devices import find_device
from rtvc.audio.drift import ClockTrim
from rtvc.audio.duplex import open_playback
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.portaudio import audio_error
from rtvc.audio.resample import EdgeResampler
from rtvc.audio.stream_watchdog import StreamWatchdog
from rtvc.audio.streams import DeviceStream
from rtvc.errors import RtvcError, UsageError
from rtvc.system.audio_priority import make_thread_realtime, realtime_threads

MUTE_BELOW_DB = -60.0
"""A gain up to this mutes the monitor."""
EXTRA_QUEUE_S = 0.030
"""Audio queued beyond that at the main output: how late this thread may run."""
TOLERANCE_S = 0.020
"""Deviation of the queue's length from its target above which audio is dropped or added."""
_AVERAGE_S = 1.0
"""Period over which the queue's length is averaged, since both devices play in blocks."""
_CROSSFADE = ENGINE_RATE // 200
_TICK_S = 0.0025
_STALL_TIMEOUT_S = 0.4
_DRAIN_TIMEOUT_S = 0.5
_CLOSE_TIMEOUT_S = 2.0

OutputPosition = Callable[[], tuple[int, int] | None]
"""Returns the samples that the engine has written, and how many of them wait at the main output."""


class SyncedWriter:
    """Writes the engine's output to a stream with another clock, in step with the main output.

    The main output's clock is the number of written samples that it has played. Both
    devices play the same signal, the monitor `EXTRA_QUEUE_S` later.

    Parameters
    ----------
    stream
        The monitor's stream.
    progress
        See `OutputPosition`.

    Attributes
    ----------
    corrections
        Number of times that audio was dropped or silence added at once.
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

    def push(self, samples: Float32) -> None:
        """Append (n,) float32 of the engine's output."""
        self._fifo.push(samples)

    def process(self, now: float, gain: float) -> None:
        """Write the appended samples to the stream; call it every few milliseconds.

        Parameters
        ----------
        now
            Seconds on a monotonic clock.
        gain
            Linear gain; a change is faded over 5 ms.
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
            self._write(self._fifo.pop(self._fifo.size), gain)

    def _start_playback(self, now: float, waiting: int) -> None:
        """Start, or start again after an underrun, with silence up to the target queue length."""
        self.corrections += self._playing
        self._playing = True
        self._write_silence((waiting - self._fifo.size) / ENGINE_RATE + EXTRA_QUEUE_S)
        self._reset_average(now)

    def _correct_offset(self, now: float, excess: float) -> None:
        """Correct a deviation that is too large for clock drift: add silence or drop samples."""
        if abs(excess) > TOLERANCE_S:
            self.corrections += 1
            self._write_silence(-excess)
            self._to_drop = max(round(excess * ENGINE_RATE), 0)
        self._reset_average(now)

    def _reset_average(self, now: float) -> None:
        self._excess, self._observations, self._average_start = 0.0, 0, now

    def _drop_excess(self) -> None:
        """Drop the oldest `_to_drop` samples, with a crossfade across the cut."""
        samples = min(self._to_drop, self._fifo.size - _CROSSFADE)
        if samples <= 0:
            return
        self._to_drop -= samples
        before = self._fifo.pop(samples)[:_CROSSFADE]
        rest = self._fifo.pop(self._fifo.size)
        size = len(before)
        rise = np.linspace(0.0, 1.0, size, dtype=np.float32)
        blended = before * (1 - rise) + rest[:size] * rise
        self._fifo.push(np.concatenate([blended, rest[size:]]))

    def _write_silence(self, seconds: float) -> None:
        if seconds > 0:
            self._write_frames(np.zeros(round(seconds * self._rate), np.float32))
            self._gain = 0.0  # the next samples fade in

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
    """Plays a copy of the output on a second device, from its own thread.

    Parameters
    ----------
    name
        The device's name, for messages.
    open
        Opens the stream.

    Attributes
    ----------
    gain_db
        Gain relative to the main output in dB; muted at `MUTE_BELOW_DB` and below.
    error
        Why it is silent until the next `start`; "" if nothing failed.
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
        """Start in the background; also starts again after an error."""
        if self._thread is None:
            self.error = ""
            self._stop_requested.clear()
            self._waiting.clear()
            self._thread = threading.Thread(
                target=self._run, args=(progress,), name="rtvc monitor", daemon=True
            )
            self._thread.start()

    def push(self, samples: Float32) -> None:
        """Append (n,) float32 at `ENGINE_RATE`; never blocks."""
        if not self.error:
            self._waiting.append(samples.copy())

    def stop(self) -> None:
        """Play the queued audio and close the device; safe to repeat.

        Returns after at most 2.5 s, even if the device hangs.
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
            self._set_error(str(error))
            return
        except Exception as error:  # PortAudioError, whose class only sounddevice can name
            self._set_error(str(audio_error(error, "start", repr(self.name))))
            return
        try:
            self._play(stream, progress)
            if not self.error:
                stream.stop()
        except Exception as error:
            self._set_error(
                f"{self.name!r} failed with an unexpected {type(error).__name__}: {error}."
            )
        finally:
            stream.close()

    def _play(self, stream: DeviceStream, progress: OutputPosition) -> None:
        make_thread_realtime()
        writer, watchdog = SyncedWriter(stream, progress), StreamWatchdog(stream, self.name)
        end = float("inf")
        while time.monotonic() < end:
            while self._waiting:
                writer.push(self._waiting.popleft())
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
            f"The monitor is silent. {why} The main output continues; d chooses another monitor."
        )
        self._waiting.clear()


def open_monitor(name: str | int, output: str) -> Monitor:
    """Return a monitor on a device of this machine; it is not started.

    Parameters
    ----------
    name
        Name, part of a name, or index of the monitor's device.
    output
        Full name of the main output's device.

    Raises
    ------
    UsageError
        If there is no such device, or it is the main output.
    AudioError
        If PortAudio is not installed, or there is no output device.
    """
    device = find_device(name, "output")
    if device.name == output:
        raise UsageError(f"{output!r} is already the output. Choose another monitor.")
    # Searched at each start, since indices change when devices are added or removed.
    return Monitor(device.name, lambda: open_playback(find_device(device.name, "output")))
