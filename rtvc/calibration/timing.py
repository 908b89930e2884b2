"""How long the steps of a kind of voice take on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtvc.calibration.conditions import Conditions, conditions


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a step takes: ``constant + per_block * block + per_context * context``.

    Attributes
    ----------
    constant
        ms.
    per_block, per_context
        ms for each ms of block and of context.
    tail, longest
        The p99 of a step's time over its p50, 1 or more, and that of the longest step.
    without_index
        What a step takes less without retrieval, in ms; 0 where it was not measured.
    methods
        What a step takes less with another pitch estimator than rmvpe, by name, in ms.
    conditions
        Of the measurement.
    """

    constant: float
    per_block: float
    per_context: float
    tail: float
    longest: float
    conditions: Conditions
    without_index: float = 0.0
    methods: Mapping[str, float] = field(default_factory=dict)

    def p50(self, block: float, context: float, *, method: str = "", index: bool = True) -> float:
        """Return the usual time of a step in ms, for a block and a context in ms."""
        time = self.constant + self.per_block * block + self.per_context * context
        time -= self.methods.get(method, 0.0)
        return max(time if index else time - self.without_index, 0.1)

    def p99(self, block: float, context: float, *, method: str = "") -> float:
        """Return the time in ms that one step in a hundred exceeds."""
        return self.tail * self.p50(block, context, method=method)

    def max(self, block: float, context: float, *, method: str = "") -> float:
        """Return the time in ms of the longest step that a measurement meets."""
        return self.longest * self.p50(block, context, method=method)


def measured_here(timings: Mapping[str, Timing]) -> dict[str, Timing]:
    """Return the timings that were measured on this machine."""
    if not timings:
        return {}
    now = conditions()
    return {kind: t for kind, t in timings.items() if t.conditions.same_machine(now)}
