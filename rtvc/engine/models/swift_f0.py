"""SwiftF0 pitch estimator in MLX; its weights are part of rtvc.

Nieradzik, "SwiftF0: Fast and Accurate Monophonic Pitch Detection", 2025, in the form of the
package swift-f0 0.3.0: log spectra of three windows on a logarithmic scale of pitch, residual
convolutions along that scale whose reach covers the first harmonics, scores of 95 pitches and a
confidence of voicing. A frame of the network is 16 ms; the result is on rtvc's 10 ms frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Unpack

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64, Weights
from rtvc.engine.models.octave_repair import repair_octaves
from rtvc.engine.models.ops import mel
from rtvc.engine.models.ops.backend import STREAMS, default_precision
from rtvc.engine.models.ops.conv2d_gpu import Conv2d
from rtvc.engine.models.ops.cpu_streams import use_stream
from rtvc.engine.models.ops.ops import (
    OpWeights,
    affine,
    compiled,
    conv1d,
    conv2d,
    linear,
    relu,
    residual2d,
    sigmoid,
    tap_major,
)
from rtvc.engine.models.pitch_estimator import (
    HOP,
    SAMPLE_RATE,
    PitchEstimator,
    PitchOptions,
    check_signal,
)
from rtvc.errors import UsageError

GRID = 256
"""Samples between frames of the network."""
LOOKAHEAD = 2816
"""Samples after a frame, and before it, that its result depends on: seven frames of the
convolutions and half of the longest window."""
F0_MIN, F0_MAX = 46.875, 2093.75

_PITCHES = 95
_BANDS = 128
_HEAD_BANDS = 96
"""Bands whose scores are computed: those of the pitches, and one above."""
_LAST_BANDS = (102, _HEAD_BANDS)
"""Bands between the two convolutions and of the output of the last residual block, as far as the
scores depend on them. Its convolutions reach 6 bands."""
_STEP = (F0_MAX / F0_MIN) ** (1 / (_PITCHES - 1))
_LOG_HZ = np.linspace(np.log(F0_MIN), np.log(F0_MAX), _PITCHES)
_WINDOWS = (1024, 2048, 512)
_LONGEST = max(_WINDOWS)
_DILATIONS = (1, 17, 27, 40, 48, 2)
"""Pitch bands between the taps of each residual block."""
_SILENCE = 1e-3
"""Peak of a hop below which a frame is unvoiced: the network was not trained on silence."""
_TYPICAL_FRAMES = 17


class SwiftF0Estimator(PitchEstimator):
    """SwiftF0 for one set of weights.

    All of it is float32 on every device: the weights are 57 kB.

    Parameters
    ----------
    weights
        Tensors from ``read_swift_f0``.
    """

    name = "swift"
    threshold = 0.3
    min_samples = GRID
    reserved_frames = 2

    def __init__(self, weights: Weights) -> None:
        self._precision = mx.float64 if default_precision() == mx.float64 else mx.float32
        self._weights, self._convolutions, self._blocks = _sanitize(weights, self._precision)
        self._spectra = [(mel.hann(size), _band_filters(size)) for size in _WINDOWS]
        self._compiled_network = compiled(self._network)

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
        """Return the unevaluated scores of the pitches and the confidence, (frames, 96).

        Parameters
        ----------
        padded
            (256 (frames - 1) + 2048,) samples; frame k is around sample 1024 + 256 k.
        """
        with use_stream(STREAMS - 1):
            return self._compiled_network(padded)

    def _start(self, audio: Float32, position: int | None) -> tuple[int, mx.array]:
        """Return the sample of the first frame of the network, and the scores, in computation."""
        if position is None:
            first, count = 0, len(audio) // GRID
        else:
            # In a stream, as many frames whatever the position: those up to the newest complete
            # hop whose windows start in the signal.
            slack = GRID - math.gcd(GRID, HOP)
            count = max((len(audio) - _LONGEST // 2 - slack) // GRID, 1)
            first = ((position + len(audio)) // GRID - count) * GRID - position
        padded = np.zeros(GRID * (count - 1) + _LONGEST, np.float32)
        begin = first - _LONGEST // 2
        part = audio[max(begin, 0) : begin + len(padded)]
        padded[max(-begin, 0) :][: len(part)] = part
        scores = self.scores(mx.array(padded))
        mx.async_eval(scores)  # type: ignore[no-untyped-call]
        return first, scores

    def _network(self, padded: mx.array) -> mx.array:
        w, apply = self._weights, self._convolutions
        spectra = self._log_spectra(padded)
        x = spectra[None].astype(self._precision)
        x = relu(apply["stem"](x), w["stem.bias"])
        for block in self._blocks:
            x = block(x)
        # The band above the pitches has no score, as it has no neighbour above.
        x = relu(apply["head"](x), w["head.bias"])[:, :_PITCHES]
        pitch = linear(x, *affine(w, "pitch"))[0, :, :, 0].T.astype(mx.float32)
        y = mx.max(apply["voicing.0"](x), axis=1) + w["voicing.0.bias"]
        level = mx.mean(spectra, axis=(0, 2))[None, :, None].astype(self._precision)
        y = conv1d(mx.concatenate([y, level], axis=2), *affine(w, "voicing.1"), padding=1)
        voicing = linear(relu(y, None), *affine(w, "voicing.2"))[0].astype(mx.float32)
        frames = pitch.shape[0]
        hops = padded[_LONGEST // 2 :][: frames * GRID].reshape(frames, GRID)
        loud = mx.max(mx.abs(hops), axis=1, keepdims=True) >= _SILENCE
        return mx.concatenate([pitch, mx.where(loud, sigmoid(voicing), 0.0)], axis=1)

    def _log_spectra(self, padded: mx.array) -> mx.array:
        """Return (bands, frames, windows)."""
        frames = (len(padded) - _LONGEST) // GRID + 1
        stretches = mx.as_strided(padded, (frames, _LONGEST), (GRID, 1))
        spectra = []
        for window, filters in self._spectra:
            margin = (_LONGEST - len(window)) // 2
            part = stretches[:, margin : margin + len(window)] * window
            spectra.append((mx.abs(mx.fft.rfft(part, axis=1)) @ filters).T)
        return mx.log(mx.stack(spectra, axis=2) + 1e-8)


def decode(scores: Float64) -> tuple[Float64, Float64]:
    """Return f0 in Hz and confidence, (frames,) each, from `SwiftF0Estimator.scores`.

    f0 is the mean of the best pitch and its neighbours on a logarithmic scale, weighted by their
    softmax.
    """
    pitch, confidence = scores[:, :-1], scores[:, -1]
    around = pitch.argmax(axis=1)[:, None] + np.arange(3)
    padded = np.full((len(pitch), _PITCHES + 2), -np.inf)
    padded[:, 1:-1] = pitch
    near = np.take_along_axis(padded, around, axis=1)
    weight = np.exp(near - near[:, 1:2])
    log_hz = _LOG_HZ[np.clip(around - 1, 0, _PITCHES - 1)]
    return np.exp((weight * log_hz).sum(axis=1) / weight.sum(axis=1)), confidence.copy()


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


def _band_filters(window: int) -> mx.array:
    """Return triangular filters with a sum of 1 at the pitches and above, (window // 2 + 1, 128).

    A filter without a bin of the spectrum has the nearest one.
    """
    edges = F0_MIN * _STEP ** np.arange(-1.0, _BANDS + 1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    hz = np.arange(window // 2 + 1)[:, None] * (SAMPLE_RATE / window)
    filters = np.maximum(
        0.0, np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre))
    )
    empty = np.flatnonzero(filters.sum(axis=0) == 0)
    filters[np.abs(hz - centre[empty]).argmin(axis=0), empty] = 1.0
    return mx.array((filters / filters.sum(axis=0)).astype(np.float32))


def _sanitize(
    weights: Weights, precision: mx.Dtype
) -> tuple[OpWeights, dict[str, Conv2d], list[Conv2d]]:
    """Convert every tensor to the layout that `SwiftF0Estimator` uses.

    Returns
    -------
    arrays
        Biases, and the weights of the linear layers, by name.
    convolutions
        Those outside of the residual blocks, by name.
    blocks
        The residual blocks.
    """
    arrays: OpWeights = {}
    kernels: OpWeights = {}
    size = _BANDS, _TYPICAL_FRAMES
    for name, tensor in weights.items():
        layer, _, kind = name.rpartition(".")
        if kind == "bias":
            arrays[name] = mx.array(tensor).astype(precision)
        elif layer in ("pitch", "voicing.2"):
            # Kernels of one tap are linear maps: (out, in, 1[, 1]) -> (out, in).
            arrays[name] = mx.array(tensor.reshape(tensor.shape[:2])).astype(precision)
        elif layer == "voicing.1":
            # (out, in, kernel) -> (out, kernel, in).
            arrays[name] = tap_major(mx.array(tensor.transpose(0, 2, 1)).astype(precision))
        else:
            # (out, in, bands, frames) -> (out, bands, frames, in).
            kernel = np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
            kernels[layer] = mx.array(kernel).astype(precision)
    mx.eval(arrays, kernels)
    blocks = []
    for block, dilation in enumerate(_DILATIONS):
        names = (f"blocks.{block}.{layer}" for layer in (0, 1))
        first, second = ((kernels.pop(name), arrays.pop(f"{name}.bias")) for name in names)
        kept = _LAST_BANDS if block == len(_DILATIONS) - 1 else None
        blocks.append(residual2d(first, second, typical_size=size, dilation=dilation, kept=kept))
    convolutions = {name: conv2d(kernel, typical_size=size) for name, kernel in kernels.items()}
    return arrays, convolutions, blocks
