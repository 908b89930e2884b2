"""SwiftF0 pitch estimator; its weights are part of rtvc.

Nieradzik, "SwiftF0: Fast and Accurate Monophonic Pitch Detection", 2025, in the form of the
package swift-f0 0.3.0: log spectra of three windows on a logarithmic scale of pitch, residual
convolutions along that scale whose reach covers the first harmonics, scores of 95 pitches and a
confidence of voicing. A frame of the network is 16 ms; the result is on rtvc's 10 ms frames.

The network is an MLX graph on a GPU, and NumPy operations on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Unpack

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64, Weights
from rtvc.engine.models.octave_repair import repair_octaves
from rtvc.engine.models.ops import backend
from rtvc.engine.models.ops.backend import default_precision
from rtvc.engine.models.pitch_estimator import HOP, PitchEstimator, PitchOptions, check_signal
from rtvc.engine.models.swift_f0_cpu import CpuNetwork
from rtvc.engine.models.swift_f0_mlx import MlxNetwork
from rtvc.engine.models.swift_f0_sizes import F0_MAX, F0_MIN, GRID, LONGEST, PITCHES
from rtvc.errors import UsageError

_LOG_HZ = np.pad(np.linspace(np.log(F0_MIN), np.log(F0_MAX), PITCHES), 1, mode="edge")
"""Logarithm of each pitch, and of a neighbour below and above, which have no weight."""
_NEIGHBOURS = np.arange(3)


class SwiftF0Estimator(PitchEstimator):
    """SwiftF0 for one set of weights.

    All of it is float32 on every device: the weights are 57 kB.

    Parameters
    ----------
    weights
        Tensors from ``read_swift_f0``.

    Attributes
    ----------
    in_mlx
        Whether the network is a graph of MLX, which computes while this thread continues.
    """

    name = "swift"
    threshold = 0.3
    min_samples = GRID

    def __init__(self, weights: Weights) -> None:
        precision = mx.float64 if default_precision() == mx.float64 else mx.float32
        self.in_mlx = backend.compute.operators == "gpu" or precision != mx.float32
        self._network = MlxNetwork(weights, precision) if self.in_mlx else CpuNetwork(weights)

    def __call__(self, audio_16k: Float32, **options: Unpack[PitchOptions]) -> Float32:
        """See ``PitchEstimator``; a frame is voiced if its confidence exceeds `threshold`."""
        return self.begin(audio_16k, **options)()

    def begin(
        self, audio_16k: Float32, *, position: int | None = None, **options: Unpack[PitchOptions]
    ) -> Callable[[], Float32]:
        """See ``PitchEstimator``."""
        check_signal(audio_16k, self.min_samples, self.name)
        low, high = _search_range(options.get("f0_min"), options.get("f0_max"))
        threshold = options.get("threshold")
        limit = self.threshold if threshold is None else threshold
        first, scores = self._start(audio_16k, position)

        def finish() -> Float32:
            hz, confidence = decode(np.array(scores, dtype=np.float64))
            hz = repair_octaves(hz, confidence, confidence > limit)
            confidence[(hz < low) | (hz > high)] = 0.0
            at = first + GRID * np.arange(len(hz), dtype=np.float64)
            return _on_frames(at, hz, confidence, len(audio_16k) // HOP + 1, limit)

        return finish

    def frames(self, audio_16k: Float32) -> tuple[Float64, Float64]:
        """Return f0 in Hz and confidence of the network's own frames, unvoiced ones too.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz, in [-1, 1].

        Returns
        -------
        tuple of Float64
            (samples // 256,) each. Frame k describes the signal around sample 256 k.
        """
        check_signal(audio_16k, self.min_samples, self.name)
        _, scores = self._start(audio_16k, None)
        return decode(np.array(scores, dtype=np.float64))

    def scores(self, padded: mx.array) -> mx.array:
        """Return the scores of the pitches and the confidence, (frames, 96).

        Parameters
        ----------
        padded
            (256 (frames - 1) + 2048,) samples; frame k is around sample 1024 + 256 k.
        """
        if isinstance(self._network, CpuNetwork):
            return mx.array(self._network(np.array(padded)))
        return self._network(padded)

    def _start(self, audio: Float32, position: int | None) -> tuple[int, mx.array]:
        """Return the sample of the first frame of the network, and the scores, in computation."""
        if position is None:
            first, count = 0, len(audio) // GRID
        else:
            # In a stream, as many frames whatever the position: those up to the newest complete
            # hop whose windows start in the signal.
            slack = GRID - math.gcd(GRID, HOP)
            count = max((len(audio) - LONGEST // 2 - slack) // GRID, 1)
            first = ((position + len(audio)) // GRID - count) * GRID - position
        padded = np.zeros(GRID * (count - 1) + LONGEST, np.float32)
        begin = first - LONGEST // 2
        part = audio[max(begin, 0) : begin + len(padded)]
        padded[max(-begin, 0) :][: len(part)] = part
        scores = self.scores(mx.array(padded))
        mx.async_eval(scores)  # type: ignore[no-untyped-call]
        return first, scores


def decode(scores: Float64) -> tuple[Float64, Float64]:
    """Return f0 in Hz and confidence, (frames,) each, from `SwiftF0Estimator.scores`.

    f0 is the mean of the best pitch and its neighbours on a logarithmic scale, weighted by their
    softmax.
    """
    pitch, confidence = scores[:, :-1], scores[:, -1]
    padded = np.full((len(pitch), PITCHES + 2), -np.inf)
    padded[:, 1:-1] = pitch
    around = pitch.argmax(axis=1)[:, None] + _NEIGHBOURS
    near = padded[np.arange(len(pitch))[:, None], around]
    weight = np.exp(near - near[:, 1:2])
    log_hz = (weight * _LOG_HZ[around]).sum(axis=1) / weight.sum(axis=1)
    return np.exp(log_hz), confidence.copy()


def _search_range(f0_min: float | None, f0_max: float | None) -> tuple[float, float]:
    """Return the search range in Hz, with the range of the network where there is no limit."""
    low = F0_MIN if f0_min is None else f0_min
    high = F0_MAX if f0_max is None else f0_max
    if max(low, F0_MIN) >= min(high, F0_MAX):
        raise UsageError(
            f"No pitch lies between {low:g} and {high:g} Hz for swift, which covers "
            f"{F0_MIN:.1f} to {F0_MAX:.1f} Hz; widen the range."
        )
    return low, high


_GLIDE_OCTAVES = 1 / 3
"""Largest step between neighbouring frames that is interpolated; a larger one is a jump."""


def _on_frames(
    at: Float64, hz: Float64, confidence: Float64, count: int, threshold: float
) -> Float32:
    """Return f0 on frames of 10 ms, (count,), from values at the samples `at`; 0 = unvoiced.

    The confidence is interpolated, and so is f0 on a logarithmic scale where both neighbours are
    voiced and close; elsewhere the voiced neighbour counts, or the nearer one.
    """
    frames = np.arange(count) * float(HOP)
    left = np.clip(np.searchsorted(at, frames, side="right") - 1, 0, len(at) - 1)
    right = np.minimum(left + 1, len(at) - 1)
    share = np.clip((frames - at[left]) / GRID, 0.0, 1.0)
    octaves, voiced = np.log2(hz), confidence > threshold
    nearer = np.where(
        voiced[left] == voiced[right],
        np.where(share < 0.5, left, right),
        np.where(voiced[left], left, right),
    )
    step = octaves[right] - octaves[left]
    glides = voiced[left] & voiced[right] & (np.abs(step) <= _GLIDE_OCTAVES)
    found = np.where(glides, octaves[left] + share * step, octaves[nearer])
    sure = np.interp(frames, at, confidence) > threshold
    return np.where(sure, np.exp2(found), 0.0).astype(np.float32)
