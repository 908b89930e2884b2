"""Step times of a voice kind on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtvc.calibration.conditions import Conditions
from rtvc.calibration.work import USUAL, Work


@dataclass(frozen=True, slots=True)
class Timing:
    """Model of the step time: ``constant + per_block * block + per_context * context``.

    To it come the parts of the chain that are off by default, where they are on.

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
    processing
        ms per ms of block of parts of the chain that are off by default, by names of
        `rtvc.calibration.work.PARTS`; 0 for those not measured.
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
    processing: Mapping[str, float] = field(default_factory=dict)

    def p50(self, block: float, context: float, work: Work = USUAL) -> float:
        """Return the median step time in ms.

        Parameters
        ----------
        block, context
            Sizes in ms.
        work
            What the step computes.
        """
        time = self.constant + self.per_block * block + self.per_context * context
        time -= self.methods.get(work.method, 0.0)
        if not work.index:
            time -= self.without_index
        parts = sum(self.processing.get(part, 0.0) for part in work.parts)
        return max(time, 0.1) + parts * block

    def p99(self, block: float, context: float, work: Work = USUAL) -> float:
        """Return the p99 of the step time in ms; parameters as `p50`."""
        return self.tail * self.p50(block, context, work)

    def max(self, block: float, context: float, work: Work = USUAL) -> float:
        """Return the time of the longest measured step in ms; parameters as `p50`."""
        return self.longest * self.p50(block, context, work)


def measured_here(timings: Mapping[str, Timing], now: Conditions) -> dict[str, Timing]:
    """Return the timings that were measured on this machine, whose conditions are `now`."""
    return {kind: t for kind, t in timings.items() if t.conditions.same_machine(now)}
