"""Parts of a network side by side, each on a core of its own.

A BLAS can share out one product between two cores, but then the second one waits through
all that is between the products, and through networks whose products are small. Where MLX
runs on the CPU with two cores, it is given two streams instead: each computes half of a
layer, with a BLAS of one thread. Everywhere else there is one lane, the default stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from itertools import pairwise
from typing import Any, TypeVar

import mlx.core as mx

from rtvc.engine.models.ops.backend import LANES

Part = TypeVar("Part")
Made = TypeVar("Made")

_OTHERS = [mx.new_thread_local_stream(mx.cpu) for _ in range(LANES - 1)]


def shares(count: int, late: int = 0) -> list[slice]:
    """Cut so many things into parts for the lanes, as even as they can be and none empty.

    Parameters
    ----------
    count
        How many there are, at least 1.
    late
        How many the last lane could have made in the time that it is busy with other work.
        A rest of less than an eighth is not left to it.
    """
    least = count // 8 if late else 0
    ends = [(count + late) * (lane + 1) // LANES for lane in range(LANES)]
    ends = [end if end < count - least else count for end in ends]
    return [slice(begin, end) for begin, end in pairwise([0, *ends]) if begin < end]


def side_by_side(make: Callable[[Part], Made], parts: Iterable[Part]) -> list[Made]:
    """Build what is made of each part, one on every lane; at most as many as there are lanes."""
    made = []
    for lane, part in enumerate(parts):
        with on_lane(lane):
            made.append(make(part))
    return made


def sum_side_by_side(make: Callable[[Part], mx.array], parts: Iterable[Part]) -> mx.array:
    """Build what is made of each part, one on every lane, and add it up."""
    return reduce(mx.add, side_by_side(make, parts))


def on_lane(lane: int) -> AbstractContextManager[Any]:
    """Compute on this lane what is built in the context; beyond the last one is the last."""
    number = min(lane, LANES - 1)
    return mx.stream(_OTHERS[number - 1]) if number else nullcontext()
