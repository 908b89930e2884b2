"""The state of a chain as plain values: what it carries from block to block.

A chain that is built for the same settings and voice, and gets this state, continues as the
first one did, bit for bit. Weights are not part of it, nor is the noise suppression, which adapts
to the input again within seconds.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from rtvc.engine.chain import Chain
from rtvc.errors import RtvcError

ChainState = dict[str, Any]
"""Values by path, such as "_gate._gain": numbers, texts, None, arrays, and sequences of these."""

_STATEFUL = (
    "rtvc.engine.dsp.",
    "rtvc.engine.world.",
    "rtvc.engine.rvc.voice",
    "rtvc.engine.rvc.pitch_track",
    "rtvc.engine.rvc.running_convolutions",
    "rtvc.engine.rvc.decoder",
    "rtvc.audio.limiter",
    "rtvc.audio.resample",
)
"""Modules whose objects hold state."""
_NO_STATE = (
    "_voice",
    "_owner",
    "_observer",
    "_watch",
    "_suppressor",
    "_cleaned",
    "_cleaned_samples",
    "_in_progress",
    "_noise",
    "_reached",
)
"""Attributes of a chain that hold its voice, only look at its blocks, whose state is inside another
library, that are for another chain, or that follow from the others."""


_LEARNED = (
    "auto_pitch.",
    "_feedback._gain",
    "_stream._effects.mean_pitch.",
    "_stream.track.mean_pitch.",
    "_stream._running.statistics.",
)
"""What a chain takes over from another one, as `Chain.continue_with`."""


def read_state(chain: Chain) -> ChainState:
    """Return a copy of the state. Call it in the chain's thread, between two blocks."""
    return {path: _copied(value) for path, _, _, value in _values(chain, "")}


def read_learned(chain: Chain) -> ChainState:
    """Return a copy of the part of the state that the chain has from another one."""
    values = _values(chain, "")
    return {path: _copied(value) for path, _, _, value in values if path.startswith(_LEARNED)}


def write_state(chain: Chain, state: ChainState) -> None:
    """Set the state, or the part of it that `read_learned` returns.

    The chain must be built for the same settings and voice.

    Raises
    ------
    RtvcError
        If the state is that of another kind of chain, such as one of another version of rtvc.
    """
    values = list(_values(chain, ""))
    paths = {path for path, *_ in values}
    learned = {path for path in paths if path.startswith(_LEARNED)}
    if state.keys() not in (paths, learned):
        raise RtvcError("The state of the voice is from another version of rtvc.")
    for path, owner, name, value in values:
        if path in state:
            setattr(owner, name, _restored(state[path], value))


def _values(owner: object, prefix: str) -> Iterator[tuple[str, object, str, Any]]:
    """Yield path, owner, attribute and value of all state below `owner`."""
    for name, value in sorted(vars(owner).items()):
        if name in _NO_STATE:
            continue
        if _is_value(value):
            yield prefix + name, owner, name, value
        elif type(value).__module__.startswith(_STATEFUL) and hasattr(value, "__dict__"):
            yield from _values(value, f"{prefix}{name}.")


def _is_value(value: object) -> bool:
    if isinstance(value, (list, tuple, deque)):
        return all(map(_is_value, value))
    plain = isinstance(value, (int, float, complex, str, np.ndarray, np.generic, type(None)))
    return plain or _is_mlx(value)


def _is_mlx(value: object) -> bool:
    mlx = sys.modules.get("mlx.core")
    return mlx is not None and isinstance(value, mlx.array)


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, tuple, deque)):
        items = [_copied(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if _is_mlx(value):
        return _to_numpy(value)
    return value


def _restored(saved: Any, present: Any) -> Any:
    """Return a saved value in the type of the present one."""
    if isinstance(saved, (list, tuple)):
        items = [_restored(item, None) for item in saved]
        if isinstance(present, deque):
            return deque(items, present.maxlen)
        return items if isinstance(present, list) else tuple(items)
    if isinstance(saved, MlxValue):
        return saved.array()
    return saved.copy() if isinstance(saved, np.ndarray) else saved


class MlxValue:
    """An MLX array as bytes, since NumPy has no bfloat16.

    Attributes
    ----------
    data, dtype
        The values, (...,) of an integer type where NumPy has no such type, and MLX's name of
        the type.
    """

    def __init__(self, data: np.ndarray[Any, Any], dtype: str) -> None:
        self.data, self.dtype = data, dtype

    def array(self) -> Any:
        """Return the MLX array."""
        import mlx.core as mx

        array = mx.array(self.data)
        return array.view(mx.bfloat16) if self.dtype == "bfloat16" else array


def _to_numpy(array: Any) -> MlxValue:
    import mlx.core as mx

    dtype = str(array.dtype).rpartition(".")[2]
    plain = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
    return MlxValue(np.array(plain), dtype)
