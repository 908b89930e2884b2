"""A recording converted as a whole: long phrases with context on both sides, nothing in a hurry.

What the live path must do without is here: the future of every sound, and pitch that
was decided knowing it. Noise and the phase of the sine belong to the absolute frame as
they do live, so phrases join without a seam.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.dsp.melody import MelodySettings, target_f0
from rtvc.engine.dsp.pitch import sine_phase
from rtvc.engine.dsp.sola import fade_in
from rtvc.engine.plan import Plan
from rtvc.engine.rvc.phrases import high_pass, split
from rtvc.engine.rvc.pitch_track import PitchFrames
from rtvc.engine.rvc.render import decode_window, make_latent
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.rvc.window import FRAME
from rtvc.engine.voice import Rendered
from rtvc.settings import Settings

PAD = 100
"""Frames of context on either side of a phrase, 1 s; even, as phrases begin at even frames."""

_JOIN = 2
"""Frames over which one phrase goes over into the next."""

_SLICE = 200
"""Frames that are decoded at once: with the vocoder's whole reach around them, exact."""

_LOUDEST = 0.95
_PITCH_SHARE = 0.2
"""Part of the work that finding the pitch is, for the display."""


def convert(
    voice: RvcVoice,
    audio_16k: Float32,
    settings: Settings,
    report_progress: Callable[[float], None] = lambda share: None,
) -> ConvertedRecording:
    """Speak a recording with another voice.

    Parameters
    ----------
    voice
        The voice.
    audio_16k
        (samples,) mono at 16 kHz.
    settings
        Those of the voice and ``input_gain``; the others are for whoever plays the result.
    report_progress
        Told how far it is, 0 to 1.

    Returns
    -------
    Recording
        The result, (frames of 10 ms) as long as the original rounded up, as a voice that a
        chain can play.

    Raises
    ------
    RtvcError
        If the pitch estimator is not installed, or there is no such speaker.
    """
    voice.check_speaker(settings)
    sound = _prepare(audio_16k, settings)
    phrases = split(sound, FRAME)
    padded = np.pad(sound, PAD * FRAME, mode="reflect")
    pitch = _pitch(
        voice, padded, phrases, settings, lambda part: report_progress(_PITCH_SHARE * part)
    )
    conversion = _Conversion(voice, settings, padded, pitch)
    hop = voice.voice.hop
    made = np.zeros(len(sound) // FRAME * hop, np.float32)
    rise = fade_in(_JOIN * hop)
    for first, last in phrases:
        # Each goes on a little under the beginning of the next.
        end = min(last + _JOIN, len(sound) // FRAME)

        def report(part: float, at: int = first, frames: int = last - first) -> None:
            done = (at + part * frames) * FRAME / len(sound)
            report_progress(_PITCH_SHARE + (1 - _PITCH_SHARE) * done)

        piece = _phrase(conversion, first, end, report)
        if first > 0:
            piece[: len(rise)] *= rise
        if end > last:
            piece[-len(rise) :] *= 1.0 - rise
        made[first * hop : end * hop] += piece
    own = pitch.part(PAD, PAD + len(sound) // FRAME)
    return ConvertedRecording(
        voice.name, voice.kind, voice.output_rate, made, own.input_f0, own.output_f0
    )


@dataclass(frozen=True, slots=True)
class _Conversion:
    """What all phrases share: the recording and its pitch, with `PAD` frames on either side."""

    voice: RvcVoice
    settings: Settings
    padded: Float32
    pitch: PitchFrames


def _prepare(audio: Float32, settings: Settings) -> Float32:
    """Filter, level, and fill up to whole frames; at least two, so that it can be mirrored."""
    gain = np.float32(10.0 ** (settings.input_gain / 20.0))
    missing = max(-len(audio) % FRAME, 2 * FRAME - len(audio))
    sound = high_pass(np.pad(audio * gain, (0, missing)), 16_000)
    peak = float(np.abs(sound).max())
    return sound if peak <= _LOUDEST else (sound * np.float32(_LOUDEST / peak))


def _pitch(
    voice: RvcVoice,
    padded: Float32,
    phrases: list[tuple[int, int]],
    settings: Settings,
    report_progress: Callable[[float], None],
) -> PitchFrames:
    """Return the pitch of all frames, with `PAD` mirrored ones on either side."""
    frames = len(padded) // FRAME
    input_f0 = np.zeros(frames - 2 * PAD)
    estimator = voice.estimator(settings)
    if estimator is not None:
        for first, last in phrases:
            hz = estimator(
                padded[first * FRAME : (last + 2 * PAD) * FRAME],
                threshold=settings.pitch_threshold or None,
                f0_min=settings.pitch_floor,
                f0_max=settings.pitch_ceiling,
            )
            input_f0[first:last] = hz[PAD : PAD + last - first]
            report_progress(last / len(input_f0))
    if settings.pitch_interpolation and input_f0.any():
        input_f0 = np.interp(
            np.arange(len(input_f0)), np.flatnonzero(input_f0), input_f0[input_f0 > 0]
        )
    input_f0 = np.pad(input_f0, PAD, mode="reflect")
    output_f0 = target_f0(input_f0, _mean_pitch(input_f0), MelodySettings(settings).hold(frames))
    return PitchFrames(input_f0, output_f0, sine_phase(output_f0)[:-1])


def _mean_pitch(input_f0: Float64) -> Float64:
    """Return the middle of the whole melody at every frame."""
    voiced = input_f0[input_f0 > 0]
    return np.full(len(input_f0), float(np.log2(voiced).mean()) if len(voiced) else 0.0)


def _phrase(
    conversion: _Conversion,
    first: int,
    last: int,
    report_progress: Callable[[float], None],
) -> Float32:
    """Return the sound of a phrase, whose frames are counted in the recording."""
    voice, settings, padded, pitch = (
        conversion.voice,
        conversion.settings,
        conversion.padded,
        conversion.pitch,
    )
    frames = last - first + 2 * PAD
    own = pitch.part(first, first + frames)
    begun = voice.content.begin(padded[first * FRAME : (first + frames) * FRAME])
    rows = voice.content.rows(begun)
    input_f0 = own.input_f0 if voice.voice.uses_pitch else None
    features = voice.content.frames(rows, 0, input_f0, settings, count=frames, first=0)
    # Frames count from the recording's first, those of the context before it are negative.
    start = first - PAD
    z = make_latent(voice.voice, features, own, settings, start=start, first=0)
    mx.eval(z)
    reach = PAD if voice.voice.margin_frames is None else voice.voice.margin_frames
    hop, pieces = voice.voice.hop, []
    for at in range(PAD, frames - PAD, _SLICE):
        end = min(at + _SLICE, frames - PAD)
        part = at - reach, end + reach
        sound = decode_window(
            voice.voice, z[:, slice(*part)], own.part(*part), settings, start=start + part[0]
        )
        pieces.append(sound[reach * hop : (reach + end - at) * hop])
        report_progress((end - PAD) / (frames - 2 * PAD))
    return np.concatenate(pieces)


@dataclass(eq=False)
class ConvertedRecording:
    """A converted recording, as a voice that repeats it to whoever plays the original.

    So gate, loudness, limiter and modes do with it what they do live; see
    `rtvc.engine.voice.Voice`.

    Parameters
    ----------
    name, kind
        Of the voice that speaks.
    output_rate
        Its samples per second.
    audio
        (samples,) float32, from the moment at which the original begins.
    input_f0, output_f0
        Pitch of the original and of the result every 10 ms in Hz, 0 = unvoiced.
    """

    name: str
    kind: str
    output_rate: int
    audio: Float32
    input_f0: Float64
    output_f0: Float64

    input_rate = ENGINE_RATE
    continuous = True

    def lookahead_frames(self, settings: Settings) -> int:
        """Return 0: all has been heard already."""
        return 0

    def open(self, plan: Plan, settings: Settings) -> _RecordingStream:
        """Return a stream at time 0."""
        return _RecordingStream(self, plan)


class _RecordingStream:
    """Keeps step with the original; see `rtvc.engine.voice.Stream`."""

    def __init__(self, recording: ConvertedRecording, plan: Plan) -> None:
        self._recording = recording
        self._hop = recording.output_rate // 100
        self._at = -plan.delay  # frames

    def render(self, block: Float32, settings: Settings) -> Rendered:
        """Return the part of the recording that belongs to this block, the delay late."""
        first = self._at
        self.skip(block)
        recording, hop = self._recording, self._hop
        audio = np.zeros((self._at - first) * hop, np.float32)
        there = recording.audio[max(first, 0) * hop : max(self._at, 0) * hop]
        before = max(-first, 0) * hop
        audio[before : before + len(there)] = there
        newest = self._at - 1
        if not 0 <= newest < len(recording.input_f0):
            return Rendered(audio)
        return Rendered(
            audio, float(recording.input_f0[newest]), float(recording.output_f0[newest])
        )

    def skip(self, samples: Float32) -> None:
        """Let time pass."""
        self._at += len(samples) // (ENGINE_RATE // 100)
