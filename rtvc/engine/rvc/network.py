"""An RVC voice: its network behind checks, NumPy in and NumPy out."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from rtvc._types import Float32, Weights
from rtvc.engine.dsp.pitch import COARSE_BINS, check_pitch
from rtvc.engine.models.ops.backend import PRECISION
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.weights.checkpoint import DEFAULT_EMBEDDER
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.errors import UsageError


class SynthesizerNetwork:
    """A trained voice.

    All calls belong to one thread: MLX is not shared between threads.

    Parameters
    ----------
    weights
        Tensors by their PyTorch names, float32, in PyTorch's layout, weight norm folded.
    config
        Sizes.
    embedder
        Name of the content encoder that it was trained with; features of another are noise to it.
    precision
        Of the weights.

    Attributes
    ----------
    network
        The network itself, for a caller who stays within MLX.
    sample_rate
        Samples per second of what it says.
    hop
        Samples per 10 ms frame.
    feature_dim
        Width of a content feature: 256 (v1) or 768 (v2).
    latent_channels
        Width of the latent, and so of its noise.
    uses_pitch
        Whether it takes pitch.
    harmonics
        Sines in its source, and so the width of the source's noise; 0 without pitch.
    n_speakers
        How many speakers it knows.
    vocoder
        Name of its vocoder: HiFi-GAN NSF, HiFi-GAN (without pitch), MRF HiFi-GAN or RefineGAN.
    margin_frames
        How many frames to either side a frame of sound depends on within the vocoder: with
        so many more before `skip_head` and after the end, cut off afterwards, a render is
        the same part of a longer one. None where that takes longer than any live window.

    Raises
    ------
    RtvcError
        The weights are not exactly those that the configuration describes.
    """

    def __init__(
        self,
        weights: Weights,
        config: VoiceConfig,
        *,
        embedder: str = DEFAULT_EMBEDDER,
        precision: mx.Dtype = PRECISION,
    ) -> None:
        self.embedder = embedder
        self.network = Synthesizer(weights, config, precision)
        source = self.network.vocoder.source
        self.sample_rate = config.sr
        self.hop = config.hop
        self.feature_dim = self.network.feature_dim
        self.latent_channels = config.inter_channels
        self.uses_pitch = self.network.uses_pitch
        self.harmonics = 0 if source is None else source.harmonics
        self.n_speakers = self.network.n_speakers
        self.vocoder = self.network.vocoder.name
        self.margin_frames = self.network.vocoder.margin_frames

    def __repr__(self) -> str:
        pitch = "with" if self.uses_pitch else "without"
        return (
            f"RvcVoice({self.sample_rate} Hz, {self.vocoder}, {pitch} pitch, features "
            f"{self.feature_dim} wide, {self.n_speakers} speakers)"
        )

    def synthesize(
        self,
        features: Float32,
        coarse_pitch: npt.NDArray[np.integer] | None,
        f0_hz: npt.NDArray[np.floating] | None,
        *,
        speaker: int = 0,
        latent_noise: Float32 | None = None,
        source_noise: Float32 | None = None,
        noise_seed: int | None = None,
        initial_phase: float = 0.0,
        skip_head: int = 0,
        return_length: int | None = None,
        formant_frames: int | None = None,
    ) -> Float32:
        """Make sound of frames `skip_head` to `skip_head + return_length` of a window.

        The same call as ``infer`` in RVC's ``infer/module/models.py``, with the noise and the
        phase given rather than drawn.

        Parameters
        ----------
        features
            Content features at 100 Hz, (T, feature_dim).
        coarse_pitch
            Bins of the pitch embedding, 0..255, (T,); see `rtvc.engine.dsp.pitch.coarse_pitch`.
            Ignored by a voice without pitch.
        f0_hz
            Pitch in Hz, (T,); 0 is unvoiced. Ignored by a voice without pitch.
        speaker
            Number of the speaker, from 0.
        latent_noise
            Standard normal noise for every frame of the window, (T, latent_channels), or None
            for none. It is scaled by 0.66666 and the predicted deviation.
        source_noise
            Standard normal noise for every sample to be made, before any formant shift:
            (return_length * hop, harmonics), or without the second axis where harmonics is 1;
            None for none.
        noise_seed
            Seed of the noise that RefineGAN adds between its layers, or None for none. Other
            vocoders have no such noise.
        initial_phase
            Phase of the source's sine at frame `skip_head`, in cycles; carried from block to
            block with `rtvc.engine.dsp.pitch.sine_phase`.
        skip_head
            First frame to make; those before it are heard as context only.
        return_length
            How many frames to make; None for all that are left.
        formant_frames
            The reference's ``return_length2``: latent and excitation are stretched to so many
            frames before the vocoder. None for no stretch.

        Returns
        -------
        ndarray
            (samples,) float32 within [-1, 1], ``(formant_frames or return_length) * hop`` of
            them.

        Raises
        ------
        UsageError
            An array has another shape than the window asks for, or a value is out of range.
        """
        frames = self._window(features, skip_head, return_length)
        total = len(features)
        stretched = frames if formant_frames is None else formant_frames
        if stretched < 1:
            raise UsageError(f"The formant shift leaves {stretched} frames; it needs at least 1.")
        if not 0 <= speaker < self.n_speakers:
            raise UsageError(
                f"The voice has no speaker {speaker}: its speakers are 0 to {self.n_speakers - 1}."
            )
        if not np.isfinite(initial_phase):
            raise UsageError("The initial phase is not a finite number of cycles.")
        coarse, hz = self._pitch(coarse_pitch, f0_hz, total)
        audio = self.network(
            mx.array(np.ascontiguousarray(features, np.float32))[None],
            coarse=coarse,
            f0_hz=hz,
            speaker=mx.array(speaker),
            phase=mx.array(initial_phase % 1.0),
            latent_noise=_noise(latent_noise, (total, self.latent_channels), "latent"),
            source_noise=None
            if self.harmonics == 0
            else _noise(source_noise, (frames * self.hop, self.harmonics), "source"),
            noise_key=None if noise_seed is None else mx.random.key(noise_seed),
            skip_head=skip_head,
            return_length=frames,
            formant_frames=stretched,
        )
        return np.array(audio[0])

    def _window(self, features: Float32, skip_head: int, return_length: int | None) -> int:
        """Check the window; return how many frames to make."""
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise UsageError(
                f"The voice takes features of shape (frames, {self.feature_dim}), not "
                f"{features.shape}."
            )
        left = len(features) - skip_head
        frames = left if return_length is None else return_length
        if skip_head < 0 or not 1 <= frames <= left:
            raise UsageError(
                f"Frames {skip_head} to {skip_head + frames} are not within a window of "
                f"{len(features)}."
            )
        return frames

    def _pitch(
        self,
        coarse_pitch: npt.NDArray[np.integer] | None,
        f0_hz: npt.NDArray[np.floating] | None,
        frames: int,
    ) -> tuple[mx.array | None, mx.array | None]:
        """Check pitch (a gather out of range would read other memory) and hand it to MLX."""
        if not self.uses_pitch:
            return None, None
        if coarse_pitch is None or f0_hz is None:
            raise UsageError("The voice needs pitch, as bins and in Hz.")
        if coarse_pitch.shape != (frames,) or f0_hz.shape != (frames,):
            raise UsageError(
                f"A window of {frames} frames needs as many bins and values of pitch, not shapes "
                f"{coarse_pitch.shape} and {f0_hz.shape}."
            )
        if not np.issubdtype(coarse_pitch.dtype, np.integer):
            raise UsageError(f"Bins of pitch are whole numbers, not {coarse_pitch.dtype}.")
        if coarse_pitch.min() < 0 or coarse_pitch.max() >= COARSE_BINS:
            raise UsageError(
                f"Bins of pitch go from 0 to {COARSE_BINS - 1}, not from {coarse_pitch.min()} to "
                f"{coarse_pitch.max()}."
            )
        check_pitch(f0_hz)
        return (
            mx.array(coarse_pitch.astype(np.int32))[None],
            mx.array(f0_hz.astype(np.float32))[None],
        )


def _noise(noise: Float32 | None, shape: tuple[int, int], name: str) -> mx.array | None:
    """Check noise and hand it to MLX as (1, *shape)."""
    if noise is None:
        return None
    if noise.shape != shape and noise.shape != tuple(n for n in shape if n != 1):
        raise UsageError(f"The {name} noise has shape {noise.shape} instead of {shape}.")
    return mx.array(np.ascontiguousarray(noise, np.float32).reshape(1, *shape))
