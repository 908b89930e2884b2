"""Undo and redo of settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from rtvc.library.renaming import follow_preset
from rtvc.settings import SETTINGS, Settings, changed_names

_MERGE_S = 0.8
"""Changes of the same numbers within this time are one step, such as those of a held key."""
_MAX_STEPS = 200


class Moment(NamedTuple):
    """Settings, and how they came about.

    Attributes
    ----------
    settings
        The settings.
    preset
        Name of the preset that they began with, "" if there is none.
    chosen
        Names of the sizes that the user set to their default, so that they are not automatic.
    """

    settings: Settings
    preset: str = ""
    chosen: frozenset[str] = frozenset()

    def with_renamed_preset(self, old: str, new: str) -> Moment:
        """Return the same with the new name of a preset."""
        return self._replace(
            settings=follow_preset(self.settings, old, new),
            preset=new if self.preset == old else self.preset,
        )


class UndoHistory:
    """Earlier settings, and settings that were undone.

    The mode is left out: an undo never unmutes the output.

    Parameters
    ----------
    clock
        Returns a monotonic time in seconds.
    check
        Raises `RtvcError` for settings that can no longer be used. `undo` and `redo` raise it too,
        and forget that step.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        check: Callable[[Settings], object] = lambda settings: None,
    ) -> None:
        self._clock = clock
        self._check = check
        self._past: list[Moment] = []
        self._future: list[Moment] = []
        self._last: tuple[frozenset[str], float] = (frozenset(), 0.0)

    def note(self, before: Moment, after: Moment) -> None:
        """Store a change."""
        names = changed_names(before.settings, after.settings) - {"mode"}
        names |= before.chosen ^ after.chosen
        if not names:
            return
        last_names, last_time = self._last
        now = self._clock()
        self._last = names, now
        self._future.clear()
        held = names == last_names and now - last_time < _MERGE_S
        held = held and before.preset == after.preset
        # Settings that are no numbers, such as the voice, are never merged.
        if held and self._past and all(SETTINGS[name].is_number for name in names):
            return
        self._past = [*self._past[-_MAX_STEPS:], before]

    def undo(self, current: Moment) -> Moment | None:
        """Return the settings before the last change, None if there is none."""
        return self._step(current, self._past, self._future)

    def redo(self, current: Moment) -> Moment | None:
        """Return the settings before the last undo, None if there is none."""
        return self._step(current, self._future, self._past)

    def rename_preset(self, old: str, new: str) -> None:
        """Give the preset of earlier and undone settings its new name."""
        for steps in (self._past, self._future):
            steps[:] = [step.with_renamed_preset(old, new) for step in steps]

    def _step(self, current: Moment, source: list[Moment], target: list[Moment]) -> Moment | None:
        if not source:
            return None
        self._last = frozenset(), 0.0
        moment = source.pop()
        settings = moment.settings.replace(mode=current.settings.mode)
        if settings.position != current.settings.position:
            self._check(settings)
        target.append(current)
        return moment._replace(settings=settings)
