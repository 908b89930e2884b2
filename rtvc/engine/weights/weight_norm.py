"""Folds weight normalisation into plain weights.

Source: Salimans and Kingma 2016, and torch's ``weight_norm``: w = g * v / |v|, with the norm over
all axes except one.
"""

from collections.abc import Mapping

import numpy as np

from rtvc._types import AnyArray, Float32
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.text import printable

# Names of gain and direction: in torch's first implementation and as a parametrization.
_SPELLINGS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def fold_weight_norm(weights: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Replace each pair of gain and direction by its weight.

    Parameters
    ----------
    weights
        Arrays by torch name. Arrays without weight norm are returned unchanged.

    Returns
    -------
    dict
        ``X.weight`` in float32 in place of each pair.

    Raises
    ------
    ContentError
        A pair is incomplete, occurs twice, or its shapes do not match.
    """
    folded: dict[str, AnyArray] = {}
    # A file can list one tensor under many names; each pair is folded once.
    pairs: dict[tuple[int, int], Float32] = {}
    for name, value in weights.items():
        base, gain, direction = _pair(name)
        if gain is None or direction is None:
            target, array = name, value
        elif gain not in weights or direction not in weights:
            missing = direction if gain in weights else gain
            raise ContentError(f"'{printable(missing)}' is missing")
        elif name == direction:
            continue  # folded with its gain
        else:
            target = base + "weight"
            pair = id(weights[gain]), id(weights[direction])
            if pair not in pairs:
                pairs[pair] = fold(weights[gain], weights[direction], name=target)
            array = pairs[pair]
        if target in folded:
            raise ContentError(f"'{printable(target)}' is listed twice")
        folded[target] = array
    return folded


def fold(gain: AnyArray, direction: AnyArray, *, name: str = "weight") -> Float32:
    """Return gain * direction / |direction|, computed in float32.

    Parameters
    ----------
    gain
        One value per index of the kept axis, with size 1 on the others. The kept axis is 0 for
        convolutions (the *input* channels of a transposed one) and 2 for HuBERT's positional
        convolution; the shape determines it.
    direction
        The weight before scaling.
    name
        Name of the weight, for the error message.

    Raises
    ------
    ContentError
        No axis matches.
    """
    kept = [
        axis
        for axis in range(direction.ndim)
        if gain.shape == tuple(n if i == axis else 1 for i, n in enumerate(direction.shape))
    ]
    if not kept:
        raise ContentError(f"gain and direction of '{printable(name)}' do not fit each other")
    # In float32, because squares of float16 values overflow.
    v = direction.astype(np.float32)
    axes = "abcdefgh"[: v.ndim]
    # einsum sums the squares without a temporary array; float64 keeps a long sum precise.
    squared = np.einsum(f"{axes},{axes}->{axes[kept[0]]}", v, v, dtype=np.float64)
    norm = np.sqrt(squared).astype(np.float32).reshape(gain.shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        v *= gain.astype(np.float32) / norm
    return v


def _pair(name: str) -> tuple[str, str | None, str | None]:
    for gain, direction in _SPELLINGS:
        for ending in (gain, direction):
            if name.endswith("." + ending):
                base = name.removesuffix(ending)
                return base, base + gain, base + direction
    return name, None, None
