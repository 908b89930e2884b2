"""Text encoder: content features and coarse pitch to the statistics of the latent.

A transformer with relative positions up to ten frames away, from VITS
(Kim et al. 2021, https://arxiv.org/abs/2106.06103) as RVC uses it
(``TextEncoder`` in ``infer/module/models.py``).
"""

from __future__ import annotations

import math

import mlx.core as mx

from rtvc.engine.models import layers
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.weights.voice_config import VoiceConfig

REACH = 10  # frames to either side that have a relative position; beyond them the term is zero
PITCH_ROWS = 256


class TextEncoder:
    """Features (1, T, D) and coarse pitch (1, T) to mean and log deviation, each (1, T', C)."""

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
        self._layers = [_EncoderLayer(encoder, n, config) for n in range(config.n_layers)]
        self._proj = params.at("proj").pointwise(hidden, 2 * config.inter_channels)

    def __call__(
        self, features: mx.array, coarse: mx.array | None, first: int
    ) -> tuple[mx.array, mx.array]:
        """Return mean and log deviation of the frames from `first` on.

        Attention spans all frames; only the projection is saved on the others.
        """
        x = self._phone(features)
        if self._pitch is not None:
            x = x + self._pitch[coarse]
        x = layers.leaky_relu(x * self._scale, 0.1)
        for layer in self._layers:
            x = layer(x)
        mean, log_deviation = mx.split(self._proj(x[:, first:]), 2, axis=-1)
        return mean, log_deviation


class _EncoderLayer:
    """Attention and feed-forward, each normalised after its residual."""

    def __init__(self, encoder: Parameters, number: int, config: VoiceConfig) -> None:
        hidden, wide, kernel = config.hidden_channels, config.filter_channels, config.kernel_size
        self._attention = _RelativeAttention(encoder.at("attn_layers").at(number), config)
        self._norms = [
            (norm.tensor("gamma", hidden), norm.tensor("beta", hidden))
            for norm in (encoder.at(f"norm_layers_{k}").at(number) for k in (1, 2))
        ]
        ffn = encoder.at("ffn_layers").at(number)
        self._expand = ffn.at("conv_1").conv(hidden, wide, kernel)
        self._contract = ffn.at("conv_2").conv(wide, hidden, kernel)

    def __call__(self, x: mx.array) -> mx.array:
        after_attention, after_ffn = self._norms
        x = layers.layer_norm(x + self._attention(x), *after_attention)
        wide = mx.maximum(self._expand(x), 0.0)
        return layers.layer_norm(x + self._contract(wide), *after_ffn)


class _RelativeAttention:
    """Self-attention whose keys and values also know their distance (Shaw et al. 2018)."""

    def __init__(self, params: Parameters, config: VoiceConfig) -> None:
        hidden, heads = config.hidden_channels, config.n_heads
        self._heads, self._width = heads, hidden // heads
        self._query, self._key, self._value, self._out = (
            params.at(f"conv_{name}").pointwise(hidden, hidden) for name in "qkvo"
        )
        # One table for all heads.
        self._near_keys = params.tensor("emb_rel_k", 1, 2 * REACH + 1, self._width)
        self._near_values = params.tensor("emb_rel_v", 1, 2 * REACH + 1, self._width)

    def __call__(self, x: mx.array) -> mx.array:
        q = self._split(self._query(x)) * (1.0 / math.sqrt(self._width))
        k, v = self._split(self._key(x)), self._split(self._value(x))
        scores = q @ k.transpose(0, 1, 3, 2)
        scores = scores + _to_columns(q @ self._near_keys.transpose(0, 2, 1))
        weights = mx.softmax(scores, axis=-1)
        mixed = weights @ v + _to_distances(weights) @ self._near_values
        return self._out(mixed.transpose(0, 2, 1, 3).reshape(x.shape))

    def _split(self, x: mx.array) -> mx.array:
        return x.reshape(*x.shape[:2], self._heads, self._width).transpose(0, 2, 1, 3)


def _to_columns(near: mx.array) -> mx.array:
    """(1, h, T, 21) by distance -> (1, h, T, T) by column, zero beyond the reach.

    Rows one element too wide shift by one more element each when read at the right width.
    """
    batch, heads, frames, distances = near.shape
    wide = mx.concatenate([near, mx.zeros((batch, heads, frames, frames))], axis=-1)
    width = frames + distances - 1
    flat = wide.reshape(batch, heads, -1)[:, :, : frames * width]
    return flat.reshape(batch, heads, frames, width)[..., REACH : REACH + frames]


def _to_distances(weights: mx.array) -> mx.array:
    """(1, h, T, T) by column -> (1, h, T, 21) by distance, zero outside the window."""
    batch, heads, frames, _ = weights.shape
    margin = mx.zeros((batch, heads, frames, REACH))
    wide = mx.concatenate([margin, weights, margin], axis=-1).reshape(batch, heads, -1)
    tail = mx.zeros((batch, heads, frames))
    skewed = mx.concatenate([wide, tail], axis=-1).reshape(batch, heads, frames, -1)
    return skewed[..., : 2 * REACH + 1]
