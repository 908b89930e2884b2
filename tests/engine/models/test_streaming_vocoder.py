"""A streaming vocoder: the chunks of a signal equal the whole signal."""

from __future__ import annotations

import itertools

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.models import winograd
from rtvc.engine.models.stream_state import StreamState
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.profiling.random_weights import random_voice
from rtvc.engine.rvc.network import SynthesizerNetwork
from tests.engine.models.golden_voices import golden_voice
from tests.support.material import more

pytestmark = pytest.mark.slow

FRAMES = 70
STREAMING = [
    "voice_v1_f0_32k",
    "voice_v1_f0_40k",
    "voice_v1_f0_48k",
    "voice_v1_nof0_40k",
    "voice_v2_f0_32k",
    "voice_v2_f0_40k",
    "voice_v2_f0_48k",
    "voice_v2_nof0_40k",
    "applio_hifigan_48k",
    "applio_mrf_40k",
]


def inputs(
    voice: SynthesizerNetwork, frames: int = FRAMES
) -> tuple[mx.array, mx.array | None, mx.array]:
    random = np.random.default_rng(5)
    z = random.standard_normal((1, frames, voice.latent_channels)).astype(np.float32)
    excitation = None
    if voice.uses_pitch:
        wave = 0.1 * random.standard_normal((1, frames * voice.hop, 1))
        excitation = mx.array(wave.astype(np.float32))
    return mx.array(z), excitation, voice.network.embedding(0)


def stream(
    voice: SynthesizerNetwork,
    z: mx.array,
    excitation: mx.array | None,
    chunks: list[tuple[int, int]],
) -> np.ndarray:
    """Stream chunks of (advance, size) frames; return the audio of the frames advanced over."""
    vocoder, hop, speaker = voice.network.vocoder, voice.hop, voice.network.embedding(0)
    assert isinstance(vocoder, StreamingVocoder)
    state: StreamState = ()
    start, signals = 0, []
    for advance, size in chunks:
        end = start + size + vocoder.lookahead_frames
        assert end <= z.shape[1]
        part = None if excitation is None else excitation[:, start * hop : end * hop]
        audio, state = vocoder.stream(z[:, start:end], part, speaker, state, advance)
        mx.eval(audio, *state)
        assert audio.shape == (1, size * hop)
        signals.append(np.array(audio[0, : advance * hop]))
        start += advance
    return np.concatenate(signals)


@pytest.mark.parametrize("name", more(STREAMING, keep=2))
@pytest.mark.parametrize(
    "chunks",
    [[(10, 10)] * 5, [(1, 1), (25, 25), (7, 7), (2, 2)], [(9, 11), (10, 11), (10, 11), (3, 8)]],
    ids=["even", "uneven", "size above advance"],
)
@pytest.mark.parametrize("min_channels", [1, 1_000_000], ids=["winograd", "direct"])
def test_chunks_equal_the_whole(
    monkeypatch: pytest.MonkeyPatch, name: str, chunks: list[tuple[int, int]], min_channels: int
) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", min_channels)
    voice = golden_voice.__wrapped__(name)  # without the cache: blocks are built once
    vocoder = voice.network.vocoder
    assert isinstance(vocoder, StreamingVocoder)
    z, excitation, speaker = inputs(voice)
    whole = np.array(vocoder(z, excitation, speaker, None))[0]
    streamed = stream(voice, z, excitation, chunks)
    np.testing.assert_allclose(streamed, whole[: len(streamed)], atol=1e-5)
    assert np.abs(streamed).max() > 0.01


@pytest.mark.parametrize("rate", more([32_000, 40_000, 48_000]))
def test_chunks_of_a_voice_of_full_depth_equal_the_whole(rate: int) -> None:
    voice = random_voice("v2", rate, width=32, initial=128)
    vocoder = voice.network.vocoder
    assert isinstance(vocoder, StreamingVocoder)
    z, excitation, speaker = inputs(voice)
    whole = np.array(vocoder(z, excitation, speaker, None))[0]
    streamed = stream(voice, z, excitation, [(10, 10)] * 5)
    np.testing.assert_allclose(streamed, whole[: len(streamed)], atol=1e-5)


def test_a_chunk_without_its_left_context_differs() -> None:
    voice = golden_voice("voice_v2_f0_40k")
    vocoder, hop = voice.network.vocoder, voice.hop
    assert isinstance(vocoder, StreamingVocoder)
    z, excitation, speaker = inputs(voice)
    assert excitation is not None
    whole = np.array(vocoder(z, excitation, speaker, None))[0]
    alone = stream(voice, z[:, 20:], excitation[:, 20 * hop :], [(10, 10)])
    assert np.abs(alone - whole[20 * hop : 30 * hop])[: 2 * hop].max() > 1e-3


def test_lookahead_is_minimal() -> None:
    voice = golden_voice("voice_v2_f0_40k")
    vocoder, hop = voice.network.vocoder, voice.hop
    assert isinstance(vocoder, StreamingVocoder)
    z, excitation, _ = inputs(voice)
    whole = stream(voice, z, excitation, [(10, 10)])
    changed = z + 0  # a change in the last frame of the lookahead
    last = 9 + vocoder.lookahead_frames
    changed[:, last] = 3.0
    other = stream(voice, changed, excitation, [(10, 10)])
    difference = np.abs(other - whole)
    assert not difference[: 9 * hop].any()


def test_state_does_not_grow() -> None:
    voice = golden_voice("voice_v1_f0_40k")
    vocoder, hop = voice.network.vocoder, voice.hop
    assert isinstance(vocoder, StreamingVocoder)
    z, excitation, speaker = inputs(voice)
    assert excitation is not None
    count = 10 + vocoder.lookahead_frames
    state: StreamState = ()
    shapes = []
    for _ in range(3):
        audio, state = vocoder.stream(
            z[:, :count], excitation[:, : count * hop], speaker, state, 10
        )
        mx.eval(audio, *state)
        shapes.append([array.shape for array in state])
    for previous, current in itertools.pairwise(shapes):
        assert previous == current
    assert sum(array.nbytes for array in state) < 2**20


def test_refinegan_does_not_stream() -> None:
    voice = golden_voice("applio_refinegan_32k")
    assert not isinstance(voice.network.vocoder, StreamingVocoder)
