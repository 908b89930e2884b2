"""RMVPE pitch estimator in MLX.

Wei et al., "RMVPE: A Robust Model for Vocal Pitch Estimation in Polyphonic Music",
Interspeech 2023, in the configuration of RVC: a log-mel spectrum, a U-Net over time and mel
bands, a recurrent layer, 360 pitch bins of 20 cents.
"""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Weights
from rtvc.engine.models.ops import mel
from rtvc.engine.models.ops.backend import default_precision
from rtvc.engine.models.ops.conv2d_gpu import Conv2d
from rtvc.engine.models.ops.ops import (
    OpWeights,
    affine,
    bidirectional_gru,
    conv2d,
    conv2d_relu,
    conv_transpose2d,
    linear,
    sigmoid,
)
from rtvc.engine.models.pitch_estimator import HOP, SAMPLE_RATE, SalienceEstimator
from rtvc.engine.weights.rmvpe import RmvpeConfig
from rtvc.errors import RtvcError

MELS = 128
BINS = 360
BATCH_NORM_EPS = 1e-5
LIVE_FRAMES = 32
"""Frames per live step in most cases; each level of the network halves frames and mel bands."""

_NORM = ("unet.encoder.bn.scale", "unet.encoder.bn.shift")
_FLOAT32 = (*_NORM, "fc.1.weight", "fc.1.bias")
_MARGIN = mel.WINDOW // 2


class RmvpeEstimator(SalienceEstimator):
    """RMVPE for one set of weights.

    Parameters
    ----------
    weights
        Tensors from ``read_rmvpe``: torch names and layout.
    config
        Network settings, from the same reader.
    precision
        Precision of the weights; None for that of this machine.

    Raises
    ------
    RtvcError
        The sizes of the network are not supported.
    """

    name = "rmvpe"
    threshold = 0.03
    min_samples = _MARGIN + 1
    reserved_frames = 38
    pad_mode = "constant"
    cents = 20.0 * np.arange(BINS, dtype=np.float64) + 1997.3794084376191

    def __init__(
        self, weights: Weights, config: RmvpeConfig, precision: mx.Dtype | None = None
    ) -> None:
        if (config.mels, config.bins) != (MELS, BINS) or config.levels < 1:
            raise RtvcError(
                f"This RMVPE has {config.mels} mel bands and {config.bins} pitch bins, not "
                f"{MELS} and {BINS}; use the rmvpe.pt that RVC distributes."
            )
        super().__init__()
        precision = precision or default_precision()
        self.config, self.precision = config, precision
        self.weights, self._convolutions = _sanitize(weights, config, precision)
        self._window = mel.hann()
        self._filters = mel.mel_filters(MELS, SAMPLE_RATE, 30.0, SAMPLE_RATE / 2, htk=True)

    def log_mel(self, audio: mx.array) -> mx.array:
        """Return the network's input, (samples // 160 + 1, 128), for audio (samples,)."""
        spectra = mel.spectra(mel.reflect(audio, _MARGIN), self._window, HOP)
        return mel.log_mel(mx.abs(spectra), self._filters)

    def _network(self, audio: mx.array) -> mx.array:
        log_mel = self.log_mel(audio)
        frames = log_mel.shape[0]
        # As in the reference, the padding is 0 in log-mel values, which is not silence.
        missing = -frames % 2**self.config.levels
        padded = mx.concatenate([log_mel, mx.zeros((missing, MELS))]) if missing else log_mel
        # Before the change of shape, so that a GPU fuses it with the logarithm.
        scale, shift = (self.weights[name] for name in _NORM)
        normalised = (padded * scale + shift).astype(self.precision)
        x = self._unet(normalised[None, :, :, None])
        x = self._convolutions["cnn"](x)
        # Channels before mel bands: (1, frames, mels, channels) -> (frames, channels * mels).
        x = x.transpose(0, 1, 3, 2).reshape(x.shape[1], -1)
        x = self._recurrent(x, "fc.0.gru")
        return sigmoid(linear(x, *affine(self.weights, "fc.1")))[:frames]

    def _recurrent(self, x: mx.array, name: str) -> mx.array:
        """(frames, inputs) to (frames, 2 * hidden) float32."""
        w = self.weights
        projected = mx.addmm(w[f"{name}.input_bias"], x, w[f"{name}.input_weight"])
        return bidirectional_gru(projected, w[f"{name}.state_weight"], w[f"{name}.state_bias"])

    def _unet(self, x: mx.array) -> mx.array:
        """Map normalised mel bands (1, frames, mels, 1) to (1, frames, mels, channels)."""
        w, config = self.weights, self.config
        skips = []
        for level in range(config.levels):
            x = self._blocks(x, f"unet.encoder.layers.{level}.conv")
            skips.append(x)
            x = _halve(x)
        for layer in range(config.intermediate_layers):
            x = self._blocks(x, f"unet.intermediate.layers.{layer}.conv")
        for level in range(config.levels):
            name = f"unet.decoder.layers.{level}"
            upsample = self._convolutions[f"{name}.conv1.0"]
            x = conv2d_relu(upsample, x, w[f"{name}.conv1.0.bias"])
            x = self._blocks(mx.concatenate([x, skips.pop()], axis=3), f"{name}.conv2")
        return x

    def _blocks(self, x: mx.array, name: str) -> mx.array:
        """Apply residual blocks: two convolutions with a ReLU after each, then the sum."""
        w = self.weights
        for block in range(self.config.blocks):
            prefix = f"{name}.{block}"
            first, second = f"{prefix}.conv.0", f"{prefix}.conv.3"
            y = conv2d_relu(self._convolutions[first], x, w[f"{first}.bias"])
            if f"{prefix}.shortcut.weight" in w:
                x = linear(x, *affine(w, f"{prefix}.shortcut"))
            x = conv2d_relu(self._convolutions[second], y, w[f"{second}.bias"], x)
        return x


