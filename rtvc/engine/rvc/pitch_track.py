"""The pitch of a stream, kept by absolute frame index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float64
from rtvc.engine.dsp.melody import MeanPitch, MelodySettings, target_f0
from rtvc.engine.dsp.pitch import FRAME_S, sine_phase
from rtvc.settings import Settings


class PitchFrames(NamedTuple):
    """Pitch of consecutive frames, (n,) each.

    Attributes
    ----------
    heard, sung
        Pitch of the input and of the output in Hz, 0 = unvoiced.
    phase
        Phase of the output's sine at the beginning of each frame, in cycles [0, 1).
    """

    input_f0: Float64
    output_f0: Float64
    phase: Float64

    def part(self, first: int, last: int) -> PitchFrames:
        """Return the frames from `first` up to, not with, `last`."""
        return PitchFrames(
            self.input_f0[first:last], self.output_f0[first:last], self.phase[first:last]
        )


class PitchTrack:
    """A ring of the newest frames; those that have been emitted are final.

    Estimates of one frame differ from window to window. Were they replaced after the
    frame has been heard, the phase of the sine, which is the sum of all pitch before
    it, would jump. So a frame is written as often as one likes until it is frozen.

    Parameters
    ----------
    frames
        How many are kept.
    settings
        What the knobs of the melody stand at when the stream begins.

    Attributes
    ----------
    end
        Absolute index after the newest frame.
    final_end
        Frames before this one are final.
    estimated_end
        Frames before this one have been estimated, or are too old to matter.
    """

    def __init__(self, frames: int, settings: Settings) -> None:
        self.end = self.final_end = self.estimated_end = 0
        self._input_f0, self._output_f0, self._phase = np.zeros((3, frames))
        self._melody = MelodySettings(settings)
        self._melody_frames = self._melody.hold(frames)
        self._mean = MeanPitch()
        self._final_phase = 0.0

    @property
    def start(self) -> int:
        """Absolute index of the oldest frame that is kept; negative at first."""
        return self.end - len(self._input_f0)

    def advance(self, frames: int, settings: Settings | None = None) -> None:
        """Let time pass: the new frames are unvoiced until they are written.

        Parameters
        ----------
        frames
            How many.
        settings
            Where the knobs of the melody go; None leaves them where they are.
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
        """Estimate the newest frames, as far as they are not final.

        Parameters
        ----------
        first
            Absolute index of the first value.
        hz
            (n,) values up to the newest frame.
        interpolate
            Whether unvoiced frames get the pitch between the voiced ones around them.
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
        """Work out what is sung on the frames that are not final."""
        free = slice(self.final_end - self.start, None)
        input_f0 = self._input_f0[free]
        mean = self._mean.copy().update(input_f0)
        self._output_f0[free] = target_f0(input_f0, mean, self._melody_frames[free])
        self._phase[free] = sine_phase(self._output_f0[free], self._final_phase)[:-1]

    def finalize(self, until: int) -> None:
        """Declare the frames before `until` final."""
        span = slice(self.final_end - self.start, max(until, self.final_end) - self.start)
        self._mean.update(self._input_f0[span])
        cycles = float(np.sum(self._output_f0[span])) * FRAME_S
        self._final_phase = (self._final_phase + cycles) % 1.0
        self.final_end = max(until, self.final_end)

    def frames(self, first: int, last: int) -> PitchFrames:
        """Return the frames from absolute index `first` up to, not with, `last`."""
        kept = PitchFrames(self._input_f0, self._output_f0, self._phase)
        return kept.part(first - self.start, last - self.start)

    def _interpolated(self, first: int, values: Float64) -> Float64:
        """Fill the unvoiced values; the last final frame, where voiced, is the left anchor."""
        at = np.arange(first, first + len(values))
        voiced = values > 0
        known_at, estimates = at[voiced], values[voiced]
        anchor = self.final_end - 1
        if self.start <= anchor < known_at[0] and self._input_f0[anchor - self.start] > 0:
            known_at = np.concatenate([[anchor], known_at])
            estimates = np.concatenate([[self._input_f0[anchor - self.start]], estimates])
        return np.interp(at, known_at, estimates)
