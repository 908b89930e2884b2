"""Text encoder: maps content features and coarse pitch to the prior of the latent.

A transformer with relative positions of up to ten frames, from VITS (Kim et al. 2021,
https://arxiv.org/abs/2106.06103) as RVC uses it (``TextEncoder`` in
``infer/module/models.py``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from rtvc._types import Float32
from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.cpu_streams import partition, sum_streams
from rtvc.engine.models.parameters import Conv1d, Linear, Parameters
from rtvc.engine.weights.voice_config import VoiceConfig

ATTENTION_WINDOW = 10
"""Frames on each side that have a relative position; the term is zero beyond them."""

PITCH_ROWS = 256


class TextEncoder:
    """Maps features (1, T, D) and coarse pitch (1, T) to mean and log deviation of the prior."""

    def __init__(
        self, params: Parameters, config: VoiceConfig, feature_dim: int, uses_pitch: bool
    ) -> None:
        hidden = config.hidden_channels
        self._scale = math.sqrt(hidden)
        self._phone = params.at("emb_phone").linear(feature_dim, hidden)
        self._pitch = (
            params.at("emb_pitch").tensor("weight", PITCH_ROWS, hidden) if uses_pitch else None
        )
        encoder = params.at("encoder")
        # What the attention of a layer adds to its input besides the mixed values.
        biases = [
            encoder.at("attn_layers").at(n).at("conv_o").read("bias", hidden)
            for n in range(config.n_layers)
        ]
        self._shift = params.add(biases[0])
        following = [*biases[1:], np.zeros(hidden, np.float32)]
        self._layers = [
            _EncoderLayer(encoder, n, config, shift) for n, shift in enumerate(following)
        ]
        self._proj = params.at("proj").pointwise(hidden, 2 * config.inter_channels)

    def __call__(
        self, features: mx.array, coarse: mx.array | None, first: int
    ) -> tuple[mx.array, mx.array]:
        """Return mean and log deviation of frames `first` to T - 1, (1, T - first, C) float32.

        Attention spans all frames, so only the last layer can skip the frames before `first`.
        """
        x = self._phone(features)
        if self._pitch is not None:
            x = x + self._pitch[coarse]
        x = ops.leaky_relu(x * self._scale, 0.1) + self._shift
        *early, last = self._layers
        for layer in early:
            x = layer(x)
        mean, log_deviation = mx.split(self._proj(last(x, first)), 2, axis=-1)
        return mean.astype(mx.float32), log_deviation.astype(mx.float32)


class _EncoderLayer:
    """Attention and feed-forward network, each with a layer norm after its residual sum.

    Input and output include the bias of the attention that reads them, so that the residual sum
    after it is one product.

    Parameters
    ----------
    encoder, number, config
        The weights of all layers, the number of this one, and the network settings.
    shift
        Bias of the attention in the next layer, (channels,).
    """

    def __init__(
        self, encoder: Parameters, number: int, config: VoiceConfig, shift: Float32
    ) -> None:
        hidden, wide, kernel = config.hidden_channels, config.filter_channels, config.kernel_size
        self._attention = _RelativeAttention(encoder.at("attn_layers").at(number), config)
        self._norms = [
            (norm.tensor("gamma", hidden), norm.add(norm.read("beta", hidden) + added))
            for norm, added in (
                (encoder.at(f"norm_layers_{k}").at(number), added)
                for k, added in ((1, np.float32(0.0)), (2, shift))
            )
        ]
        ffn = encoder.at("ffn_layers").at(number)
        expand = ffn.at("conv_1").conv(hidden, wide, kernel)
        contract = ffn.at("conv_2").conv(wide, hidden, kernel)
        self._margin = expand.padding + contract.padding
        self._ffn = [
            (expand.select_outputs(part), contract.select_inputs(part)) for part in partition(wide)
        ]
        self._bias = contract.bias

    def __call__(self, x: mx.array, first: int = 0) -> mx.array:
        """(1, T, C) to frames `first` to T - 1, (1, T - first, C)."""
        after_attention, after_ffn = self._norms
        # `_margin` more frames for the convolutions, because zero padding affects those frames.
        edge = max(first - self._margin, 0)
        x = ops.layer_norm(self._attention(x, edge), *after_attention)

        def feed_forward(part: tuple[Conv1d, Conv1d]) -> mx.array:
            expand, contract = part
            wide = ops.relu(expand.without_bias(x, expand.padding), expand.bias)
            return contract.without_bias(wide, contract.padding)

        x = ops.residual(x, sum_streams(feed_forward, self._ffn), self._bias)
        return ops.layer_norm(x, *after_ffn)[:, first - edge :]


class _HeadProjections(NamedTuple):
    """Projections before and after the attention, for the heads of one stream.

    Attributes
    ----------
    qkv
        To queries, keys and values, one after the other.
    out
        Weight of the projection after the attention, (out, in).
    """

    qkv: Linear
    out: mx.array


class _RelativeAttention:
    """Self-attention with relative positions and its residual sum.

    See ``gpu.relative_attention``.
    """

    def __init__(self, params: Parameters, config: VoiceConfig) -> None:
        hidden = config.hidden_channels
        self._width = hidden // config.n_heads
        query, key, value, out = (
            (part.read("weight", hidden, hidden, 1)[:, :, 0], part.read("bias", hidden))
            for part in (params.at(f"conv_{name}") for name in "qkvo")
        )
        scale = np.float32(1.0 / math.sqrt(self._width))
        scaled = (scale * query[0], scale * query[1]), key, value
        self._parts = []
        for heads in partition(config.n_heads):
            part = slice(heads.start * self._width, heads.stop * self._width)
            weight = np.concatenate([w[part] for w, _ in scaled])
            # The input includes the bias of the output.
            bias = np.concatenate([b[part] for _, b in scaled]) - weight @ out[1]
            qkv = Linear(params.add(weight), params.add(bias))
            self._parts.append(_HeadProjections(qkv, params.add(out[0][:, part])))
        # All heads share one table.
        self._relative_keys = params.tensor("emb_rel_k", 1, 2 * ATTENTION_WINDOW + 1, self._width)
        self._relative_values = params.tensor("emb_rel_v", 1, 2 * ATTENTION_WINDOW + 1, self._width)

    def __call__(self, x: mx.array, first: int) -> mx.array:
        """(1, T, C) to frames `first` to T - 1 of the residual sum, (1, T - first, C)."""

        def attend(numbered: tuple[int, _HeadProjections]) -> mx.array:
            number, part = numbered
            heads = part.qkv(x).reshape(1, x.shape[1], 3, -1, self._width)
            queries, keys, values = heads.transpose(2, 0, 3, 1, 4)
            mixed = ops.relative_attention(
                queries[:, :, first:],
                keys,
                values,
                self._relative_keys,
                self._relative_values,
                first=first,
            )
            mixed = mixed.transpose(0, 2, 1, 3).reshape(1, x.shape[1] - first, -1)
            # The first part adds the residual path.
            if number == 0:
                return mx.addmm(x[:, first:], mixed, part.out.T)
            return mixed @ part.out.T

        return sum_streams(attend, enumerate(self._parts))
