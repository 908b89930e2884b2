"""Content encoder: HuBERT, the network of ContentVec, in MLX.

Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked
Prediction of Hidden Units", 2021; Qian et al., "ContentVec", 2022. Numerically equal to
``transformers.HubertModel`` (the "base" layout: group norm on the first convolution only,
layer norm after each block), without masking and dropout.

One feature vector per 20 ms of audio at 16 kHz. RVC v1 voices use layer 9 with the final
projection, v2 voices layer 12 without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Weights
from rtvc.engine.models.hubert_weights import FIRST, POSITION, conv_name, sanitize
from rtvc.engine.models.ops.backend import default_precision
from rtvc.engine.models.ops.cpu_streams import map_streams, partition, sum_streams
from rtvc.engine.models.ops.ops import (
    affine,
    attention,
    compiled,
    concatenate_time,
    conv1d_gelu,
    gelu,
    grouped_conv1d,
    layer_norm,
    linear,
    pack_grouped,
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
            pack_taps(self.weights.pop(name), stride)
            for name, stride in zip(names, config.conv_strides[1:], strict=True)
        ]
        # By the first group of each stream.
        self._position_taps = {
            part.start: pack_grouped(
                self.weights.pop(f"{POSITION}.{part.start}.weight"), part.stop - part.start
            )
            for part in partition(config.position_groups)
        }
        mx.eval(self._taps, self._position_taps)
        self._first = _FirstConvolution(
            self.weights[f"{FIRST}conv.weight"],
            config.conv_strides[0],
            *affine(self.weights, f"{FIRST}layer_norm"),
            eps=config.norm_epsilon,
        )
        self._convolutions = compiled(self._convolve)
        self._convolutions_by = compiled(self._convolve_by)
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
        """Return the unevaluated features, (frames, width), for audio (samples,).

        They have the precision of the weights.
        """
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

    @property
    def first_kernel(self) -> tuple[int, int]:
        """Length and stride of the first convolution, in samples."""
        return self.config.conv_kernels[0], self.config.conv_strides[0]

    def convolve_by(
        self, audio: mx.array, mean: mx.array, covariance: mx.array, *, reserved: int = 0
    ) -> list[mx.array]:
        """Return the output of the convolutions, normalised by statistics of other audio.

        `convolve` takes those of the audio itself.

        Parameters
        ----------
        audio, reserved
            As for `convolve`.
        mean, covariance
            (kernel,) and (kernel, kernel) of the input windows of the first convolution.
        """
        return self._convolutions_by(audio, mean, covariance, reserved)

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
        return self._convolve_from(audio, self._first, reserved)

    def _convolve_by(
        self, audio: mx.array, mean: mx.array, covariance: mx.array, reserved: int
    ) -> list[mx.array]:
        return self._convolve_from(
            audio, lambda audio, rows: self._first.by(audio, mean, covariance, rows), reserved
        )

    def _convolve_from(
        self, audio: mx.array, normalise: Callable[[mx.array, int], _Normalised], reserved: int
    ) -> list[mx.array]:
        """Return the output of the convolutions after a normalised first one."""
        parts = partition(self.frames(audio.shape[0]), reserved)
        first = normalise(audio, max(self._first_rows(rows).stop for rows in parts))
        return map_streams(lambda rows: self._convolve_rows(first, rows), parts)

    def _convolve_rows(self, first: _Normalised, rows: slice) -> mx.array:
        """Return the output of the convolutions for the frames in `rows`."""
        lengths = self._lengths(rows.stop - rows.start)
        x = gelu(first(self._first_rows(rows))).astype(self.precision)[None]
        for taps, length in zip(self._taps, lengths[1:], strict=True):
            x = conv1d_gelu(x, taps)[:, :length]
        return x

    def _first_rows(self, rows: slice) -> slice:
        """Return the rows of the first convolution that the frames in `rows` need."""
        begin = rows.start * self.hop // self.config.conv_strides[0]
        return slice(begin, begin + self._lengths(rows.stop - rows.start)[0])

    def _lengths(self, frames: int) -> list[int]:
        """Return how many outputs each convolution computes for a number of frames.

        Where outputs are computed in groups, these are complete: padding would be a copy.
        """
        config, lengths = self.config, [frames]
        layers = zip(self._taps, config.conv_kernels[1:], config.conv_strides[1:], strict=True)
        for taps, kernel, stride in reversed(list(layers)):
            outputs = -(-lengths[0] // taps.group) * taps.group
            lengths.insert(0, (outputs - 1) * stride + kernel)
        return lengths

    def _transform(self, convolved: list[mx.array], depth: int, project: bool) -> mx.array:
        """Return the output of layer `depth`."""
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
        return x.squeeze(0)

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
            channels = x[:, :, part.start * width : part.stop * width]
            y = grouped_conv1d(channels, self._position_taps[part.start], padding=kernel // 2)
            # An even kernel gives one frame too many; the reference drops the last one.
            return gelu(y[:, : x.shape[1]], self.weights[f"{POSITION}.{part.start}.bias"])

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


class _Normalised(NamedTuple):
    """A signal for which the first convolution and the group norm after it are one product.

    Attributes
    ----------
    windows
        Input window of each row minus the mean window, (rows, kernel).
    matrix
        (kernel, channels).
    shift
        (channels,).
    """

    windows: mx.array
    matrix: mx.array
    shift: mx.array

    def __call__(self, rows: slice) -> mx.array:
        """Return some rows of the normalised output, (rows, channels)."""
        return mx.addmm(self.shift, self.windows[rows], self.matrix)


class _FirstConvolution:
    """The first convolution, with the group norm of one channel per group after it folded in.

    The mean and the variance of each output channel over time follow from the mean and the
    covariance of the unfolded audio, which has one column per tap. This is exact, and more
    accurate in float32 than sums over the long output.

    Parameters
    ----------
    weight
        Weight of the convolution, (channels, kernel, 1).
    stride
        Stride of the convolution.
    scale, shift
        Parameters of the norm, (channels,).
    eps
        Added to the variance.
    """

    def __init__(
        self, weight: mx.array, stride: int, scale: mx.array, shift: mx.array, *, eps: float
    ) -> None:
        self._stride, self._scale, self._shift, self._eps = stride, scale, shift, eps
        self._matrix = matrix = mx.contiguous(weight[:, :, 0].T)
        # The variance of a channel is the sum of the covariances of all pairs of taps, each with
        # the product of the two weights.
        self._pairs = (matrix[:, None] * matrix).reshape(-1, matrix.shape[1])
        mx.eval(self._matrix, self._pairs)

    def __call__(self, audio: mx.array, rows: int = 0) -> _Normalised:
        """Normalise by the statistics of audio (samples,).

        If there are fewer than `rows` rows, rows of silence follow, which are no part of the
        statistics.
        """
        count = self._rows(audio)
        # A DC offset would cost precision in the sums.
        audio = audio - mx.mean(audio, keepdims=True)
        mean = mx.mean(_unfold(audio, len(self._matrix), self._stride), axis=0)
        windows = self._windows(audio, rows) - mean
        known = windows[:count]
        return self._normalised(windows, known.T @ known, 1.0 / count)

    def by(self, audio: mx.array, mean: mx.array, covariance: mx.array, rows: int) -> _Normalised:
        """Normalise by the mean, (kernel,), and the covariance, (kernel, kernel), of windows."""
        return self._normalised(self._windows(audio, rows) - mean, covariance, 1.0)

    def _normalised(self, windows: mx.array, products: mx.array, share: float) -> _Normalised:
        squares = products.reshape(1, -1) @ self._pairs
        gain = self._scale * mx.rsqrt(mx.maximum(squares * share, 0.0) + self._eps)
        return _Normalised(windows, self._matrix * gain, self._shift)

    def _rows(self, audio: mx.array) -> int:
        rows: int = (audio.shape[0] - len(self._matrix)) // self._stride + 1
        return rows

    def _windows(self, audio: mx.array, rows: int) -> mx.array:
        """Return the input windows, at least `rows`: those after the last one are silence."""
        missing = rows - self._rows(audio)
        if missing > 0:
            audio = mx.pad(audio, (0, missing * self._stride))
        return _unfold(audio, len(self._matrix), self._stride)


def _unfold(audio: mx.array, kernel: int, stride: int) -> mx.array:
    """Return the input window of each frame, (frames, kernel), as a view of (samples,)."""
    frames = (audio.shape[0] - kernel) // stride + 1
    return mx.as_strided(audio, (frames, kernel), (stride, 1))
