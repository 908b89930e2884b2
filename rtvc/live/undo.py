"""Steps back and forward through settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from rtvc.settings import SETTINGS, Settings, changed_names

_TOGETHER_S = 0.8
"""Changes of the same numbers in quicker succession are one step: a key that is held down."""
_MOST = 200


class UndoHistory:
    """The settings before the present ones, and those that were undone.

    The mode is no part of it: an undo never opens a muted output.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: list[Settings] = []
        self._future: list[Settings] = []
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)

    def note(self, before: Settings, after: Settings) -> None:
        """Remember a change."""
        names = changed_names(before, after) - {"mode"}
        if not names:
            return
        last_names, last_time = self._last
        now = self._clock()
        self._last = names, now
        self._future.clear()
        held = names == last_names and now - last_time < _TOGETHER_S
        # What is chosen, such as a voice, is chosen one by one.
        if held and self._past and all(SETTINGS[name].is_number for name in names):
            return
        self._past = [*self._past[-_MOST:], before]

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
