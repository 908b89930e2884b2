"""Block and headroom to start with, from a few steps. Arithmetic only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtvc.calibration.profiles import LONGEST_BLOCK, PREEMPTION_MS, Profile
from rtvc.calibration.settling import GRID, needed_headroom
from rtvc.calibration.step_line import Line, estimate, line_through

MOST_STEPS = 4
"""Most steps that are timed of one chain."""
_LARGEST_JUMP = 3.0
"""How many times as long the next block is at most, where nothing is known of longer ones."""


@dataclass(frozen=True, slots=True)
class Point:
    """Timed steps of one block.

    Attributes
    ----------
    block
        The block in ms.
    times
        Duration of each step in ms.
    """

    block: float
    times: tuple[float, ...] = ()

    def with_step(self, milliseconds: float) -> Point:
        """Return the point with one more step."""
        return Point(self.block, (*self.times, milliseconds))

    @property
    def typical(self) -> float:
        """The median of the steps, the lower one of two: another program may delay one.

        The first step of a chain may still do what later ones do not, so it counts only while it
        is the only one.
        """
        counted = sorted(self.times[1:] or self.times)
        return counted[(len(counted) - 1) // 2]

    @property
    def p99(self) -> float:
        """What the p99 may be: the fewer steps, the further above the median."""
        return self.typical * (1.0 + 1.0 / len(self.times))


def first_sizes(
    points: Sequence[Point], headroom: float, profile: Profile, free: frozenset[str]
) -> tuple[float, float]:
    """Return block and headroom in ms to start with, or to measure next.

    They are never less than what was measured: whether less is enough shows while converting.

    Parameters
    ----------
    points
        Step times, those of the last chain at the end.
    headroom
        The least headroom in ms.
    profile
        Determines the largest load and the margin of the headroom.
    free
        Which of ``block`` and ``headroom`` may be longer.
    """
    block = points[-1].block
    longest = min(_LARGEST_JUMP * block, float(LONGEST_BLOCK)) if "block" in free else block
    while block < longest and _estimate(points, block) > profile.max_load * block:
        block += GRID
    if "headroom" in free:
        p99 = _estimate(points, block)
        preempted = needed_headroom((p99 + PREEMPTION_MS) / profile.headroom_factor, profile)
        headroom = max(headroom, needed_headroom(p99, profile), preempted)
    return block, headroom


def step_line(points: Sequence[Point]) -> Line | None:
    """Return how the step time depends on the block, None if not known."""
    return line_through([(one.block, one.p99) for one in points]) if len(points) > 1 else None


def _estimate(points: Sequence[Point], block: float) -> float:
    """Return what the p99 of steps of a block may be, in ms."""
    return estimate(step_line(points), points[-1].block, points[-1].p99, block)
