"""A microphone and a speaker as an endpoint of the engine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rtvc._types import Float32
from rtvc.audio.devices import Device, find_device, list_devices
from rtvc.audio.duplex import Duplex, SilentDeviceError, open_duplex
from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError
from rtvc.audio.portaudio import ALLOW_MICROPHONE, AudioError, restart_portaudio, set_alsa_printing
from rtvc.audio.timeout_call import TimeoutCall
from rtvc.errors import RtvcError
from rtvc.stats import DeviceHealth
from rtvc.system.audio_priority import make_thread_realtime, realtime_threads

TICK_S = 0.0025
"""Between two heartbeats: half of what an action of the callback may be missing unnoticed."""
STALL_TIMEOUT_S = 0.4
"""A device that counts no frames for so long is lost, whatever it says of itself."""
START_TIMEOUT_S = 2.0
"""How long a device may take to begin; Bluetooth needs more than a second."""
DRAIN_TIMEOUT_S = 0.5
CLOSE_TIMEOUT_S = 2.0
"""How long closing and opening again may take: with a lost device they may never return."""


class LiveEndpoint:
    """Sound from a microphone, to a speaker.

    One duplex stream where both are one device, so that they share a clock;
    two streams otherwise, the output's speed trimmed to the input's clock.

    Parameters
    ----------
    input, output
        Name, part of a name or index of the device; None follows the system's default.
    rate
        The devices' rate in Hz; if not given `ENGINE_RATE` where a device takes
        it, else its own.
    input_channels, output_channels
        How many channels to open. Input is averaged; output goes to all.
    in_python
        Use a callback in Python even where rtmixer can be imported.
    """

    realtime = True
    wall_clock = True
    finished = False

    def __init__(
        self,
        input: str | int | None = None,
        output: str | int | None = None,
        *,
        rate: int | None = None,
        input_channels: int | None = None,
        output_channels: int | None = None,
        in_python: bool = False,
    ) -> None:
        self._wanted: tuple[str | int | None, str | int | None] = (input, output)
        self._open_arguments = {
            "rate": rate,
            "input_channels": input_channels,
            "output_channels": output_channels,
            "in_python": in_python,
        }
        self._devices: tuple[Device, Device] | None = None
        self._duplex: Duplex | None = None
        self._past = DeviceHealth()
        self._tick: Callable[[], None] | None = None
        self._service_thread: threading.Thread | None = None
        self._stop_requested = threading.Event()
        self._attempt: TimeoutCall[tuple[tuple[Device, Device], Duplex]] | None = None
        self._stopped = False
        self._lost = ""
        self._failure: Exception | None = None

    def start(self, tick: Callable[[], None], delay: int = 0) -> None:
        """Open the devices and begin; returns when sound flows in both directions.

        A device leaves the engine's `delay` as it is.

        Raises
        ------
        RtvcError
            If a device cannot be opened or does not begin.
        """
        if self._duplex:
            raise RuntimeError("the endpoint has been started already")
        self._tick = tick
        self._stopped = False
        try:
            opened = self._open()
        except SilentDeviceError:
            # Now and then a stream opens and is never called; a second one is.
            restart_portaudio()
            opened = self._open()
        self._begin(*opened)

    def stop(self) -> None:
        """Let queued output play out (at most half a second), then close; safe to repeat."""
        self._stopped = True
        duplex, self._duplex = self._duplex, None
        self._stop_service()
        if duplex is None:
            return
        if not self._lost:
            deadline = time.monotonic() + DRAIN_TIMEOUT_S
            while duplex.queued and time.monotonic() < deadline:
                duplex.service()
                time.sleep(TICK_S)
        self._past = _summed(self._past, duplex.health())
        TimeoutCall(duplex.close if self._lost else duplex.finish).wait(CLOSE_TIMEOUT_S)

    def reconnect(self, timeout: float = 0.0) -> bool:
        """Try to go on after a loss, and return whether sound flows again.

        The same devices are waited for by name; what followed the system's
        default follows it still. Queued sound and what was heard meanwhile are gone.

        Parameters
        ----------
        timeout
            Seconds to keep trying. At least one try is made, for which up to
            two seconds are waited; where the sound system hangs for longer, the
            next call goes on with the same try.
        """
        deadline = time.monotonic() + timeout
        duplex, self._duplex = self._duplex, None
        self._stop_service()
        if duplex:
            self._past = _summed(self._past, duplex.health())
        while True:
            if self._attempt is None:
                self._attempt = TimeoutCall(partial(self._reopen, duplex))
                duplex = None
            if self._attempt.wait(max(CLOSE_TIMEOUT_S, deadline - time.monotonic())):
                attempt, self._attempt = self._attempt, None
                with contextlib.suppress(RtvcError):
                    self._begin(*attempt.result())
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until so many input samples are there, and return how many are.

        Raises
        ------
        DeviceLostError
            If the device went away; `reconnect` may bring it back.
        """
        deadline = time.monotonic() + timeout
        while True:
            if self._failure:
                raise self._failure
            if self._lost:
                raise DeviceLostError(self._lost)
            there = self._open_duplex.available()
            left = deadline - time.monotonic()
            if there >= samples or left <= 0:
                return there
            # The callback cannot wake anyone; half of what is missing is never too long.
            time.sleep(min(max((samples - there) / ENGINE_RATE / 2, 5e-4), 5e-3, left))

    def read(self, samples: int) -> Float32:
        """Take exactly so many input samples, which must be there."""
        return self._open_duplex.take(samples)

    def queued(self) -> int:
        """Return how many output samples wait for the device."""
        duplex = self._duplex
        return duplex.queued if duplex else 0

    def write(self, samples: Float32) -> None:
        """Queue output; what the ring cannot hold is dropped and counted as an overflow."""
        duplex = self._duplex
        if duplex:
            duplex.write(samples)

    def now(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    @property
    def latency(self) -> tuple[float, float]:
        """Seconds of the devices' input and output side, resamplers included; 0 before `start`."""
        duplex = self._duplex
        return duplex.latency if duplex else (0.0, 0.0)

    @property
    def devices(self) -> tuple[Device, Device] | None:
        """The microphone and the speaker in use, once started."""
        return self._devices

    @property
    def hint(self) -> str:
        """A sentence where something is probably not as the person thinks, else empty."""
        duplex = self._duplex
        if duplex is None or duplex.received_input or duplex.age < 3.0 or not self._devices:
            return ""
        return (
            f"{self._devices[0].name!r} gives perfect silence: it may be muted, or not permitted "
            f"(on macOS {ALLOW_MICROPHONE})"
        )

    def health(self) -> DeviceHealth:
        """Return counters since the first `start`, and ring fills."""
        duplex = self._duplex
        if duplex:
            return _summed(self._past, duplex.health())
        return replace(self._past, input_fill=0.0, output_fill=0.0)

    @property
    def _open_duplex(self) -> Duplex:
        if self._duplex is None:
            raise RuntimeError("the endpoint is not started")
        return self._duplex

    def _find(self) -> tuple[Device, Device]:
        """Return the wanted devices, those chosen earlier by their full names."""
        everything = list_devices()
        found = []
        for i, direction in enumerate(("input", "output")):
            wanted = self._wanted[i]
            if wanted is not None and self._devices:
                earlier = self._devices[i]
                same = [
                    d
                    for d in everything
                    if (d.name, d.host_api) == (earlier.name, earlier.host_api)
                ]
                if not same:
                    raise AudioError(f"{earlier.name!r} is not there")
                found.append(same[0])
            else:
                found.append(find_device(wanted, direction, everything))  # type: ignore[arg-type]
        return found[0], found[1]

    def _open(self) -> tuple[tuple[Device, Device], Duplex]:
        devices = self._find()
        set_alsa_printing(True)
        with realtime_threads():
            duplex = open_duplex(*devices, **self._open_arguments)  # type: ignore[arg-type]
            try:
                duplex.start(START_TIMEOUT_S)
            except BaseException:
                duplex.close()
                raise
        set_alsa_printing(False)
        return devices, duplex

    def _reopen(self, lost: Duplex | None) -> tuple[tuple[Device, Device], Duplex]:
        """Close, start PortAudio anew and open, one after the other: it survives no overlap."""
        if lost:
            lost.close()
        restart_portaudio()
        devices, duplex = self._open()
        if self._stopped:  # it took so long that no one waits for it any more
            duplex.close()
            raise AudioError("stopped meanwhile")
        return devices, duplex

    def _begin(self, devices: tuple[Device, Device], duplex: Duplex) -> None:
        self._devices = devices
        self._lost = ""
        self._duplex = duplex
        self._stop_requested = threading.Event()
        self._service_thread = threading.Thread(
            target=self._run_service,
            args=(duplex, self._stop_requested),
            name="rtvc audio",
            daemon=True,
        )
        self._service_thread.start()

    def _stop_service(self) -> None:
        self._stop_requested.set()
        if self._service_thread and self._service_thread is not threading.current_thread():
            self._service_thread.join(CLOSE_TIMEOUT_S)
        self._service_thread = None

    def _run_service(self, duplex: Duplex, stop_requested: threading.Event) -> None:
        """Tend the callback, watch the device, keep the clocks together, wake the watchdog."""
        assert self._tick
        # Late, it would let the device run dry.
        make_thread_realtime()
        try:
            while not stop_requested.is_set():
                time.sleep(TICK_S)
                duplex.service()
                if lost := duplex.lost(STALL_TIMEOUT_S):
                    self._lost = lost
                    return
                self._tick()
        except Exception as error:  # `wait` raises it where someone can hear
            self._failure = error


def _summed(past: DeviceHealth, present: DeviceHealth) -> DeviceHealth:
    return replace(
        present,
        underflows=past.underflows + present.underflows,
        overflows=past.overflows + present.overflows,
    )
