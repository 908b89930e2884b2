"""Synthesis steps: features to latent, f0 to excitation, latent and excitation to audio.

Noise and the phase of the sine are functions of the absolute frame, so overlapping windows use
the same excitation for the same frame.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.formant import Stretch, formant_ratio
from rtvc.engine.dsp.noise import frame_noise
from rtvc.engine.dsp.pitch import coarse_pitch
from rtvc.engine.models.source import SineSource
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.rvc.pitch_track import PitchFrames
from rtvc.settings import Settings

SOURCE_KEY = 1 << 64
"""Added to the seed for the noise of the source; the noise of the latent uses the seed itself."""


def embed_speaker(voice: SynthesizerNetwork, settings: Settings) -> mx.array:
    """Return the embedding of the speaker, (1, 1, G); numbers above the last use the last."""
    return voice.network.embedding(min(settings.speaker, voice.n_speakers - 1))


def make_latent(
    voice: SynthesizerNetwork,
    features: mx.array,
    pitch: PitchFrames,
    settings: Settings,
    *,
    start: int,
    first: int,
) -> mx.array:
    """Return the latent of a window from frame `first`, (1, T - first, C), not evaluated.

    Parameters
    ----------
    voice
        The network of the voice.
    features
        Content features at 100 Hz, (1, T, feature_dim).
    pitch
        f0 of the T frames.
    settings
        ``formant``, ``speaker`` and ``seed`` are used.
    start
        Absolute index of the first frame of the window.
    first
        First frame to return, relative to `start`.
    """
    coarse = None
    if voice.uses_pitch:
        # The text encoder expects the f0 that matches the unshifted formants.
        coarse = mx.array(coarse_pitch(pitch.output_f0 / formant_ratio(settings.formant)))[None]
    frames, channels = features.shape[1], voice.latent_channels
    noise = np.zeros((1, frames, channels), np.float32)
    drawn = frame_noise(settings.seed, start + first, frames - first, channels)
    noise[0, first:] = drawn.reshape(-1, channels)
    speaker = embed_speaker(voice, settings)
    return voice.network.latent(features, coarse, speaker, mx.array(noise), first)


def make_excitation(
    source: SineSource,
    hop: int,
    output_f0: Float64,
    settings: Settings,
    *,
    phase: float,
    start: int,
) -> mx.array:
    """Return the excitation of consecutive frames, (1, n * hop, 1), not evaluated.

    Parameters
    ----------
    source
        The source of the vocoder.
    hop
        Samples per frame.
    output_f0
        Target f0 of the n frames in Hz, 0 = unvoiced.
    settings
        ``seed`` is used.
    phase
        Phase of the sine at the first frame, in cycles.
    start
        Absolute index of the first frame.
    """
    noise = frame_noise(settings.seed + SOURCE_KEY, start, len(output_f0), hop * source.harmonics)
    return source(
        mx.array(output_f0.astype(np.float32))[None],
        mx.array(phase),
        mx.array(noise.reshape(1, -1, source.harmonics)),
    )


def decode_window(
    voice: SynthesizerNetwork, z: mx.array, pitch: PitchFrames, settings: Settings, *, start: int
) -> Float32:
    """Decode consecutive frames without state, (n * hop,) float32.

    Parameters
    ----------
    voice
        The network of the voice.
    z
        Latent of the frames, (1, n, C).
    pitch
        f0 of the n frames.
    settings
        ``formant``, ``speaker`` and ``seed`` are used.
    start
        Absolute index of the first frame.
    """
    vocoder, hop = voice.network.vocoder, voice.hop
    stretch = Stretch(settings.formant, start, z.shape[1])
    excitation = None
    if vocoder.source is not None:
        excitation = make_excitation(
            vocoder.source, hop, pitch.output_f0, settings, phase=float(pitch.phase[0]), start=start
        )
        excitation = stretch.stretch(excitation, hop)
    # Used only by RefineGAN, whose noise differs between windows.
    key = mx.random.key((settings.seed + start) & 0x7FFFFFFF)
    sound = vocoder(stretch.stretch(z), excitation, embed_speaker(voice, settings), key)
    return stretch.play(np.array(sound[0]), hop)
