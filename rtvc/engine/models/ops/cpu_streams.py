"""Parts of a layer computed in parallel on the CPU, one MLX stream per core.

A BLAS can split one product over two cores, but the second core is then idle between
products and in networks whose products are small. On a CPU with two cores MLX therefore gets
two streams: each computes half of a layer, with a single-threaded BLAS. Everywhere else
there is one stream, the default one.
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
Result = TypeVar("Result")

_EXTRA_STREAMS = [mx.new_thread_local_stream(mx.cpu) for _ in range(STREAMS - 1)]


def partition(count: int, reserved: int = 0) -> list[slice]:
    """Split `count` items over the streams, as evenly as possible.

    Parameters
    ----------
    count
        Number of items, at least 1.
    reserved
        Number of items that the last stream could compute in the time that its other work
        takes; it gets that many fewer than the others. It gets none at all instead of less
        than an eighth of `count`.

    Returns
    -------
    list of slice
        Contiguous, not empty, at most one per stream.
    """
    least = count // 8 if reserved else 0
    ends = [(count + reserved) * (stream + 1) // STREAMS for stream in range(STREAMS)]
    ends = [end if end < count - least else count for end in ends]
    return [slice(begin, end) for begin, end in pairwise([0, *ends]) if begin < end]


def map_streams(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Apply `function` to each part, the n-th part on stream n.

    Parameters
    ----------
    function
        Builds lazy arrays from one part.
    parts
        At most one part per stream.
    """
    results = []
    for stream, part in enumerate(parts):
        with use_stream(stream):
            results.append(function(part))
    return results


def sum_streams(function: Callable[[Part], mx.array], parts: Iterable[Part]) -> mx.array:
    """Apply `function` as in `map_streams` and return the sum of the results."""
    return reduce(mx.add, map_streams(function, parts))


def use_stream(stream: int) -> AbstractContextManager[Any]:
    """Return a context in which new arrays are computed on a stream.

    Parameters
    ----------
    stream
        Index of the stream; an index beyond the last stream selects the last one.
    """
    index = min(stream, STREAMS - 1)
    return mx.stream(_EXTRA_STREAMS[index - 1]) if index else nullcontext()
