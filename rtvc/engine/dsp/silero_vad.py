"""The network of Silero VAD, which tells speech from other sound, in NumPy.

Silero Team, "Silero VAD: pre-trained enterprise-grade Voice Activity Detector", 2024,
https://github.com/snakers4/silero-vad. A short-time spectrum, four convolutions, a recurrent
layer that remembers the chunks before, and one output.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rtvc._types import Float32
from rtvc.engine.weights.silero_vad import read_silero_vad

RATE = 16_000
CHUNK = 512
"""Samples per decision, 32 ms."""
_CONTEXT = 64
"""Samples of the chunk before that the network sees again."""
_WINDOW, _HOP = 256, 128
_STRIDES = 1, 2, 2, 1
_UNITS = 128


class _Layers(NamedTuple):
    basis: Float32
    """(window, bins): cosines, then sines."""
    convolutions: list[tuple[Float32, Float32]]
    """(3 * inputs, outputs) and (outputs,) of each."""
    recurrent: tuple[Float32, Float32]
    """(inputs + units, 4 * units) and (4 * units,): gates in, forget, cell, out."""
    output: tuple[Float32, Float32]


class SileroVad:
    """The detector on one stream."""

    def __init__(self) -> None:
        _layers()  # reads the weights now, not in the first step
        self._context = np.zeros(_CONTEXT, np.float32)
        self._hidden = np.zeros(_UNITS, np.float32)
        self._cell = np.zeros(_UNITS, np.float32)

    def probability(self, chunk: Float32) -> float:
        """Return how likely the next chunk, (512,) float32 at 16 kHz, is speech: 0 to 1."""
        layers = _layers()
        sound = np.pad(np.concatenate([self._context, chunk]), (0, _CONTEXT), mode="reflect")
        self._context = chunk[-_CONTEXT:].copy()
        spectrum = sliding_window_view(sound, _WINDOW)[::_HOP] @ layers.basis
        cosines, sines = np.split(spectrum, 2, axis=1)
        x = np.hypot(cosines, sines)
        for (weight, bias), stride in zip(layers.convolutions, _STRIDES, strict=True):
            padded = np.pad(x, ((1, 1), (0, 0)))
            windows = sliding_window_view(padded, 3, axis=0)[::stride]
            x = np.maximum(windows.reshape(len(windows), -1) @ weight + bias, 0.0)
        weight, bias = layers.recurrent
        gates = np.concatenate([x[0], self._hidden]) @ weight + bias
        into, forget, new, out = np.split(gates, 4)
        self._cell = _sigmoid(forget) * self._cell + _sigmoid(into) * np.tanh(new)
        self._hidden = _sigmoid(out) * np.tanh(self._cell)
        weight, bias = layers.output
        return float(_sigmoid(np.maximum(self._hidden, 0.0) @ weight + bias))


def _sigmoid(x: Float32) -> Float32:
    value: Float32 = 0.5 + 0.5 * np.tanh(0.5 * x)
    return value


@functools.cache
def _layers() -> _Layers:
    weights = read_silero_vad()
    convolutions = []
    for layer in range(len(_STRIDES)):
        weight = weights[f"encoder.{layer}.reparam_conv.weight"]
        flat = np.ascontiguousarray(weight.reshape(len(weight), -1).T)
        convolutions.append((flat, weights[f"encoder.{layer}.reparam_conv.bias"]))
    both = [weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]]
    return _Layers(
        np.ascontiguousarray(weights["stft.forward_basis_buffer"][:, 0].T),
        convolutions,
        (
            np.ascontiguousarray(np.concatenate(both, axis=1).T),
            weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"],
        ),
        (weights["decoder.decoder.2.weight"], weights["decoder.decoder.2.bias"]),
    )
