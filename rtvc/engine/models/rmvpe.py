"""RMVPE pitch estimator in MLX.

Wei et al., "RMVPE: A Robust Model for Vocal Pitch Estimation in Polyphonic Music",
Interspeech 2023, in the configuration that RVC trains and infers with: a log-mel
spectrum, a U-Net over time and mel, a recurrent layer, 360 pitch bins of 20 cents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from rtvc.engine.models import mel
from rtvc.engine.models.layers import Weights, affine, conv2d, double2d, doubling, linear, sigmoid
from rtvc.engine.models.pitch_estimator import HOP, SAMPLE_RATE, SalienceEstimator
from rtvc.engine.weights.rmvpe import RmvpeConfig
from rtvc.errors import RtvcError

MELS = 128
BINS = 360
BATCH_NORM_EPS = 1e-5
_MARGIN = mel.WINDOW // 2

State = Mapping[str, NDArray[np.float32]]


class RmvpeEstimator(SalienceEstimator):
    """RMVPE for one set of weights.

    Parameters
    ----------
    state
        Tensors as ``read_rmvpe`` gives them: torch names and layout.
    config
        Sizes, from the same reader.

    Raises
    ------
    RtvcError
        If the sizes are not those of a network that this one can be.
    """

    name = "rmvpe"
    threshold = 0.03
    min_samples = _MARGIN + 1
    edges = "constant"
    cents = 20.0 * np.arange(BINS, dtype=np.float64) + 1997.3794084376191

    def __init__(self, state: State, config: RmvpeConfig) -> None:
        if (config.mels, config.bins) != (MELS, BINS) or config.levels < 1:
            raise RtvcError(
                f"This RMVPE hears {config.mels} mel bands and rates {config.bins} pitch bins, not "
                f"{MELS} and {BINS}; use the rmvpe.pt that RVC distributes."
            )
        self.config = config
        self.weights = _sanitize(state, config)
        self._window = mel.hann()
        self._filters = mel.mel_filters(MELS, SAMPLE_RATE, 30.0, SAMPLE_RATE / 2, htk=True)

    def log_mel(self, audio: mx.array) -> mx.array:
        """Return the network's input, (samples // 160 + 1, 128), for audio (samples,)."""
        spectra = mel.spectra(mel.reflect(audio, _MARGIN), self._window, HOP)
        return mel.log_mel(mx.abs(spectra), self._filters)

    def activations(self, audio: mx.array) -> mx.array:
        """See ``SalienceEstimator.activations``."""
        log_mel = self.log_mel(audio)
        frames = log_mel.shape[0]
        # The reference pads with the logarithm's 0, not with silence, and so must we.
        missing = -frames % 2**self.config.levels
        padded = mx.concatenate([log_mel, mx.zeros((missing, MELS))]) if missing else log_mel
        x = self._unet(padded[None, :, :, None])
        x = _conv(self.weights, "cnn", x)
        # Maps outside mel bands: (1, frames, mels, maps) -> (frames, maps * mels).
        x = x[0].transpose(0, 2, 1).reshape(x.shape[1], -1)
        x = _bidirectional_gru(self.weights, "fc.0.gru", x)
        return sigmoid(linear(x, *affine(self.weights, "fc.1")))[:frames]

    def _unet(self, x: mx.array) -> mx.array:
        """Map (1, frames, mels, 1) to (1, frames, mels, channels)."""
        w, config = self.weights, self.config
        x = x * w["unet.encoder.bn.scale"] + w["unet.encoder.bn.shift"]
        skips = []
        for level in range(config.levels):
            x = self._blocks(x, f"unet.encoder.layers.{level}.conv")
            skips.append(x)
            x = _halve(x)
        for layer in range(config.intermediate_layers):
            x = self._blocks(x, f"unet.intermediate.layers.{layer}.conv")
        for level in range(config.levels):
            name = f"unet.decoder.layers.{level}"
            x = mx.maximum(double2d(x, *affine(w, f"{name}.conv1.0")), 0.0)
            x = self._blocks(mx.concatenate([x, skips.pop()], axis=3), f"{name}.conv2")
        return x

    def _blocks(self, x: mx.array, name: str) -> mx.array:
        """Residual blocks: two convolutions with ReLU after each, then the sum."""
        w = self.weights
        for block in range(self.config.blocks):
            prefix = f"{name}.{block}"
            y = mx.maximum(_conv(w, f"{prefix}.conv.0", x), 0.0)
            y = mx.maximum(_conv(w, f"{prefix}.conv.3", y), 0.0)
            if f"{prefix}.shortcut.weight" in w:
                x = linear(x, *affine(w, f"{prefix}.shortcut"))
            x = x + y
        return x


def _conv(w: Weights, name: str, x: mx.array) -> mx.array:
    return conv2d(x, *affine(w, name))


