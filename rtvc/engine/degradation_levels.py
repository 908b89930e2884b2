"""What the engine can do without where steps are late, in the order of what is missed least."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from rtvc.calibration.profiles import LONGEST_BLOCK
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import Timing
from rtvc.engine.delivery import GUARD_S
from rtvc.settings import BUILT_IN, SETTINGS, Settings, Value

T = TypeVar("T")

_CONTEXTS = (1000.0, 500.0)
_CHEAPER_METHODS = {"harvest": ("fcpe", "dio"), "rmvpe": ("fcpe", "dio"), "fcpe": ("dio",)}
_BLOCK_FACTORS = (1.5, 2.0, 3.0, 4.5)

_MIN_SPEEDUP = 0.97
"""A rung whose steps take more than this part of those before is left out."""
_SUSTAINED_LOAD = 0.9
"""Part of a block that a step may take in the long run."""


@dataclass(frozen=True, slots=True)
class DegradationLevel:
    """Settings that the engine uses in place of those it was asked for.

    Attributes
    ----------
    changes
        By name.
    labels
        What is different from the top of the ladder, for a person, by name.
    allowed_s
        How long a step may take before its sound is late.
    sustained_s
        How long it may take in the long run.
    predicted_s
        How long it usually takes by the calibration, None without one.
    """

    changes: Mapping[str, Value]
    labels: Mapping[str, str]
    allowed_s: float
    sustained_s: float
    predicted_s: float | None

    def fits(self, seconds: float, part: float = 1.0) -> bool:
        """Return whether steps of so many seconds fit into a part of what is allowed."""
        return seconds <= part * min(self.allowed_s, self.sustained_s)

    def without(self, refused: DegradationLevel, above: DegradationLevel) -> DegradationLevel:
        """Return this rung with what `above` has in place of what a refused rung brought."""
        added = {
            name
            for name, value in refused.changes.items()
            if above.changes.get(name) != value == self.changes[name]
        }
        return dataclasses.replace(
            self,
            changes=_override(self.changes, above.changes, added),
            labels=_override(self.labels, above.labels, added),
        )


NOT_DEGRADED = DegradationLevel({}, {}, math.inf, math.inf, None)
"""The only rung where nothing is ever late."""


def make_levels(settings: Settings, sizing: Sizing, kind: str) -> tuple[DegradationLevel, ...]:
    """Return the ladder for a voice, from what is asked for down to the least.

    The context gets shorter, then retrieval is off, then pitch is found by a cheaper
    method, then the block gets longer, each on top of what was before. A rung that the
    calibration expects nothing of is left out; the built-in voice has only the last kind.

    Parameters
    ----------
    settings
        Those that are asked for.
    sizing
        What is known of the machine.
    kind
        Kind of the voice, "" if it is not known.
    """
    timing = sizing.timing(kind)
    base = sizing.changes(settings, kind)
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
        # Without a measurement only what needs no download is surely there.
        known = ("dio",) if timing is None else (*timing.methods,)
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
        predicted = 1e-3 * timing.p50(
            settings.block,
            settings.context,
            method=settings.pitch_method,
            index=settings.index_rate > 0,
        )
    labels = {
        "context": f"context {settings.context:.0f} ms",
        "index_rate": "retrieval off",
        "pitch_method": f"pitch by {settings.pitch_method}",
        "block": f"block {settings.block:.0f} ms",
    }
    return DegradationLevel(
        changes=changes,
        labels={n: w for n, w in labels.items() if getattr(settings, n) != getattr(top, n)},
        allowed_s=max(1e-3 * settings.headroom - GUARD_S, 1e-3),
        sustained_s=1e-3 * settings.block * _SUSTAINED_LOAD,
        predicted_s=predicted,
    )


def _helps(before: DegradationLevel, level: DegradationLevel) -> bool:
    if before.predicted_s is None or level.predicted_s is None:
        return True
    # A longer block takes longer, and has still more time.
    relief = before.allowed_s / level.allowed_s
    return level.predicted_s * relief < _MIN_SPEEDUP * before.predicted_s


def _round_to_tens(milliseconds: float) -> float:
    return 10.0 * round(milliseconds / 10.0)


def _override(own: Mapping[str, T], others: Mapping[str, T], names: set[str]) -> dict[str, T]:
    """Return `own`, with what `others` has under some names."""
    kept = {name: value for name, value in own.items() if name not in names}
    return kept | {name: others[name] for name in names if name in others}
