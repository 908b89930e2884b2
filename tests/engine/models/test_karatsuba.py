"""Residual blocks by Karatsuba's scheme equal the direct ones."""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.models import hifigan
from rtvc.engine.models.hifigan import HiFiGan
from rtvc.engine.models.karatsuba import TiledConv
from rtvc.engine.models.parameters import Conv1d
from rtvc.engine.models.stream_state import StreamState
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.profiling.op_count import count
from rtvc.engine.profiling.random_weights import random_voice
from rtvc.engine.rvc.network import SynthesizerNetwork

SLOPE = 0.1


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _snr(exact: np.ndarray, actual: np.ndarray) -> float:
    assert actual.shape == exact.shape
    return float(-10 * np.log10(np.mean((actual - exact) ** 2) / np.mean(exact**2)))


def _conv(kernel: int, dilation: int, width: int = 16, precision: mx.Dtype = mx.float32) -> Conv1d:
    weight = _random(width + 8, kernel, width, seed=1) / math.sqrt(kernel * width)
    return Conv1d(mx.array(weight, precision), None, 1, dilation * (kernel - 1) // 2, dilation)


@pytest.mark.parametrize(("precision", "least"), [(mx.float32, 110.0), (mx.float16, 60.0)])
@pytest.mark.parametrize("kernel", [3, 7, 11])
@pytest.mark.parametrize(("dilation", "outputs"), [(1, 1), (1, 37), (3, 24), (5, 101)])
def test_a_convolution(
    kernel: int, dilation: int, outputs: int, precision: mx.Dtype, least: float
) -> None:
    conv = _conv(kernel, dilation, precision=precision)
    tiled, bias = TiledConv(conv), _random(24, seed=2)
    x = _random(tiled.inputs(outputs), 16)
    tiles = tiled(mx.array(x, precision)[None], outputs, SLOPE)
    found = np.array(tiles.flat(tiles.sum(mx.array(bias)), mx.float32))[0]
    # By definition. Complete tiles have more outputs.
    activated = np.maximum(x, SLOPE * x).astype(float)
    taps = np.array(conv.weight.astype(mx.float32), float)
    exact = sum(
        activated[tap * dilation : tap * dilation + outputs] @ taps[:, tap].T
        for tap in range(kernel)
    )
    assert outputs <= len(found) < outputs + 4 * dilation
    assert _snr(exact + bias, found[:outputs]) > least


def test_a_long_kernel_takes_fewer_products() -> None:
    conv = _conv(11, 1)
    tiled = TiledConv(conv)
    x = mx.array(_random(1, tiled.inputs(400), 16))
    products = count(lambda x: tiled(x, 400, SLOPE).products, x).flop
    assert products == pytest.approx(9 / 16 * 12 / 11 * 2 * 400 * 11 * 16 * 24)


def _stream(voice: SynthesizerNetwork, z: np.ndarray, wave: np.ndarray) -> np.ndarray:
    vocoder, hop, speaker = voice.network.vocoder, voice.hop, voice.network.embedding(0)
    assert isinstance(vocoder, StreamingVocoder)
    state: StreamState = ()
    parts, start = [], 0
    for size in (3, 1, 4):
        end = start + size + vocoder.lookahead_frames
        excitation = mx.array(wave[:, start * hop : end * hop])
        audio, state = vocoder.stream(mx.array(z[:, start:end]), excitation, speaker, state, size)
        mx.eval(audio, *state)
        parts.append(np.array(audio[0]))
        start += size
    return np.concatenate(parts)


@pytest.mark.usefixtures("gpu_operators")
@pytest.mark.parametrize("tiled", ["the longest kernels", "every kernel"])
def test_a_streamed_voice(monkeypatch: pytest.MonkeyPatch, tiled: str) -> None:
    """Chunks with the scheme equal the direct ones, from the first sample on."""

    def voice(flop: float) -> SynthesizerNetwork:
        monkeypatch.setattr(hifigan, "KARATSUBA_FLOP", flop)
        return random_voice("v2", 48_000, width=16, initial=64)

    z = _random(1, 16, 16)
    wave = 0.1 * _random(1, 16 * 480, 1, seed=1)
    direct = _stream(voice(math.inf), z, wave)
    # Kernel 11 of the second stage, which has 16 channels and 120 samples per frame.
    quick = voice(2 * 120 * 11 * 16**2 if tiled == "the longest kernels" else 0.0)
    streamed = _stream(quick, z, wave)
    vocoder = quick.network.vocoder
    assert isinstance(vocoder, HiFiGan)
    blocks = [len(stage._karatsuba_blocks) for stage in vocoder.stages]
    assert blocks == ([0, 1, 0, 0] if tiled == "the longest kernels" else [0, 3, 3, 3])
    np.testing.assert_allclose(streamed, direct, atol=1e-5)
    assert np.abs(direct).max() > 0.01
