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

from rtvc.engine.models.ops.backend import STREAMS

Part = TypeVar("Part")
Made = TypeVar("Made")

_EXTRA_STREAMS = [mx.new_thread_local_stream(mx.cpu) for _ in range(STREAMS - 1)]


def partition(count: int, reserved: int = 0) -> list[slice]:
    """Cut so many things into parts for the lanes, as even as they can be and none empty.

    Parameters
    ----------
    count
        How many there are, at least 1.
    reserved
        How many the last lane could have made in the time that it is busy with other work.
        A rest of less than an eighth is not left to it.
    """
    least = count // 8 if reserved else 0
    ends = [(count + reserved) * (stream + 1) // STREAMS for stream in range(STREAMS)]
    ends = [end if end < count - least else count for end in ends]
    return [slice(begin, end) for begin, end in pairwise([0, *ends]) if begin < end]


def map_streams(make: Callable[[Part], Made], parts: Iterable[Part]) -> list[Made]:
    """Build what is made of each part, one on every lane; at most as many as there are lanes."""
    made = []
    for stream, part in enumerate(parts):
        with use_stream(stream):
            made.append(make(part))
    return made


def sum_streams(make: Callable[[Part], mx.array], parts: Iterable[Part]) -> mx.array:
    """Build what is made of each part, one on every lane, and add it up."""
    return reduce(mx.add, map_streams(make, parts))


def use_stream(stream: int) -> AbstractContextManager[Any]:
    """Compute on this lane what is built in the context; beyond the last one is the last."""
    number = min(stream, STREAMS - 1)
    return mx.stream(_EXTRA_STREAMS[number - 1]) if number else nullcontext()
