"""Parts of the synthesizer against NumPy."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose

from rtvc.engine.models.ops.decimate import Decimator
from rtvc.engine.models.ops.interpolate import interpolate_linear
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from tests.engine.models.golden_voices import GOLDEN, golden_voice


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("length", "new_length"), [(20, 24), (24, 20), (1, 5), (2, 3), (7, 7), (10, 100)]
)
def test_interpolation_between_interval_centres(length: int, new_length: int) -> None:
    x = _random(1, length, 3)
    y = np.array(interpolate_linear(mx.array(x), new_length))
    centres = (np.arange(length) + 0.5) / length
    new_centres = (np.arange(new_length) + 0.5) / new_length
    expected = np.stack([np.interp(new_centres, centres, x[0, :, c]) for c in range(3)], axis=-1)
    assert_allclose(y[0], expected, atol=1e-5)


@pytest.mark.parametrize(("factor", "outputs"), [(2, 200), (5, 64), (12, 7), (3, 1)])
def test_decimation_against_the_definition(factor: int, outputs: int) -> None:
    decimate = Decimator(factor, zero_crossings=64, rolloff=0.95, beta=14.77)
    x = _random(1, factor * outputs, 2)
    y = np.array(decimate(mx.array(x)))
    assert y.shape == (1, outputs, 2)
    margin = decimate._margin
    kernel = np.array(decimate._matrix)[: 2 * margin + factor, 0].astype(float)
    padded = np.pad(x[0].astype(float), ((margin, margin + factor), (0, 0)))
    expected = [kernel @ padded[n * factor : n * factor + kernel.size] for n in range(outputs)]
    assert_allclose(y[0], expected, atol=1e-5)
    assert abs(kernel.sum() - 1) < 1e-4  # a constant passes unchanged


def test_decimation_suppresses_aliases() -> None:
    decimate = Decimator(4, zero_crossings=64, rolloff=0.95, beta=14.77)
    time = np.arange(8000)
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32) for f in (0.05, 0.2))
    level = [np.array(decimate(mx.array(x[None, :, None])))[0, 200:-200].std() for x in (low, high)]
    assert abs(level[0] - np.sqrt(0.5)) < 1e-3
    assert level[1] < 1e-5


@pytest.mark.parametrize("first", [0, 1, 3, 17, 39])
def test_text_encoder_output_from_a_later_frame_on(first: int) -> None:
    """The last layer skips the queries and convolutions of the frames before `first`."""
    network = golden_voice("voice_v2_f0_40k").network
    features = mx.array(_random(1, 40, network.feature_dim))
    coarse = mx.array(np.arange(1, 41, dtype=np.int32))[None]
    whole = network.statistics(features, coarse)
    for part, all_frames in zip(network.statistics(features, coarse, first), whole, strict=True):
        assert part.shape == (1, 40 - first, all_frames.shape[2])
        assert_allclose(np.array(part), np.array(all_frames)[:, first:], atol=1e-5)


def test_flow_against_the_definition() -> None:
    """Compute the flow without folding: with flips, skip path and speaker as trained."""
    voice = read_voice_checkpoint(GOLDEN / "voice_v2_f0_40k.pth")
    w, config = voice.weights, voice.config
    network = Synthesizer(w, config)
    speaker = 2
    z = latent = _random(1, 30, config.inter_channels)
    for number in (6, 4, 2, 0):
        name = f"flow.flows.{number}"
        kept, moved = np.split(z[0, :, ::-1].astype(float), 2, axis=1)
        x = kept @ w[f"{name}.pre.weight"][:, :, 0].T + w[f"{name}.pre.bias"]
        condition = w[f"{name}.enc.cond_layer.weight"][:, :, 0] @ w["emb_g.weight"][speaker]
        conditions = np.split(condition + w[f"{name}.enc.cond_layer.bias"], 3)
        skipped = np.zeros_like(x)
        for layer, added in enumerate(conditions):
            kernel = w[f"{name}.enc.in_layers.{layer}.weight"]
            windows = sliding_window_view(np.pad(x, [(2, 2), (0, 0)]), 5, axis=0)
            y = np.einsum("tck,ock->to", windows, kernel) + added
            shape, gate = np.split(y + w[f"{name}.enc.in_layers.{layer}.bias"], 2, axis=1)
            y = np.tanh(shape) / (1 + np.exp(-gate))
            out = y @ w[f"{name}.enc.res_skip_layers.{layer}.weight"][:, :, 0].T
            out = out + w[f"{name}.enc.res_skip_layers.{layer}.bias"]
            skipped = skipped + out[:, -config.hidden_channels :]
            x = x + out[:, : config.hidden_channels]
        mean = skipped @ w[f"{name}.post.weight"][:, :, 0].T + w[f"{name}.post.bias"]
        z = np.concatenate([kept, moved - mean], axis=1)[None]
    actual = network._flow(mx.array(latent), network.embedding(speaker))
    assert_allclose(np.array(actual), z, atol=1e-5)
    other = network._flow(mx.array(latent), network.embedding(0))
    assert np.abs(np.array(other) - z).max() > 1e-3
