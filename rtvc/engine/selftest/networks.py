"""Cases of the self-test with whole networks, of few channels and layers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import mlx.core as mx
import numpy as np

from rtvc.engine.models.fcpe import FcpeEstimator
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops import backend
from rtvc.engine.models.parameters import Linear
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.models.source import HeldF0, SineSource
from rtvc.engine.models.stream_state import StreamState
from rtvc.engine.models.swift_f0 import SwiftF0Estimator
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.selftest.numbers import uniform, weights
from rtvc.engine.selftest.operators import Case
from rtvc.engine.weights.content_encoder import ContentEncoderConfig, content_encoder_shapes
from rtvc.engine.weights.fcpe import FcpeConfig, fcpe_shapes
from rtvc.engine.weights.rmvpe import RmvpeConfig, rmvpe_shapes
from rtvc.engine.weights.swift_f0 import read_swift_f0
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.engine.weights.voice_keys import HIFIGAN, MRF_HIFIGAN, REFINEGAN, voice_shapes

_ENCODER = ContentEncoderConfig(
    width=64,
    feed_forward_width=96,
    layers=2,
    heads=2,
    conv_width=32,
    conv_kernels=(10, 3, 3, 3, 3, 2, 2),
    conv_strides=(5, 2, 2, 2, 2, 2, 2),
    position_kernel=32,
    position_groups=4,
    projection=32,
)
_RMVPE = RmvpeConfig(
    base_channels=4,
    levels=5,
    blocks=1,
    intermediate_layers=1,
    output_channels=3,
    mels=128,
    hidden=16,
    bins=360,
)
_FCPE = FcpeConfig(
    mels=128,
    width=32,
    layers=2,
    kernel=31,
    bins=360,
    f0_min_hz=32.7,
    f0_max_hz=1975.5,
    uses_harmonic_embedding=False,
)
_FEATURES = 64
_BLOCK, _BLOCKS = 4, 3
"""Frames of a block, and blocks that a decoder renders."""


def _tone(samples: int) -> mx.array:
    """Return a harmonic tone of rising f0 at 16 kHz, with noise."""
    time = np.arange(samples) / 16_000
    phase = 2 * np.pi * (140.0 * time + 90.0 * time**2)
    tone = sum(np.sin(k * phase) / k for k in range(1, 8)) * 0.1
    return mx.array((tone + 0.01 * uniform("noise", samples)).astype(np.float32))


def _voice_config(rates: tuple[int, ...], kernels: tuple[int, ...], initial: int) -> VoiceConfig:
    return VoiceConfig(
        spec_channels=1025,
        segment_size=32,
        inter_channels=16,
        hidden_channels=32,
        filter_channels=48,
        n_heads=2,
        n_layers=2,
        kernel_size=3,
        p_dropout=0.0,
        resblock="1",
        resblock_kernel_sizes=(3, 7, 11),
        resblock_dilation_sizes=((1, 3, 5),) * 3,
        upsample_rates=rates,
        upsample_initial_channel=initial,
        upsample_kernel_sizes=kernels,
        spk_embed_dim=2,
        gin_channels=16,
        sr=100 * math.prod(rates),
    )


def _voice(kind: str) -> Synthesizer:
    rates: tuple[int, ...] = (10, 8)
    kernels: tuple[int, ...] = (16, 16)
    initial = 64
    if kind == REFINEGAN:
        rates, kernels, initial = (5, 4, 2, 2), (10, 8, 4, 4), 512
    config = _voice_config(rates, kernels, initial)
    shapes = voice_shapes(config, phone_channels=_FEATURES, uses_pitch=True, vocoder=kind)
    return Synthesizer(weights(kind, shapes), config)


def _encoder() -> Hubert:
    return Hubert(weights("hubert", content_encoder_shapes(_ENCODER)), _ENCODER)


def _convolved() -> mx.array:
    return mx.concatenate(_encoder().convolve(_tone(6400)), axis=1)


def _hubert() -> mx.array:
    return _encoder().features(_tone(6400), project=True)


def _rmvpe() -> mx.array:
    estimator = RmvpeEstimator(weights("rmvpe", rmvpe_shapes(_RMVPE)), _RMVPE)
    salience = estimator.activations(_tone(32 * 160 - 1))
    # The mean salience, about one half, would hide errors.
    return _with_pitch(salience - 0.5, estimator.decode(salience, threshold=0.0))


def _fcpe() -> mx.array:
    named = weights("fcpe", fcpe_shapes(_FCPE))
    named["cent_table"] = np.linspace(2051.1487, 9151.3, 360).astype(np.float32)
    estimator = FcpeEstimator(named, _FCPE)
    return estimator.activations(_tone(4000)) - 0.5


def _swift_f0() -> mx.array:
    # Its own weights, which are always there.
    return SwiftF0Estimator(read_swift_f0()).scores(_tone(256 * 11 + 2048))


def _with_pitch(salience: mx.array, f0: mx.array) -> mx.array:
    """Return salience and f0 with about the same level; f0 counts as voiced only.

    The peak may be another bin after rounding, and then f0 is another one.
    """
    return mx.concatenate([salience, (f0 > 0)[:, None].astype(mx.float32)], axis=1)


def _latent() -> mx.array:
    voice = _voice(HIFIGAN)
    frames = 24
    return voice.latent(
        mx.array(uniform("features", 1, frames, _FEATURES)),
        mx.array(np.arange(frames, dtype=np.int32)[None] * 9 % 255),
        voice.embedding(1),
        mx.array(uniform("latent noise", 1, frames, 16)),
        2,
    ).astype(mx.float32)


def _excitation() -> mx.array:
    source = SineSource(HeldF0(80), Linear(mx.array([[1.5]]), mx.array([0.01])), 1, 8000)
    f0 = mx.array((180.0 + 40.0 * uniform("f0", 1, 12)).astype(np.float32))
    return source(f0, mx.array(0.25), mx.array(uniform("source noise", 1, 12 * 80, 1)))


def _decoded(kind: str) -> mx.array:
    """Render consecutive blocks, streamed where the decoder can."""
    voice = _voice(kind)
    vocoder, hop = voice.vocoder, voice.config.hop
    streams = isinstance(vocoder, StreamingVocoder)
    extra = vocoder.lookahead_frames if isinstance(vocoder, StreamingVocoder) else 0
    frames = _BLOCK * _BLOCKS + extra if streams else 2
    z = mx.array(uniform("z", 1, frames, 16)).astype(backend.default_precision())
    f0 = mx.array((180.0 + 40.0 * uniform("f0", 1, frames)).astype(np.float32))
    source = vocoder.source
    assert source is not None
    noise = mx.array(uniform("source noise", 1, frames * hop, source.harmonics))
    excitation = source(f0, mx.array(0.25), noise)
    if not isinstance(vocoder, StreamingVocoder):
        return vocoder(z, excitation, voice.embedding(1), mx.random.key(3))
    # Another stream before: what a network keeps of it is found, as after a pause.
    other, _ = vocoder.stream(
        -z[:, : _BLOCK + extra],
        -excitation[:, : (_BLOCK + extra) * hop],
        voice.embedding(0),
        (),
        _BLOCK,
    )
    mx.eval(other)
    state: StreamState = ()
    parts = []
    for first in range(0, _BLOCK * _BLOCKS, _BLOCK):
        last = first + _BLOCK + extra
        sound, state = vocoder.stream(
            z[:, first:last],
            excitation[:, first * hop : last * hop],
            voice.embedding(1),
            state,
            _BLOCK,
        )
        parts.append(sound)
    return mx.concatenate(parts, axis=1)


def _decoder(kind: str) -> Callable[[], mx.array]:
    return functools.partial(_decoded, kind)


NETWORK_CASES = (
    Case("hubert convolutions", "the convolutions of the content encoder", _convolved),
    Case("hubert", "the content encoder", _hubert),
    Case("rmvpe", "the pitch estimator RMVPE", _rmvpe),
    Case("fcpe", "the pitch estimator FCPE", _fcpe),
    Case("swiftf0", "the pitch estimator SwiftF0", _swift_f0),
    Case("latent", "text encoder and flow", _latent),
    Case("source", "the excitation of a vocoder", _excitation),
    Case("hifigan", "the vocoder HiFi-GAN", _decoder(HIFIGAN)),
    Case("mrf", "the vocoder MRF HiFi-GAN", _decoder(MRF_HIFIGAN)),
    Case("refinegan", "the vocoder RefineGAN", _decoder(REFINEGAN)),
)
