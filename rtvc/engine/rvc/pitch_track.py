"""The f0 of a stream by absolute frame index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float64
from rtvc.engine.dsp.melody import TUNE, MeanPitch, MelodySettings, target_f0
from rtvc.engine.dsp.pitch import FRAME_S, sine_phase
from rtvc.engine.dsp.tune import Tuner
from rtvc.settings import Settings


class PitchFrames(NamedTuple):
    """f0 of consecutive frames, (n,) float64 each.

    Attributes
    ----------
    input_f0, output_f0
        f0 of the input, and target f0 of the output, in Hz; 0 = unvoiced.
    phase
        Phase of the sine source at the start of each frame, in cycles [0, 1).
    """

    input_f0: Float64
    output_f0: Float64
    phase: Float64

    def part(self, first: int, last: int) -> PitchFrames:
        """Return the frames from `first` to before `last`."""
        return PitchFrames(
            self.input_f0[first:last], self.output_f0[first:last], self.phase[first:last]
        )


class PitchTrack:
    """The newest f0 frames of a stream; frames that have been output are final.

    Estimates of one frame differ from window to window. Changing them after the frame has been
    output would make the phase of the sine source jump, because the phase is the sum of all
    earlier f0. So estimates replace earlier ones only until the frame is final.

    Parameters
    ----------
    frames
        Number of frames to keep.
    settings
        Settings at the start of the stream.

    Attributes
    ----------
    end
        Absolute index after the newest frame.
    final_end
        Frames before this absolute index are final.
    estimated_end
        Frames before this absolute index have been estimated, or are no longer kept.
    mean_pitch
        Mean pitch of the final frames of the input.
    """

    def __init__(self, frames: int, settings: Settings) -> None:
        self.end = self.final_end = self.estimated_end = 0
        self._input_f0, self._output_f0, self._phase = np.zeros((3, frames))
        self._melody = MelodySettings(settings)
        self._melody_frames = self._melody.hold(frames)
        self.mean_pitch = MeanPitch()
        self._tuner = Tuner(FRAME_S)
        self._final_phase = 0.0

    @property
    def start(self) -> int:
        """Absolute index of the oldest kept frame; negative at first."""
        return self.end - len(self._input_f0)

    def advance(self, frames: int, settings: Settings | None = None) -> None:
        """Append frames, which are unvoiced until they are written.

        Parameters
        ----------
        frames
            Number of frames.
        settings
            Settings for the new frames; None keeps the previous ones.
        """
        melody = self._melody
        fresh = melody.hold(frames) if settings is None else melody.glide(frames, settings)
        kept = len(self._input_f0)
        self._input_f0, self._output_f0, self._phase = (
            np.concatenate([ring, np.zeros(frames)])[-kept:]
            for ring in (self._input_f0, self._output_f0, self._phase)
        )
        self._melody_frames = np.concatenate([self._melody_frames, fresh])[-kept:]
        self.end += frames
        self.final_end, self.estimated_end = (
            max(self.final_end, self.start),
            max(self.estimated_end, self.start),
        )

    def write(self, first: int, hz: NDArray[np.floating], *, interpolate: bool = False) -> None:
        """Write estimates of the newest frames; final frames are not changed.

        Parameters
        ----------
        first
            Absolute index of the first value.
        hz
            (n,) input f0 in Hz up to the newest frame, 0 = unvoiced.
        interpolate
            Whether to interpolate f0 linearly over unvoiced frames.
        """
        values = np.asarray(hz, dtype=np.float64)[-len(self._input_f0) :]
        first = max(first, self.start)
        if interpolate and values.any():
            values = self._interpolated(first, values)
        free = max(first, self.final_end)
        if free < self.end:
            self._input_f0[free - self.end :] = values[free - self.end :]
        self.estimated_end = self.end

    def compute_target_f0(self) -> None:
        """Compute target f0 and phase of the frames that are not final."""
        free = slice(self.final_end - self.start, None)
        input_f0 = self._input_f0[free]
        mean = self.mean_pitch.copy().update(input_f0)
        values = self._melody_frames[free]
        self._output_f0[free] = target_f0(input_f0, mean, values, self._tuner.copy())
        self._phase[free] = sine_phase(self._output_f0[free], self._final_phase)[:-1]

    def finalize(self, until: int) -> None:
        """Make the frames before absolute index `until` final."""
        span = slice(self.final_end - self.start, max(until, self.final_end) - self.start)
        mean = self.mean_pitch.update(self._input_f0[span])
        values = self._melody_frames[span]
        if self._tuner.active or values[:, TUNE].any():
            target_f0(self._input_f0[span], mean, values, self._tuner)
        cycles = float(np.sum(self._output_f0[span])) * FRAME_S
        self._final_phase = (self._final_phase + cycles) % 1.0
        self.final_end = max(until, self.final_end)

    def frames(self, first: int, last: int) -> PitchFrames:
        """Return the frames from absolute index `first` to before `last`."""
        kept = PitchFrames(self._input_f0, self._output_f0, self._phase)
        return kept.part(first - self.start, last - self.start)

    def _interpolated(self, first: int, values: Float64) -> Float64:
        """Interpolate unvoiced values, starting from the last final frame if it is voiced."""
        at = np.arange(first, first + len(values))
        voiced = values > 0
        known_at, estimates = at[voiced], values[voiced]
        anchor = self.final_end - 1
        if self.start <= anchor < known_at[0] and self._input_f0[anchor - self.start] > 0:
            known_at = np.concatenate([[anchor], known_at])
            estimates = np.concatenate([[self._input_f0[anchor - self.start]], estimates])
        return np.interp(at, known_at, estimates)
