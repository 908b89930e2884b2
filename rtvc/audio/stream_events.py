"""What happens to open streams: moved, another default device, a silent input."""

from __future__ import annotations

import sys
import time

from rtvc.audio.default_watch import DefaultWatch
from rtvc.audio.device_opening import DIRECTIONS, Wanted
from rtvc.audio.devices import Device
from rtvc.audio.duplex import Duplex
from rtvc.audio.portaudio import ALLOW_MICROPHONE
from rtvc.audio.route_watch import RouteWatch
from rtvc.audio.sound_system import DeviceMarks

EVENT_S = 10.0
"""Time for which an event is reported."""
_SILENT_S = 3.0
"""Time without any input from which on the input counts as silent."""


class StreamEvents:
    """Watches the streams and the system's default devices, and keeps the last event.

    Parameters
    ----------
    wanted
        Input and output, as for `LiveEndpoint`; what is None follows the system's default.
    routes
        Knows where the sound server plays and records the streams.
    """

    def __init__(self, wanted: tuple[Wanted, Wanted], routes: RouteWatch) -> None:
        self._wanted, self._routes = wanted, routes
        self._defaults = DefaultWatch(
            direction
            for direction, device in zip(DIRECTIONS, wanted, strict=True)
            if device is None
        )
        self._event, self._event_until = "", 0.0

    def begin(
        self, marks: DeviceMarks, before: tuple[Device, Device] | None, now: tuple[Device, Device]
    ) -> None:
        """Watch streams that run now.

        Parameters
        ----------
        marks
            The system's devices when the list was made from which these were opened.
        before
            The devices of the streams before; None if these are the first.
        now
            The devices of the streams.
        """
        self._defaults.start(marks)
        self._event_until = 0.0  # it was about the streams before
        for wanted, old, new, what in zip(
            self._wanted, before or now, now, DIRECTIONS, strict=True
        ):
            if wanted is None and new.name != old.name:
                self._note(f"The {what} is {new.name!r} now, the system's default.")
        self._routes.started(time.monotonic())

    def stop(self) -> None:
        """Stop watching the system's default devices."""
        self._defaults.stop()

    def check(self, duplex: Duplex) -> str:
        """Note what has happened; return a message if the streams must not be used."""
        change = self._routes.check()
        if change and change.lost:
            return change.message
        if default := self._defaults.changed():
            return default
        if change:
            duplex.moved()
        if event := change.message if change else duplex.take_event():
            self._note(event)
        return ""

    def hint(self, duplex: Duplex | None, devices: tuple[Device, Device] | None) -> str:
        """Return a sentence about the last event or a silent input, "" if there is none."""
        if time.monotonic() < self._event_until:
            return self._event
        if duplex is None or not devices:
            return ""
        microphone = devices[0]
        if channel := duplex.health().cancelled_channel:
            return (
                f"The channels of {microphone.name!r} cancel each other, as if one were inverted, "
                f"so channel {channel} alone is used: choose it with --input-channel {channel}."
            )
        if duplex.received_input or duplex.age < _SILENT_S:
            return ""
        others = (
            f" It has {microphone.inputs} channels: --input-channel chooses one."
            if microphone.inputs > 2
            else ""
        )
        allow = f" {ALLOW_MICROPHONE}" if sys.platform == "darwin" else ""
        return (
            f"The input from {microphone.name!r} is digital silence. Check that it is not "
            f"muted.{others}{allow}"
        )

    @property
    def moves(self) -> int:
        """How often a stream was moved."""
        return self._routes.moves

    def names(self, devices: tuple[Device, Device]) -> tuple[str, str]:
        """Return the full names of the devices, or of those to which the streams were moved."""
        moved_to = self._routes.moved_to
        return moved_to.get("input", devices[0].name), moved_to.get("output", devices[1].name)

    def _note(self, event: str) -> None:
        self._event, self._event_until = event, time.monotonic() + EVENT_S
