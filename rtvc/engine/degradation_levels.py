"""Degradation levels: cheaper settings for late steps, ordered by how little they change."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from rtvc.calibration.profiles import LONGEST_BLOCK
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import Timing
from rtvc.calibration.work import work_of
from rtvc.setting import Value
from rtvc.settings import BUILT_IN, RESERVE_MS, SETTINGS, Settings

T = TypeVar("T")

_CONTEXTS = (1000.0, 500.0)
_CHEAPER_METHODS = {
    "harvest": ("fcpe", "swift", "dio"),
    "rmvpe": ("fcpe", "swift", "dio"),
    "fcpe": ("swift", "dio"),
    "swift": ("dio",),
}
_BLOCK_FACTORS = (1.5, 2.0, 3.0, 4.5)

_MAX_TIME_RATIO = 0.97
"""A level is left out if its steps take more than this share of the previous level's time."""
_SUSTAINED_LOAD = 0.9
"""Share of a block that a step may take on average."""


@dataclass(frozen=True, slots=True)
class DegradationLevel:
    """Settings that the engine uses in place of the requested ones.

    Attributes
    ----------
    changes
        Values that replace the requested ones, by setting name.
    labels, phrases
        Short and full text for each difference from level 0, by setting name, such as
        "context 500 ms" and "context reduced to 500 ms".
    allowed_s
        Time in seconds that a step may take before its block is late.
    sustained_s
        Time in seconds that a step may take on average.
    predicted_s
        Median step time by the calibration in seconds, None without one.
    """

    changes: Mapping[str, Value]
    labels: Mapping[str, str]
    phrases: Mapping[str, str]
    allowed_s: float
    sustained_s: float
    predicted_s: float | None

    def fits(self, seconds: float, part: float = 1.0) -> bool:
        """Return whether steps of `seconds` fit into the share `part` of the allowed time."""
        return seconds <= part * min(self.allowed_s, self.sustained_s)

    def without(self, refused: DegradationLevel, above: DegradationLevel) -> DegradationLevel:
        """Return this level without the changes that the level `refused` added to `above`."""
        added = {
            name
            for name, value in refused.changes.items()
            if above.changes.get(name) != value == self.changes[name]
        }
        return dataclasses.replace(
            self,
            changes=_override(self.changes, above.changes, added),
            labels=_override(self.labels, above.labels, added),
            phrases=_override(self.phrases, above.phrases, added),
        )


NOT_DEGRADED = DegradationLevel({}, {}, {}, math.inf, math.inf, None)
"""The only level of an endpoint without deadlines."""


def make_levels(
    settings: Settings, sizing: Sizing, kind: str, sizes: Mapping[str, Value] | None = None
) -> tuple[DegradationLevel, ...]:
    """Return the degradation levels of a voice; level 0 is the requested settings.

    Each level adds one change to the previous level: a shorter context, then no retrieval,
    then a cheaper pitch method, then a longer block. Levels that save no time by the
    calibration are left out. The built-in voice has levels with longer blocks only.

    Parameters
    ----------
    settings
        The requested settings.
    sizing
        Measured step times of this machine.
    kind
        Kind of the voice, "" if not known.
    sizes
        Sizes in place of those that follow from the measurement, by setting name.
    """
    timing = sizing.timing(kind)
    base = sizing.changes(settings, kind) | dict(sizes or {})
    top = settings.replace(**base)
    levels = [_level(base, top, top, timing)]
    for added in _reductions(top, timing):
        changes = {**levels[-1].changes, **added}
        level = _level(changes, settings.replace(**changes), top, timing)
        if _helps(levels[-1], level):
            levels.append(level)
    return tuple(levels)


def _reductions(top: Settings, timing: Timing | None) -> list[dict[str, Value]]:
    steps: list[dict[str, Value]] = []
    if top.voice != BUILT_IN:
        steps += [{"context": context} for context in _CONTEXTS if context < top.context]
        if top.index_rate > 0:
            steps.append({"index_rate": 0.0})
        # Without a measurement, only a method that needs no download is known to be installed.
        known = ("swift",) if timing is None else (*timing.methods,)
        methods = [m for m in _CHEAPER_METHODS.get(top.pitch_method, ()) if m in known]
        steps += [{"pitch_method": method} for method in methods]
    before = top.block
    for factor in _BLOCK_FACTORS:
        block = min(_round_to_tens(factor * top.block), LONGEST_BLOCK)
        if block > before:
            before = block
            headroom = _round_to_tens(top.headroom * block / top.block)
            steps.append({"block": block, "headroom": min(headroom, SETTINGS["headroom"].high)})
    return steps


def _level(
    changes: dict[str, Value], settings: Settings, top: Settings, timing: Timing | None
) -> DegradationLevel:
    predicted = None
    if timing is not None:
        predicted = 1e-3 * timing.p50(settings.block, settings.context, work_of(settings))
    labels = {
        "context": f"context {settings.context:.0f} ms",
        "index_rate": "retrieval off",
        "pitch_method": f"pitch method {settings.pitch_method}",
        "block": f"block {settings.block:.0f} ms",
    }
    phrases = labels | {
        "context": f"context reduced to {settings.context:.0f} ms",
        "block": f"block increased to {settings.block:.0f} ms",
    }
    changed = [name for name in labels if getattr(settings, name) != getattr(top, name)]
    return DegradationLevel(
        changes=changes,
        labels={name: labels[name] for name in changed},
        phrases={name: phrases[name] for name in changed},
        allowed_s=max(1e-3 * (settings.headroom - RESERVE_MS), 1e-3),
        sustained_s=1e-3 * settings.block * _SUSTAINED_LOAD,
        predicted_s=predicted,
    )


def _helps(before: DegradationLevel, level: DegradationLevel) -> bool:
    if before.predicted_s is None or level.predicted_s is None:
        return True
    # A longer block takes more time per step, but the allowed time grows more.
    scale = before.allowed_s / level.allowed_s
    return level.predicted_s * scale < _MAX_TIME_RATIO * before.predicted_s


def _round_to_tens(milliseconds: float) -> float:
    return 10.0 * round(milliseconds / 10.0)


def _override(own: Mapping[str, T], others: Mapping[str, T], names: set[str]) -> dict[str, T]:
    """Return `own` with the entries under `names` replaced from `others`, or removed."""
    kept = {name: value for name, value in own.items() if name not in names}
    return kept | {name: others[name] for name in names if name in others}
