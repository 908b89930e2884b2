"""The state of the output in words, with its reason and remedy."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from rtvc.setting import Value
from rtvc.settings import BUILT_IN, RESERVE_MS, SETTINGS, Settings
from rtvc.stats import State, Stats

_WINDOW_S = 10.0
_MANY_LATE = 3
_SETTLES_S = 3.0
"""Time after a start, a change of the voice or a lost device in which blocks may be late."""
_SPARE_MS = 20.0
"""What a remedy adds to the time that a step takes."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of settings that helps.

    Attributes
    ----------
    label
        What it does, such as "longer block, 150 ms".
    changes
        The settings to change, by name.
    """

    label: str
    changes: dict[str, Value] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Badge:
    """The state as it is shown.

    Attributes
    ----------
    sign, word, edge
        The state as a sign, in words, and as the pattern of the ends of the band. The colour only
        repeats them.
    colour
        The name of the colour in the theme.
    others_hear
        What leaves the speaker, "" if it is the converted voice.
    key, note
        The action whose key leads out of the state, by its name in `rtvc.tui.keys`, and what that
        does; "" if there is none.
    text
        The reason, "" if all is well.
    remedy
        A change that helps, None if there is none.
    """

    sign: str
    word: str
    edge: str
    colour: str
    others_hear: str = ""
    key: str = ""
    note: str = ""
    text: str = ""
    remedy: Remedy | None = None

    @property
    def alarming(self) -> bool:
        """Whether the voice is not heard as it should be."""
        return self.colour == "error"


STARTING = Badge("...", "STARTING", "··", "secondary", "nothing yet")
_BADGES = {
    State.STARTING: STARTING,
    State.CONVERTED: Badge("(*)", "CHANGED VOICE IS LIVE", "  ", "success"),
    State.UNCHANGED: Badge("(=)", "UNCHANGED", "══", "accent", "your own voice, recognisable"),
    State.DRY: Badge("( )", "YOUR OWN VOICE IS LIVE", "▚▞", "warning", "your own voice"),
    State.MUTED: Badge("[x]", "MUTED", "░░", "error", "nothing", "mute", "unmutes"),
    State.DEVICE_LOST: Badge("[!]", "DEVICE LOST", "!!", "error", "nothing", "devices", "devices"),
    State.STOPPED: Badge("[x]", "STOPPED", "░░", "error", "nothing"),
}
NO_DEVICE = Badge("[!]", "NO DEVICE", "!!", "error", "nothing", "devices", "devices")
RESTARTING = Badge("[!]", "RESTARTING", "!!", "error", "nothing")
NO_VOICE = Badge("[!]", "NO VOICE", "!!", "error", "nothing", "search", "voices")
TOO_SLOW = Badge("[!]", "TOO SLOW", "!!", "error", "the changed voice, with gaps")


class BadgeTracker:
    """Derives the badge from successive `Stats`.

    Parameters
    ----------
    devices_key
        The label of the key that leads to the devices.
    """

    def __init__(self, devices_key: str = "d") -> None:
        self._devices_key = devices_key
        self._late: deque[tuple[float, int]] = deque()
        self._unsettled_until = 0.0
        self._had_device = False

    def update(self, stats: Stats, settings: Settings, now: float) -> Badge:
        """Return the current badge.

        Parameters
        ----------
        stats, settings
            Current statistics and settings.
        now
            A monotonic time in seconds.
        """
        self._had_device = self._had_device or stats.blocks > 0
        late = self._recent_late_blocks(stats, now)
        badge = _BADGES[stats.state]
        if stats.state is State.DEVICE_LOST:
            key = self._devices_key
            if not self._had_device:
                return _explained(
                    NO_DEVICE, f"{stats.reason} Connect one, or press {key} to choose."
                )
            what = f"Reconnect the device, or press {key} to choose another."
            return _explained(badge, f"{stats.reason} {what}")
        if stats.state is State.MUTED and settings.mode != "muted":
            return self._silence(stats, settings, late, now)
        if stats.state in (State.CONVERTED, State.UNCHANGED, State.DRY) and late >= _MANY_LATE:
            cause, remedy = _remedy(stats, settings)
            text = f"{stats.reason} {late} late blocks in {_WINDOW_S:.0f} s. {cause}".strip()
            # What others hear of yourself matters more than its gaps.
            slow = TOO_SLOW if stats.state is State.CONVERTED else badge
            return _explained(slow, text, remedy)
        text = stats.reason
        if stats.loading and not text:
            text = _loading(stats, settings)
        return _explained(badge, text)

    def _silence(self, stats: Stats, settings: Settings, late: int, now: float) -> Badge:
        """Return the badge while the output is silent although you have not muted it."""
        if stats.restarting and not stats.voice:
            builtin = Remedy("use the built-in voice", {"voice": BUILT_IN})
            remedy = None if settings.voice == BUILT_IN else builtin
            return _explained(NO_VOICE, stats.reason, remedy)
        if stats.restarting or (stats.reason and now < self._unsettled_until):
            return _explained(RESTARTING, stats.reason)
        if late or stats.reason:
            cause, remedy = _remedy(stats, settings)
            return _explained(TOO_SLOW, f"{stats.reason} {cause}", remedy, "nothing")
        return _explained(_BADGES[State.MUTED], "")  # for the moment until it opens

    def _recent_late_blocks(self, stats: Stats, now: float) -> int:
        late = stats.late_blocks
        # A degraded run loads longer blocks because blocks are late.
        loading = stats.loading and not stats.degraded
        if stats.restarting or loading or stats.state in (State.STARTING, State.DEVICE_LOST):
            self._unsettled_until = now + _SETTLES_S
        if now < self._unsettled_until or (self._late and late < self._late[-1][1]):
            self._late.clear()  # late blocks say nothing about the machine, or a session is new
        if not self._late or late != self._late[-1][1]:
            self._late.append((now, late))
        # The oldest entry holds the count at the start of the window.
        while len(self._late) > 1 and self._late[1][0] <= now - _WINDOW_S:
            self._late.popleft()
        return late - self._late[0][1]


def _explained(
    badge: Badge, text: str, remedy: Remedy | None = None, others_hear: str = ""
) -> Badge:
    heard = others_hear or badge.others_hear
    return replace(badge, others_hear=heard, text=text, remedy=remedy)


def _loading(stats: Stats, settings: Settings) -> str:
    if stats.voice == settings.voice:
        return "Loading; the previous sizes stay in use until it is done."
    return f"Loading {settings.voice!r}; {stats.voice!r} keeps playing."


def _remedy(stats: Stats, settings: Settings) -> tuple[str, Remedy | None]:
    """Return why blocks are late, as a sentence, and what helps."""
    block, headroom = stats.latency.block, stats.latency.headroom
    longest = f"Steps take up to {stats.step.p99 * 1000:.0f} ms"
    if stats.step.p95 > block > 0:
        sentence = f"{longest} for a block of {block * 1000:.0f} ms. Close other programs too."
        return sentence, _longer("block", stats.step.p95 * 1000, settings)
    if stats.step.p99 > headroom - 1e-3 * RESERVE_MS > 0:
        sentence = f"{longest} of {headroom * 1000:.0f} ms headroom. Close other programs too."
        return sentence, _longer("headroom", stats.step.p99 * 1000, settings)
    return "Another program is using the CPU: close it.", _longer(
        "headroom", headroom * 1000, settings
    )


def _longer(name: str, needed_ms: float, settings: Settings) -> Remedy | None:
    """Return the remedy that sets a size to what is needed, and a little more."""
    setting = SETTINGS[name]
    wanted = min(-(-(needed_ms + _SPARE_MS) // 10) * 10, setting.high)
    if wanted <= float(getattr(settings, name)) and wanted == setting.high:
        return None
    return Remedy(f"longer {name}, {wanted:.0f} ms", {name: wanted})
