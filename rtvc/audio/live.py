"""A live microphone and speaker as an endpoint of the engine."""

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
"""Period of the service thread: half the time for which the callback may lack an action."""
STALL_TIMEOUT_S = 0.4
"""A device whose frame count stands still this long is lost, even if PortAudio calls it active."""
START_TIMEOUT_S = 2.0
"""Time that a device may take to start; Bluetooth needs more than a second."""
DRAIN_TIMEOUT_S = 0.5
CLOSE_TIMEOUT_S = 2.0
"""Time to wait for closing and reopening, which may never return after a device was lost."""


class LiveEndpoint:
    """Live audio from a microphone and to a speaker.

    If both are the same device, it is opened as one duplex stream with one clock.
    Otherwise there are two streams, and the output is resampled to compensate the
    drift between the two clocks.

    Parameters
    ----------
    input, output
        Name, part of a name, or index of the device; None follows the system's default.
    rate
        Sample rate of the devices in Hz. By default `ENGINE_RATE` if a device accepts
        it, else the device's default rate.
    input_channels, output_channels
        Number of channels to open. The input channels are averaged; every output
        channel gets the same signal.
    in_python
        Use the callback in Python even if rtmixer can be imported.
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
        try:
            opened = self._open()
        except SilentDeviceError:
            # Sometimes PortAudio opens a stream and never calls it back; a second one works.
            restart_portaudio()
            opened = self._open()
        self._begin(*opened)

    def stop(self) -> None:
        """Play the queued output (at most half a second), then close; safe to repeat."""
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
        """Try to reopen the devices after a loss; return whether the streams run again.

        A device that was selected by name is found again by its full name and host API; the
        system's default is looked up again. Queued output and unread input are lost.

        Parameters
        ----------
        timeout
            Seconds to keep trying. There is at least one attempt, which may take up to
            two seconds; if the sound system hangs for longer, the next call continues
            to wait for the same attempt.
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
        """Wait until `samples` input samples are available; return how many are.

        Raises
        ------
        DeviceLostError
            If a device was lost; call `reconnect`.
        """
        deadline = time.monotonic() + timeout
        while True:
            if self._failure:
                raise self._failure
            if self._lost:
                raise DeviceLostError(self._lost)
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

    def write(self, samples: Float32) -> None:
        """Queue output; drops what the ring buffer cannot hold and counts it as an overflow."""
        duplex = self._duplex
        if duplex:
            duplex.write(samples)

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
    def hint(self) -> str:
        """A sentence if the input has been digital silence for 3 s since the start, else ""."""
        duplex = self._duplex
        if duplex is None or duplex.received_input or duplex.age < 3.0 or not self._devices:
            return ""
        return (
            f"The input from {self._devices[0].name!r} is digital silence. Check that it is not "
            f"muted. On macOS: {ALLOW_MICROPHONE}"
        )

    def health(self) -> DeviceHealth:
        """Return underruns and overflows since the first `start`, and the ring buffers' fill."""
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
        """Return the selected devices; finds devices that were open before by their full name."""
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
                    raise AudioError(f"{earlier.name!r} is not connected.")
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
        """Close the streams, restart PortAudio and open again; PortAudio allows no overlap."""
        if lost:
            lost.close()
        restart_portaudio()
        devices, duplex = self._open()
        if self._stopped:  # `stop` was called while this attempt hung
            duplex.close()
            raise AudioError("The endpoint was stopped.")
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
        """Service the streams, detect a lost device and call the engine's watchdog, until stopped.

        Runs in real time: a late call would cause an underrun.
        """
        assert self._tick
        make_thread_realtime()
        try:
            while not stop_requested.is_set():
                time.sleep(TICK_S)
                duplex.service()
                if lost := duplex.lost(STALL_TIMEOUT_S):
                    self._lost = lost
                    return
                self._tick()
        except Exception as error:  # raised by `wait`, in the engine's thread
            self._failure = error


def _summed(past: DeviceHealth, present: DeviceHealth) -> DeviceHealth:
    return replace(
        present,
        underruns=past.underruns + present.underruns,
        overflows=past.overflows + present.overflows,
    )
