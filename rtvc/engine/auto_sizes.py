"""Automatic latency: block and headroom that follow from the steps of a run."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.calibration.first_sizes import Point, step_line
from rtvc.calibration.settling import Change, Settling, StepSeen, settle
from rtvc.calibration.sizing import Sizing, sizes_at_default
from rtvc.calibration.work import work_of
from rtvc.setting import Value
from rtvc.settings import SETTINGS, Settings

_SIZES = ("block", "headroom")
_NOT_TIMED = ("voice", "morph", "morph_to", "seed", *_SIZES)
_TIMED = tuple(name for name, s in SETTINGS.items() if s.shape and name not in _NOT_TIMED)
"""Settings that change the time of a step, besides the kind of the voice and the block."""
_SILENT = 1e-4
"""Peak of the output, relative to full scale, below which a change cannot be heard."""
_SILENT_S = 0.15
"""Seconds of silence before a change, so that it is a pause and no plosive."""
_PATIENCE_S = 6.0
"""Seconds after which a change no longer waits for silence."""


class AutoSizes:
    """Sizes of ``Settings.latency`` ``auto``, by voice.

    Only the engine thread uses it, except `use`, `take_message` and `learned`.

    Parameters
    ----------
    sizing
        The profile, what was measured, what was learned in an earlier run, and the sizes that
        the user has chosen.

    Attributes
    ----------
    changes
        Number of changes so far.
    reason
        The last one as a sentence, "" before the first.
    """

    def __init__(self, sizing: Sizing) -> None:
        self._sizing = sizing
        self._states: dict[tuple[object, ...], Settling] = {}
        self._adopted: dict[tuple[object, ...], tuple[float, float]] = {}
        self._lines: dict[tuple[object, ...], tuple[float, float]] = {}
        """Step time over the block, where it was measured before the first step."""
        self._waiting: tuple[Change, float] | None = None
        """A change that waits for silence, and the time until which it does."""
        self._waiting_for: tuple[object, ...] = ()
        """The voice and its settings that the change is for, as `_key` returns them."""
        self._silent_s = 0.0
        self._messages: deque[str] = deque(maxlen=5)
        self.changes = 0
        self.reason = ""

    def use(self, sizing: Sizing) -> None:
        """Use other sizes that the user has chosen; any thread may call it."""
        self._sizing = sizing

    def sizes(self, settings: Settings, kind: str) -> dict[str, Value]:
        """Return block and headroom where they are automatic, by name.

        Parameters
        ----------
        settings
            The requested settings.
        kind
            Kind of the voice, "" if not known.
        """
        if settings.latency != "auto" or not kind or not (free := self._free(settings)):
            return {}
        key = _key(settings, kind, free)
        if key not in self._adopted:
            self._adopted[key] = self._first(settings, kind, free)
        return dict(zip(_SIZES, self._adopted[key], strict=True))

    def unknown(self, settings: Settings, kind: str) -> frozenset[str]:
        """Return which of block and headroom are automatic while nothing tells how long they are.

        Parameters
        ----------
        settings
            The requested settings.
        kind
            Kind of the voice.
        """
        if settings.latency != "auto" or self._sizing.timing(kind) or self._known(settings, kind):
            return frozenset()
        return self._free(settings)

    def start_with(
        self, settings: Settings, kind: str, points: Sequence[Point], block: float, headroom: float
    ) -> None:
        """Start with these sizes in ms, which follow from steps that were timed.

        Only before a chain for these settings is in use.

        Parameters
        ----------
        settings, kind
            As for `unknown`.
        points
            The steps.
        block, headroom
            The sizes.
        """
        key = _key(settings, kind, self._free(settings))
        self._adopted[key] = block, headroom
        if (line := step_line(points)) is not None:
            self._lines[key] = line
        if (block, headroom) != (settings.block, settings.headroom):
            first = points[0]
            self._messages.append(
                f"Automatic latency: it starts with block {block:.0f} ms and headroom "
                f"{headroom:.0f} ms, because steps of {first.block:.0f} ms take "
                f"{first.typical:.0f} ms."
            )

    def state(self, settings: Settings, kind: str) -> str:
        """Return "settling", "settled", or "" while the sizes are not automatic."""
        if settings.latency != "auto" or not (free := self._free(settings)):
            return ""
        state = self._states.get(_key(settings, kind, free))
        return "settled" if state is not None and state.settled else "settling"

    def observe(self, step: StepSeen, requested: Settings, kind: str) -> bool:
        """Note a step with the requested sizes; return whether the sizes in use have changed.

        A change of the headroom alone waits for silence, see `adopt`, unless a block is late. One
        of the block takes time, so it begins at once, and its end waits for silence. A headroom
        that is raised with it at once is used until then, see `urgent`.

        Parameters
        ----------
        step
            The step.
        requested
            The requested settings.
        kind
            Kind of the voice.
        """
        free = self._free(requested)
        if requested.latency != "auto" or not free or not kind:
            self._waiting = None
            return False
        key = _key(requested, kind, free)
        state = self._states.get(key)
        if state is None:
            state = self._begin(step, kind, free, requested)
        in_use = step.block, step.headroom
        if self._waiting is None and (state.block, state.headroom) != in_use:
            # What was to change is in use, or was given up.
            state = replace(state, block=step.block, headroom=step.headroom)
        self._states[key], change = settle(state, step)
        if change is None:
            return False
        if (change.block, change.headroom) == in_use:  # given up
            self._waiting, self._adopted[key] = None, in_use
            return False
        self._waiting, self._waiting_for = (change, step.now + _PATIENCE_S), key
        if change.at_once or change.block != self._adopted[key][0]:
            return self._adopt(key, change)
        return False

    def adopt(self, output: Float32, now: float, requested: Settings, kind: str) -> bool:
        """Adopt a headroom that waits for silence, if this output is silent.

        Parameters
        ----------
        output
            (block,) float32, the newest output, not queued yet.
        now
            Time in seconds.
        requested, kind
            As for `observe`.

        Returns
        -------
        bool
            Whether the headroom has changed.
        """
        silent = float(np.max(np.abs(output), initial=0.0)) < _SILENT
        self._silent_s = self._silent_s + len(output) / ENGINE_RATE if silent else 0.0
        if self._waiting is None:
            return False
        key = _key(requested, kind, self._free(requested))
        if self._waiting_for != key:
            self._waiting = None  # another voice is in use meanwhile
            return False
        if not self.may_change(now):
            return False
        change, _ = self._waiting
        if self._adopted.get(key, (0.0, 0.0))[0] != change.block:
            return False
        return self._adopt(key, change)

    @property
    def urgent(self) -> bool:
        """Whether a change that has begun must not wait for silence."""
        return self._waiting is not None and self._waiting[0].at_once

    def may_change(self, now: float) -> bool:
        """Return whether a change that has begun may end now: in silence, or late enough."""
        if self._waiting is None:
            return True
        change, until = self._waiting
        return change.at_once or self._silent_s >= _SILENT_S or now >= until

    def changed(self, settings: Settings, latency_ms: float) -> None:
        """Note the settings of the chain in use, and its latency without the devices in ms."""
        if self._waiting is None or settings.voice != self._waiting_for[0]:
            return
        change, _ = self._waiting
        if settings.headroom != change.headroom:
            return
        if settings.block == change.block:
            self._waiting = None
        elif not change.at_once:
            return
        self.changes += 1
        self.reason = (
            f"Automatic latency: block {settings.block:.0f} ms and headroom "
            f"{settings.headroom:.0f} ms ({latency_ms:.0f} ms without the devices), because "
            f"{change.reason}."
        )
        self._messages.append(self.reason)

    def take_message(self) -> str:
        """Return the changes since the last call, "" if there was none; from any thread."""
        found = []
        while self._messages:
            found.append(self._messages.popleft())
        return " ".join(found)

    def learned(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Return block and headroom by name and kind of the voice, where they settled.

        Any thread may call it.
        """
        return {
            (str(key[0]), str(key[1])): (state.block, state.headroom)
            for key, state in list(self._states.items())
            if state.settled and state.free == frozenset(_SIZES)
        }

    def _adopt(self, key: tuple[object, ...], change: Change) -> bool:
        before = self._adopted.get(key)
        self._adopted[key] = change.block, change.headroom
        return before != self._adopted[key]

    def _free(self, settings: Settings) -> frozenset[str]:
        return (sizes_at_default(settings) - self._sizing.chosen) & frozenset(_SIZES)

    def _first(self, settings: Settings, kind: str, free: frozenset[str]) -> tuple[float, float]:
        """Return what to start with: learned, calibrated, or default sizes.

        What was learned about this voice comes first, then what another voice of its kind has
        settled on in this run, or has in an earlier one.
        """
        known: Mapping[str, Value] = self._sizing.changes(settings, kind)
        if pair := self._known(settings, kind):
            known = dict(zip(_SIZES, pair, strict=True))
        block, headroom = (
            float(known.get(name, getattr(settings, name)) if name in free else own)
            for name, own in (("block", settings.block), ("headroom", settings.headroom))
        )
        return block, headroom

    def _known(self, settings: Settings, kind: str) -> tuple[float, float] | None:
        """Return the block and headroom that were learned, in ms."""
        learned = self._sizing.learned
        others = [pair for (_, other), pair in self.learned().items() if other == kind]
        found = (learned.get((settings.voice, kind)), *others[-1:], learned.get(("", kind)))
        return next(filter(None, found), None)

    def _begin(
        self, step: StepSeen, kind: str, free: frozenset[str], requested: Settings
    ) -> Settling:
        state = Settling(step.block, step.headroom, self._sizing.profile, free)
        timing = self._sizing.timing(kind)
        if timing is None:
            return replace(state, line=self._lines.get(_key(requested, kind, free)))
        context, work = self._context(requested), work_of(requested)
        least, more = (timing.p50(block, context, work) for block in (0.0, 1000.0))
        line = max(least, 0.1), max(more - least, 0.0) / 1000.0
        return replace(state, line=line) if math.isfinite(sum(line)) else state

    def _context(self, settings: Settings) -> float:
        changes = self._sizing.changes(settings, "")
        return float(changes.get("context", settings.context))


def _key(settings: Settings, kind: str, free: frozenset[str]) -> tuple[object, ...]:
    own = tuple(getattr(settings, name) for name in _SIZES if name not in free)
    timed = (getattr(settings, name) for name in _TIMED)
    return (settings.voice, kind, free, own, *timed)
