"""Reads weights that are part of rtvc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rtvc._types import Weights
from rtvc.engine.weights.errors import reading
from rtvc.engine.weights.strict import Shape, as_float32, check_keys


def read_bundled(file: Path, what: str, shapes: Mapping[str, Shape]) -> Weights:
    """Return the weights in an npz file by name, float32.

    Parameters
    ----------
    file
        The file.
    what
        What the weights are for, in messages.
    shapes
        Name and shape of every weight.

    Raises
    ------
    RtvcError
        The file is missing or does not fit: rtvc is not installed completely.
    """
    with reading(file, what), np.load(file) as arrays:
        weights = as_float32({name: arrays[name] for name in arrays.files})
        check_keys(shapes, weights)
        return weights
