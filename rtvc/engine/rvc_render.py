"""Sound of a window: the synthesizer on the frames that are needed, and no others."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from rtvc.engine.formant import Stretch
from rtvc.engine.noise import frame_noise
from rtvc.engine.pitch import coarse_pitch
from rtvc.engine.pitch_track import PitchFrames
from rtvc.engine.rvc_voice import RvcVoice
from rtvc.settings import Settings

Samples = NDArray[np.float32]

SOURCE_KEY = 1 << 64
"""Sets the noise of the source apart from that of the latent, which has the plain seed."""


class Renderer:
    """Turns features and pitch into sound, in two steps: the latent of a window, its decoding.

    Noise and the phase of the sine belong to the absolute frame, so two windows that
    overlap make the same frame from the same excitation.

    Parameters
    ----------
    voice
        The voice.
    settings
        ``seed`` of the noise.
    """

    def __init__(self, voice: RvcVoice, settings: Settings) -> None:
        self._voice, self._seed = voice, settings.seed

    def latent(
        self, features: mx.array, pitch: PitchFrames, start: int, first: int, settings: Settings
    ) -> mx.array:
        """Return the latent of a window from frame `first` on, (1, T - first, C), unevaluated.

        Parameters
        ----------
        features
            (1, T, feature_dim).
        pitch
            Of the T frames.
        start
            Absolute index of the window's first frame.
        first
            First frame that is wanted.
        settings
            ``formant`` and ``speaker``.
        """
        coarse = None
        if self._voice.uses_pitch:
            # The encoder expects the pitch that belongs to the formants.
            ratio = Stretch(settings.formant, start, 1).ratio
            coarse = mx.array(coarse_pitch(pitch.sung / ratio))[None]
        frames, channels = features.shape[1], self._voice.latent_channels
        noise = np.zeros((1, frames, channels), np.float32)
        drawn = frame_noise(self._seed, start + first, frames - first, channels)
        noise[0, first:] = drawn.reshape(-1, channels)
        speaker = self._speaker(settings)
        return self._voice.network.latent(features, coarse, speaker, mx.array(noise), first)

    def decode(self, z: mx.array, pitch: PitchFrames, start: int, settings: Settings) -> Samples:
        """Return the sound of consecutive frames, (n * hop,) float32.

        Parameters
        ----------
        z
            Their latent, (1, n, C).
        pitch
            Of the n frames.
        start
            Absolute index of the first.
        settings
            ``formant`` and ``speaker``.
        """
        vocoder, hop = self._voice.network.vocoder, self._voice.hop
        frames = z.shape[1]
        stretch = Stretch(settings.formant, start, frames)
        excitation = None
        if vocoder.source is not None:
            harmonics = vocoder.source.harmonics
            noise = frame_noise(self._seed + SOURCE_KEY, start, frames, hop * harmonics)
            excitation = vocoder.source(
                mx.array(pitch.sung.astype(np.float32))[None],
                mx.array(float(pitch.phase[0])),
                mx.array(noise.reshape(1, -1, harmonics)),
            )
            excitation = stretch.stretch(excitation, hop)
        # Only RefineGAN draws with it, for every window anew.
        key = mx.random.key((self._seed + start) & 0x7FFFFFFF)
        sound = vocoder(stretch.stretch(z), excitation, self._speaker(settings), key)
        return stretch.play(np.array(sound[0]), hop)

    def _speaker(self, settings: Settings) -> mx.array:
        """Embedding of the speaker; one beyond the last is the last."""
        voice = self._voice
        return voice.network.embedding(min(settings.speaker, voice.n_speakers - 1))
