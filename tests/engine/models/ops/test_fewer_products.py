"""Convolutions that take fewer products than their definition."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import numpy as np
import pytest

from rtvc._types import Float32, Float64
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops import cpu, gpu, spectral, winograd_cpu, winograd_gpu
from rtvc.engine.models.ops.backend import OPERATORS
from rtvc.engine.profiling.op_count import count
from rtvc.engine.weights.content_encoder import read_content_encoder

GOLDEN = Path(__file__).parents[3] / "golden"


def _signal(frames: int, channels: int) -> Float32:
    """Return noise with a slow trend and a different offset in each channel."""
    rng = np.random.default_rng(0)
    trend = np.cumsum(rng.standard_normal((frames, channels)), axis=0) / math.sqrt(frames)
    offset = rng.standard_normal(channels)
    return (rng.standard_normal((frames, channels)) + trend + offset).astype(np.float32)


def _weight(out: int, kernel: int, width: int) -> Float32:
    weight = np.random.default_rng(1).standard_normal((out, kernel, width))
    return (weight / math.sqrt(kernel * width)).astype(np.float32)


def _correlated(x: Float32, weight: Float32, *, stride: int, padding: int, groups: int) -> Float64:
    """Return the cross-correlation by definition, (frames, out channels)."""
    padded = np.pad(x.astype(float), ((padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[1], axis=0)[::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True)
    return np.concatenate([np.einsum("tik,oki->to", w, v) for w, v in parts], axis=1)


def _snr(exact: Float64, actual: mx.array) -> float:
    found = np.array(actual.astype(mx.float32))[0]
    assert found.shape == exact.shape
    return float(-10 * np.log10(np.mean((found - exact) ** 2) / np.mean(exact**2)))


PRECISIONS = [(gpu, mx.float32, 110.0), (gpu, mx.float16, 60.0), (cpu, mx.float32, 110.0)]
FORMS = (winograd_gpu.WinogradTaps, winograd_cpu.PairedTaps)


@pytest.mark.parametrize(("operators", "precision", "least"), PRECISIONS)
@pytest.mark.parametrize("frames", [3, 4, 5, 6, 7, 8, 12, 13, 14, 97, 200])
def test_stride_two(frames: int, operators: ModuleType, precision: mx.Dtype, least: float) -> None:
    x, weight = _signal(frames, 128), _weight(96, 3, 128)
    taps = operators.pack_taps(mx.array(weight, precision), 2)
    assert isinstance(taps, FORMS)
    actual = operators.conv1d_packed(mx.array(x, precision)[None], taps)
    exact = _correlated(x, weight, stride=2, padding=0, groups=1)
    assert _snr(exact, actual) > least


@pytest.mark.parametrize("operators", [gpu, cpu])
def test_stride_two_with_padding_and_activation(operators: ModuleType) -> None:
    x, weight = _signal(50, 128), _weight(64, 3, 128)
    taps = operators.pack_taps(mx.array(weight), 2)
    exact = _correlated(x, weight, stride=2, padding=1, groups=1)
    assert _snr(exact, operators.conv1d_packed(mx.array(x)[None], taps, padding=1)) > 110
    exact = _correlated(x, weight, stride=2, padding=0, groups=1)
    activated = exact * 0.5 * (1 + np.vectorize(math.erf)(exact / math.sqrt(2)))
    assert _snr(activated, operators.conv1d_gelu(mx.array(x)[None], taps)) > 110


@pytest.mark.parametrize(("operators", "precision", "least"), PRECISIONS)
@pytest.mark.parametrize("padding", [0, 64])
@pytest.mark.parametrize("frames", [1, 24, 73, 140, 301, 700])
def test_long_kernel(
    frames: int, padding: int, operators: ModuleType, precision: mx.Dtype, least: float
) -> None:
    if frames + 2 * padding < 128:
        frames += 128
    x, weight = _signal(frames, 48), _weight(32, 128, 12)
    packed = operators.pack_grouped(mx.array(weight, precision), 4)
    assert isinstance(packed, spectral.Spectrum)
    actual = operators.grouped_conv1d(mx.array(x, precision)[None], packed, padding=padding)
    exact = _correlated(x, weight, stride=1, padding=padding, groups=4)
    assert _snr(exact, actual) > least


@pytest.mark.parametrize(("operators", "share"), [(gpu, 7 / 9), (cpu, 5 / 6)])
def test_both_take_fewer_products(operators: ModuleType, share: float) -> None:
    x, weight = mx.array(_signal(2 * 300 + 1, 128))[None], mx.array(_weight(128, 3, 128))
    taps = operators.pack_taps(weight, 2)
    mx.eval(taps)
    products = count(lambda x: operators.conv1d_packed(x, taps), x).flop
    assert products == pytest.approx(share * 2 * 300 * 128 * 3 * 128)
    x, weight = mx.array(_signal(140, 768))[None], mx.array(_weight(768, 128, 48))
    packed = operators.pack_grouped(weight, 16)
    mx.eval(packed)
    products = count(lambda x: operators.grouped_conv1d(x, packed, padding=64), x).flop
    assert products < 0.25 * 2 * 141 * 768 * 128 * 48


@pytest.mark.usefixtures("gpu_operators")
def test_the_content_encoder_equals_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small encoder of the golden outputs, as if its convolutions were wide."""
    monkeypatch.setattr(gpu, "_WINOGRAD_CHANNELS", 1)
    _check_encoder([3, 3, 3, 3, 1, 1])
    file = read_content_encoder(GOLDEN / "hubert_small")
    with np.load(GOLDEN / "hubert_small.npz") as golden:
        audio, features = golden["audio"], golden["layer12"]
    half = Hubert(file.weights, file.config, mx.float16)(audio)
    assert _snr(features[0].astype(float), mx.array(half)[None]) > 50


@pytest.mark.skipif(OPERATORS != "cpu", reason="the streams are those of the CPU operators")
def test_the_content_encoder_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_PAIRED_CHANNELS", 1)
    _check_encoder([2, 2, 2, 2, 1, 1])


def _check_encoder(groups: list[int]) -> None:
    """Compare the small encoder with the golden outputs; `groups` are those of its taps."""
    file = read_content_encoder(GOLDEN / "hubert_small")
    with np.load(GOLDEN / "hubert_small.npz") as golden:
        audio, convolved, features = (golden[n] for n in ("audio", "conv_features", "layer12"))
    encoder = Hubert(file.weights, file.config)
    assert [taps.group for taps in encoder._taps] == groups
    parts = [np.array(part) for part in encoder.convolve(mx.array(audio))]
    found = np.concatenate(parts, axis=1)
    assert found.shape == convolved.shape
    assert np.abs(found - convolved).max() < 2e-5 * np.abs(convolved).max()
    for samples in range(len(audio) - 2500, len(audio) + 1, 250):
        assert encoder(audio[:samples], layer=0).shape[0] == encoder.frames(samples)
    assert np.abs(encoder(audio) - features[0]).max() < 2e-5 * np.abs(features).max()
