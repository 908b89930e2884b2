"""The synthesizer of RVC: content features and pitch to the sound of a trained voice.

Text encoder, flow and vocoder as in VITS (Kim et al. 2021,
https://arxiv.org/abs/2106.06103), after ``SynthesizerTrnMs*NSFsid*`` in RVC's
``infer/module/models.py`` and ``Synthesizer`` in Applio.

Everything here takes and gives MLX arrays and is lazy; there is no state, and no
random number that is not passed in. Values are checked by the caller
(`rtvc.engine.rvc.network`): a gather out of range is not an error in MLX.
"""

from __future__ import annotations

import mlx.core as mx

from rtvc._types import Weights
from rtvc.engine.models.flow import MARGIN_FRAMES, Flow
from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.backend import PRECISION
from rtvc.engine.models.ops.interpolate import interpolate_linear
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.models.text_encoder import TextEncoder
from rtvc.engine.models.vocoder import build_vocoder
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.errors import RtvcError

LATENT_NOISE = 0.66666  # the reference writes five sixes
TRAINING_ONLY = "enc_q."  # the posterior encoder; some files keep it


class Synthesizer:
    """The network of one voice.

    Parameters
    ----------
    weights
        Tensors by their PyTorch names, float32, in PyTorch's layout, weight norm folded.
    config
        Sizes.
    precision
        Of the weights.

    Attributes
    ----------
    config
        Sizes.
    feature_dim
        Width of a content feature, as the weights say: 256 or 768.
    uses_pitch
        Whether the weights take pitch.
    n_speakers
        Rows of the speaker table.
    vocoder
        Latent to waveform.

    Raises
    ------
    RtvcError
        The weights are not exactly those that the configuration describes.
    """

    def __init__(
        self, weights: Weights, config: VoiceConfig, precision: mx.Dtype = PRECISION
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
        """Synthesize frames `skip_head` to `skip_head + return_length` of the window.

        The encoder hears the whole window. The flow begins 24 frames early, which is all it
        can see, so the latent is that of the whole window; the vocoder sees the returned
        frames only.

        Parameters
        ----------
        features
            (1, T, feature_dim) at 100 Hz.
        coarse, f0_hz
            Pitch as bins and in Hz, (1, T) each; None without pitch.
        speaker
            Number of the speaker, scalar.
        phase
            Phase of the source's sine at frame `skip_head`, in cycles, scalar.
        latent_noise
            Standard normal, (1, T, inter_channels), or None.
        source_noise
            Standard normal, (1, return_length * hop, harmonics), or None.
        noise_key
            See `rtvc.engine.models.vocoder.Vocoder`.
        skip_head, return_length
            Which frames to make.
        formant_frames
            Latent and excitation are stretched to so many frames; equal to `return_length`
            where the formants stay.

        Returns
        -------
        mx.array
            (1, formant_frames * hop).
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
        """Mean and log deviation of the latent from frame `first` on, (1, T - first, C) each."""
        return self._encoder(features, coarse, first)

    def sample(
        self,
        features: mx.array,
        coarse: mx.array | None,
        noise: mx.array | None,
        first: int = 0,
    ) -> mx.array:
        """Latent of no speaker yet, drawn with the noise of the whole window, (1, T - first, C)."""
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
        """Latent of the chosen speaker from frame `first` on, (1, T - first, C)."""
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
        """Return what the layers add for a speaker, (1, 1, S)."""
        return self._speakers[speaker].reshape(1, 1, -1)


def _size(params: Parameters, name: str, axis: int) -> int:
    """Read a size that the weights decide."""
    shape = params.shape(name)
    if len(shape) != 2:
        raise RtvcError(
            f"The voice has no {name}, or not as a table, so it is not a synthesizer that can "
            "be used. The file is damaged, or is not an RVC voice."
        )
    return shape[axis]
