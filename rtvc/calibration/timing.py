"""Step times of a voice kind on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtvc.calibration.conditions import Conditions


@dataclass(frozen=True, slots=True)
class Timing:
    """Model of the step time: ``constant + per_block * block + per_context * context``.

    Attributes
    ----------
    constant
        Constant part in ms.
    per_block, per_context
        ms per ms of block and of context.
    tail, longest
        Ratio of the p99 of the step time to its p50, at least 1, and ratio of the longest step
        to the p50.
    without_index
        Time saved per step without retrieval in ms; 0 if not measured.
    methods
        Time saved per step in ms with pitch methods other than RMVPE, by name.
    conditions
        Conditions of the measurement.
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
        """Return the median step time in ms.

        Parameters
        ----------
        block, context
            Sizes in ms.
        method
            Pitch method; "" for RMVPE.
        index
            Whether retrieval is used.
        """
        time = self.constant + self.per_block * block + self.per_context * context
        time -= self.methods.get(method, 0.0)
        return max(time if index else time - self.without_index, 0.1)

    def p99(self, block: float, context: float, *, method: str = "") -> float:
        """Return the p99 of the step time in ms; parameters as `p50`."""
        return self.tail * self.p50(block, context, method=method)

    def max(self, block: float, context: float, *, method: str = "") -> float:
        """Return the time of the longest measured step in ms; parameters as `p50`."""
        return self.longest * self.p50(block, context, method=method)


def measured_here(timings: Mapping[str, Timing], now: Conditions) -> dict[str, Timing]:
    """Return the timings that were measured on this machine, whose conditions are `now`."""
    return {kind: t for kind, t in timings.items() if t.conditions.same_machine(now)}
