"""Notice that the sound server has moved a stream, and refuse to hear our own output."""

from __future__ import annotations

import os
from collections import Counter
from typing import NamedTuple

from rtvc.audio.pulse_monitor import PulseMonitor, ServerState, ServerStream

_SETTLING_S = 0.15
"""Time from the start of the streams until the server has told where they are."""


class RouteChange(NamedTuple):
    """What has happened to the streams.

    Attributes
    ----------
    message
        One sentence.
    lost
        Whether the devices must not be used: the input now is our own output, or the virtual
        cable is gone.
    """

    message: str
    lost: bool


class RouteWatch:
    """Compares where the streams are with where they were after the start.

    Parameters
    ----------
    monitor
        Where the sound server says they are.
    loop_allowed
        Whether the input may be the monitor of the output from the start, as when the user
        has chosen it by its name. A later move to it never is.

    Attributes
    ----------
    moves
        How often a stream was moved.
    moved_to
        Names for people of the devices to which the "input" or the "output" was moved.
    """

    def __init__(self, monitor: PulseMonitor, *, loop_allowed: bool) -> None:
        self._monitor = monitor
        self._loop_allowed = loop_allowed
        self._seen: ServerState | None = None
        self._started = 0.0
        self._inputs: tuple[str, ...] = ()
        self._outputs: tuple[str, ...] = ()
        # The sink that libpulse uses for streams without one: the virtual cable.
        self._cable = os.environ.get("PULSE_SINK", "")
        self._on_cable = False
        self.moves = 0
        self.moved_to: dict[str, str] = {}

    def started(self, now: float) -> None:
        """Take where the streams will be soon after `now` as the place to compare with."""
        self._started = now
        self._inputs, self._outputs = (), ()
        self._seen = None
        self.moved_to = {}

    def check(self) -> RouteChange | None:
        """Return what has changed since the last call; cheap."""
        state = self._monitor.state()
        if state is self._seen or not state.answering:
            return None
        self._seen = state
        if state.updated < self._started + _SETTLING_S or not (state.inputs and state.outputs):
            return None
        before = self._inputs, self._outputs
        self._inputs, self._outputs = _places(state.inputs), _places(state.outputs)
        new_input, new_output = _new(before[0], self._inputs), _new(before[1], self._outputs)
        stays = self._on_cable and self._cable in self._outputs  # then the monitor was moved
        moved = {"input": new_input, "output": "" if stays else new_output}
        for direction, device in moved.items():
            if device:
                described = state.descriptions.get(device) or device
                self.moved_to = {**self.moved_to, direction: described}
        if state.loops and (new_input or new_output or not self._loop_allowed):
            self._loop_allowed = False  # nor after the streams are opened again
            return self._moved(LOOP, lost=True)
        if self._on_cable and self._cable not in state.sinks:
            return self._moved(CABLE_GONE, lost=True)
        self._on_cable = self._cable in self._outputs
        for direction, device in moved.items():
            if device:
                return self._moved(f"The sound server moved the {direction} to {device!r}.")
        return None

    def still_loops(self) -> bool:
        """Return whether the system's default input is the monitor of its default output."""
        state = self._monitor.state()
        return state.answering and state.default_source_monitors == state.default_sink != ""

    @property
    def server_is_away(self) -> bool:
        """Whether there was a sound server that answered, and now does not."""
        state = self._monitor.state()
        return state.updated > 0.0 and not state.answering

    def cable_is_gone(self) -> bool:
        """Return whether the output was on a virtual cable that does not exist now."""
        state = self._monitor.state()
        return self._on_cable and state.answering and self._cable not in state.sinks

    def _moved(self, message: str, *, lost: bool = False) -> RouteChange:
        self.moves += 1
        return RouteChange(message, lost)


CABLE_GONE = (
    "The virtual cable is gone, and your call may now hear your real microphone: mute yourself in "
    "the call. 'rtvc cable' makes the cable again."
)
LOOP = (
    "The sound server connects the input to rtvc's own output. Connect your microphone again, or "
    "choose another input."
)


def _places(streams: tuple[ServerStream, ...]) -> tuple[str, ...]:
    return tuple(sorted(stream.device for stream in streams))


def _new(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    """Return the device that a stream was moved to; "" if streams were only opened or closed."""
    if len(before) != len(now):
        return ""
    # Another stream may be there already, such as that of the monitor.
    return next(iter(Counter(now) - Counter(before)), "")
