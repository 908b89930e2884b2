"""The two keys that decide what others hear: the one for your own voice, and the one that mutes."""

from __future__ import annotations

import time
from collections.abc import Callable

_OPEN_S = 5.0
"""Time for the second press, in seconds."""
_DELIBERATE_S = 0.4
"""A second press sooner is a double click, a bouncing key or pasted text. A key that is held
repeats after 0.2 to 0.7 s, and then about 30 times a second."""
_HELD_S = 0.15
"""Presses at shorter intervals are one press of a key that is held."""
_PANIC_S = 0.7
"""Presses at shorter intervals neither unmute nor let your own voice through: they come from a
key that is held, or from a user who wants silence at once and presses it several times."""


class ModeKeys:
    """What a press of one of the two keys does to the mode.

    Your own voice needs a deliberate act. The first press in a run opens a question, which a
    second press answers; any other key, or 5 s, withdraws it. Later presses act at once. The
    output is never unmuted by this key.

    Parameters
    ----------
    confirm
        Whether the first press in a run asks.
    never
        Whether your own voice stays off for the whole run.
    own_voice_key, mute_key
        The names of the keys, for messages.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        *,
        confirm: bool = True,
        never: bool = False,
        own_voice_key: str = "space",
        mute_key: str = "m",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._confirm = confirm
        self._never = never
        self._own_voice_key = own_voice_key
        self._mute_key = mute_key
        self._clock = clock
        self._asked_at: float | None = None
        self._own_voice_at = self._mute_at = float("-inf")
        """When each key was pressed last."""

    @property
    def question(self) -> str:
        """The open question, "" if there is none."""
        if self._asked_at is None or self._clock() - self._asked_at >= _OPEN_S:
            return ""
        return f"Your own voice on air? Press {self._own_voice_key} again within 5 s; Escape: no."

    def withdraw(self) -> None:
        """Close the question, if it is open."""
        self._asked_at = None

    def press_own_voice(self, mode: str) -> tuple[str, str]:
        """Return the mode after a press of the key for your own voice, and a message or ""."""
        now = self._clock()
        since, self._own_voice_at = now - self._own_voice_at, now
        if mode == "muted":
            return mode, self._how_to_unmute
        if mode == "converted" and self._never:
            return mode, "Your own voice stays off: this run was started with --never-dry."
        if mode == "converted" and self._confirm:
            return self._answered(now), ""
        if since < _HELD_S:
            return mode, ""
        if mode == "converted" and since < _PANIC_S:  # the first repeat of a held key
            key = self._own_voice_key
            return mode, f"Your own voice stays off. Press {key} again to let it through."
        return ("dry" if mode == "converted" else "converted"), ""

    def press_mute(self, mode: str) -> tuple[str, str]:
        """Return the mode after a press of the mute key, and a message or ""."""
        now = self._clock()
        since, self._mute_at = now - self._mute_at, now
        self.withdraw()
        if mode != "muted":
            return "muted", ""
        if since < _PANIC_S:
            return mode, f"The output stays muted. Press {self._mute_key} again to unmute."
        return "converted", ""

    def mute(self, mode: str) -> tuple[str, str]:
        """Return the mode after a click that mutes and never unmutes, and a message or ""."""
        self._mute_at = self._clock()
        self.withdraw()
        return "muted", self._how_to_unmute if mode == "muted" else ""

    @property
    def _how_to_unmute(self) -> str:
        return f"The output is muted. Press {self._mute_key} to unmute."

    def _answered(self, now: float) -> str:
        """Ask, or take the press as the answer; return the mode."""
        if not self.question:
            self._asked_at = now
        elif self._asked_at is not None and now - self._asked_at >= _DELIBERATE_S:
            self.withdraw()
            self._confirm = False
            return "dry"
        return "converted"
