"""Networks with random weights, for benchmarks and tests without downloads.

The step time depends only on the sizes of the networks. The default sizes are the ones of
trained voices and base models.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from rtvc._types import Float32
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.weights.content_encoder import ContentEncoderConfig, content_encoder_shapes
from rtvc.engine.weights.rmvpe import RmvpeConfig, rmvpe_shapes
from rtvc.engine.weights.voice_config import parse_voice_config
from rtvc.engine.weights.voice_keys import HIFIGAN, voice_shapes

UPSAMPLING = {
    ("v1", 32_000): ((10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v1", 40_000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v1", 48_000): ((10, 6, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v2", 32_000): ((10, 8, 2, 2), (20, 16, 4, 4)),
    ("v2", 40_000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v2", 48_000): ((12, 10, 2, 2), (24, 20, 4, 4)),
}
"""Upsampling rates and kernels of the vocoder, by RVC version and sample rate."""

KINDS = {f"{version}-{rate // 1000}k": (version, rate) for version, rate in UPSAMPLING}
"""Version and sample rate by short name, such as v2-40k."""

FULL_ENCODER = ContentEncoderConfig(
    width=768,
    feed_forward_width=3072,
    layers=12,
    heads=12,
    conv_width=512,
    conv_kernels=(10, 3, 3, 3, 3, 2, 2),
    conv_strides=(5, 2, 2, 2, 2, 2, 2),
    position_kernel=128,
    position_groups=16,
    projection=256,
)
FULL_RMVPE = RmvpeConfig(
    base_channels=16,
    levels=5,
    blocks=4,
    intermediate_layers=4,
    output_channels=3,
    mels=128,
    hidden=256,
    bins=360,
)


_SPEAKERS = 109


def random_weights(
    shapes: dict[str, tuple[int, ...]],
) -> dict[str, Float32]:
    """Return random weights by name, (shape,) float32 each.

    They keep the level of a signal, and are the same for the same names and shapes.
    """
    weights = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        w = rng.standard_normal(shape, dtype=np.float32)
        if name.endswith(("gamma", "running_var")) or (name.endswith("weight") and len(shape) == 1):
            w = 1 + np.float32(0.05) * np.abs(w)
        elif len(shape) == 1:
            w *= np.float32(0.05)
        else:
            w /= np.sqrt(np.float32(np.prod(shape[1:])))
        weights[name] = w
    return weights


def voice_values(version: str, rate: int, *, width: int = 192, initial: int = 512) -> list[Any]:
    """Return the ``config`` list of a voice file; see `random_voice`."""
    rates, kernels = UPSAMPLING[version, rate]
    return [
        *(1025, 32, width, width, 4 * width, 2, 6, 3, 0, "1", [3, 7, 11], [[1, 3, 5]] * 3),
        *(list(rates), initial, list(kernels), _SPEAKERS, 256, rate),
    ]


def random_voice(
    version: str, rate: int, *, width: int = 192, initial: int = 512
) -> SynthesizerNetwork:
    """Return a network with f0 and random weights.

    Parameters
    ----------
    version, rate
        A key of `UPSAMPLING`.
    width, initial
        Channels of the latent, and of the vocoder before its first stage. The defaults are the
        sizes of trained voices.
    """
    values = voice_values(version, rate, width=width, initial=initial)
    config = parse_voice_config(values, _SPEAKERS)
    features = 256 if version == "v1" else 768
    shapes = voice_shapes(config, phone_channels=features, uses_pitch=True, vocoder=HIFIGAN)
    return SynthesizerNetwork(random_weights(shapes), config)


def random_encoder(config: ContentEncoderConfig = FULL_ENCODER) -> Hubert:
    """Return a content encoder with random weights; by default of ContentVec's size."""
    return Hubert(random_weights(content_encoder_shapes(config)), config)


def random_rmvpe(config: RmvpeConfig = FULL_RMVPE) -> RmvpeEstimator:
    """Return an RMVPE estimator with random weights; by default of full size."""
    return RmvpeEstimator(random_weights(rmvpe_shapes(config)), config)


def random_rvc_voice(kind: str) -> RvcVoice:
    """Return a full-size voice with its own encoder and pitch estimator.

    Parameters
    ----------
    kind
        A key of `KINDS`.
    """
    estimator = random_rmvpe()
    return RvcVoice(kind, random_voice(*KINDS[kind]), random_encoder(), lambda method: estimator)
