"""The synthesizer of RVC: content features and pitch to audio in a trained voice.

Text encoder, flow and vocoder as in VITS (Kim et al. 2021,
https://arxiv.org/abs/2106.06103), after ``SynthesizerTrnMs*NSFsid*`` in RVC's
``infer/module/models.py`` and ``Synthesizer`` in Applio.

All functions take and return lazy MLX arrays. They keep no state, and random numbers are
arguments. The caller (`rtvc.engine.rvc.network`) checks the values: MLX does not report an
index out of range.
"""

from __future__ import annotations

import mlx.core as mx

from rtvc._types import Weights
from rtvc.engine.models.flow import MARGIN_FRAMES, Flow
from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.interpolate import interpolate_linear
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.models.text_encoder import TextEncoder
from rtvc.engine.models.vocoder import build_vocoder
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.errors import RtvcError

LATENT_NOISE = 0.66666  # the reference writes five sixes
TRAINING_ONLY = "enc_q."  # the posterior encoder; some files still contain it


class Synthesizer:
    """The network of one voice.

    Parameters
    ----------
    weights
        Tensors by PyTorch name, float32, in PyTorch's layout, weight norm folded.
    config
        Network settings.
    precision
        Precision of the weights; None for that of this machine.

    Attributes
    ----------
    config
        Network settings.
    feature_dim
        Width of the content features, from the weights: 256 or 768.
    uses_pitch
        Whether the voice was trained with pitch, from the weights.
    n_speakers
        Number of speakers, from the weights.
    vocoder
        Network from the latent to the waveform.

    Raises
    ------
    RtvcError
        The names or shapes of the weights do not match the configuration exactly.
    """

    def __init__(
        self, weights: Weights, config: VoiceConfig, precision: mx.Dtype | None = None
    ) -> None:
        params = Parameters(
            {name: w for name, w in weights.items() if not name.startswith(TRAINING_ONLY)},
            precision,
        )
        self.config = config
        self.feature_dim = _size(params, "enc_p.emb_phone.weight", 1)
        self.n_speakers = _size(params, "emb_g.weight", 0)
        self.uses_pitch = params.has("enc_p.emb_pitch")
        params.read_speakers("emb_g.weight", self.n_speakers, config.gin_channels)
        self._encoder = TextEncoder(params.at("enc_p"), config, self.feature_dim, self.uses_pitch)
        self._flow = Flow(params.at("flow"), config)
        self.vocoder = build_vocoder(params.at("dec"), config, self.uses_pitch)
        self._speakers = params.speaker_biases()
        self._compiled_latent = ops.compiled(self._make_latent)
        params.finalize()

    def __call__(
        self,
        features: mx.array,
        *,
        coarse: mx.array | None,
        f0_hz: mx.array | None,
        speaker: mx.array,
        phase: mx.array,
        latent_noise: mx.array | None,
        source_noise: mx.array | None,
        noise_key: mx.array | None,
        skip_head: int,
        return_length: int,
        formant_frames: int,
    ) -> mx.array:
        """Synthesize frames `skip_head` to `skip_head + return_length - 1` of the window.

        The text encoder processes the whole window. The flow starts 24 frames early, its
        receptive field radius, so the latent equals that of the whole window. The vocoder
        processes only the returned frames.

        Parameters
        ----------
        features
            Content features, (1, T, feature_dim) at 100 Hz.
        coarse, f0_hz
            Pitch bins and f0 in Hz, (1, T) each; None without pitch.
        speaker
            Index of the speaker, scalar.
        phase
            Phase of the fundamental at frame `skip_head`, in cycles, scalar.
        latent_noise
            Standard normal, (1, T, inter_channels); None for no noise.
        source_noise
            Standard normal, (1, return_length * hop, harmonics); None for no noise.
        noise_key
            See `rtvc.engine.models.vocoder.Vocoder`.
        skip_head, return_length
            First frame to return, and number of frames.
        formant_frames
            Number of frames to which latent and excitation are interpolated, for a formant
            shift; `return_length` for none.

        Returns
        -------
        mx.array
            Audio, (1, formant_frames * hop), in [-1, 1].
        """
        embedding = self._speakers[speaker].reshape(1, 1, -1)
        first = max(skip_head - MARGIN_FRAMES, 0)
        z = self.latent(features, coarse, embedding, latent_noise, first)
        z = z[:, skip_head - first : skip_head - first + return_length]
        excitation = None
        if self.vocoder.source is not None and f0_hz is not None:
            f0_hz = f0_hz[:, skip_head : skip_head + return_length]
            excitation = self.vocoder.source(f0_hz, phase, source_noise)
            excitation = interpolate_linear(excitation, formant_frames * self.config.hop)
        z = interpolate_linear(z, formant_frames)
        return self.vocoder(z, excitation, embedding, noise_key)

    def statistics(
        self, features: mx.array, coarse: mx.array | None, first: int = 0
    ) -> tuple[mx.array, mx.array]:
        """Return mean and log deviation of the prior from frame `first` on, (1, T - first, C)."""
        return self._encoder(features, coarse, first)

    def sample(
        self,
        features: mx.array,
        coarse: mx.array | None,
        noise: mx.array | None,
        first: int = 0,
    ) -> mx.array:
        """Return the latent before the flow, (1, T - first, C), sampled with noise (1, T, C)."""
        mean, log_deviation = self.statistics(features, coarse, first)
        if noise is None:
            return mean
        return mean + mx.exp(log_deviation) * noise[:, first:] * LATENT_NOISE

    def latent(
        self,
        features: mx.array,
        coarse: mx.array | None,
        embedding: mx.array,
        noise: mx.array | None,
        first: int = 0,
    ) -> mx.array:
        """Return the latent of the speaker from frame `first` on, (1, T - first, C)."""
        return self._compiled_latent(features, coarse, embedding, noise, first)

    def _make_latent(
        self,
        features: mx.array,
        coarse: mx.array | None,
        embedding: mx.array,
        noise: mx.array | None,
        first: int,
    ) -> mx.array:
        return self._flow(self.sample(features, coarse, noise, first), embedding)

    def embedding(self, speaker: int) -> mx.array:
        """Return the biases of all conditioned layers for a speaker, (1, 1, S)."""
        return self._speakers[speaker].reshape(1, 1, -1)


def _size(params: Parameters, name: str, axis: int) -> int:
    """Return one dimension of a 2-D tensor that sets a size of the network."""
    shape = params.shape(name)
    if len(shape) != 2:
        raise RtvcError(
            f"The voice has no {name}, or not as a table, so it is not a synthesizer that can "
            "be used. The file is damaged, or is not an RVC voice."
        )
    return shape[axis]
