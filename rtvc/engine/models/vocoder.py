"""What the synthesizer needs of any vocoder, and which one a file holds."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import mlx.core as mx

from rtvc.engine.models import hifigan, mrf_hifigan, refinegan
from rtvc.engine.models.parameters import Parameters
from rtvc.engine.models.source import SineSource
from rtvc.engine.models.stream_state import StreamState
from rtvc.engine.weights.voice_config import VoiceConfig


class Vocoder(Protocol):
    """Latent to waveform."""

    @property
    def name(self) -> str:
        """What the field calls it."""

    @property
    def source(self) -> SineSource | None:
        """Maker of its excitation; None for a vocoder without pitch."""

    @property
    def margin_frames(self) -> int | None:
        """How many frames to either side a frame of sound depends on.

        Frames further than that from the edge of what is decoded are those of a longer
        decode. None where the reach is longer than any live window.
        """

    def __call__(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        noise_key: mx.array | None,
    ) -> mx.array:
        """Make sound.

        Parameters
        ----------
        z
            Latent, (1, N, C).
        excitation
            What `source` made, (1, N * hop, 1); None where there is no source.
        speaker
            What the layers add for the speaker, (1, 1, S).
        noise_key
            Key of the random numbers that a vocoder adds between its layers (only
            RefineGAN does); None for none.

        Returns
        -------
        mx.array
            (1, N * hop), within [-1, 1].
        """


@runtime_checkable
class StreamingVocoder(Vocoder, Protocol):
    """A vocoder that can continue where it stopped."""

    @property
    def lookahead_frames(self) -> int:
        """How many frames after those that are wanted it hears."""

    def stream(
        self,
        z: mx.array,
        excitation: mx.array | None,
        speaker: mx.array,
        state: StreamState,
        advance: int,
    ) -> tuple[mx.array, StreamState]:
        """Make the sound of the next piece.

        Parameters
        ----------
        z
            Latent, (1, N + halo_frames, C).
        excitation
            What `source` made of as many frames; None where there is no source.
        speaker
            What the layers add for the speaker, (1, 1, S).
        state
            What the piece before left; () for silence before the first.
        advance
            Frames, at most N, after which the next piece begins.

        Returns
        -------
        mx.array
            (1, N * hop), within [-1, 1]: what `Vocoder.__call__` makes of all pieces joined,
            with as much after them as the halo.
        State
            For the next piece.
        """


def build_vocoder(params: Parameters, config: VoiceConfig, uses_pitch: bool) -> Vocoder:
    """Build the vocoder whose weights are there, whatever the file calls it.

    Parameters
    ----------
    params
        The weights below ``dec.``.
    config
        Sizes.
    uses_pitch
        Whether the rest of the network takes pitch.

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
