"""FCPE pitch estimator in MLX.

"FCPE: A Fast Context-based Pitch Estimation Model", Luo et al., 2025, in the convolutional
form whose weights the torchfcpe package contains: a log-mel spectrum, a stack of conformer
convolution modules without attention, 360 pitch bins.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Weights
from rtvc.engine.models.ops import mel
from rtvc.engine.models.ops.backend import default_precision
from rtvc.engine.models.ops.ops import (
    OpWeights,
    affine,
    conv1d,
    layer_norm,
    leaky_relu,
    linear,
    sigmoid,
    tap_major,
)
from rtvc.engine.models.pitch_estimator import HOP, SAMPLE_RATE, SalienceEstimator
from rtvc.engine.weights.fcpe import FcpeConfig
from rtvc.errors import RtvcError

NORM_GROUPS = 4
EPS = 1e-5
_MARGIN = (mel.WINDOW - HOP) // 2


class FcpeEstimator(SalienceEstimator):
    """FCPE for one set of weights.

    Parameters
    ----------
    weights
        Tensors from ``read_fcpe``: torch names and layout, weight norm folded.
    config
        Network settings, from the same reader.
    precision
        Precision of the weights; None for that of this machine.

    Raises
    ------
    RtvcError
        The sizes are not supported, or the pitch bins do not increase.
    """

    name = "fcpe"
    threshold = 0.006
    min_samples = _MARGIN + 1
    reserved_frames = 26
    pad_mode = "edge"

    def __init__(
        self, weights: Weights, config: FcpeConfig, precision: mx.Dtype | None = None
    ) -> None:
        super().__init__()
        precision = precision or default_precision()
        self.config, self.precision = config, precision
        self.cents = weights["cent_table"].astype(np.float64)
        if not (np.diff(self.cents) > 0).all():
            raise RtvcError(
                "The pitch bins of this FCPE do not increase. The file is damaged; "
                "download it again."
            )
        if config.kernel % 2 == 0 or config.width % NORM_GROUPS:
            raise RtvcError(
                f"This FCPE has a width of {config.width} and a kernel of {config.kernel}, which "
                "is not supported. Use the weights in the package torchfcpe 0.0.4."
            )
        self.weights = _sanitize(weights, config, precision)
        self._window = mel.hann()
        self._filters = mel.mel_filters(config.mels, SAMPLE_RATE, 0.0, SAMPLE_RATE / 2, htk=False)

    def log_mel(self, audio: mx.array) -> mx.array:
        """Return the network's input, (samples // 160 + 1, 128), for audio (samples,).

        As in the reference, the window of a frame is centred 5 ms after the time of the
        frame, and the last frame is repeated.
        """
        spectra = mel.spectra(mel.reflect(audio, _MARGIN), self._window, HOP)
        magnitude = mx.sqrt(mx.square(spectra.real) + mx.square(spectra.imag) + 1e-9)
        bands = mel.log_mel(magnitude, self._filters)
        return mx.concatenate([bands, bands[-1:]])

    def _network(self, audio: mx.array) -> mx.array:
        w = self.weights
        x = self.log_mel(audio)[None].astype(self.precision)
        x = conv1d(x, *affine(w, "input_stack.0"), padding=1)
        x = leaky_relu(_group_norm(x, *affine(w, "input_stack.1")))
        x = conv1d(x, *affine(w, "input_stack.3"), padding=1)
        for layer in range(self.config.layers):
            x = x + self._module(x, f"net.encoder_layers.{layer}.conformer.net")
        x = layer_norm(x, *affine(w, "norm"), EPS)
        return sigmoid(linear(x, *affine(w, "output_proj")).astype(mx.float32))[0]

    def _module(self, x: mx.array, name: str) -> mx.array:
        """Apply a conformer convolution module: norm, gated linear unit, depthwise convolution."""
        w, kernel = self.weights, self.config.kernel
        x = layer_norm(x, *affine(w, f"{name}.0"), EPS)
        value, gate = mx.split(linear(x, *affine(w, f"{name}.2")), 2, axis=2)
        x = value * sigmoid(gate)
        x = conv1d(x, *affine(w, f"{name}.4.conv"), padding=kernel // 2, groups=x.shape[2])
        return linear(x * sigmoid(x), *affine(w, f"{name}.6"))


def _group_norm(x: mx.array, scale: mx.array, shift: mx.array) -> mx.array:
    """Normalise groups of adjacent channels over all frames, in two passes."""
    _, frames, width = x.shape
    groups = x.astype(mx.float32).reshape(frames, NORM_GROUPS, width // NORM_GROUPS)
    centred = groups - groups.mean(axis=(0, 2), keepdims=True)
    variance = mx.square(centred).mean(axis=(0, 2), keepdims=True)
    y = (centred * mx.rsqrt(variance + EPS)).reshape(x.shape) * scale + shift
    return y.astype(x.dtype)


def _sanitize(weights: Weights, config: FcpeConfig, precision: mx.Dtype) -> OpWeights:
    """Convert every tensor to the layout that `FcpeEstimator` uses."""
    # Norms and the output projection keep their layout.
    weights = {name: tensor for name, tensor in weights.items() if name != "cent_table"}
    modules = [f"net.encoder_layers.{layer}.conformer.net" for layer in range(config.layers)]
    # Convolutions: (out, in, kernel) -> (out, kernel, in).
    convs = ["input_stack.0", "input_stack.3", *(f"{module}.4.conv" for module in modules)]
    for name in convs:
        weights[f"{name}.weight"] = weights[f"{name}.weight"].transpose(0, 2, 1)
    # Convolutions of kernel 1 are linear maps: (out, in, 1) -> (out, in).
    for module in modules:
        for name in (f"{module}.2.weight", f"{module}.6.weight"):
            weights[name] = weights[name][:, :, 0]
    if config.uses_harmonic_embedding:
        # In inference, row 0 (the fundamental) is added after the second convolution.
        row = weights.pop("harmonic_emb.weight")[0]
        weights["input_stack.3.bias"] = weights["input_stack.3.bias"] + row
    arrays = {name: mx.array(tensor).astype(precision) for name, tensor in weights.items()}
    for name in convs:
        arrays[f"{name}.weight"] = tap_major(arrays[f"{name}.weight"])
    mx.eval(arrays)
    return arrays
