"""The synthesizer against golden results of the reference."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from tests.engine.models.golden_voices import golden_arrays, golden_voice, window

RVC = [
    "voice_v1_f0_32k",
    "voice_v1_f0_40k",
    "voice_v1_f0_48k",
    "voice_v1_nof0_40k",
    "voice_v2_f0_32k",
    "voice_v2_f0_40k",
    "voice_v2_f0_48k",
    "voice_v2_nof0_40k",
]
APPLIO = ["applio_hifigan_48k", "applio_mrf_40k", "applio_refinegan_32k"]
VOCODERS = {
    "voice_v1_nof0_40k": "HiFi-GAN",
    "voice_v2_nof0_40k": "HiFi-GAN",
    "applio_mrf_40k": "MRF HiFi-GAN",
    "applio_refinegan_32k": "RefineGAN",
}


def _assert_latent(actual: mx.array, expected: np.ndarray) -> None:
    expected = expected.transpose(0, 2, 1)
    assert actual.shape == expected.shape
    assert np.abs(np.array(actual) - expected).max() < 1e-5 * np.abs(expected).max()


def _assert_audio(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == np.float32
    assert actual.shape == (expected.size,)
    assert np.abs(actual - expected.ravel()).max() < 1e-4


@pytest.mark.parametrize("name", RVC + APPLIO)
def test_latent(name: str) -> None:
    voice, expected = golden_voice(name), golden_arrays(name)
    features, coarse, _, speaker = window(name)
    inputs = mx.array(features)[None], mx.array(coarse.astype(np.int32))[None]
    mean, log_deviation = voice.network.statistics(*inputs)
    _assert_latent(mean, expected["m_p"])
    _assert_latent(log_deviation, expected["logs_p"])
    z = voice.network.latent(*inputs, voice.network.embedding(speaker), None)
    _assert_latent(z, expected["z"])


@pytest.mark.parametrize("name", RVC + APPLIO)
def test_whole_window(name: str) -> None:
    voice = golden_voice(name)
    features, coarse, hz, speaker = window(name)
    assert voice.vocoder == VOCODERS.get(name, "HiFi-GAN NSF")
    audio = voice.synthesize(features, coarse, hz, speaker=speaker)
    _assert_audio(audio, golden_arrays(name)["audio_full"])


@pytest.mark.parametrize("name", RVC)
@pytest.mark.parametrize("key", ["audio_tail", "audio_formant"])
def test_part_of_the_window(name: str, key: str) -> None:
    expected = golden_arrays(name)
    features, coarse, hz, speaker = window(name)
    audio = golden_voice(name).synthesize(
        features,
        coarse,
        hz,
        speaker=speaker,
        skip_head=int(expected["skip_head"]),
        return_length=int(expected["return_length"]),
        formant_frames=int(expected["return_length2"]) if key == "audio_formant" else None,
    )
    _assert_audio(audio, expected[key])