def _halve(x: mx.array) -> mx.array:
    """Average each square of 2 x 2: (1, H, W, C) to (1, H // 2, W // 2, C)."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def _bidirectional_gru(w: Weights, name: str, x: mx.array) -> mx.array:
    """Run both directions in one loop: (frames, inputs) to (frames, 2 * hidden).

    The second direction reads the frames backwards, so the states of both are one
    (2, 1, hidden) array and each step is one batched product.
    """
    projected = mx.addmm(w[f"{name}.input_bias"], x, w[f"{name}.input_weight"])
    forward, backward = mx.split(projected, 2, axis=1)
    r, z, n = mx.split(mx.stack([forward, backward[::-1]])[:, :, None], 3, axis=3)
    state = mx.zeros((2, 1, r.shape[3]))
    states = []
    for step in range(x.shape[0]):
        hr, hz, hn = mx.split(state @ w[f"{name}.state_weight"], 3, axis=2)
        state = _gru_step(
            r[:, step] + hr, z[:, step] + hz, n[:, step], hn + w[f"{name}.state_bias"], state
        )
        states.append(state)
    both = mx.concatenate(states, axis=1)
    return mx.concatenate([both[0], both[1][::-1]], axis=1)


def _gru_gates(r: mx.array, z: mx.array, n: mx.array, hn: mx.array, state: mx.array) -> mx.array:
    """Return the new state; the reset gate acts on the state's part with its bias."""
    candidate = mx.tanh(n + mx.sigmoid(r) * hn)
    return candidate + mx.sigmoid(z) * (state - candidate)


_gru_step: Callable[..., mx.array] = mx.compile(_gru_gates)


def _sanitize(state: State, config: RmvpeConfig) -> Weights:
    """Bring every tensor into the layout that the network above computes with."""
    weights: dict[str, NDArray[np.float32]] = {}

    def batch_norm(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scale and shift of a batch norm with the statistics of its training."""
        scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + BATCH_NORM_EPS)
        return scale, state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale

    # The first batch norm comes before a zero-padded convolution: it cannot be folded.
    scale, shift = batch_norm("unet.encoder.bn")
    weights["unet.encoder.bn.scale"], weights["unet.encoder.bn.shift"] = scale, shift
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        module, _, number = stem.rpartition(".")
        if kind != "weight" or tensor.ndim != 4:
            continue
        if number == "shortcut":
            # A 1 x 1 convolution is a linear map: (out, in, 1, 1) -> (out, in).
            weights[name], weights[f"{stem}.bias"] = tensor[:, :, 0, 0], state[f"{stem}.bias"]
        elif stem == "cnn":
            # (out, in, kh, kw) -> (out, kh, kw, in).
            weights[name], weights["cnn.bias"] = tensor.transpose(0, 2, 3, 1), state["cnn.bias"]
        else:
            # The batch norm after a convolution is folded into it: w s, and the shift as bias.
            scale, shift = batch_norm(f"{module}.{int(number) + 1}")
            if module.endswith("conv1"):
                # Transposed convolution: (in, out, kh, kw) -> (out, kh, kw, in).
                turned = tensor.transpose(1, 2, 3, 0)
            else:
                turned = tensor.transpose(0, 2, 3, 1)
            weights[name] = turned * scale[:, None, None, None]
            weights[f"{stem}.bias"] = shift
    weights |= _sanitize_gru(state, "fc.0.gru")
    weights["fc.1.weight"], weights["fc.1.bias"] = state["fc.1.weight"], state["fc.1.bias"]
    arrays = {name: mx.array(tensor) for name, tensor in weights.items()}
    for level in range(config.levels):
        name = f"unet.decoder.layers.{level}.conv1.0.weight"
        arrays[name] = doubling(arrays[name])
    mx.eval(arrays)
    return arrays


def _sanitize_gru(state: State, name: str) -> dict[str, NDArray[np.float32]]:
    """Join the two directions of a GRU; gates are in the order reset, update, candidate."""
    input_weights, input_biases, state_weights, state_biases = [], [], [], []
    for suffix in ("l0", "l0_reverse"):
        input_weights.append(state[f"{name}.weight_ih_{suffix}"].T)
        state_weights.append(state[f"{name}.weight_hh_{suffix}"].T)
        of_reset, of_update, of_candidate = np.split(state[f"{name}.bias_hh_{suffix}"], 3)
        # Both biases of the gates add up; the candidate's stays with the state, because
        # the reset gate multiplies it.
        gates = np.concatenate([of_reset, of_update, np.zeros_like(of_candidate)])
        input_biases.append(state[f"{name}.bias_ih_{suffix}"] + gates)
        state_biases.append(of_candidate)
    return {
        f"{name}.input_weight": np.concatenate(input_weights, axis=1),  # (in, 2 * 3 hidden)
        f"{name}.input_bias": np.concatenate(input_biases),  # (2 * 3 hidden,)
        f"{name}.state_weight": np.stack(state_weights),  # (2, hidden, 3 hidden)
        f"{name}.state_bias": np.stack(state_biases)[:, None],  # (2, 1, hidden)
    }
