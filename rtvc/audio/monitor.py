"""Play a copy of the output on a second device, such as your headphones.

The main output never waits for the monitor and continues if the monitor's device is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np

from rtvc._types import Float32
from rtvc.audio.core_audio import core_audio_transports
from rtvc.audio.default_watch import DefaultWatch
from rtvc.audio.device_opening import LONGEST_START_S, answer_limit_s
from rtvc.audio.device_search import find_device, identity_of, name_key
from rtvc.audio.devices import Device, list_devices
from rtvc.audio.drift import ClockTrim
from rtvc.audio.duplex import PRIMED_BLOCKS, open_playback
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.portaudio import audio_error, listed_marks, update_devices
from rtvc.audio.portaudio_thread import PORTAUDIO
from rtvc.audio.reopen_schedule import ReopenSchedule
from rtvc.audio.resample import EdgeResampler
from rtvc.audio.sound_system import device_marks
from rtvc.audio.stream_watchdog import StreamWatchdog
from rtvc.audio.streams import DeviceStream
from rtvc.device_choice import SYSTEM_DEFAULT, DeviceIdentity
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
_CLOSE_LIMIT_S = 0.4
_LOOK_S = 0.1

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

    If the device is lost or cannot be opened, it tries again until it is stopped.

    Parameters
    ----------
    name
        The device's name, for messages.
    open
        Opens the stream; called on PortAudio's thread.
    follows_default
        Whether it opens the system's default output, and again when that is another one.

    Attributes
    ----------
    gain_db
        Gain relative to the main output in dB; muted at `MUTE_BELOW_DB` and below.
    error
        Why it is silent now; "" if nothing failed.
    identity
        What its device is found by, None before it was found.
    """

    def __init__(
        self, name: str, open: Callable[[], DeviceStream], *, follows_default: bool = False
    ) -> None:
        self.name = name
        self.gain_db = 0.0
        self.error = ""
        self.identity: DeviceIdentity | None = None
        self._open = open
        self._follows_default = follows_default
        self._run: _MonitorRun | None = None

    def start(self, progress: OutputPosition) -> None:
        """Start in the background."""
        if self._run is None:
            self.error = ""
            # Of its own, since the run before may still be closing its device.
            defaults = DefaultWatch(("output",) if self._follows_default else ())
            self._run = _MonitorRun(self, self._open, progress, defaults)
            self._run.start()

    def push(self, samples: Float32) -> None:
        """Append (n,) float32 at `ENGINE_RATE`, if the device is open; never blocks."""
        run = self._run
        if run is not None:
            run.push(samples)

    def stop(self, *, drain: bool = True) -> None:
        """Close the device; safe to repeat.

        Returns after at most a second, even if the device hangs.

        Parameters
        ----------
        drain
            Whether to play the queued audio first.
        """
        run, self._run = self._run, None
        if run is not None:
            run.stop(drain=drain)


