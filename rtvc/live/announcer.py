"""What has changed in a live run, as sentences."""

from __future__ import annotations

from rtvc.errors import escaped
from rtvc.live.badge import BadgeTracker
from rtvc.live.devices import DeviceNames
from rtvc.settings import Settings
from rtvc.stats import State, Stats

_LATE_EVERY_S = 10.0
"""Time between two sentences about late blocks, and about a machine that is too slow."""
_TOO_SLOW = "Too slow."
_LATENCY_S = 0.010
"""Smallest change of the latency that is announced."""


class Announcer:
    """Compares the state of a run with what was announced last."""

    def __init__(self) -> None:
        self._badge_tracker = BadgeTracker()
        self._state = ("", "")
        self._devices = DeviceNames()
        self._voice = ""
        self._degraded = ""
        self._latency = 0.0
        self._late, self._late_at = 0, float("-inf")

    def update(
        self, stats: Stats, settings: Settings, devices: DeviceNames, now: float
    ) -> list[str]:
        """Return one sentence, or a few, for each change since the last call.

        Parameters
        ----------
        stats, settings, devices
            The current state, settings and devices in use.
        now
            A monotonic time in seconds.
        """
        return [
            line
            for line in (
                self._changed_state(stats, settings, now),
                self._changed_devices(devices),
                self._changed_voice(stats),
                self._changed_sizes(stats),
                self._changed_latency(stats),
                self._new_late_blocks(stats, now),
            )
            if line
        ]

    def state(self, stats: Stats, settings: Settings, now: float) -> str:
        """Return the state in words, with its reason."""
        word, reason = self._words(stats, settings, now)
        return f"{word} {reason}".rstrip()

    def _words(self, stats: Stats, settings: Settings, now: float) -> tuple[str, str]:
        badge = self._badge_tracker.update(stats, settings, now)
        # The badge of a lost device names a key of the panel.
        reason = stats.reason if stats.state is State.DEVICE_LOST else badge.text
        word = f"{badge.word.capitalize()}."
        return word, "" if reason == word else reason

    def _changed_state(self, stats: Stats, settings: Settings, now: float) -> str:
        word, reason = self._words(stats, settings, now)
        changed = word != self._state[0]
        if word == _TOO_SLOW:
            self._late = stats.late_blocks  # the reason has their number
        if (word, reason) == self._state:
            return ""
        if word == _TOO_SLOW:  # the reason has figures, which change with each block
            if not changed and now - self._late_at < _LATE_EVERY_S:
                return ""
            self._late_at = now
        self._state = word, reason
        return f"{word} {reason}".rstrip() if changed else reason

    def _changed_devices(self, devices: DeviceNames) -> str:
        if devices == self._devices or not any(devices):
            return ""
        self._devices = devices
        return in_words(devices)

    def _changed_voice(self, stats: Stats) -> str:
        if stats.voice == self._voice or not stats.voice:
            return ""
        self._voice = stats.voice
        return f"The voice is {escaped(stats.voice)!r}."

    def _changed_sizes(self, stats: Stats) -> str:
        if stats.degraded == self._degraded:
            return ""
        self._degraded = stats.degraded
        if stats.degraded:
            return f"Reduced to keep up: {stats.degraded}."
        return "Nothing is reduced any more."

    def _changed_latency(self, stats: Stats) -> str:
        latency = stats.latency.total
        if stats.loading or latency <= 0 or abs(latency - self._latency) < _LATENCY_S:
            return ""
        self._latency = latency
        return f"The latency is {latency * 1000:.0f} ms."

    def _new_late_blocks(self, stats: Stats, now: float) -> str:
        if stats.late_blocks < self._late:  # a new session
            self._late = 0
        more = stats.late_blocks - self._late
        if not more or now - self._late_at < _LATE_EVERY_S:
            return ""
        self._late, self._late_at = stats.late_blocks, now
        return f"{more} {'block was' if more == 1 else 'blocks were'} late: there was a gap."


def in_words(devices: DeviceNames) -> str:
    """Return the devices that are known as a sentence, "" if none is."""
    kinds = ("microphone", "speaker", "monitor")
    known = [f"{kind} {name!r}" for kind, name in zip(kinds, devices, strict=True) if name]
    text = ", ".join(known)
    return escaped(f"{text[0].upper()}{text[1:]}.") if text else ""
