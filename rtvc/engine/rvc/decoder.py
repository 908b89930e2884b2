"""Decoding of latents block by block: streaming, or as independent windows.

In streaming, each frame is decoded once. The layers of the vocoder keep their newest inputs
(`rtvc.engine.models.stream_state`), so blocks join without overlap. Frames after the lookahead
are replaced by the newest latent and f0.

A formant shift stretches time for the vocoder, and its output is resampled. Stretched time
continues across changes of the shift; only its speed changes.
"""

from __future__ import annotations

import math
from typing import Protocol

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.formant import formant_ratio, resample_at
from rtvc.engine.models.ops.interpolate import sample_linear
from rtvc.engine.models.stream_state import StreamState
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.rvc.pitch_track import PitchFrames
from rtvc.engine.rvc.render import decode_window, embed_speaker, make_excitation
from rtvc.settings import Settings

RUN_UP = 6
"""Frames decoded before the first one after a pause. The error from the missing earlier frames is
60 dB below the signal."""

_SLACK = 2
"""Frames before a block that its first stretched frame may need."""

_TINY = 1e-6

_KEPT = 64
"""Newest samples of the stretched signal kept for resampling; no kernel reaches further back."""


class Decoder(Protocol):
    """Decodes the latents of consecutive blocks."""

    @property
    def before(self) -> int:
        """Number of frames before the next block whose latent and f0 are needed."""

    def decode(self, z: mx.array, pitch: PitchFrames, settings: Settings, *, start: int) -> Float32:
        """Decode the next block, and any frames after it that are to be crossfaded.

        Parameters
        ----------
        z
            Latent from `before` frames before the block to the newest frame, (1, T, C).
        pitch
            f0 of the same frames.
        settings
            ``formant``, ``speaker`` and ``seed`` are used.
        start
            Absolute index of the first frame.

        Returns
        -------
        ndarray
            (samples,) float32.
        """

    def reset(self) -> None:
        """Clear the state: the next block does not continue the previous one."""


class StreamingDecoder:
    """Decoder with streaming state, whose blocks join without overlap; see `Decoder`.

    Parameters
    ----------
    voice
        The network of the voice.
    vocoder
        Its vocoder.
    block
        Frames per block.
    """

    def __init__(self, voice: SynthesizerNetwork, vocoder: StreamingVocoder, block: int) -> None:
        self._voice, self._vocoder, self._block = voice, vocoder, block
        self.reset()

    def reset(self) -> None:
        """See `Decoder`."""
        self._state: StreamState = ()
        # Stretched frames from the start of the vocoder's next input to the start of the next
        # block, and the speed of stretched time up to there.
        self._ahead, self._speed = math.nan, math.nan
        self._kept: Float32 = np.zeros(_KEPT, np.float32)

    @property
    def before(self) -> int:
        """See `Decoder`."""
        return _SLACK if self._state else RUN_UP + _SLACK

    def decode(self, z: mx.array, pitch: PitchFrames, settings: Settings, *, start: int) -> Float32:
        """See `Decoder`."""
        before, block, hop = self.before, self._block, self._voice.hop
        speed = formant_ratio(settings.formant)
        if not self._state:
            self._speed, self._ahead = speed, RUN_UP * speed
        elif speed == 1.0:
            # Return to whole frames within this block.
            speed += (round(self._ahead) - self._ahead) / block
        end = self._ahead + block * speed
        plain = speed == 1.0 and self._ahead.is_integer()
        if plain:
            wanted = round(end)
        else:
            run_up = 0 if self._state else math.ceil(self._ahead)
            wanted = run_up + math.ceil(block * speed) + 2
        final = math.floor(end + _TINY)

        count = wanted + self._vocoder.lookahead_frames
        latent = sample_linear(z, self._places(count, speed) + before)
        excitation = None
        if self._vocoder.source is not None:
            # The same number of frames in every step, whatever the offset of the block.
            frames = before + math.ceil(count / speed) + 1
            output_f0 = np.pad(
                pitch.output_f0, (0, max(frames - len(pitch.output_f0), 0)), mode="edge"
            )[:frames]
            unstretched = make_excitation(
                self._vocoder.source,
                hop,
                output_f0,
                settings,
                phase=float(pitch.phase[0]),
                start=start,
            )
            excitation = sample_linear(unstretched, self._places(count, speed, hop) + before * hop)
        speaker = embed_speaker(self._voice, settings)
        sound, self._state = self._vocoder.stream(latent, excitation, speaker, self._state, final)
        mx.eval(sound, *self._state)

        samples = np.concatenate([self._kept, np.array(sound[0])])
        if plain:
            at = _KEPT + round(self._ahead) * hop
            output = samples[at : at + block * hop]
        else:
            places = self._ahead * hop + (np.arange(block * hop) + 0.5) * speed
            output = resample_at(samples, places - 0.5 + _KEPT, speed)
        self._kept = samples[final * hop : final * hop + _KEPT].copy()
        self._ahead = end - final if end - final > _TINY else 0.0
        self._speed = speed
        return output

    def _places(self, count: int, speed: float, rate: int = 1) -> Float64:
        """Return the positions in time of the next stretched frames, (count * rate,).

        Positions are in samples, with `rate` samples per frame; 0 is the first sample of the
        block.
        """
        stretched = np.arange(count * rate) + 0.5 - self._ahead * rate
        return np.where(stretched < 0, stretched / self._speed, stretched / speed) - 0.5


class WindowDecoder:
    """Decoder without state: each block is an independent render, to be aligned and crossfaded.

    See `Decoder`.

    Parameters
    ----------
    voice
        The network of the voice; any vocoder.
    margin
        Frames decoded before the returned ones.
    rendered
        Frames returned.
    after
        Frames decoded after the returned ones.
    """

    def __init__(self, voice: SynthesizerNetwork, margin: int, rendered: int, after: int) -> None:
        self._voice, self._margin = voice, margin
        self._rendered, self._decoded = rendered, margin + rendered + after

    @property
    def before(self) -> int:
        """See `Decoder`."""
        return self._margin

    def reset(self) -> None:
        """Do nothing; there is no state."""

    def decode(self, z: mx.array, pitch: PitchFrames, settings: Settings, *, start: int) -> Float32:
        """See `Decoder`."""
        count, hop = self._decoded, self._voice.hop
        sound = decode_window(
            self._voice, z[:, :count], pitch.part(0, count), settings, start=start
        )
        return sound[self._margin * hop : (self._margin + self._rendered) * hop]
