"""Networks in the real formats with random weights and reduced width, for speed."""

from __future__ import annotations

import dataclasses

from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.profiling.random_weights import (
    FULL_ENCODER,
    FULL_RMVPE,
    random_encoder,
    random_rmvpe,
)


def small_encoder() -> Hubert:
    """Return a content encoder with features of the widths of v1 and v2."""
    small = dataclasses.replace(
        FULL_ENCODER, layers=9, feed_forward_width=32, conv_width=16, position_kernel=16
    )
    return random_encoder(small)


def small_rmvpe() -> RmvpeEstimator:
    """Return an RMVPE with one block per level."""
    small = dataclasses.replace(
        FULL_RMVPE, base_channels=2, blocks=1, intermediate_layers=1, hidden=8
    )
    return random_rmvpe(small)
