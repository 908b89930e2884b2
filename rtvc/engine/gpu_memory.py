"""Memory of the GPU: kept resident while a voice rests, and returned to the system.

macOS takes the GPU's buffers out of wired memory about a second after a process's last work on
the GPU. The next step then waits until they are wired again: 50 ms and more with the weights of
a voice.

MLX keeps freed buffers and uses them again for arrays of about the same size. By default it keeps
as much as the GPU may use, most of the memory of the machine: with every new length of a phrase,
and with every new size of a block, another gigabyte stays unused.

On the CPU nothing here has an effect, and on CUDA nothing that keeps memory resident.
"""

from __future__ import annotations

import functools
import time

import mlx.core as mx

from rtvc.system.malloc import trim_memory

INTERVAL_S = 0.5
"""Longest time without work on the GPU."""

_WIRED_BYTES = 2_500_000_000
"""What the voices that are kept ready use, with their encoder, the pitch estimator and the steps of
two chains."""
_CACHED_BYTES = 1_000_000_000
"""More than the steps of two chains with the longest context use, apart from the weights."""


def on_gpu() -> bool:
    """Return whether MLX computes on Metal or CUDA by default."""
    return mx.default_device().type == mx.DeviceType.gpu


def on_metal() -> bool:
    """Return whether MLX computes on Metal by default."""
    return on_gpu() and mx.metal.is_available()


@functools.cache
def wire_memory() -> int:
    """Let MLX keep its buffers wired, and return the limit in bytes; 0 without Metal.

    The first call sets the limit for the process. MLX itself wires nothing. On macOS 14 and
    earlier the system ignores it.
    """
    if not on_metal():
        return 0
    recommended = int(mx.device_info()["max_recommended_working_set_size"])
    limit = min(_WIRED_BYTES, recommended)
    mx.set_wired_limit(limit)
    return limit


def limit_cache() -> None:
    """Let MLX keep at most `_CACHED_BYTES` of freed buffers, on a GPU."""
    if on_gpu():
        mx.set_cache_limit(_CACHED_BYTES)


def release_freed_memory() -> None:
    """Return the memory that loading has freed to the system.

    The weights of a file are converted to float16, and MLX would keep the buffers of the
    originals, wired: about 0.4 GB of the content encoder. What is freed later is limited too.
    """
    trim_memory()
    limit_cache()
    if on_gpu():
        mx.clear_cache()
        _wire_the_rest()


def _wire_the_rest() -> None:
    """Wire what did not fit when it was loaded: until now, freed buffers counted too.

    MLX looks for it only when the limit changes.
    """
    if limit := wire_memory():
        mx.set_wired_limit(limit - 1)
        mx.set_wired_limit(limit)


class ResidentMemory:
    """Keeps GPU memory wired during a rest. Use it on one thread, which owns the arrays.

    Attributes
    ----------
    evaluations
        Number of evaluations so far that had no other purpose.
    """

    def __init__(self) -> None:
        wire_memory()
        limit_cache()
        self._needed = on_metal()
        self._due = 0.0
        self.evaluations = 0

    def note_work(self) -> None:
        """Note that the GPU has just computed a step."""
        self._due = time.monotonic() + INTERVAL_S

    def rest(self) -> None:
        """Evaluate one number if the GPU has been idle for `INTERVAL_S`; call it every block."""
        if self._needed and time.monotonic() >= self._due:
            mx.eval(mx.zeros(1) + 1)
            self.evaluations += 1
            self.note_work()


def array_bytes(network: object) -> int:
    """Return the bytes of all arrays of a network, with those that are packed for the machine.

    Arrays that share memory count twice, so it is an upper bound: 166 MB for a full-size voice
    that takes 139 MB on the CPU.
    """
    sizes: dict[int, int] = {}
    seen: set[int] = set()
    rest = [network]
    while rest:
        one = rest.pop()
        if isinstance(one, mx.array):
            sizes[id(one)] = one.nbytes
        elif id(one) in seen:
            continue
        elif isinstance(one, list | tuple):
            rest += one
        elif isinstance(one, dict):
            rest += one.values()
        elif type(one).__module__.startswith("rtvc.") and hasattr(one, "__dict__"):
            rest += vars(one).values()
        seen.add(id(one))
    return sum(sizes.values())
