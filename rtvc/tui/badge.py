"""What state the sound is in, in a word that cannot be misread, and what to do about it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from rtvc.settings import Settings
from rtvc.stats import State, Stats

_WINDOW_S = 10.0
_MANY_LATE = 3
_WORDS = {
    State.STARTING: ("...", "STARTING", "$secondary"),
    State.CONVERTED: ("(*)", "CONVERTED", "$success"),
    State.DRY: ("( )", "DRY", "$warning"),
    State.MUTED: ("[x]", "MUTED", "$error"),
    State.DEVICE_LOST: ("[!]", "DEVICE LOST", "$error"),
    State.STOPPED: ("[x]", "STOPPED", "$error"),
}


@dataclass(frozen=True, slots=True)
class Badge:
    """The state for a person.

    Attributes
    ----------
    sign, word
        The state in a sign and in words, so that its colour only repeats them.
    style
        The colour, as a style of Textual.
    text
        The reason and the remedy, "" where all is as it should be.
    """

    sign: str
    word: str
    style: str
    text: str = ""


class BadgeTracker:
    """Tells the state of the sound from one `Stats` after the other."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, int]] = deque()

    def look(self, stats: Stats, settings: Settings, now: float) -> Badge:
        """Return the badge of this moment.

        Parameters
        ----------
        stats, settings
            The engine's.
        now
            A monotonic time in seconds.
        """
        if stats.state in (State.STARTING, State.DEVICE_LOST):
            self._late.clear()  # what is late then says nothing of the machine
        late = self._late_lately(stats.late_blocks, now)
        sign, word, style = _WORDS[stats.state]
        if stats.state in (State.CONVERTED, State.DRY) and late >= _MANY_LATE:
            text = f"{stats.reason} {late} blocks late. {_remedy(stats)}".strip()
            return Badge("[!]", "TOO SLOW", "$error", text)
        if stats.state is State.MUTED and settings.mode != "muted" and late:
            return Badge("[!]", "TOO SLOW", "$error", f"{stats.reason} {_remedy(stats)}")
        text = stats.reason
        if stats.state is State.DEVICE_LOST:
            text = f"{text} Plug it in again, or choose another device: d."
        elif stats.loading and not text:
            text = _loading(stats, settings)
        return Badge(sign, word, style, text)

    def _late_lately(self, late: int, now: float) -> int:
        if self._late and late < self._late[-1][1]:
            self._late.clear()  # another session has begun
        if not self._late or late != self._late[-1][1]:
            self._late.append((now, late))
        # What was counted when the window began is what the window is measured from.
        while len(self._late) > 1 and self._late[1][0] <= now - _WINDOW_S:
            self._late.popleft()
        return late - self._late[0][1]


def _loading(stats: Stats, settings: Settings) -> str:
    if stats.voice == settings.voice:
        return "Loading; what was before plays on."
    return f"Loading {settings.voice!r}; {stats.voice!r} plays on."


def _remedy(stats: Stats) -> str:
    block, headroom = stats.latency.block, stats.latency.headroom
    longest = f"A step takes up to {stats.step.p99 * 1000:.0f} ms"
    if stats.step.p95 > block > 0:
        return f"{longest}, a block is {block * 1000:.0f}: raise block, or close other programs."
    if stats.step.p99 > headroom > 0:
        wanted = -(-stats.step.p99 * 1000 // 10) * 10
        return f"{longest}: raise headroom to {wanted:.0f} ms, or close other programs."
    return "Something else takes the processor: close it, or raise headroom."
