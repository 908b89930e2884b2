"""Interface of the vocoders, and the selection of the vocoder that a voice file contains."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import mlx.core as mx

from rtvc.engine.models import hifigan, mrf_hifigan, refinegan
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.models.source import SineSource
from rtvc.engine.models.stream_state import StreamState
from rtvc.engine.weights.voice_config import VoiceConfig


class Vocoder(Protocol):
    """Network from the latent to the waveform."""

    @property
    def name(self) -> str:
        """Name of the architecture, for display."""

    @property
    def source(self) -> SineSource | None:
        """Source of the excitation; None for a voice without pitch."""

    @property
    def margin_frames(self) -> int | None:
        """Receptive field radius: latent frames needed on each side of an output frame.

        Output frames at least this far from both ends of a window equal those of a longer
        window. None if the radius exceeds any live window.
        """

    def __call__(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        noise_key: mx.array | None,
    ) -> mx.array:
        """Synthesize audio.

        Parameters
        ----------
        z
            Latent, (1, N, C).
        excitation
            Output of `source`, (1, N * hop, 1); None without a source.
        speaker
            Biases of the layers for the speaker, (1, 1, S).
        noise_key
            Key of the random numbers that RefineGAN adds between its layers; None for no
            noise. The other vocoders ignore it.

        Returns
        -------
        mx.array
            Audio, (1, N * hop), in [-1, 1].
        """


@runtime_checkable
class StreamingVocoder(Vocoder, Protocol):
    """A vocoder that can process a signal in chunks."""

    @property
    def lookahead_frames(self) -> int:
        """Latent frames after the output frames that `stream` needs."""

    def stream(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        state: StreamState,
        advance: int,
    ) -> tuple[mx.array, StreamState]:
        """Synthesize the next chunk.

        The output equals that of `Vocoder.__call__` for all chunks joined, followed by
        `lookahead_frames` more frames.

        Parameters
        ----------
        z
            Latent, (1, N + lookahead_frames, C).
        excitation
            Output of `source` for the same frames; None without a source.
        speaker
            Biases of the layers for the speaker, (1, 1, S).
        state
            State after the previous chunk; () before the first one, which starts in silence.
        advance
            Frames from the start of this chunk to the start of the next one, at most N.

        Returns
        -------
        audio : mx.array
            (1, N * hop), in [-1, 1].
        state : StreamState
            State for the next chunk.
        """


def build_vocoder(params: Parameters, config: VoiceConfig, uses_pitch: bool) -> Vocoder:
    """Build the vocoder that the weights belong to.

    The names of the weights determine the architecture; the file's own name for it is ignored.

    Parameters
    ----------
    params
        The weights under ``dec.``.
    config
        Network settings.
    uses_pitch
        Whether the voice was trained with pitch.

    Raises
    ------
    RtvcError
        A RefineGAN has another number of stages than its network allows.
    """
    if params.has("downsample_blocks"):
        return refinegan.RefineGan(params, config)
    if params.has("mrfs"):
        return mrf_hifigan.build(params, config)
    return hifigan.build(params, config, uses_pitch)
