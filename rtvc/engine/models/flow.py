"""Flow: converts the speaker-independent latent to the latent of one speaker.

Four affine coupling layers, each with a WaveNet, in the inverse direction
(``ResidualCouplingBlock`` in RVC's ``infer/module/models.py``). Linear operations are folded
when the weights are loaded: the flips between the couplings into the adjacent layers, and the
skip path of a WaveNet into the layer after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.cpu_streams import partition, sum_streams
from rtvc.engine.models.parameters import Conv1d, Linear, Parameters
from rtvc.engine.weights.voice_config import VoiceConfig

COUPLINGS, WAVENET_LAYERS, KERNEL = 4, 3, 5
MARGIN_FRAMES = COUPLINGS * WAVENET_LAYERS * (KERNEL - 1) // 2
"""Receptive field radius: input frames needed on each side of an output frame."""


class Flow:
    """Maps a latent (1, T, C) and a speaker (1, 1, S) to a latent (1, T, C).

    The output has the precision of the weights.
    """

    def __init__(self, params: Parameters, config: VoiceConfig) -> None:
        flows, self._precision = params.at("flows"), params.precision
        # Even indices are couplings; a flip before each one reverses the channels. Two flips
        # cancel, so every second coupling has reversed channels in its weights.
        self._couplings = [
            _Coupling(flows.at(2 * n), config, reverse=n % 2 == 1)
            for n in reversed(range(COUPLINGS))
        ]

    def __call__(self, z: mx.array, speaker: mx.array) -> mx.array:
        """Apply the couplings in inverse order."""
        moved, kept = mx.split(z.astype(self._precision), 2, axis=-1)
        for coupling in self._couplings:
            moved, kept = kept, coupling(moved, kept, speaker)
        return mx.concatenate([moved, kept], axis=-1)


class _Coupling:
    """Subtracts from one half of the channels a prediction from the other half.

    The predictor is a WaveNet: gated convolutions with a residual and a skip path; all
    dilations are 1. Each layer is split over the streams by channels.
    """

    def __init__(self, params: Parameters, config: VoiceConfig, *, reverse: bool) -> None:
        half, hidden = config.inter_channels // 2, config.hidden_channels
        order = slice(None, None, -1 if reverse else 1)
        pre = params.at("pre")
        self._pre = Linear(
            pre.add(pre.read("weight", hidden, half, 1)[:, order, 0]), pre.tensor("bias", hidden)
        )
        enc = params.at("enc")
        in_layers = [enc.at("in_layers").at(n) for n in range(WAVENET_LAYERS)]
        convs = [layer.conv(hidden, 2 * hidden, KERNEL, bias=False) for layer in in_layers]
        biases = np.concatenate([layer.read("bias", 2 * hidden) for layer in in_layers])
        # Ordered so that the biases of the values and of the gates of one part are contiguous.
        pairs = np.arange(biases.size).reshape(WAVENET_LAYERS, 2, hidden)
        indices = [row[part] for pair in pairs for part in partition(hidden) for row in pair]
        self._condition = enc.at("cond_layer").condition(
            biases.size, biases, np.concatenate(indices)
        )
        self._ends = np.cumsum([row.size for row in indices]).tolist()
        post = params.at("post")
        post_weight = -post.read("weight", half, hidden, 1)[order, :, 0].astype(np.float64)
        constant = -post.read("bias", half)[order].astype(np.float64)
        self._layers: list[_Layer] = []
        for n, conv in enumerate(convs):
            # The last layer has only a skip path.
            width = hidden if n == WAVENET_LAYERS - 1 else 2 * hidden
            layer = enc.at("res_skip_layers").at(n)
            weight = layer.read("weight", width, hidden, 1)[:, :, 0]
            bias = layer.read("bias", width)
            constant += post_weight @ bias[-hidden:]
            both = np.concatenate([post_weight @ weight[-hidden:], weight[:-hidden]])
            parts = [
                _GatedConv(
                    conv.select_outputs(part, slice(hidden + part.start, hidden + part.stop)),
                    Linear(layer.add(both[:, part]), None),
                )
                for part in partition(hidden)
            ]
            self._layers.append(
                _Layer(parts, layer.add(bias[:-hidden]) if width > hidden else None)
            )
        self._constant = post.add(constant)

    def __call__(self, moved: mx.array, kept: mx.array, speaker: mx.array) -> mx.array:
        """Return `moved`, (1, T, C / 2), minus the prediction from `kept`, of the same shape."""
        biases = mx.split(self._condition(speaker), self._ends[:-1], axis=-1)
        pairs = list(zip(biases[::2], biases[1::2], strict=True))
        x, half = self._pre(kept), moved.shape[-1]
        moved = moved + self._constant
        for n, layer in enumerate(self._layers):
            layer_biases = pairs[n * len(layer.parts) : (n + 1) * len(layer.parts)]
            y = _run_parts(x, layer.parts, layer_biases)
            moved = moved + y[..., :half]
            if layer.bias is not None:
                x = ops.residual(x, y[..., half:], layer.bias)
        return moved


class _GatedConv(NamedTuple):
    """A slice of the channels of a gated convolution, with its output projection.

    Attributes
    ----------
    conv
        Convolution whose output is the values, then their gates.
    out
        Linear map to the skip path, then to the residual path.
    """

    conv: Conv1d
    out: Linear

    def __call__(self, x: mx.array, value_bias: mx.array, gate_bias: mx.array) -> mx.array:
        """Return the terms for the skip path, then those for the residual path."""
        value, gate = mx.split(self.conv(x), 2, axis=-1)
        # Biases after the convolution are part of one element-wise chain.
        return self.out(ops.gated(value + value_bias, gate + gate_bias))


class _Layer(NamedTuple):
    """One layer of a WaveNet.

    Attributes
    ----------
    parts
        One for each stream.
    bias
        Bias of the residual path; None in the last layer, which has none.
    """

    parts: Sequence[_GatedConv]
    bias: mx.array | None


def _run_parts(
    x: mx.array, parts: Sequence[_GatedConv], biases: Sequence[tuple[mx.array, mx.array]]
) -> mx.array:
    return sum_streams(lambda pair: pair[0](x, *pair[1]), zip(parts, biases, strict=True))
