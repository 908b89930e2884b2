"""Sizes and filters of the network SwiftF0, for both of its implementations."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.engine.models.pitch_estimator import SAMPLE_RATE

GRID = 256
"""Samples between frames of the network."""
WINDOWS = (1024, 2048, 512)
"""Windows of the spectra of a frame, in samples."""
LONGEST = max(WINDOWS)
REACH = 7
"""Frames after a frame, and before it, that its convolutions depend on."""
LOOKAHEAD = REACH * GRID + LONGEST // 2
"""Samples after a frame, and before it, that its result depends on."""
F0_MIN, F0_MAX = 46.875, 2093.75
PITCHES = 95
BANDS = 128
HEAD_BANDS = 96
"""Bands whose scores are computed: those of the pitches, and one above."""
LAST_BANDS = (102, HEAD_BANDS)
"""Bands between the two convolutions and of the output of the last residual block, as far as the
scores depend on them. Its convolutions reach 6 bands."""
DILATIONS = (1, 17, 27, 40, 48, 2)
"""Pitch bands between the taps of each residual block."""
SILENCE = 1e-3
"""Peak of a hop below which a frame is unvoiced: the network was not trained on silence."""
FLOOR = 1e-8
"""Added to spectra before their logarithm."""

_STEP = (F0_MAX / F0_MIN) ** (1 / (PITCHES - 1))


def frame_count(samples: int) -> int:
    """Return the number of frames whose windows lie in a signal of at least `LONGEST` samples."""
    return (samples - LONGEST) // GRID + 1


def band_filters(window: int) -> Float32:
    """Return triangular filters with a sum of 1 at the pitches and above, (window // 2 + 1, 128).

    A filter without a bin of the spectrum has the nearest one.
    """
    edges = F0_MIN * _STEP ** np.arange(-1.0, BANDS + 1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    hz = np.arange(window // 2 + 1)[:, None] * (SAMPLE_RATE / window)
    filters = np.maximum(
        0.0, np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre))
    )
    empty = np.flatnonzero(filters.sum(axis=0) == 0)
    filters[np.abs(hz - centre[empty]).argmin(axis=0), empty] = 1.0
    result: Float32 = (filters / filters.sum(axis=0)).astype(np.float32)
    return result
