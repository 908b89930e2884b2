"""The network SwiftF0 as a graph of MLX, for GPUs and in float64."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Weights
from rtvc.engine.models.ops import mel
from rtvc.engine.models.ops.conv2d_gpu import Conv2d
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
from rtvc.engine.models.swift_f0_sizes import (
    BANDS,
    DILATIONS,
    FLOOR,
    GRID,
    LAST_BANDS,
    LONGEST,
    PITCHES,
    SILENCE,
    WINDOWS,
    band_filters,
    frame_count,
)

_TYPICAL_FRAMES = 17


class MlxNetwork:
    """SwiftF0 for one set of weights.

    Parameters
    ----------
    weights
        Tensors from ``read_swift_f0``.
    precision
        Precision of the convolutions: float32, or float64 for reference numbers.
    """

    def __init__(self, weights: Weights, precision: mx.Dtype) -> None:
        self._precision = precision
        self._weights, self._convolutions, self._blocks = _sanitize(weights, precision)
        self._spectra = [(mel.hann(size), mx.array(band_filters(size))) for size in WINDOWS]
        self._compiled_network = compiled(self._network)

    def __call__(self, padded: mx.array) -> mx.array:
        """Return the unevaluated scores of `CpuNetwork`."""
        return self._compiled_network(padded)

    def _network(self, padded: mx.array) -> mx.array:
        w, apply = self._weights, self._convolutions
        spectra = self._log_spectra(padded)
        x = spectra[None].astype(self._precision)
        x = relu(apply["stem"](x), w["stem.bias"])
        for block in self._blocks:
            x = block(x)
        # The band above the pitches has no score, as it has no neighbour above.
        x = relu(apply["head"](x), w["head.bias"])[:, :PITCHES]
        pitch = linear(x, *affine(w, "pitch"))[0, :, :, 0].T.astype(mx.float32)
        y = mx.max(apply["voicing.0"](x), axis=1) + w["voicing.0.bias"]
        level = mx.mean(spectra, axis=(0, 2))[None, :, None].astype(self._precision)
        y = conv1d(mx.concatenate([y, level], axis=2), *affine(w, "voicing.1"), padding=1)
        voicing = linear(relu(y, None), *affine(w, "voicing.2"))[0].astype(mx.float32)
        frames = pitch.shape[0]
        hops = padded[LONGEST // 2 :][: frames * GRID].reshape(frames, GRID)
        loud = mx.max(mx.abs(hops), axis=1, keepdims=True) >= SILENCE
        return mx.concatenate([pitch, mx.where(loud, sigmoid(voicing), 0.0)], axis=1)

    def _log_spectra(self, padded: mx.array) -> mx.array:
        """Return (bands, frames, windows)."""
        frames = frame_count(len(padded))
        stretches = mx.as_strided(padded, (frames, LONGEST), (GRID, 1))
        spectra = []
        for window, filters in self._spectra:
            margin = (LONGEST - len(window)) // 2
            part = stretches[:, margin : margin + len(window)] * window
            spectra.append((mx.abs(mx.fft.rfft(part, axis=1)) @ filters).T)
        return mx.log(mx.stack(spectra, axis=2) + FLOOR)


def _sanitize(
    weights: Weights, precision: mx.Dtype
) -> tuple[OpWeights, dict[str, Conv2d], list[Conv2d]]:
    """Convert every tensor to the layout that `MlxNetwork` uses.

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
    size = BANDS, _TYPICAL_FRAMES
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
    for block, dilation in enumerate(DILATIONS):
        names = (f"blocks.{block}.{layer}" for layer in (0, 1))
        first, second = ((kernels.pop(name), arrays.pop(f"{name}.bias")) for name in names)
        kept = LAST_BANDS if block == len(DILATIONS) - 1 else None
        blocks.append(residual2d(first, second, typical_size=size, dilation=dilation, kept=kept))
    convolutions = {name: conv2d(kernel, typical_size=size) for name, kernel in kernels.items()}
    return arrays, convolutions, blocks
