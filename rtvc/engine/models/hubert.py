"""Content encoder: HuBERT, the network of ContentVec, in MLX.

Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked
Prediction of Hidden Units", 2021; Qian et al., "ContentVec", 2022. Numerically equal to
``transformers.HubertModel`` (the "base" layout: group norm on the first convolution only,
layer norm after each block), without masking and dropout.

One feature vector per 20 ms of audio at 16 kHz. RVC v1 voices use layer 9 with the final
projection, v2 voices layer 12 without it.
"""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Weights
from rtvc.engine.models.hubert_weights import FIRST, conv_name, sanitize
from rtvc.engine.models.ops.backend import default_precision
from rtvc.engine.models.ops.cpu_streams import map_streams, partition, sum_streams
from rtvc.engine.models.ops.ops import (
    affine,
    attention,
    compiled,
    concatenate_time,
    conv1d_packed,
    gelu,
    grouped_conv1d,
    layer_norm,
    linear,
    pack_taps,
)
from rtvc.engine.weights.content_encoder import ContentEncoderConfig
from rtvc.errors import RtvcError, UsageError


class Hubert:
    """HuBERT for one set of weights.

    Parameters
    ----------
    weights
        Tensors from ``read_content_encoder``: Hugging Face names, torch layout, weight norm
        folded.
    config
        Network settings, from the same reader.
    precision
        Precision of the weights; None for that of this machine.

    Attributes
    ----------
    hop
        Samples from one feature vector to the next: 320.
    receptive_field
        Receptive field of the convolutions before the transformer, in samples: 400.
    """

    def __init__(
        self, weights: Weights, config: ContentEncoderConfig, precision: mx.Dtype | None = None
    ) -> None:
        precision = precision or default_precision()
        self.config, self.precision = config, precision
        self.weights = sanitize(weights, config, precision)
        names = [conv_name(index) for index in range(1, len(config.conv_kernels))]
        self._taps = [
            pack_taps(self.weights[name], stride)
            for name, stride in zip(names, config.conv_strides[1:], strict=True)
        ]
        mx.eval(self._taps)
        self._convolutions = compiled(self._convolve)
        self._transformer = compiled(self._transform)
        self.hop, self.receptive_field = 1, 1
        for kernel, stride in zip(config.conv_kernels, config.conv_strides, strict=True):
            self.receptive_field += (kernel - 1) * self.hop
            self.hop *= stride

    def frames(self, samples: int) -> int:
        """Return the number of feature vectors for a signal of `samples` samples."""
        return max(0, (samples - self.receptive_field) // self.hop + 1)

    def __call__(
        self, audio_16k: Float32, *, layer: int | None = None, project: bool = False
    ) -> Float32:
        """Return the content features of a signal.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz, at least 400 (25 ms).
        layer
            Layer whose output is returned, from 0 (the input of the first layer) to the
            number of layers, which is the default.
        project
            Whether to apply the final projection.

        Returns
        -------
        Float32
            ((samples - 400) // 320 + 1, width). Row k describes the signal around sample
            320 k + 200.

        Raises
        ------
        UsageError
            The signal is not mono or too short, or there is no such layer.
        RtvcError
            The encoder has no final projection.
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
        """Return the unevaluated features, (frames, width), for audio (samples,)."""
        return self.transform(self.convolve(audio), layer=layer, project=project)

    def convolve(self, audio: mx.array, *, reserved: int = 0) -> list[mx.array]:
        """Return the unevaluated output of the convolutions.

        Parameters
        ----------
        audio
            (samples,) at 16 kHz.
        reserved
            Number of frames that the last stream could convolve in the time that its other
            work takes; it gets that many fewer than the others.

        Returns
        -------
        list of mx.array
            One array (1, n, channels) per stream; concatenated in time they are all frames.
        """
        return self._convolutions(audio, reserved)

    def transform(
        self, convolved: list[mx.array], *, layer: int | None = None, project: bool = False
    ) -> mx.array:
        """Return the unevaluated features, (frames, width), for the result of `convolve`."""
        depth = self.config.layers if layer is None else layer
        if not 0 <= depth <= self.config.layers:
            raise UsageError(
                f"This content encoder has layers 0 to {self.config.layers}, but no layer {layer}."
            )
        if project and self.config.projection is None:
            raise RtvcError(
                "This content encoder has no final projection, which v1 voices need; "
                "use a ContentVec file that has final_proj."
            )
        return self._transformer(convolved, depth, project)

    def _convolve(self, audio: mx.array, reserved: int) -> list[mx.array]:
        w, config = self.weights, self.config
        first = _first_convolution(
            audio,
            config.conv_strides[0],
            w[f"{FIRST}conv.weight"],
            *affine(w, f"{FIRST}layer_norm"),
            eps=config.norm_epsilon,
        )
        rows = partition(self.frames(audio.shape[0]), reserved)
        return map_streams(lambda part: self._convolve_rows(first, part), rows)

    def _convolve_rows(self, first: _FirstConvolution, rows: slice) -> mx.array:
        """Return the output of the convolutions for the frames in `rows`."""
        samples = slice(rows.start * self.hop, (rows.stop - 1) * self.hop + self.receptive_field)
        x = gelu(first(samples))[None].astype(self.precision)
        for taps in self._taps:
            x = gelu(conv1d_packed(x, taps))
        return x

    def _transform(self, convolved: list[mx.array], depth: int, project: bool) -> mx.array:
        """Return the output of layer `depth`, float32."""
        w, eps = self.weights, self.config.norm_epsilon
        x = concatenate_time(map_streams(self._project, convolved))
        x, norm = x + self._position(x), "encoder.layer_norm"
        for index in range(depth):
            name = f"encoder.layers.{index}"
            x = self._block(
                layer_norm(x, w[f"{norm}.weight"], w[f"{norm}.shifted_bias"], eps), name
            )
            norm = f"{name}.final_layer_norm"
        x = layer_norm(x, *affine(w, norm), eps)
        if project:
            x = linear(x, *affine(w, "final_proj"))
        return x.squeeze(0).astype(mx.float32)

    def _project(self, x: mx.array) -> mx.array:
        """Project from the width of the convolutions to the width of the transformer."""
        w = self.weights
        x = layer_norm(x, *affine(w, "feature_projection.layer_norm"), self.config.norm_epsilon)
        return linear(x, *affine(w, "feature_projection.projection"))

    def _position(self, x: mx.array) -> mx.array:
        """Return the positional embedding: a convolution over 1.28 s on each side."""
        kernel, groups = self.config.position_kernel, self.config.position_groups
        width = x.shape[2] // groups

        def convolve(part: slice) -> mx.array:
            weight, bias = affine(self.weights, f"encoder.pos_conv_embed.conv.{part.start}")
            channels = x[:, :, part.start * width : part.stop * width]
            y = grouped_conv1d(channels, weight, padding=kernel // 2)
            # An even kernel gives one frame too many; the reference drops the last one.
            return gelu(y[:, : x.shape[1]], bias)

        return mx.concatenate(map_streams(convolve, partition(groups)), axis=2)

    def _block(self, x: mx.array, name: str) -> mx.array:
        """Apply one transformer layer, with layer norms after the residual sums (post-norm).

        The input is normalised; the caller applies the last norm. The output of each norm
        already includes the bias of the linear map whose result is added to it; see
        ``hubert_weights``. Each stream computes some of the heads and of the inner width.
        """
        w, eps = self.weights, self.config.norm_epsilon
        batch, frames, width = x.shape
        head = width // self.config.heads

        def attend(part: slice) -> mx.array:
            qkv = linear(x, *affine(w, f"{name}.attention.qkv_proj.{part.start}"))
            heads = part.stop - part.start
            q, k, v = qkv.reshape(batch, frames, 3, heads, head).transpose(2, 0, 3, 1, 4)
            y = attention(q, k, v, scale=head**-0.5).transpose(0, 2, 1, 3)
            y = y.reshape(batch, frames, heads * head)
            return add_output(y, f"{name}.attention.out_proj", part)

        def feed_forward(part: slice) -> mx.array:
            inner, bias = affine(w, f"{name}.feed_forward.intermediate_dense.{part.start}")
            y = gelu(linear(x, inner), bias)
            return add_output(y, f"{name}.feed_forward.output_dense", part)

        def add_output(y: mx.array, output: str, part: slice) -> mx.array:
            # The first part adds the residual path.
            weight = w[f"{output}.{part.start}.weight"]
            return y @ weight.T if part.start else mx.addmm(x, y, weight.T)

        x = sum_streams(attend, partition(self.config.heads))
        x = layer_norm(x, *affine(w, f"{name}.layer_norm"), eps)
        return sum_streams(feed_forward, partition(self.config.feed_forward_width))


class _FirstConvolution(NamedTuple):
    """The first convolution and the group norm after it, folded into one product.

    Attributes
    ----------
    audio
        (samples,).
    stride
        Stride of the convolution.
    mean
        Mean input of each tap, (kernel,), which is subtracted.
    matrix
        (kernel, channels).
    shift
        (channels,).
    """

    audio: mx.array
    stride: int
    mean: mx.array
    matrix: mx.array
    shift: mx.array

    def __call__(self, samples: slice) -> mx.array:
        """Return (frames, channels) for a slice of the audio."""
        unfolded = _unfold(self.audio[samples], self.matrix.shape[0], self.stride)
        return mx.addmm(self.shift, unfolded - self.mean, self.matrix)


def _first_convolution(
    audio: mx.array,
    stride: int,
    weight: mx.array,
    scale: mx.array,
    shift: mx.array,
    *,
    eps: float,
) -> _FirstConvolution:
    """Fold a group norm with one channel per group into the convolution before it.

    The mean and the variance of each output channel over time follow from the mean and the
    covariance of the unfolded audio, which has one column per tap. This is exact, and more
    accurate in float32 than sums over the long output.

    Parameters
    ----------
    audio
        (samples,).
    stride
        Stride of the convolution.
    weight
        Weight of the convolution, (channels, kernel, 1).
    scale, shift
        Parameters of the norm, (channels,).
    eps
        Added to the variance.
    """
    matrix = weight[:, :, 0].T
    audio = audio - mx.mean(audio)  # a DC offset would cost precision in the sums
    unfolded = _unfold(audio, matrix.shape[0], stride)
    mean = mx.mean(unfolded, axis=0)
    centred = unfolded - mean
    covariance = (centred.T @ centred) / unfolded.shape[0]
    variance = mx.sum(matrix * (covariance @ matrix), axis=0)
    gain = scale * mx.rsqrt(mx.maximum(variance, 0.0) + eps)
    return _FirstConvolution(audio, stride, mean, matrix * gain, shift)


def _unfold(audio: mx.array, kernel: int, stride: int) -> mx.array:
    """Return the input window of each frame, (frames, kernel), as a view of (samples,)."""
    frames = (audio.shape[0] - kernel) // stride + 1
    return mx.as_strided(audio, (frames, kernel), (stride, 1))
