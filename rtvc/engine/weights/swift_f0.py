"""Reads the weights of the pitch estimator SwiftF0, which are part of rtvc."""

from __future__ import annotations

from pathlib import Path

from rtvc._types import Weights
from rtvc.engine.weights.bundled import read_bundled
from rtvc.engine.weights.strict import Shape

BUNDLED = Path(__file__).with_name("swift_f0.npz")
"""Weights of swift-f0 0.3.0 (MIT licence, see THIRD-PARTY.md), from
``python -m benchmarks.swift_f0_weights``."""

_CHANNELS = 12
_KERNELS = ((7, 3), (7, 1), (5, 1), (3, 1), (3, 1), (7, 3))
"""Kernel of each residual block: pitch bands, frames."""


def _shapes() -> dict[str, Shape]:
    weights: dict[str, Shape] = {"stem": (_CHANNELS, 3, 3, 3)}
    for block, kernel in enumerate(_KERNELS):
        for layer in (0, 1):
            weights[f"blocks.{block}.{layer}"] = (_CHANNELS, _CHANNELS, *kernel)
    weights |= {
        "head": (4, _CHANNELS, 3, 3),
        "voicing.0": (4, 4, 5, 1),
        "pitch": (1, 4, 1, 1),
        "voicing.1": (16, 5, 3),
        "voicing.2": (1, 16, 1),
    }
    shapes: dict[str, Shape] = {}
    for name, shape in weights.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
    return shapes


SHAPES = _shapes()
"""Name and shape of every weight: (out channels, in channels, pitch bands, frames)."""


def read_swift_f0() -> Weights:
    """Return the weights by name, float32.

    Raises
    ------
    RtvcError
        The file is missing or does not fit: rtvc is not installed completely.
    """
    return read_bundled(BUNDLED, "the pitch estimator SwiftF0", SHAPES)
