"""The state of the output in one word, with its reason and remedy."""

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
    State.UNCHANGED: ("(=)", "UNCHANGED", "$accent"),
    State.DRY: ("( )", "DRY", "$warning"),
    State.MUTED: ("[x]", "MUTED", "$error"),
    State.DEVICE_LOST: ("[!]", "DEVICE LOST", "$error"),
    State.STOPPED: ("[x]", "STOPPED", "$error"),
}


@dataclass(frozen=True, slots=True)
class Badge:
    """The state as it is shown.

    Attributes
    ----------
    sign, word
        The state as a sign and as a word; the colour only repeats them.
    style
        The colour, as a Textual style.
    text
        The reason and the remedy, "" if all is well.
    """

    sign: str
    word: str
    style: str
    text: str = ""

    @property
    def alarming(self) -> bool:
        """Whether the voice is not heard as it should be."""
        return self.style == "$error"


class BadgeTracker:
    """Derives the badge from successive `Stats`."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, int]] = deque()

    def update(self, stats: Stats, settings: Settings, now: float) -> Badge:
        """Return the current badge.

        Parameters
        ----------
        stats, settings
            Current statistics and settings.
        now
            A monotonic time in seconds.
        """
        if stats.restarting or stats.state in (State.STARTING, State.DEVICE_LOST):
            self._late.clear()  # late blocks then say nothing about the machine
        late = self._recent_late_blocks(stats.late_blocks, now)
        sign, word, style = _WORDS[stats.state]
        if stats.restarting and stats.state is State.MUTED and settings.mode != "muted":
            word = "RESTARTING" if stats.voice else "NO VOICE"
            return Badge("[!]", word, "$error", stats.reason)
        if stats.state in (State.CONVERTED, State.UNCHANGED, State.DRY) and late >= _MANY_LATE:
            text = (
                f"{stats.reason} {late} late blocks in {_WINDOW_S:.0f} s. {_remedy(stats)}".strip()
            )
            return Badge("[!]", "TOO SLOW", "$error", text)
        if stats.state is State.MUTED and settings.mode != "muted" and late:
            return Badge("[!]", "TOO SLOW", "$error", f"{stats.reason} {_remedy(stats)}")
        text = stats.reason
        if stats.state is State.DEVICE_LOST:
            text = f"{text} Reconnect the device, or press d to choose another."
        elif stats.loading and not text:
            text = _loading(stats, settings)
        return Badge(sign, word, style, text)

    def _recent_late_blocks(self, late: int, now: float) -> int:
        if self._late and late < self._late[-1][1]:
            self._late.clear()  # a new session has started
        if not self._late or late != self._late[-1][1]:
            self._late.append((now, late))
        # The oldest entry holds the count at the start of the window.
        while len(self._late) > 1 and self._late[1][0] <= now - _WINDOW_S:
            self._late.popleft()
        return late - self._late[0][1]


def _loading(stats: Stats, settings: Settings) -> str:
    if stats.voice == settings.voice:
        return "Loading; the previous sizes stay in use until it is done."
    return f"Loading {settings.voice!r}; {stats.voice!r} keeps playing."


def _remedy(stats: Stats) -> str:
    block, headroom = stats.latency.block, stats.latency.headroom
    longest = f"Steps take up to {stats.step.p99 * 1000:.0f} ms"
    if stats.step.p95 > block > 0:
        return f"{longest} for a block of {block * 1000:.0f} ms: raise block, or close programs."
    if stats.step.p99 > headroom > 0:
        wanted = -(-stats.step.p99 * 1000 // 10) * 10
        return f"{longest}: raise headroom to {wanted:.0f} ms, or close other programs."
    return "Another program is using the CPU: close it, or raise headroom."