class _MonitorRun(threading.Thread):
    """What plays between a start and a stop of a `Monitor`."""

    def __init__(
        self,
        monitor: Monitor,
        open: Callable[[], DeviceStream],
        progress: OutputPosition,
        defaults: DefaultWatch,
    ) -> None:
        super().__init__(name="rtvc monitor", daemon=True)
        self._monitor, self._open, self._progress = monitor, open, progress
        self._defaults = defaults
        self._waiting: deque[Float32] = deque()
        self._playing = False
        self._stop_requested = threading.Event()
        self._drain = True

    def push(self, samples: Float32) -> None:
        if self._playing:
            self._waiting.append(samples.copy())

    def stop(self, *, drain: bool) -> None:
        self._drain = drain
        self._stop_requested.set()
        self.join((_DRAIN_TIMEOUT_S if drain else 0.0) + _CLOSE_LIMIT_S)

    def run(self) -> None:
        schedule = ReopenSchedule()
        while not self._stop_requested.is_set():
            if not schedule.due():
                self._stop_requested.wait(_LOOK_S)
                continue
            stream = self._try_to_open()
            if stream is None:
                schedule.failed()
                continue
            schedule = ReopenSchedule()
            self._defaults.start(listed_marks())
            self._play_and_close(stream)
            self._defaults.stop()

    def _try_to_open(self) -> DeviceStream | None:
        def open_and_start() -> DeviceStream:
            with realtime_threads():
                stream = self._open()
                try:
                    stream.start()
                except BaseException:
                    stream.close()
                    raise
            return stream

        try:
            return PORTAUDIO.call(open_and_start, answer_limit_s(), lambda stream: stream.close())
        except RtvcError as error:
            self._set_error(str(error))
        except Exception as error:  # PortAudioError, whose class only sounddevice can name
            self._set_error(str(audio_error(error, "start", repr(self._monitor.name))))
        return None

    def _play_and_close(self, stream: DeviceStream) -> None:
        self._playing = True
        finish = stream.close
        try:
            if not (lost := self._play(stream)):
                finish = partial(_finish, stream)
            self._set_error(lost)
        except Exception as error:
            self._set_error(
                f"{self._monitor.name!r} failed with an unexpected {type(error).__name__}: {error}."
            )
        finally:
            self._playing = False
            self._waiting.clear()
            PORTAUDIO.begin(finish, _CLOSE_LIMIT_S).wait(_CLOSE_LIMIT_S)

    def _play(self, stream: DeviceStream) -> str:
        """Play until the stop, and return ""; or until the device is lost, and return why."""
        make_thread_realtime()
        writer = SyncedWriter(stream, self._progress)
        watchdog = StreamWatchdog(stream, self._monitor.name)
        end = float("inf")
        while time.monotonic() < end:
            while self._waiting:
                writer.push(self._waiting.popleft())
            gain_db = self._monitor.gain_db
            gain = 10 ** (gain_db / 20) if gain_db > MUTE_BELOW_DB else 0.0
            writer.process(time.monotonic(), gain)
            stream.service()
            started = stream.counters().frames >= PRIMED_BLOCKS * stream.spec.block
            timeout = _STALL_TIMEOUT_S if started else LONGEST_START_S
            if lost := watchdog.lost(timeout) or self._defaults.changed():
                return lost
            if started:
                self._set_error("")
            if self._stop_requested.is_set():
                if not (self._drain and stream.queued):
                    break
                end = min(end, time.monotonic() + _DRAIN_TIMEOUT_S)
            time.sleep(_TICK_S)
        return ""

    def _set_error(self, why: str) -> None:
        if self._stop_requested.is_set():
            return
        self._monitor.error = why and (
            f"The monitor is silent. {why} The main output continues, and the monitor is tried "
            "again until you choose another one."
        )


def _finish(stream: DeviceStream) -> None:
    """Play what the device has buffered, then close it."""
    stream.stop()
    stream.close()


def open_monitor(
    wanted: DeviceIdentity | str | int, output: Callable[[], Device | None]
) -> Monitor:
    """Return a monitor whose device is looked for when it is started, and found again then.

    Parameters
    ----------
    wanted
        Identity, name, part of a name, or index of the monitor's device; `SYSTEM_DEFAULT` follows
        the system.
    output
        Returns the device of the main output, which cannot be the monitor too; None while it
        is not known.
    """
    follows = wanted == SYSTEM_DEFAULT

    def open_it() -> DeviceStream:
        if follows and device_marks().hardware is not None:
            # PortAudio knows only the default device of when it was initialised. Where a change
            # is not known, this would restart it again and again, and with it the main streams.
            update_devices(hardware_only=True)
        try:
            return open_found()
        except RtvcError:
            main = output()
            if (main and main.name == monitor.name) or not _is_back(monitor.name):
                raise
        # The main streams are opened again too: PortAudio has only one list.
        update_devices(hardware_only=True)
        return open_found()

    def open_found() -> DeviceStream:
        known = None if follows else monitor.identity
        device, monitor.identity = find_monitor(known or wanted, output())
        monitor.name = device.name
        return open_playback(device)

    name = wanted.name if isinstance(wanted, DeviceIdentity) else str(wanted)
    monitor = Monitor(name or "system default", open_it, follows_default=follows)
    return monitor


def _is_back(name: str) -> bool:
    """Return whether macOS has a device that was connected after PortAudio made its list."""
    if device_marks().hardware == listed_marks().hardware:
        return False
    return any(name_key(name) in name_key(one) for one in core_audio_transports())


def find_monitor(
    wanted: DeviceIdentity | str | int, output: Device | None
) -> tuple[Device, DeviceIdentity]:
    """Return the device of a monitor, and its identity.

    Parameters
    ----------
    wanted, output
        The device as for `open_monitor`, and that of the main output.

    Raises
    ------
    UsageError
        If there is no such device, or it is the main output.
    AudioError
        If PortAudio is not installed, or there is no output device.
    """
    everything = list_devices()
    device = find_device(wanted, "output", everything)
    if output is not None and device.index == output.index:
        raise UsageError(f"{device.name!r} is already the output. Choose another monitor.")
    return device, identity_of(device, "output", everything)