def _halve(x: mx.array) -> mx.array:
    """Average each square of 2 x 2: (1, H, W, C) to (1, H // 2, W // 2, C)."""
    # Sums of views are one element-wise chain; a mean over two axes would be a reduction.
    upper = x[:, ::2, ::2] + x[:, ::2, 1::2]
    return 0.25 * (upper + (x[:, 1::2, ::2] + x[:, 1::2, 1::2]))


def _sanitize(
    weights: Weights, config: RmvpeConfig, precision: mx.Dtype
) -> tuple[OpWeights, dict[str, Conv2d]]:
    """Convert every tensor to the layout that `RmvpeEstimator` uses."""
    transposed = {f"unet.decoder.layers.{level}.conv1.0.weight" for level in range(config.levels)}
    arrays: OpWeights = {}
    convolutions: dict[str, Conv2d] = {}
    for name, tensor in _folded(weights):
        array = mx.array(tensor).astype(mx.float32 if name in _FLOAT32 else precision)
        if array.ndim < 4:
            arrays[name] = array
        else:
            # The input of a transposed convolution is the image of the next deeper level.
            level = _level(name, config) + (name in transposed)
            typical_size = LIVE_FRAMES >> level, MELS >> level
            make = conv_transpose2d if name in transposed else conv2d
            convolutions[name.removesuffix(".weight")] = make(array, typical_size=typical_size)
        # One at a time, so that the memory of the source array is reused for the next one.
        mx.eval(arrays.get(name, array))
    return arrays, convolutions


def _level(name: str, config: RmvpeConfig) -> int:
    """Return how many times the image of a weight's layer has been halved."""
    if name.startswith("unet.intermediate."):
        return config.levels
    if not name.startswith("unet."):
        return 0
    level = int(name.split(".")[3])
    return level if name.startswith("unet.encoder.") else config.levels - 1 - level


def _folded(weights: Weights) -> Iterator[tuple[str, Float32]]:
    """Yield names and tensors with batch norms folded, channels last."""

    def batch_norm(name: str) -> tuple[Float32, Float32]:
        """Return scale and shift of a batch norm in inference."""
        scale = weights[f"{name}.weight"] / np.sqrt(weights[f"{name}.running_var"] + BATCH_NORM_EPS)
        return scale, weights[f"{name}.bias"] - weights[f"{name}.running_mean"] * scale

    # The first batch norm precedes a zero-padded convolution, so it cannot be folded.
    yield from zip(_NORM, batch_norm("unet.encoder.bn"), strict=True)
    for name, tensor in weights.items():
        stem, _, kind = name.rpartition(".")
        module, _, number = stem.rpartition(".")
        if kind != "weight" or tensor.ndim != 4:
            continue
        if number == "shortcut":
            # A 1 x 1 convolution is a linear map: (out, in, 1, 1) -> (out, in).
            yield name, tensor[:, :, 0, 0]
            yield f"{stem}.bias", weights[f"{stem}.bias"]
        elif stem == "cnn":
            # (out, in, kh, kw) -> (out, kh, kw, in).
            yield name, tensor.transpose(0, 2, 3, 1)
        else:
            # The batch norm is folded into the convolution before it: w * scale, shift as bias.
            scale, shift = batch_norm(f"{module}.{int(number) + 1}")
            if module.endswith("conv1"):
                # Transposed convolution: (in, out, kh, kw) -> (out, kh, kw, in).
                transposed = tensor.transpose(1, 2, 3, 0)
            else:
                transposed = tensor.transpose(0, 2, 3, 1)
            yield name, transposed * scale[:, None, None, None]
            yield f"{stem}.bias", shift
    gru = _sanitize_gru(weights, "fc.0.gru")
    # The bias of the convolution before it is the same for all mel bands.
    bias = np.repeat(weights["cnn.bias"].astype(np.float64), MELS)
    gru["fc.0.gru.input_bias"] += (bias @ gru["fc.0.gru.input_weight"]).astype(np.float32)
    yield from gru.items()
    for name in ("fc.1.weight", "fc.1.bias"):
        yield name, weights[name]


def _sanitize_gru(weights: Weights, name: str) -> dict[str, Float32]:
    """Merge the two directions of a GRU; gates are in the order reset, update, candidate."""
    input_weights, input_biases, state_weights, state_biases = [], [], [], []
    for suffix in ("l0", "l0_reverse"):
        input_weights.append(weights[f"{name}.weight_ih_{suffix}"].T)
        state_weights.append(weights[f"{name}.weight_hh_{suffix}"].T)
        reset, update, candidate = np.split(weights[f"{name}.bias_hh_{suffix}"], 3)
        # Input and recurrent bias of the reset and update gates are added. The recurrent bias
        # of the candidate stays separate, because the reset gate multiplies it.
        gates = np.concatenate([reset, update, np.zeros_like(candidate)])
        input_biases.append(weights[f"{name}.bias_ih_{suffix}"] + gates)
        state_biases.append(candidate)
    return {
        f"{name}.input_weight": np.concatenate(input_weights, axis=1),  # (in, 2 * 3 hidden)
        f"{name}.input_bias": np.concatenate(input_biases),  # (2 * 3 hidden,)
        f"{name}.state_weight": np.stack(state_weights),  # (2, hidden, 3 hidden)
        f"{name}.state_bias": np.stack(state_biases)[:, None],  # (2, 1, hidden)
    }
