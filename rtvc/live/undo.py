"""Undo and redo of settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from rtvc.settings import SETTINGS, Settings, changed_names

_MERGE_S = 0.8
"""Changes of the same numbers within this time are one step, such as those of a held key."""
_MAX_STEPS = 200


class UndoHistory:
    """Earlier settings, and settings that were undone.

    The mode is left out: an undo never unmutes the output.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: list[Settings] = []
        self._future: list[Settings] = []
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)

    def note(self, before: Settings, after: Settings) -> None:
        """Store a change."""
        names = changed_names(before, after) - {"mode"}
        if not names:
            return
        last_names, last_time = self._last
        now = self._clock()
        self._last = names, now
        self._future.clear()
        held = names == last_names and now - last_time < _MERGE_S
        # Settings that are no numbers, such as the voice, are never merged.
        if held and self._past and all(SETTINGS[name].is_number for name in names):
            return
        self._past = [*self._past[-_MAX_STEPS:], before]

    def undo(self, current: Settings) -> Settings | None:
        """Return the settings before the last change, None if there is none."""
        return self._step(current, self._past, self._future)

    def redo(self, current: Settings) -> Settings | None:
        """Return the settings before the last undo, None if there is none."""
        return self._step(current, self._future, self._past)

    def _step(
        self, current: Settings, source: list[Settings], target: list[Settings]
    ) -> Settings | None:
        if not source:
            return None
        target.append(current)
        self._last = frozenset(), 0.0
        return source.pop().replace(mode=current.mode)
