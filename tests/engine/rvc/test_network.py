"""What a voice does with windows, noise, phase and bad input."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rtvc.engine.dsp.pitch import coarse_pitch, sine_phase
from rtvc.engine.models.hifigan import excitation_conv, upsampling
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.rvc.loading import load_voice
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.weights.checkpoint import parse_voice, read_voice_checkpoint
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.voice_config import VoiceConfig, parse_voice_config
from rtvc.errors import RtvcError, UsageError
from tests.engine.models.golden_voices import (
    GOLDEN,
    golden_arrays,
    golden_voice,
    refinegan_list,
    refinegan_weights,
    window,
)

V1, V2, NO_PITCH = "voice_v1_f0_40k", "voice_v2_f0_48k", "voice_v1_nof0_40k"
MRF, REFINEGAN = "applio_mrf_40k", "applio_refinegan_32k"


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_attributes() -> None:
    voice = golden_voice(V2)
    assert (voice.sample_rate, voice.hop, voice.feature_dim) == (48000, 480, 768)
    assert (voice.uses_pitch, voice.n_speakers, voice.harmonics) == (True, 3, 1)
    assert (voice.latent_channels, voice.embedder) == (24, "contentvec")
    assert "48000 Hz" in repr(voice)
    assert (golden_voice(NO_PITCH).uses_pitch, golden_voice(NO_PITCH).harmonics) == (False, 0)
    assert golden_voice(MRF).harmonics == 9


def test_speakers_differ() -> None:
    features, coarse, hz, _ = window(V1)
    audio = [golden_voice(V1).synthesize(features, coarse, hz, speaker=s) for s in range(3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(audio[a] - audio[b]).max() > 1e-3


def test_latent_noise_is_that_of_the_frames_whatever_is_skipped() -> None:
    """24 frames of margin make the latent of a part that of the whole, noise included."""
    voice = golden_voice(V1)
    features, coarse, _, speaker = window(V1)
    noise = mx.array(_noise(1, len(features), voice.latent_channels))
    inputs = mx.array(features)[None], mx.array(coarse.astype(np.int32))[None]
    embedding = voice.network.embedding(speaker)
    whole = np.array(voice.network.latent(*inputs, embedding, noise))
    part = np.array(voice.network.latent(*inputs, embedding, noise, first=6))
    assert_allclose(part[:, 24:], whole[:, 30:], atol=2e-5)
    assert np.abs(part[:, :4] - whole[:, 6:10]).max() > 1e-3  # at the cut it is not


def test_latent_noise_has_the_predicted_deviation() -> None:
    voice = golden_voice(V1)
    features, coarse, _, _ = window(V1)
    inputs = mx.array(features)[None], mx.array(coarse.astype(np.int32))[None]
    noise = _noise(1, len(features), voice.latent_channels)
    drawn = np.array(voice.network.sample(*inputs, mx.array(noise)))
    expected = golden_arrays(V1)
    mean, log_deviation = (expected[k].transpose(0, 2, 1) for k in ("m_p", "logs_p"))
    assert_allclose(drawn, mean + np.exp(log_deviation) * noise * 0.66666, atol=1e-4)


@pytest.mark.parametrize("name", [V1, V2, MRF])
def test_with_its_reach_a_part_is_that_of_the_whole(name: str) -> None:
    voice = golden_voice(name)
    features, coarse, hz, speaker = window(name)
    reach, hop = voice.margin_frames, voice.hop
    noise = _noise(len(features) * hop, voice.harmonics)
    first, count = 18, 8

    def part(margin: int) -> np.ndarray:
        begin, end = first - margin, first + count + margin
        audio = voice.synthesize(
            features,
            coarse,
            hz,
            speaker=speaker,
            source_noise=noise[begin * hop : end * hop],
            initial_phase=sine_phase(hz)[begin],
            skip_head=begin,
            return_length=end - begin,
        )
        return audio[margin * hop : (margin + count) * hop]

    whole = voice.synthesize(features, coarse, hz, speaker=speaker, source_noise=noise)
    whole = whole[first * hop : (first + count) * hop]
    assert reach is not None
    np.testing.assert_allclose(part(reach), whole, atol=1e-4)
    assert np.abs(part(2) - whole).max() > 1e-3


def test_refinegan_draws_noise_between_its_layers_from_the_seed() -> None:
    voice = golden_voice(REFINEGAN)
    features, coarse, hz, _ = window(REFINEGAN)
    features, coarse, hz = features[:12], coarse[:12], hz[:12]
    silent, first, again, other = (
        voice.synthesize(features, coarse, hz, noise_seed=seed) for seed in (None, 1, 1, 2)
    )
    assert_array_equal(first, again)
    assert np.abs(first - silent).max() > 1e-6
    assert np.abs(first - other).max() > 1e-6


def test_made_on_one_thread_used_on_another() -> None:
    features, coarse, hz, speaker = window(V1)
    voice = load_voice(GOLDEN / f"{V1}.pth")
    with ThreadPoolExecutor(1) as pool:
        audio = pool.submit(voice.synthesize, features, coarse, hz, speaker=speaker).result()
    assert_allclose(audio, golden_arrays(V1)["audio_full"].ravel(), atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 12])
def test_short_windows(frames: int) -> None:
    features, coarse, hz, _ = window(V1)
    audio = golden_voice(V1).synthesize(features[:frames], coarse[:frames], hz[:frames])
    assert audio.shape == (frames * 400,)
    assert np.isfinite(audio).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speaker": 3}, "speakers are 0 to 2"),
        ({"speaker": -1}, "no speaker -1"),
        ({"features": np.zeros((60, 768), np.float32)}, r"\(frames, 256\)"),
        ({"coarse_pitch": None}, "needs f0"),
        ({"coarse_pitch": np.full(60, 256)}, "0 to 255"),
        ({"coarse_pitch": np.full(60, -1)}, "0 to 255"),
        ({"coarse_pitch": np.full(60, 5.0)}, "must be integers"),
        ({"coarse_pitch": np.full(59, 5)}, "60 frames"),
        ({"f0_hz": np.full(60, np.nan)}, "in Hz"),
        ({"skip_head": 60}, "outside the window of 60"),
        ({"skip_head": -1}, "outside the window of 60"),
        ({"skip_head": 50, "return_length": 11}, "50 to 61"),
        ({"return_length": 0}, "outside the window of 60"),
        ({"formant_frames": 0}, "formant"),
        ({"latent_noise": np.zeros((59, 24), np.float32)}, r"latent noise .* \(60, 24\)"),
        ({"source_noise": np.zeros(100, np.float32)}, "source noise"),
        ({"initial_phase": np.inf}, "phase"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], message: str) -> None:
    features, coarse, hz, _ = window(V1)
    arguments = {"features": features, "coarse_pitch": coarse, "f0_hz": hz} | changes
    with pytest.raises(UsageError, match=message):
        golden_voice(V1).synthesize(**arguments)


def test_a_voice_without_pitch_ignores_it() -> None:
    features, _, hz, speaker = window(NO_PITCH)
    voice = golden_voice(NO_PITCH)
    assert_array_equal(
        voice.synthesize(features, None, None, speaker=speaker),
        voice.synthesize(features, coarse_pitch(hz), hz, speaker=speaker),
    )


# --- weights that do not fit


def _parts(name: str) -> tuple[dict[str, np.ndarray], VoiceConfig]:
    checkpoint = read_voice_checkpoint(GOLDEN / f"{name}.pth")
    return dict(checkpoint.weights), checkpoint.config


def test_every_tensor_must_be_there_fit_and_be_known() -> None:
    weights, config = _parts(V1)
    del weights["flow.flows.4.pre.weight"]
    weights["dec.conv_post.bias"] = np.zeros(1, np.float32)
    weights["enc_p.proj.weight"] = weights["enc_p.proj.weight"][:-1]
    with pytest.raises(RtvcError) as refusal:
        SynthesizerNetwork(weights, config)
    for text in ("flow.flows.4.pre.weight", "dec.conv_post.bias", "enc_p.proj.weight 47x24x1"):
        assert text in str(refusal.value)


def test_the_posterior_encoder_is_left_aside() -> None:
    weights, config = _parts(V1)
    weights["enc_q.pre.weight"] = np.zeros((24, 1025, 1), np.float32)
    assert SynthesizerNetwork(weights, config).n_speakers == 3


def test_without_the_table_of_speakers_it_is_no_voice() -> None:
    weights, config = _parts(V1)
    del weights["emb_g.weight"]
    with pytest.raises(RtvcError, match=r"emb_g\.weight"):
        SynthesizerNetwork(weights, config)


@pytest.mark.parametrize(
    ("name", "shape", "generation"),
    [
        ("dec.source_conv.weight", (16, 1, 7), "December 2024"),
        ("dec.filters.0.weight", (512, 1, 15), "January 2025"),
        ("dec.pre_conv.weight", (256, 1, 7), "March 2025"),
    ],
)
def test_older_refinegans_are_refused_by_name(
    name: str, shape: tuple[int, ...], generation: str
) -> None:
    assert parse_voice({"config": refinegan_list()}, refinegan_weights(), "").vocoder == "RefineGAN"
    weights = refinegan_weights() | {name: np.zeros(shape, np.float32)}
    with pytest.raises(ContentError, match=f"RefineGAN of {generation}"):
        parse_voice({"config": refinegan_list()}, weights, "")


def test_refinegan_has_four_stages() -> None:
    values = refinegan_list().copy()
    values[12], values[14] = [8, 5, 2, 2, 2], [16, 10, 4, 4, 4]
    with pytest.raises(RtvcError, match="exactly 4"):
        SynthesizerNetwork(refinegan_weights(), parse_voice_config(values, 3))


# --- other legal configurations


def test_24_khz() -> None:
    """The rates that Applio uses at 24 kHz, on the weights of 48 kHz where they fit."""
    weights, config = _parts(V2)
    values = vars(config) | {
        "upsample_rates": (10, 6, 2, 2),
        "upsample_kernel_sizes": (20, 12, 4, 4),
        "sr": 24000,
    }
    weights["dec.ups.0.weight"] = weights["dec.ups.0.weight"][:, :, 2:22]
    weights["dec.ups.1.weight"] = weights["dec.ups.1.weight"][:, :, 4:16]
    weights["dec.noise_convs.0.weight"] = weights["dec.noise_convs.0.weight"][:, :, 16:64]
    voice = SynthesizerNetwork(weights, VoiceConfig(**values))
    features, coarse, hz, _ = window(V2)
    audio = voice.synthesize(features, coarse, hz)
    assert audio.shape == (60 * 240,)
    assert audio.std() > 1e-3
    assert voice.margin_frames == 12


@pytest.mark.parametrize(("rate", "kernel"), [(2, 4), (10, 16), (3, 6), (7, 14), (9, 18), (5, 9)])
def test_a_stage_multiplies_the_length_exactly(rate: int, kernel: int) -> None:
    """Odd rates too, where Applio cuts ``rate // 2 + rate % 2`` and adds ``rate % 2``."""
    config: Any = _Stage((rate, 9), (kernel, 18))
    layer = upsampling(Parameters({}), config, 0)
    assert layer(mx.zeros((1, 13, 16))).shape == (1, 13 * rate, 8)
    if rate % 2 and kernel == 2 * rate:
        assert (layer.padding, layer.output_padding) == (rate // 2 + 1, 1)
    excite = excitation_conv(Parameters({}), config, 0)
    assert excite(mx.zeros((1, 13 * 9, 1))).shape == (1, 13, 8)


class _Stage:
    """As much of a configuration as one stage of a vocoder looks at."""

    upsample_initial_channel = 16

    def __init__(self, rates: tuple[int, ...], kernels: tuple[int, ...]) -> None:
        self.upsample_rates, self.upsample_kernel_sizes = rates, kernels


# --- files and folders


def test_a_folder_with_one_voice(tmp_path: Path) -> None:
    (tmp_path / "v.pth").write_bytes((GOLDEN / f"{V1}.pth").read_bytes())
    (tmp_path / "notes.txt").write_text("a voice")
    assert load_voice(tmp_path).sample_rate == 40000


def test_a_folder_with_none_or_several(tmp_path: Path) -> None:
    with pytest.raises(RtvcError, match="holds no voice"):
        load_voice(tmp_path)
    (tmp_path / "a.pth").touch()
    (tmp_path / "b.safetensors").touch()
    with pytest.raises(RtvcError, match=r"a\.pth, b\.safetensors"):
        load_voice(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RtvcError, match=r"none\.pth"):
        load_voice(tmp_path / "none.pth")
