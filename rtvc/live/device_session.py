"""A session on open devices, with their monitor and file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rtvc.audio.echo_endpoint import find_echo
from rtvc.audio.tee import TeeEndpoint
from rtvc.calibration.sizing import Sizing
from rtvc.config.learned_sizes import Conditions, load_learned, save_learned
from rtvc.config.measured_latency import MeasuredLatency, find_latency
from rtvc.errors import RtvcError
from rtvc.live.devices import OpenDevices
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.system.info import power_state

if TYPE_CHECKING:
    from rtvc.device_choice import DeviceIdentity
    from rtvc.engine.voice import Voice
    from rtvc.live.flight_recorder import FlightRecorder


class DeviceSession:
    """One session on open devices, from its start to its end.

    `start` and `stop` block.

    Parameters
    ----------
    devices
        Open devices, not started yet.
    settings
        Settings to start with.
    find_voice
        Returns the voice of a name; by default the built-in and installed voices.
    sizing
        What was measured on this machine; by default nothing.
    flight
        Receives audio and blocks; by default nothing does.
    wait_for_voice, fail_open
        As for `Session`.

    Attributes
    ----------
    devices, endpoint, session
        The devices, the endpoint of both speakers and the recording, and the session on it.
    """

    def __init__(
        self,
        devices: OpenDevices,
        settings: Settings,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
        *,
        flight: FlightRecorder | None = None,
        wait_for_voice: bool = False,
        fail_open: bool = False,
    ) -> None:
        self.devices = devices
        names = devices.names_now()
        self._conditions = Conditions(names.input, names.output, power_state())
        sizing = replace(sizing or Sizing(), learned=load_learned(self._conditions))
        self.endpoint = TeeEndpoint(devices.endpoint, devices.monitor, flight)
        self.session = Session(
            self.endpoint,
            settings,
            find_voice,
            sizing,
            devices.hint,
            observer=flight,
            wait_for_voice=wait_for_voice,
            fail_open=fail_open,
        )
        self._monitor_error = ""
        self._measured_for: tuple[tuple[DeviceIdentity, DeviceIdentity], str] | None = None
        self._measured: MeasuredLatency | None = None

    def start(self) -> None:
        """Load the voice and start the devices.

        Raises
        ------
        RtvcError
            If the devices do not start, or the voice cannot be loaded and `wait_for_voice` is
            False.
        """
        self.session.start()
        try:
            _ = self.measured  # while the streams are open
        except BaseException:
            self.session.stop()  # nothing else would
            raise

    @property
    def measured(self) -> MeasuredLatency | None:
        """The measured latency of these devices, None if it has not been measured.

        After the end it is still that of the streams that were open.
        """
        used, streams = self.devices.identities(), self.devices.streams()
        if used and streams and (used, streams) != self._measured_for:
            self._measured_for = used, streams
            self._measured = find_latency(*used, streams)
            if (echo := find_echo(self.endpoint)) is not None:
                echo.measured_s = self._measured.seconds if self._measured else None
        return self._measured

    def keep_sizes(self) -> str:
        """Remember the sizes of automatic latency; return why not, "" if that succeeds."""
        learned = self.session.learned_sizes()
        try:
            if learned:
                save_learned(self._conditions, learned)
        except RtvcError as error:
            return f"The automatic latency is not remembered. {error}"
        return ""

    def take_message(self) -> str:
        """Return what happened to the monitor or was corrected, once; "" if nothing.

        Call it often: it also takes note of other devices, of which another latency is known.
        """
        _ = self.measured
        return " ".join(filter(None, (self._monitor_message(), self.session.take_message())))

    def _monitor_message(self) -> str:
        monitor = self.devices.monitor
        error = monitor.error if monitor is not None else ""
        before, self._monitor_error = self._monitor_error, error
        if error and not before:
            return error
        return "The monitor plays again." if before and not error else ""

    def stop(self) -> str:
        """Fade out, close the devices, and return a message about the file written, or ""."""
        self.session.stop()
        return self.devices.keep()
