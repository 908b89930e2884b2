"""Flow: the latent of any speaker's statistics to the latent of the chosen speaker.

Four affine couplings with a WaveNet inside, run backwards
(``ResidualCouplingBlock`` in RVC's ``infer/module/models.py``).
"""

from __future__ import annotations

import mlx.core as mx

from rtvc.engine.models.parameters import Parameters
from rtvc.engine.weights.voice_config import VoiceConfig

COUPLINGS, WAVENET_LAYERS, KERNEL = 4, 3, 5
MARGIN_FRAMES = COUPLINGS * WAVENET_LAYERS * (KERNEL - 1) // 2
"""How many frames to either side a frame of the result depends on."""


class Flow:
    """Latent (1, T, C) and speaker (1, 1, G) to latent (1, T, C)."""

    def __init__(self, params: Parameters, config: VoiceConfig) -> None:
        flows = params.at("flows")
        # Even numbers are couplings; the flips between them hold no weights.
        self._couplings = [_Coupling(flows.at(2 * n), config) for n in range(COUPLINGS)]

    def __call__(self, z: mx.array, speaker: mx.array) -> mx.array:
        """Run the couplings backwards."""
        for coupling in reversed(self._couplings):
            z = coupling(z[:, :, ::-1], speaker)  # the flip reverses channels
        return z


class _Coupling:
    """Subtracts from one half of the channels what the other half predicts."""

    def __init__(self, params: Parameters, config: VoiceConfig) -> None:
        half, hidden = config.inter_channels // 2, config.hidden_channels
        self._pre = params.at("pre").pointwise(half, hidden)
        self._wavenet = _WaveNet(params.at("enc"), hidden, config.gin_channels)
        self._post = params.at("post").pointwise(hidden, half)

    def __call__(self, z: mx.array, speaker: mx.array) -> mx.array:
        kept, moved = mx.split(z, 2, axis=-1)
        mean = self._post(self._wavenet(self._pre(kept), speaker))
        return mx.concatenate([kept, moved - mean], axis=-1)


class _WaveNet:
    """Gated convolutions with a residual and a skip path; all dilations are 1."""

    def __init__(self, params: Parameters, hidden: int, gin: int) -> None:
        self._condition = params.at("cond_layer").pointwise(gin, 2 * hidden * WAVENET_LAYERS)
        inward, outward = params.at("in_layers"), params.at("res_skip_layers")
        self._inward = [
            inward.at(n).conv(hidden, 2 * hidden, KERNEL) for n in range(WAVENET_LAYERS)
        ]
        # The last layer has a skip path only.
        widths = [2 * hidden] * (WAVENET_LAYERS - 1) + [hidden]
        self._outward = [outward.at(n).pointwise(hidden, w) for n, w in enumerate(widths)]

    def __call__(self, x: mx.array, speaker: mx.array) -> mx.array:
        hidden = x.shape[-1]
        conditions = mx.split(self._condition(speaker), WAVENET_LAYERS, axis=-1)
        skipped = mx.zeros_like(x)
        for inward, outward, condition in zip(self._inward, self._outward, conditions, strict=True):
            shape, gate = mx.split(inward(x) + condition, 2, axis=-1)
            out = outward(mx.tanh(shape) * mx.sigmoid(gate))
            skipped = skipped + out[..., -hidden:]
            x = x + out[..., :hidden]  # never computed after the last layer: nobody asks for it
        return skipped
