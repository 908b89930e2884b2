"""Events and faults of a run, from successive statistics."""

from __future__ import annotations

from rtvc.live.flight_log import Event
from rtvc.stats import State, Stats

_COUNTED = {
    "late_blocks": "late blocks",
    "failed_steps": "failed steps",
    "restarts": "restarts",
    "repaired_blocks": "repaired blocks",
}
_FAULTS = ("late_blocks", "failed_steps", "restarts")


class FaultWatch:
    """Compares the statistics of a run with the previous ones."""

    def __init__(self) -> None:
        self._last: Stats | None = None

    def update(self, stats: Stats, now: float) -> tuple[list[Event], bool]:
        """Return what has happened since the last call, and whether it is a fault."""
        last, self._last = self._last, stats
        if last is None or stats.blocks < last.blocks:  # a new session counts from 0
            last = Stats(state=stats.state) if last is None else Stats(state=last.state)
        events, fault = [], False
        for name, words in _COUNTED.items():
            more = getattr(stats, name) - getattr(last, name)
            if more > 0:
                events.append(Event(now, name, f"{more} {words}. {stats.last_cause}".strip()))
                fault |= name in _FAULTS
        for name in ("underruns", "overflows"):
            more = getattr(stats.device, name) - getattr(last.device, name)
            if more > 0:
                events.append(Event(now, name, f"{more} {name} of the device."))
                fault |= name == "underruns"
        concealed = stats.concealed_s - last.concealed_s
        if concealed > 0:
            events.append(Event(now, "concealed", f"{concealed:.3f} s of concealment."))
        if stats.state is not last.state:
            text = f"{last.state} -> {stats.state}. {stats.reason}".strip()
            events.append(Event(now, "state", text))
            fault |= stats.state is State.DEVICE_LOST or stats.restarting
        elif stats.reason and stats.reason != last.reason:
            events.append(Event(now, "reason", stats.reason))
        if stats.voice != last.voice:
            events.append(Event(now, "voice", f"The voice is {stats.voice!r}."))
        if stats.degraded != last.degraded:
            events.append(Event(now, "degraded", stats.degraded or "As requested."))
        if stats.size_reason != last.size_reason:
            events.append(Event(now, "sizes", stats.size_reason))
        return events, fault
