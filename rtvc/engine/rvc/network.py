"""The synthesizer network of an RVC voice, with checked NumPy arrays as input and output."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from rtvc._types import Float32, Weights
from rtvc.engine.dsp.pitch import COARSE_BINS, check_pitch
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.weights.checkpoint import DEFAULT_EMBEDDER
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.errors import UsageError


class SynthesizerNetwork:
    """The synthesizer network of a voice.

    Make all calls from one thread, because MLX arrays belong to a thread.

    Parameters
    ----------
    weights
        float32 tensors by PyTorch name, in PyTorch's layout, with weight norm folded.
    config
        Sizes of the network.
    embedder
        Name of the content encoder that the voice was trained with. Features of another
        encoder give unusable output.
    precision
        Type of the weights in memory; None for that of this machine.

    Attributes
    ----------
    network
        The MLX network, for callers that use MLX arrays.
    sample_rate
        Output sample rate in Hz.
    hop
        Output samples per 10 ms frame.
    feature_dim
        Width of the content features: 256 (v1) or 768 (v2).
    latent_channels
        Width of the latent and of its noise.
    uses_pitch
        Whether the voice uses f0.
    harmonics
        Number of sines in the source, which is the width of the source noise; 0 without f0.
    n_speakers
        Number of speakers.
    vocoder
        Name of the vocoder: HiFi-GAN NSF, HiFi-GAN (without f0), MRF HiFi-GAN or RefineGAN.
    margin_frames
        Frames on either side that an output frame depends on in the vocoder. A render with
        this many extra frames before `skip_head` and after the end, cut off afterwards, equals
        the same part of a longer render. None if that exceeds any live window.

    Raises
    ------
    RtvcError
        If the weights are not exactly those described by the configuration.
    """

    def __init__(
        self,
        weights: Weights,
        config: VoiceConfig,
        *,
        embedder: str = DEFAULT_EMBEDDER,
        precision: mx.Dtype | None = None,
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
            f"SynthesizerNetwork({self.sample_rate} Hz, {self.vocoder}, {pitch} pitch, features "
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
        """Render frames `skip_head` to `skip_head + return_length` of a window.

        Corresponds to ``infer`` in RVC's ``infer/module/models.py``, with noise and phase as
        arguments instead of random values.

        Parameters
        ----------
        features
            Content features at 100 Hz, (T, feature_dim).
        coarse_pitch
            Bins of the pitch embedding, 0..255, (T,); see `rtvc.engine.dsp.pitch.coarse_pitch`.
            Ignored by a voice without f0.
        f0_hz
            f0 in Hz, (T,); 0 = unvoiced. Ignored by a voice without f0.
        speaker
            Speaker number, from 0.
        latent_noise
            Standard normal noise for each frame of the window, (T, latent_channels), or None
            for no noise. It is scaled by 0.66666 and the predicted deviation.
        source_noise
            Standard normal noise for each output sample before any formant shift,
            (return_length * hop, harmonics), without the second axis if harmonics is 1; None
            for no noise.
        noise_seed
            Seed of the noise that RefineGAN adds between its layers, None for no noise. Other
            vocoders have none.
        initial_phase
            Phase of the sine source at frame `skip_head`, in cycles; to be carried from block
            to block with `rtvc.engine.dsp.pitch.sine_phase`.
        skip_head
            First frame to render; the frames before it are context.
        return_length
            Number of frames to render; None for all remaining ones.
        formant_frames
            ``return_length2`` of the reference: number of frames to which latent and excitation
            are stretched before the vocoder. None for no stretch.

        Returns
        -------
        ndarray
            (samples,) float32 in [-1, 1] with
            ``samples = (formant_frames or return_length) * hop``.

        Raises
        ------
        UsageError
            If an array has the wrong shape for the window, or a value is out of range.
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
            raise UsageError("The initial phase must be a finite number of cycles.")
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
        """Check the window; return the number of frames to render."""
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise UsageError(
                f"The voice needs features of shape (frames, {self.feature_dim}), not "
                f"{features.shape}."
            )
        left = len(features) - skip_head
        frames = left if return_length is None else return_length
        if skip_head < 0 or not 1 <= frames <= left:
            raise UsageError(
                f"Frames {skip_head} to {skip_head + frames} are outside the window of "
                f"{len(features)} frames."
            )
        return frames

    def _pitch(
        self,
        coarse_pitch: npt.NDArray[np.integer] | None,
        f0_hz: npt.NDArray[np.floating] | None,
        frames: int,
    ) -> tuple[mx.array | None, mx.array | None]:
        """Check f0 and bins, and convert them to MLX arrays.

        An index out of range would make the embedding read other memory.
        """
        if not self.uses_pitch:
            return None, None
        if coarse_pitch is None or f0_hz is None:
            raise UsageError("The voice needs f0, both as bins and in Hz.")
        if coarse_pitch.shape != (frames,) or f0_hz.shape != (frames,):
            raise UsageError(
                f"A window of {frames} frames needs f0 bins and values of shape ({frames},), not "
                f"{coarse_pitch.shape} and {f0_hz.shape}."
            )
        if not np.issubdtype(coarse_pitch.dtype, np.integer):
            raise UsageError(f"The f0 bins must be integers, not {coarse_pitch.dtype}.")
        if coarse_pitch.min() < 0 or coarse_pitch.max() >= COARSE_BINS:
            raise UsageError(
                f"The f0 bins must be 0 to {COARSE_BINS - 1}, not {coarse_pitch.min()} to "
                f"{coarse_pitch.max()}."
            )
        check_pitch(f0_hz)
        return (
            mx.array(coarse_pitch.astype(np.int32))[None],
            mx.array(f0_hz.astype(np.float32))[None],
        )


def _noise(noise: Float32 | None, shape: tuple[int, int], name: str) -> mx.array | None:
    """Check noise and convert it to an MLX array of shape (1, *shape)."""
    if noise is None:
        return None
    if noise.shape != shape and noise.shape != tuple(n for n in shape if n != 1):
        raise UsageError(f"The {name} noise must have shape {shape}, not {noise.shape}.")
    return mx.array(np.ascontiguousarray(noise, np.float32).reshape(1, *shape))
