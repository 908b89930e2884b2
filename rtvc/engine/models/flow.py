"""Flow: the latent of any speaker's statistics to the latent of the chosen speaker.

Four affine couplings with a WaveNet inside, run backwards
(``ResidualCouplingBlock`` in RVC's ``infer/module/models.py``). What is linear is
folded when the weights are loaded: the flips between the couplings, and the skip
path of the WaveNet with the layer after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.cpu_streams import map_streams, partition
from rtvc.engine.models.parameters import Conv1d, Linear, Parameters
from rtvc.engine.weights.voice_config import VoiceConfig

COUPLINGS, WAVENET_LAYERS, KERNEL = 4, 3, 5
MARGIN_FRAMES = COUPLINGS * WAVENET_LAYERS * (KERNEL - 1) // 2
"""How many frames to either side a frame of the result depends on."""


class Flow:
    """Latent (1, T, C) and speaker (1, 1, S) to latent (1, T, C), in the weights' precision."""

    def __init__(self, params: Parameters, config: VoiceConfig) -> None:
        flows, self._precision = params.at("flows"), params.precision
        # Even numbers are couplings. Before each of them the channels are reversed: every
        # second reversal undoes the one before, the others are in the weights.
        self._couplings = [
            _Coupling(flows.at(2 * n), config, reverse=n % 2 == 1)
            for n in reversed(range(COUPLINGS))
        ]

    def __call__(self, z: mx.array, speaker: mx.array) -> mx.array:
        """Run the couplings backwards."""
        moved, kept = mx.split(z.astype(self._precision), 2, axis=-1)
        for coupling in self._couplings:
            moved, kept = kept, coupling(moved, kept, speaker)
        return mx.concatenate([moved, kept], axis=-1)


class _Coupling:
    """Subtracts from one half of the channels what the other half predicts.

    The predictor is a WaveNet: gated convolutions with a residual and a skip path; all
    dilations are 1.
    """

    def __init__(self, params: Parameters, config: VoiceConfig, *, reverse: bool) -> None:
        half, hidden = config.inter_channels // 2, config.hidden_channels
        order = slice(None, None, -1 if reverse else 1)
        pre = params.at("pre")
        self._pre = Linear(
            pre.add(pre.read("weight", hidden, half, 1)[:, order, 0]), pre.tensor("bias", hidden)
        )
        enc = params.at("enc")
        inward = [enc.at("in_layers").at(n) for n in range(WAVENET_LAYERS)]
        convs = [conv.conv(hidden, 2 * hidden, KERNEL, bias=False) for conv in inward]
        biases = np.concatenate([conv.read("bias", 2 * hidden) for conv in inward])
        # Each part of each layer finds the biases of its shapes and of its gates in one piece.
        pairs = np.arange(biases.size).reshape(WAVENET_LAYERS, 2, hidden)
        cut = [both[part] for pair in pairs for part in partition(hidden) for both in pair]
        self._condition = enc.at("cond_layer").condition(biases.size, biases, np.concatenate(cut))
        self._ends = np.cumsum([piece.size for piece in cut]).tolist()
        post = params.at("post")
        onward = -post.read("weight", half, hidden, 1)[order, :, 0].astype(np.float64)
        constant = -post.read("bias", half)[order].astype(np.float64)
        self._layers: list[list[_GatedConv]] = []
        for n, conv in enumerate(convs):
            # The last layer has a skip path only.
            width = hidden if n == WAVENET_LAYERS - 1 else 2 * hidden
            both = enc.at("res_skip_layers").at(n)
            weight, bias = both.read("weight", width, hidden, 1)[:, :, 0], both.read("bias", width)
            outward = onward @ weight[-hidden:]
            constant += onward @ bias[-hidden:]
            parts = []
            for part in partition(hidden):
                residual = None
                if width > hidden:
                    # The bias is in the first part of the sum.
                    own = None if part.start else both.add(bias[:hidden])
                    residual = Linear(both.add(weight[:hidden, part]), own)
                gate = slice(hidden + part.start, hidden + part.stop)
                skip = Linear(both.add(outward[:, part]), None)
                parts.append(_GatedConv(conv.select_outputs(part, gate), skip, residual))
            self._layers.append(parts)
        self._constant = post.add(constant)

    def __call__(self, moved: mx.array, kept: mx.array, speaker: mx.array) -> mx.array:
        """Return what becomes of `moved`."""
        biases = mx.split(self._condition(speaker), self._ends[:-1], axis=-1)
        pairs = list(zip(biases[::2], biases[1::2], strict=True))
        x = self._pre(kept)
        moved = moved + self._constant
        for n, parts in enumerate(self._layers):
            ours = pairs[n * len(parts) : (n + 1) * len(parts)]
            for skipped, residual in _run_parts(x, parts, ours):
                moved = moved + skipped
                if residual is not None:
                    x = x + residual
        return moved


class _GatedConv(NamedTuple):
    """Some of the channels of a gated convolution, and what they add to the two paths.

    Attributes
    ----------
    inward
        Their shapes, then their gates.
    skip, residual
        Linear maps to both paths; the last layer has no residual one.
    """

    inward: Conv1d
    skip: Linear
    residual: Linear | None

    def __call__(
        self, x: mx.array, shape_bias: mx.array, gate_bias: mx.array
    ) -> tuple[mx.array, mx.array | None]:
        """Return what is added to the skip path and to the residual one."""
        shape, gate = mx.split(self.inward(x), 2, axis=-1)
        # The biases come last, where they are part of one element-wise chain.
        y = ops.gated(shape + shape_bias, gate + gate_bias)
        return self.skip(y), None if self.residual is None else self.residual(y)


def _run_parts(
    x: mx.array, parts: Sequence[_GatedConv], biases: Sequence[tuple[mx.array, mx.array]]
) -> list[tuple[mx.array, mx.array | None]]:
    return map_streams(lambda pair: pair[0](x, *pair[1]), zip(parts, biases, strict=True))
