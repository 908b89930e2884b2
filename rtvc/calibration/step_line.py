"""How the time of a step depends on the block: a line, from the p99 of steps at two blocks."""

from __future__ import annotations

from collections.abc import Sequence

Line = tuple[float, float]
"""Step time as ``line[0] + line[1] * block``, up to a factor."""

_APART, _LEAST_CONSTANT = 0.2, 0.2
"""Least difference of two blocks, as a share of one, whose step times are compared, and least
share of a step that does not depend on the block."""


def line_through(points: Sequence[tuple[float, float]]) -> Line:
    """Return the line through the newest point and one before it.

    Parameters
    ----------
    points
        Two or more pairs of a block and the p99 of its steps, both in ms; the newest last.
    """
    block, p99 = points[-1]
    # The newest, since the machine may have changed; close points would only compare noise.
    apart = [point for point in points[:-1] if abs(point[0] - block) >= _APART * block]
    other, before = (apart or points[:-1])[-1]
    constant = p99 - block * max((before - p99) / (other - block), 0.0)
    constant = max(constant, _LEAST_CONSTANT * p99)
    return constant, (p99 - constant) / block


def estimate(line: Line | None, known_block: float, p99: float, block: float) -> float:
    """Return the p99 of steps of another block, from that of a known one, all in ms.

    Parameters
    ----------
    line
        The line, None if it is not known.
    known_block, p99
        A block, and the p99 of its steps.
    block
        The other block.
    """
    if line is not None and sum(line) > 0:
        constant, slope = line
        return p99 * (constant + slope * block) / max(constant + slope * known_block, 1e-9)
    # Not known: a shorter block saves nothing, a longer one has half of it in each part.
    return p99 * max(1.0, 0.5 + 0.5 * block / known_block)
