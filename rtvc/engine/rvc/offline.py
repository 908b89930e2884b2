"""Offline conversion of a recording, in long phrases with context on both sides.

Unlike the live path it uses input after each frame, for the features and for f0. Noise and the
phase of the sine are functions of the absolute frame, as in the live path, so phrases join
without a discontinuity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.dsp.auto_pitch import in_force, shift_to
from rtvc.engine.dsp.melody import MelodySettings, target_f0
from rtvc.engine.dsp.pitch import FRAME_S, sine_phase
from rtvc.engine.dsp.sola import fade_in
from rtvc.engine.dsp.tune import Tuner
from rtvc.engine.models.ops.ops import untraced
from rtvc.engine.plan import Plan
from rtvc.engine.rvc.mlx_errors import mlx_errors
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
"""Frames of crossfade between phrases."""

_SLICE = 200
"""Frames decoded at once; with the vocoder's whole margin around them the result is exact."""

_LOUDEST = 0.95
"""Peak above which the input is scaled down."""
_PITCH_SHARE = 0.2
"""Share of the progress that f0 estimation takes."""


@mlx_errors("rendered")
def convert(
    voice: RvcVoice,
    audio_16k: Float32,
    settings: Settings,
    report_progress: Callable[[float], None] = lambda share: None,
) -> ConvertedRecording:
    """Convert a recording.

    Parameters
    ----------
    voice
        The voice to convert to.
    audio_16k
        (samples,) float32, mono at 16 kHz.
    settings
        The settings of the voice and ``input_gain`` are used. The others are applied by the
        chain that plays the result.
    report_progress
        Called with the progress, 0 to 1.

    Returns
    -------
    ConvertedRecording
        The result as a voice for a chain. Its length is the length of the input rounded up to
        whole 10 ms frames.

    Raises
    ------
    RtvcError
        If the pitch estimator is not installed.
    UsageError
        If the voice does not have the speaker.
    """
    voice.check_speaker(settings)
    sound = _prepare(audio_16k, settings)
    phrases = split(sound, FRAME)
    padded = np.pad(sound, PAD * FRAME, mode="reflect")
    with untraced():
        pitch = _pitch(
            voice, padded, phrases, settings, lambda part: report_progress(_PITCH_SHARE * part)
        )
    conversion = _Conversion(voice, settings, padded, pitch)
    hop = voice.voice.hop
    converted = np.zeros(len(sound) // FRAME * hop, np.float32)
    rise = fade_in(_JOIN * hop)
    for first, last in phrases:
        # Each phrase extends into the next one for the crossfade.
        end = min(last + _JOIN, len(sound) // FRAME)

        def report(part: float, at: int = first, frames: int = last - first) -> None:
            done = (at + part * frames) * FRAME / len(sound)
            report_progress(_PITCH_SHARE + (1 - _PITCH_SHARE) * done)

        piece = _phrase(conversion, first, end, report)
        if first > 0:
            piece[: len(rise)] *= rise
        if end > last:
            piece[-len(rise) :] *= 1.0 - rise
        converted[first * hop : end * hop] += piece
    own = pitch.part(PAD, PAD + len(sound) // FRAME)
    return ConvertedRecording(
        voice.name,
        voice.kind,
        voice.output_rate,
        converted,
        own.input_f0,
        own.output_f0,
        voice.features,
    )


@dataclass(frozen=True, slots=True)
class _Conversion:
    """The data that all phrases share: input and f0, padded by `PAD` frames on either side."""

    voice: RvcVoice
    settings: Settings
    padded: Float32
    pitch: PitchFrames


def _prepare(audio: Float32, settings: Settings) -> Float32:
    """Filter, limit the peak and pad to whole frames, at least two, which padding needs."""
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
    """Return the f0 of all frames, with `PAD` mirrored frames on either side."""
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
    # What was never measured cannot be held.
    if settings.auto_pitch == "on" and in_force(settings) and input_f0.any():
        octave = float(np.median(np.log2(input_f0[input_f0 > 0])))
        settings = settings.replace(pitch=shift_to(settings.auto_pitch_target, octave))
    input_f0 = np.pad(input_f0, PAD, mode="reflect")
    values = MelodySettings(settings).hold(frames)
    output_f0 = target_f0(input_f0, _mean_pitch(input_f0), values, Tuner(FRAME_S))
    return PitchFrames(input_f0, output_f0, sine_phase(output_f0)[:-1])


def _mean_pitch(input_f0: Float64) -> Float64:
    """Return the mean pitch of the recording in octaves above 1 Hz, (frames,)."""
    voiced = input_f0[input_f0 > 0]
    return np.full(len(input_f0), float(np.log2(voiced).mean()) if len(voiced) else 0.0)


def _phrase(
    conversion: _Conversion,
    first: int,
    last: int,
    report_progress: Callable[[float], None],
) -> Float32:
    """Render frames `first` to `last` of the recording."""
    voice, settings, padded, pitch = (
        conversion.voice,
        conversion.settings,
        conversion.padded,
        conversion.pitch,
    )
    frames = last - first + 2 * PAD
    own = pitch.part(first, first + frames)
    # Absolute frames count from the start of the recording; padding before it is negative.
    start = first - PAD
    with untraced():
        begun = voice.content.begin(padded[first * FRAME : (first + frames) * FRAME])
        rows = voice.content.rows(begun)
        input_f0 = own.input_f0 if voice.voice.uses_pitch else None
        features = voice.content.frames(rows, 0, input_f0, settings, count=frames, first=0)
        z = make_latent(voice.voice, features, own, settings, start=start, first=0)
        mx.eval(z)
    reach = PAD if voice.voice.margin_frames is None else voice.voice.margin_frames
    hop, pieces = voice.voice.hop, []
    for at in range(PAD, frames - PAD, _SLICE):
        end = min(at + _SLICE, frames - PAD)
        part = at - reach, end + reach
        with untraced(when=end - at < _SLICE):
            sound = decode_window(
                voice.voice, z[:, slice(*part)], own.part(*part), settings, start=start + part[0]
            )
        pieces.append(sound[reach * hop : (reach + end - at) * hop])
        report_progress((end - PAD) / (frames - 2 * PAD))
    return np.concatenate(pieces)


@dataclass(eq=False)
class ConvertedRecording:
    """A converted recording as a voice that plays it in step with the original.

    A chain then applies gate, loudness, limiter and modes as in the live path; see
    `rtvc.engine.voice.Voice`.

    Parameters
    ----------
    name, kind
        Name and kind of the voice converted to.
    output_rate
        Sample rate of `audio` in Hz.
    audio
        (samples,) float32, starting at the start of the original.
    input_f0, output_f0
        f0 of original and result per 10 ms frame in Hz, 0 = unvoiced.
    features
        Those of the voice converted to.
    """

    name: str
    kind: str
    output_rate: int
    audio: Float32
    input_f0: Float64
    output_f0: Float64
    features: frozenset[str] = frozenset()

    input_rate = ENGINE_RATE
    continuous = True
    speakers = 1

    def lookahead_frames(self, settings: Settings) -> int:
        """Return 0: the result is complete."""
        return 0

    def leaves_unchanged(self, settings: Settings) -> bool:
        """Return False: the recording is the trained voice."""
        return False

    def open(self, plan: Plan, settings: Settings) -> _RecordingStream:
        """Return a stream at time 0."""
        return _RecordingStream(self, plan)


class _RecordingStream:
    """Plays a converted recording in step with the input; see `rtvc.engine.voice.Stream`."""

    def __init__(self, recording: ConvertedRecording, plan: Plan) -> None:
        self._recording = recording
        self._hop = recording.output_rate // 100
        self._at = -plan.input_delay - plan.delay  # frames

    def render(self, block: Float32, settings: Settings) -> Rendered:
        """Return the part of the recording for this block, delayed by the plan's delay."""
        first = self._at
        self.skip(block)
        recording, hop = self._recording, self._hop
        audio = np.zeros((self._at - first) * hop, np.float32)
        part = recording.audio[max(first, 0) * hop : max(self._at, 0) * hop]
        before = max(-first, 0) * hop
        audio[before : before + len(part)] = part
        newest = self._at - 1
        if not 0 <= newest < len(recording.input_f0):
            return Rendered(audio)
        return Rendered(
            audio, float(recording.input_f0[newest]), float(recording.output_f0[newest])
        )

    def skip(self, samples: Float32) -> None:
        """Advance the position by the length of `samples`."""
        self._at += len(samples) // (ENGINE_RATE // 100)

    def renewed(self, plan: Plan, settings: Settings) -> _RecordingStream:
        """Return a stream at time 0."""
        return _RecordingStream(self._recording, plan)
