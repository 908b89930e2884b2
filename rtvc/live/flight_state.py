"""The state of a chain as arrays and JSON, so that nothing from a file is executed."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtvc.engine.chain_state import ChainState, MlxValue

Arrays = dict[str, np.ndarray[Any, Any]]


def pack_state(state: ChainState, arrays: Arrays) -> Any:
    """Return the state as JSON values; its arrays are added to `arrays`."""
    return {path: _pack(value, arrays) for path, value in state.items()}


def unpack_state(packed: dict[str, Any], arrays: Arrays) -> ChainState:
    """Return the state from JSON values and arrays."""
    return {path: _unpack(value, arrays) for path, value in packed.items()}


def _pack(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, (np.ndarray, MlxValue)):
        name = f"state{len(arrays)}"
        arrays[name] = value.data if isinstance(value, MlxValue) else value
        return {"array": name, "mlx": value.dtype if isinstance(value, MlxValue) else ""}
    if isinstance(value, (list, tuple)):
        return {"items": [_pack(item, arrays) for item in value], "list": isinstance(value, list)}
    if isinstance(value, np.generic):
        return value.item()
    return value


def _unpack(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value
    if "items" in value:
        items = [_unpack(item, arrays) for item in value["items"]]
        return items if value["list"] else tuple(items)
    array = arrays[value["array"]]
    return MlxValue(array, value["mlx"]) if value["mlx"] else array
