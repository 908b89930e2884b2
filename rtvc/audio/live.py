"""A live microphone and speaker as an endpoint of the engine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace

from rtvc._types import Float32
from rtvc.audio.device_opening import DeviceOpening, OpenedDevices, answer_limit_s
from rtvc.audio.devices import Device
from rtvc.audio.duplex import Duplex
from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError
from rtvc.audio.errors import NoAnswerError
from rtvc.audio.portaudio_thread import PORTAUDIO, PendingCall
from rtvc.audio.pulse_monitor import PulseMonitor
from rtvc.audio.reopen_schedule import ReopenSchedule
from rtvc.audio.route_watch import RouteWatch
from rtvc.audio.stream_events import StreamEvents
from rtvc.audio.stream_service import TICK_S, StreamService
from rtvc.device_choice import MIX, ChannelChoice, DeviceIdentity
from rtvc.errors import RtvcError
from rtvc.stats import DeviceHealth

OPEN_LIMIT_S = 8.0
"""Limit for the first opening: two attempts of a device that takes its time to start."""
DRAIN_TIMEOUT_S = 0.5
DRAIN_STALL_S = 0.15
"""A queue that does not get shorter for this long will not be played."""
CLOSE_LIMIT_S = 0.4
"""Time to wait for the devices to close."""
STALLED_CLOSE_LIMIT_S = 0.2
"""The same for devices that do not play: they may never close."""
RECONNECT_S = 0.2


class LiveEndpoint:
    """Live audio from a microphone and to a speaker.

    If both are the same device, it is opened as one duplex stream with one clock.
    Otherwise there are two streams, and the output is resampled to compensate the
    drift between the two clocks.

    Parameters
    ----------
    input, output
        Identity, name, part of a name, or index of the device; None follows the system's default.
    rate
        Sample rate of the devices in Hz. By default `ENGINE_RATE` if a device accepts
        it, else the device's default rate; always that one for an input of macOS.
    input_channel
        The channel of the microphone: its number from 1, ``"loudest"``, or ``"mix"`` for the
        mean of the first two that have sound.
    output_channels
        Number of output channels to open; every one gets the same signal.
    in_python
        Use the callback in Python even if rtmixer can be imported.
    wait_for_devices
        Whether `start` succeeds without devices: they are lost then, and `reconnect` opens
        them when they are there.

    Attributes
    ----------
    server
        Where the sound server plays and records the streams, while the endpoint runs.
    """

    realtime = True
    wall_clock = True
    finished = False

    def __init__(
        self,
        input: DeviceIdentity | str | int | None = None,
        output: DeviceIdentity | str | int | None = None,
        *,
        rate: int | None = None,
        input_channel: ChannelChoice = MIX,
        output_channels: int | None = None,
        in_python: bool = False,
        wait_for_devices: bool = False,
    ) -> None:
        self._wait_for_devices = wait_for_devices
        self._devices: tuple[Device, Device] | None = None
        self._duplex: Duplex | None = None
        self._past = DeviceHealth()
        self._tick: Callable[[], None] | None = None
        self._attempt: PendingCall[OpenedDevices] | None = None
        self._stopped = False
        self.server = PulseMonitor()
        self._schedule = self._new_schedule()
        routes = RouteWatch(self.server, loop_allowed=input is not None)
        arguments = {
            "rate": rate,
            "input_channel": input_channel,
            "output_channels": output_channels,
            "in_python": in_python,
        }
        self._opening = DeviceOpening((input, output), arguments, routes)
        self._events = StreamEvents((input, output), routes)
        self._service = StreamService(self._events.check)

    def start(self, tick: Callable[[], None], delay: int = 0) -> None:
        """Open the devices and start the streams; returns when both run.

        Parameters
        ----------
        tick
            The engine's watchdog, called every `TICK_S` from the service thread.
        delay
            Not used: live output is not compensated for the engine's delay.

        Raises
        ------
        RtvcError
            If a device cannot be opened or does not start.
        """
        if self._duplex:
            raise RuntimeError("the endpoint has been started already")
        self._tick = tick
        self._stopped = False
        self.server.start()
        limit = answer_limit_s() if self._wait_for_devices else OPEN_LIMIT_S
        attempt = PORTAUDIO.begin(self._opening.open_patiently, limit, OpenedDevices.close)
        try:
            if not attempt.wait(limit):
                raise NoAnswerError
            self._begin(attempt.result())
        except RtvcError as error:
            if not self._wait_for_devices:
                attempt.abandon()
                raise
            self._service.lost = str(error)
            self._schedule = self._new_schedule()
            # One that has failed is taken note of by `reconnect`.
            self._attempt = attempt
        except BaseException:
            attempt.abandon()
            raise

    def stop(self) -> None:
        """Play the queued output (at most half a second), then close; safe to repeat."""
        self._stopped = True
        duplex, self._duplex = self._duplex, None
        attempt, self._attempt = self._attempt, None
        if attempt:
            attempt.abandon()
        self._service.stop()
        self._events.stop()
        self.server.stop()
        if duplex is None:
            return
        duplex.abandon_restart()
        close, limit = duplex.close, STALLED_CLOSE_LIMIT_S
        if not self._service.lost and self._drain(duplex):
            close, limit = duplex.finish, CLOSE_LIMIT_S
        self._past = _summed(self._past, duplex.health())
        # If that takes longer, the device closes in the background, before anything else opens.
        PORTAUDIO.begin(close, limit).wait(limit)

    def reconnect(self, timeout: float = RECONNECT_S) -> bool:
        """Try to reopen the devices after a loss; return whether the streams run again.

        A device that was selected by name is found again by its full name, host API and
        position among equal ones; the system's default is looked up again. Queued output and
        unread input are lost.

        Parameters
        ----------
        timeout
            Seconds to keep trying. If the sound system hangs for longer, the next call
            continues to wait for the same attempt. Between attempts there are pauses of up to
            a second, unless the system's devices change; see `ReopenSchedule`.
        """
        deadline = time.monotonic() + timeout
        duplex, self._duplex = self._duplex, None
        self._service.stop()
        if duplex:
            self._past = _summed(self._past, duplex.health())
            self._opening.hold(self._devices, duplex)
            duplex.abandon_restart()
            PORTAUDIO.begin(duplex.close, CLOSE_LIMIT_S)
            self._schedule = self._new_schedule()
        while not self._stopped:
            if self._attempt is None and self._schedule.due():
                self._attempt = PORTAUDIO.begin(
                    self._opening.reopen, answer_limit_s(), OpenedDevices.close
                )
            left = deadline - time.monotonic()
            if self._attempt is not None and self._attempt.wait(left) and self._accept_attempt():
                if not self._stopped:
                    return True
                self.stop()  # again: what has been opened meanwhile
            if left <= 0:
                break
            time.sleep(min(0.02, left))
        return False

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until `samples` input samples are available; return how many are.

        Raises
        ------
        DeviceLostError
            If a device was lost; call `reconnect`.
        """
        deadline = time.monotonic() + timeout
        while True:
            if lost := self._service.problem(time.monotonic()):
                raise DeviceLostError(lost)
            available = self._open_duplex.available()
            left = deadline - time.monotonic()
            if available >= samples or left <= 0:
                return available
            # The callback cannot wake this thread; half of the missing time is never too long.
            time.sleep(min(max((samples - available) / ENGINE_RATE / 2, 5e-4), 5e-3, left))

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples; they must be available."""
        return self._open_duplex.read(samples)

    def queued(self) -> int:
        """Return the number of output samples that wait for the device."""
        duplex = self._duplex
        return duplex.queued if duplex else 0

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue output; drops what the ring buffer cannot hold and counts it as an overflow."""
        duplex = self._duplex
        if duplex:
            duplex.write(samples, tail)

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while no output was queued."""
        duplex = self._duplex
        return duplex.take_missed() if duplex else 0

    def excess_latency(self) -> int:
        """Return by how many samples two devices are later than after the first start."""
        duplex = self._duplex
        return duplex.excess_latency() if duplex else 0

    def now(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    @property
    def latency(self) -> tuple[float, float]:
        """Input and output latency in seconds, resamplers included; 0 before `start`."""
        duplex = self._duplex
        return duplex.latency if duplex else (0.0, 0.0)

    @property
    def devices(self) -> tuple[Device, Device] | None:
        """The microphone and the speaker in use; None before `start`."""
        return self._devices

    @property
    def names(self) -> tuple[str, str] | None:
        """Full names of what the sound server records and plays on; None before `start`."""
        return self._devices and self._events.names(self._devices)

    @property
    def identities(self) -> tuple[DeviceIdentity, DeviceIdentity] | None:
        """The identities of the microphone and the speaker; None before they were found."""
        return self._opening.identities

    @property
    def streams(self) -> str:
        """Sample rates and block of the open streams; "" if none are open."""
        duplex = self._duplex
        return duplex.streams if duplex else ""

    @property
    def hint(self) -> str:
        """A sentence about an event of the last seconds, or an input that is silent, else ""."""
        return self._events.hint(self._duplex, self._devices)

    def health(self) -> DeviceHealth:
        """Return underruns and overflows since the first `start`, and the ring buffers' fill."""
        duplex = self._duplex
        past = replace(self._past, moves=self._events.moves)
        if duplex:
            return _summed(past, duplex.health())
        return replace(past, input_fill=0.0, output_fill=0.0, excess_latency=0.0)

    @property
    def _open_duplex(self) -> Duplex:
        if self._duplex is None:
            raise RuntimeError("the endpoint is not started")
        return self._duplex

    def _new_schedule(self) -> ReopenSchedule:
        return ReopenSchedule(server_devices=lambda: self.server.state().devices)

    def _accept_attempt(self) -> bool:
        """Use the result of an attempt that has returned; return whether it succeeded."""
        attempt, self._attempt = self._attempt, None
        assert attempt
        if self._stopped:
            attempt.abandon()
            return False
        try:
            self._begin(attempt.result())
        except Exception:  # whatever it is: the next attempt may succeed
            self._schedule.failed()
            # Errors with tracebacks are cycles, and live runs collect no garbage automatically.
            gc.collect(1)
            return False
        return True

    def _drain(self, duplex: Duplex) -> bool:
        """Wait until the queued output is played; return False if the device does not play."""
        now = time.monotonic()
        end, stalled_at, before = now + DRAIN_TIMEOUT_S, now + DRAIN_STALL_S, duplex.queued
        while (queued := duplex.queued) and now < end:
            if queued != before:
                before, stalled_at = queued, now + DRAIN_STALL_S
            elif now > stalled_at:
                return False
            duplex.service()
            time.sleep(TICK_S)
            now = time.monotonic()
        return True

    def _begin(self, opened: OpenedDevices) -> None:
        assert self._tick
        self._events.begin(opened.marks, self._devices, opened.devices)
        self._devices, self._opening.identities = opened.devices, opened.identities
        self._duplex = opened.duplex
        self._service.start(opened.duplex, self._tick)


def _summed(past: DeviceHealth, present: DeviceHealth) -> DeviceHealth:
    return replace(
        present,
        underruns=past.underruns + present.underruns,
        overflows=past.overflows + present.overflows,
        latency_resets=past.latency_resets + present.latency_resets,
        moves=past.moves,
    )
