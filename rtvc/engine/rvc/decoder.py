"""Latent to sound, block after block: every frame is decoded once, with what came before it.

The vocoder's layers remember their newest inputs (`rtvc.engine.models.stream_state`), so blocks
continue one another without overlap. What a frame hears of its future is as far as the
stream has looked ahead; beyond that the newest latent and pitch are held.

A formant shift stretches time for the vocoder, and its sound is played faster or slower.
Stretched time runs on through changes of the shift: only its speed is another.
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
"""Frames that are decoded before the first one after a pause: what they leave out of its past
is 60 dB below the sound."""

_SLACK = 2
"""Frames before a block that its first stretched frame may reach back to."""

_TINY = 1e-6

_KEPT = 64
"""Samples of stretched sound that are played again: no kernel reaches further back."""


class Decoder(Protocol):
    """Makes the sound of consecutive blocks."""

    @property
    def before(self) -> int:
        """Frames before the next block whose latent and pitch it needs."""

    def decode(self, z: mx.array, pitch: PitchFrames, settings: Settings, *, start: int) -> Float32:
        """Make the sound of the next block, and of what is to be crossfaded after it.

        Parameters
        ----------
        z
            Latent from `before` frames before the block to the newest one, (1, T, C).
        pitch
            Of the same frames.
        settings
            ``formant``, ``speaker`` and ``seed``.
        start
            Absolute index of the first of them.
        """

    def reset(self) -> None:
        """Forget the past: the next block does not continue the last one."""


class StreamingDecoder:
    """See `Decoder`. Blocks continue one another.

    Parameters
    ----------
    voice
        The voice.
    vocoder
        Its vocoder.
    block
        Frames that are made at once.
    """

    def __init__(self, voice: SynthesizerNetwork, vocoder: StreamingVocoder, block: int) -> None:
        self._voice, self._vocoder, self._block = voice, vocoder, block
        self.reset()

    def reset(self) -> None:
        """See `Decoder`."""
        self._state: StreamState = ()
        # In stretched frames from the beginning of the next piece to the beginning of the
        # next block, and the speed of stretched time up to there.
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
            # Back in step with whole frames, within this block.
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
            # As many frames in every step, wherever in one of them the block begins.
            frames = before + math.ceil(count / speed) + 1
            output_f0 = np.pad(
                pitch.output_f0, (0, max(frames - len(pitch.output_f0), 0)), mode="edge"
            )[:frames]
            made = make_excitation(
                self._vocoder.source,
                hop,
                output_f0,
                settings,
                phase=float(pitch.phase[0]),
                start=start,
            )
            excitation = sample_linear(made, self._places(count, speed, hop) + before * hop)
        speaker = embed_speaker(self._voice, settings)
        sound, self._state = self._vocoder.stream(latent, excitation, speaker, self._state, final)
        mx.eval(sound, *self._state)

        samples = np.concatenate([self._kept, np.array(sound[0])])
        if plain:
            at = _KEPT + round(self._ahead) * hop
            played = samples[at : at + block * hop]
        else:
            moments = self._ahead * hop + (np.arange(block * hop) + 0.5) * speed
            played = resample_at(samples, moments - 0.5 + _KEPT, speed)
        self._kept = samples[final * hop : final * hop + _KEPT].copy()
        self._ahead = end - final if end - final > _TINY else 0.0
        self._speed = speed
        return played

    def _places(self, count: int, speed: float, rate: int = 1) -> Float64:
        """Where the next stretched frames lie in time, with `rate` samples in every frame.

        Counted in samples from the first one of the block: that one is 0.
        """
        stretched = np.arange(count * rate) + 0.5 - self._ahead * rate
        return np.where(stretched < 0, stretched / self._speed, stretched / speed) - 0.5


class WindowDecoder:
    """See `Decoder`. Every block is a render by itself, to be aligned and crossfaded.

    Parameters
    ----------
    voice
        Any.
    margin
        Frames that are decoded before those that are given back.
    rendered
        Frames that are given back.
    after
        Frames that are decoded after them.
    """

    def __init__(self, voice: SynthesizerNetwork, margin: int, rendered: int, after: int) -> None:
        self._voice, self._margin = voice, margin
        self._rendered, self._decoded = rendered, margin + rendered + after

    @property
    def before(self) -> int:
        """See `Decoder`."""
        return self._margin

    def reset(self) -> None:
        """Do nothing: nothing is remembered."""

    def decode(self, z: mx.array, pitch: PitchFrames, settings: Settings, *, start: int) -> Float32:
        """See `Decoder`."""
        count, hop = self._decoded, self._voice.hop
        sound = decode_window(
            self._voice, z[:, :count], pitch.part(0, count), settings, start=start
        )
        return sound[self._margin * hop : (self._margin + self._rendered) * hop]
