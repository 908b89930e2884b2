"""Content encoder: HuBERT, the network of ContentVec, in MLX.

Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked
Prediction of Hidden Units", 2021; Qian et al., "ContentVec", 2022. Numerically the
same as ``transformers.HubertModel`` (the "base" layout: group norm on the first
convolution only, layer norm after each block), without masks and dropout.

Audio at 16 kHz becomes one feature vector every 20 ms. RVC v1 voices use layer 9
with the final projection, v2 voices layer 12 without.
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from rtvc.engine.models.backend import PRECISION
from rtvc.engine.models.layers import (
    Weights,
    affine,
    attention,
    compiled,
    conv1d,
    gelu,
    grouped,
    grouped_conv1d,
    layer_norm,
    linear,
    tap_major,
)
from rtvc.engine.weights.content_encoder import ContentEncoderConfig
from rtvc.errors import RtvcError, UsageError

State = Mapping[str, NDArray[np.float32]]

_FIRST = "feature_extractor.conv_layers.0."


class Hubert:
    """HuBERT for one set of weights.

    Parameters
    ----------
    state
        Tensors as ``read_content_encoder`` gives them: the names of Hugging Face, torch
        layout, weight norm folded.
    config
        Sizes, from the same reader.
    precision
        Of the weights.

    Attributes
    ----------
    hop
        Samples from one feature vector to the next: 320.
    receptive_field
        Samples that one feature vector sees of the audio before the transformer: 400.
    """

    def __init__(
        self, state: State, config: ContentEncoderConfig, precision: mx.Dtype = PRECISION
    ) -> None:
        self.config, self.precision = config, precision
        self.weights = _sanitize(state, config, precision)
        self._features = compiled(self._network)
        self.hop, self.receptive_field = 1, 1
        for kernel, stride in zip(config.conv_kernels, config.conv_strides, strict=True):
            self.receptive_field += (kernel - 1) * self.hop
            self.hop *= stride

    def frames(self, samples: int) -> int:
        """Return how many feature vectors so many samples give."""
        return max(0, (samples - self.receptive_field) // self.hop + 1)

    def __call__(
        self, audio_16k: NDArray[np.float32], *, layer: int | None = None, project: bool = False
    ) -> NDArray[np.float32]:
        """Return the content features of a signal.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz, at least 400 of them (25 ms).
        layer
            Layer whose output is wanted, from 0 (the input of the first) to the number of
            layers, which is the default.
        project
            Whether to apply the final projection.

        Returns
        -------
        NDArray[np.float32]
            ((samples - 400) // 320 + 1, width): row k is about sample 320 k + 200.
        """
        if audio_16k.ndim != 1 or self.frames(audio_16k.shape[0]) < 1:
            raise UsageError(
                f"The content encoder needs a mono signal of at least "
                f"{self.receptive_field} samples, not one of shape {audio_16k.shape}."
            )
        features = self.features(mx.array(audio_16k), layer=layer, project=project)
        return np.array(features, dtype=np.float32)

    def features(
        self, audio: mx.array, *, layer: int | None = None, project: bool = False
    ) -> mx.array:
        """As calling, within MLX and unevaluated: audio (samples,) to (frames, width)."""
        depth = self.config.layers if layer is None else layer
        if not 0 <= depth <= self.config.layers:
            raise UsageError(
                f"This content encoder has layers 0 to {self.config.layers}; {layer} is none."
            )
        if project and self.config.projection is None:
            raise RtvcError(
                "This content encoder has no final projection, which v1 voices need; "
                "use a ContentVec file that has final_proj."
            )
        return self._features(audio, depth, project)

    def _network(self, audio: mx.array, depth: int, project: bool) -> mx.array:
        """Audio (samples,) to the output of layer `depth`, float32."""
        w, eps = self.weights, self.config.norm_epsilon
        x = self.convolve(audio)
        x = layer_norm(x, *affine(w, "feature_projection.layer_norm"), eps)
        x = linear(x, *affine(w, "feature_projection.projection"))
        x, norm = x + self._position(x), "encoder.layer_norm"
        for index in range(depth):
            name = f"encoder.layers.{index}"
            x = self._block(layer_norm(x, w[f"{norm}.weight"], w[f"{norm}.onward"], eps), name)
            norm = f"{name}.final_layer_norm"
        x = layer_norm(x, *affine(w, norm), eps)
        if project:
            x = linear(x, *affine(w, "final_proj"))
        return x.squeeze(0).astype(mx.float32)

    def convolve(self, audio: mx.array) -> mx.array:
        """Return the output of the convolutions, (1, frames, channels), for audio (samples,)."""
        w, config = self.weights, self.config
        x = _normalized_convolution(
            audio,
            config.conv_strides[0],
            w[f"{_FIRST}conv.weight"],
            *affine(w, f"{_FIRST}layer_norm"),
            eps=config.norm_epsilon,
        )
        x = gelu(x)[None].astype(self.precision)
        for index, stride in enumerate(config.conv_strides[1:], 1):
            weight = w[f"feature_extractor.conv_layers.{index}.conv.weight"]
            x = gelu(conv1d(x, weight, stride=stride))
        return x

    def _position(self, x: mx.array) -> mx.array:
        """Position from a convolution over 1.28 s to either side."""
        kernel = self.config.position_kernel
        weight, bias = affine(self.weights, "encoder.pos_conv_embed.conv")
        y = grouped_conv1d(x, weight, padding=kernel // 2)
        # An even kernel gives one frame too many; the reference drops the last.
        return gelu(y[:, : x.shape[1]], bias)

    def _block(self, x: mx.array, name: str) -> mx.array:
        """One transformer layer, layer norms after the residual sums.

        Takes what is normalised and leaves the last norm to the caller. What comes out of a
        norm here has in it the bias of the linear map that is added to it: see ``_sanitize``.
        """
        w, heads, eps = self.weights, self.config.heads, self.config.norm_epsilon
        batch, frames, width = x.shape
        qkv = linear(x, *affine(w, f"{name}.attention.qkv_proj"))
        q, k, v = qkv.reshape(batch, frames, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        y = attention(q, k, v, scale=(width // heads) ** -0.5)
        y = y.transpose(0, 2, 1, 3).reshape(batch, frames, width)
        x = mx.addmm(x, y, w[f"{name}.attention.out_proj.weight"].T)
        x = layer_norm(x, *affine(w, f"{name}.layer_norm"), eps)
        inner, inner_bias = affine(w, f"{name}.feed_forward.intermediate_dense")
        y = gelu(linear(x, inner), inner_bias)
        return mx.addmm(x, y, w[f"{name}.feed_forward.output_dense.weight"].T)


def _normalized_convolution(
    audio: mx.array,
    stride: int,
    weight: mx.array,
    scale: mx.array,
    shift: mx.array,
    *,
    eps: float,
) -> mx.array:
    """Convolution followed by group norm with one channel a group, without the pass between.

    The mean and the variance of every output channel over time follow from the mean and
    the covariance of the unfolded audio, which has only as many columns as the kernel has
    taps; with them the norm is folded into the convolution. Exact, and more accurate in
    float32 than sums over the long output.

    Parameters
    ----------
    audio
        (samples,).
    stride
        Of the convolution.
    weight
        (channels, kernel, 1).
    scale, shift
        (channels,) of the norm.
    eps
        Added to the variance.

    Returns
    -------
    mx.array
        (frames, channels).
    """
    matrix = weight[:, :, 0].T
    kernel = matrix.shape[0]
    frames = (audio.shape[0] - kernel) // stride + 1
    audio = audio - mx.mean(audio)  # sums of an offset would lose digits
    unfolded = mx.as_strided(audio, (frames, kernel), (stride, 1))
    mean = mx.mean(unfolded, axis=0)
    centred = unfolded - mean
    covariance = (centred.T @ centred) / frames
    variance = mx.sum(matrix * (covariance @ matrix), axis=0)
    gain = scale * mx.rsqrt(mx.maximum(variance, 0.0) + eps)
    return mx.addmm(shift, centred, matrix * gain)


def _sanitize(state: State, config: ContentEncoderConfig, precision: mx.Dtype) -> Weights:
    """Bring every tensor into the layout that the network above computes with."""
    # Linear maps and norms stay as they are.
    weights = dict(state)
    # Convolutions: (out, in, kernel) -> (out, kernel, in).
    position = "encoder.pos_conv_embed.conv.weight"
    for index in range(len(config.conv_kernels)):
        name = f"feature_extractor.conv_layers.{index}.conv.weight"
        weights[name] = weights[name].transpose(0, 2, 1)
    weights[position] = weights[position].transpose(0, 2, 1)
    # Query, key and value are one product: three (out, in) -> (3 out, in).
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}.attention"
        for kind in ("weight", "bias"):
            parts = [weights.pop(f"{name}.{part}_proj.{kind}") for part in "qkv"]
            weights[f"{name}.qkv_proj.{kind}"] = np.concatenate(parts)
    _defer_biases(weights, config)
    # What is folded into the first convolution comes from sums over the whole signal.
    arrays = {
        name: mx.array(tensor).astype(mx.float32 if name.startswith(_FIRST) else precision)
        for name, tensor in weights.items()
    }
    for index in range(1, len(config.conv_kernels)):
        name = f"feature_extractor.conv_layers.{index}.conv.weight"
        arrays[name] = tap_major(arrays[name])
    arrays[position] = grouped(arrays[position], config.position_groups)
    mx.eval(arrays)
    return arrays


def _defer_biases(weights: dict[str, NDArray[np.float32]], config: ContentEncoderConfig) -> None:
    """Move the bias of what is added to a residual path into the norm before.

    So the sum is one product with the path as its bias. Whatever else hears that norm takes
    the difference off again in its own bias. A norm that may be the last keeps its bias, and
    has the sum beside it, as ``onward``.
    """

    def move(bias: str, norm: str, heard: str) -> NDArray[np.float32]:
        added = weights.pop(bias)
        weights[f"{heard}.bias"] = weights[f"{heard}.bias"] - weights[f"{heard}.weight"] @ added
        return weights[f"{norm}.bias"] + added

    before = "encoder.layer_norm"
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}"
        weights[f"{before}.onward"] = move(
            f"{name}.attention.out_proj.bias", before, f"{name}.attention.qkv_proj"
        )
        weights[f"{name}.layer_norm.bias"] = move(
            f"{name}.feed_forward.output_dense.bias",
            f"{name}.layer_norm",
            f"{name}.feed_forward.intermediate_dense",
        )
        before = f"{name}.final_layer_norm"
