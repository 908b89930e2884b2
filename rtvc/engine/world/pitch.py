"""Streaming f0 estimation: candidates from a window per frame, and a causal tracker.

WORLD's own estimators use the whole signal, so in a stream their result for a frame depends on
where the block ends. Here the candidates of each frame come from its own window, by the
autocorrelation of Boersma ("Accurate short-term analysis of the fundamental frequency", 1993)
on a spectrum flattened as by Tolonen and Karjalainen (2000). The path through the candidates
is tracked forwards only. To save lookahead, the long window lies before the frame and the short
ones after it, so that all of them end where the input may end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.windows import windows

_LONG_PERIODS = 3.0
"""Periods of the floor in the long window."""
_SHORT_PERIODS = 2.0
_LATE_PERIODS = 1.7
"""The same in the window of what comes next, which lies as late as possible."""
_APART_PERIODS = 0.19
"""By how many periods of the floor the centre of the long window lies before the frame, and that of
the short window after it. Together they measure f0 at the frame."""
_CANDIDATES = 8
_BAND_HZ = (40.0, 80.0, 2000.0, 3000.0)
_WEAKEST = 0.1
"""Smallest correlation peak that is a candidate."""
_OCTAVE = 0.03
"""Bonus of a candidate over one an octave lower, which is equally periodic. Noise makes the lower
one stronger at times."""

_SMALLEST_WINDOW_GAIN = 0.25
"""Lower limit of the window's own correlation, by which the correlation is divided."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """f0 candidates of consecutive frames.

    Attributes
    ----------
    hz
        (frames, 8) float64, f0 of each candidate in Hz; undefined where `strength` is -1.
    strength
        (frames, 8) float64, height of the correlation peak, 1 = perfectly periodic, plus a bonus
        for shorter periods. A constant is subtracted in each frame, so that the strongest
        candidate has the height of the highest peak. -1 if there is no such candidate.
    level
        (frames,) float64, RMS of the band from 40 to 3000 Hz.
    """

    hz: Float64
    strength: Float64
    level: Float64


def reach(rate: int, floor: float) -> tuple[int, int]:
    """Return how many samples before and after a frame `Correlator` uses."""
    half, apart = round(_LONG_PERIODS / 2 * rate / floor), round(_APART_PERIODS * rate / floor)
    return half + apart, half - apart


class Correlator:
    """Finds f0 candidates in windows around given samples.

    The correlations of two windows are averaged: three periods of the floor, which
    distinguishes octaves, and two periods, which follows a changing f0. A third window, as late
    as possible, tells what comes next.

    Parameters
    ----------
    rate
        Sample rate of the signal in Hz.
    floor, ceiling
        Range of f0 in Hz.

    Attributes
    ----------
    before, after
        Samples that are used before and after a frame.
    """

    def __init__(self, rate: int, floor: float, ceiling: float) -> None:
        # The band ends at an eighth of the rate, so half the rate resolves the lags.
        self._lag_rate = rate // 2
        self._floor, self._ceiling = floor, ceiling
        self._shortest = int(self._lag_rate / ceiling)
        self._longest = int(np.ceil(self._lag_rate / floor)) + 1
        self.before, self.after = reach(rate, floor)
        row = self.before + self.after + 1
        self._size = 1 << (row + 2 * self._longest + 2).bit_length()
        bins = int(_BAND_HZ[3] * self._size / rate) + 1
        hz = np.arange(bins) * rate / self._size
        self._band = np.interp(hz, _BAND_HZ, (0.0, 1.0, 1.0, 0.0)).astype(np.float32)
        short, late = (
            np.hanning(2 * round(periods / 2 * rate / floor) + 1)
            for periods in (_SHORT_PERIODS, _LATE_PERIODS)
        )
        start = self.before + (self.before - self.after) // 2 - len(short) // 2
        # The long window, the short one, and the one of what comes next.
        self._windows = np.zeros((3, row), np.float32)
        self._windows[0] = np.hanning(row)
        self._windows[1, start : start + len(short)] = short
        self._windows[2, row - len(late) :] = late
        power = np.sum(np.square(self._windows, dtype=np.float64), axis=1)
        self._power_gain = (2.0 / self._size / power).astype(np.float32)
        # The correlation of a steady tone falls with the lag like the window's own correlation.
        # Dividing by the window's correlation makes the lags comparable.
        spectra = np.abs(np.fft.rfft(self._windows, self._size))
        window_correlation = np.fft.irfft(spectra, self._size)[:, : 2 * self._longest + 4 : 2]
        window_correlation = np.maximum(
            window_correlation / window_correlation[:, :1], _SMALLEST_WINDOW_GAIN
        )
        self._window_correction = (1.0 / window_correlation).astype(np.float32)

    def __call__(
        self, signal: Float64, first: int, hop: int, count: int
    ) -> tuple[Candidates, Candidates]:
        """Return the candidates of consecutive frames, and of what comes after each of them.

        Parameters
        ----------
        signal
            (samples,) with `before` and `after` samples around every frame.
        first
            Index of the sample at the centre of the first frame.
        hop
            Samples between frames.
        count
            Number of frames.
        """
        size = self.before + self.after + 1
        frames = np.empty((3, count, size), np.float32)
        stretches = windows(signal, size, hop, first=first - self.before, count=count)
        np.multiply(stretches, self._windows[:, None], out=frames, casting="same_kind")
        magnitude = np.abs(np.fft.rfft(frames, self._size)[..., : len(self._band)])
        magnitude *= self._band
        power = np.einsum("wfb,wfb,w->wf", magnitude, magnitude, self._power_gain)
        level = np.sqrt(power).astype(np.float64)
        correlation = np.fft.irfft(magnitude, self._size // 2)[..., : self._longest + 2]
        correlation /= correlation[..., :1] + np.float32(1e-9)
        correlation *= self._window_correction[:, None]
        here = 0.5 * (correlation[0] + correlation[1])
        return self._candidates(here, level[0]), self._candidates(correlation[2], level[2])

    def _candidates(self, curves: Float32, level: Float64) -> Candidates:
        peaks = [self._peaks(curve) for curve in curves.astype(np.float64)]
        hz, strength = np.array(peaks).transpose(1, 0, 2)
        return Candidates(hz, strength, level)

    def _peaks(self, curve: Float64) -> tuple[list[float], list[float]]:
        """Return f0 and strength of the highest peaks of one frame's correlation.

        Frames are processed one at a time because NumPy keeps the GIL for arrays this small.
        With all frames at once it would release the GIL and wait to get it back from a busy
        user interface.
        """
        low, high = self._shortest, self._longest + 1
        here, before, after = (curve[low + s : high + s] for s in (0, -1, 1))
        lags = np.flatnonzero((here >= before) & (here > after) & (here > _WEAKEST)) + low
        left, peak, right = curve[lags - 1], curve[lags], curve[lags + 1]
        # Parabolic interpolation through the three samples of a peak.
        shift = 0.5 * (left - right) / (left - 2 * peak + right)
        hz = self._lag_rate / (lags + shift)
        height = np.minimum(peak - 0.25 * (left - right) * shift, 1.0)
        inside = (hz >= self._floor) & (hz <= self._ceiling)
        hz, height = hz[inside], height[inside]
        strength = height + _OCTAVE * np.log2(hz / self._floor)
        if len(strength):
            # The bonus ranks the candidates; whether the frame is voiced does not depend on it.
            strength -= strength.max() - height.max()
        found = sorted(zip(strength.tolist(), hz.tolist(), strict=True), reverse=True)
        found = (found + [(-1.0, self._floor)] * _CANDIDATES)[:_CANDIDATES]
        return [hz for _, hz in found], [strength for strength, _ in found]


_UNVOICED = 0.325
"""Score of the unvoiced state: a voiced candidate needs a higher strength."""

_SILENT = 0.02
"""Level relative to the recent maximum below which frames are unvoiced."""

_JUMP = 1.0
"""Cost of an f0 jump, per octave."""

_SWITCH = 0.4
"""Cost of a change between voiced and unvoiced."""

_LOUDEST_DECAY = 0.9995
"""Decay of the recent maximum of the level, per frame."""
_LOUDEST_FLOOR = 0.003
"""Lower limit of the recent maximum."""


class Tracker:
    """Tracks the best path through the candidates (forward Viterbi search with fixed delay).

    Parameters
    ----------
    delay
        Frames after a frame that are used before its f0 is decided. Decisions are final.
    """

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._loudest = _LOUDEST_FLOOR
        self.reset()

    def reset(self) -> None:
        """Reset the path, as after a pause."""
        self._score = np.zeros(_CANDIDATES + 1)
        self._octaves = np.zeros(_CANDIDATES)
        self._past: deque[tuple[Float64, NDArray[np.intp]]] = deque(maxlen=self._delay + 1)

    def skip(self, frames: int) -> None:
        """Let the recent maximum of the level decay for frames that are not fed."""
        self._loudest = max(self._loudest * _LOUDEST_DECAY**frames, _LOUDEST_FLOOR)

    def feed(self, candidates: Candidates, following: Candidates) -> Float64:
        """Add the candidates of the next frames and return the same number of decisions.

        Parameters
        ----------
        candidates
            Of these frames.
        following
            Of what comes after each of them, which influences the decision and is then
            forgotten.

        Returns
        -------
        ndarray
            (frames,) f0 in Hz, 0 = unvoiced, of the frames `delay` before these; 0 for frames
            before the start of the path.
        """
        frames = len(candidates.hz)
        loudest = self._loudest_of(candidates.level)
        gain, gain_after = _gains(candidates, loudest), _gains(following, loudest)
        hz = np.concatenate([candidates.hz, np.zeros((frames, 1))], axis=1)
        octaves = np.concatenate([self._octaves[None], np.log2(candidates.hz)])
        cost = _costs(octaves[:-1], octaves[1:])
        cost_after = _costs(octaves[1:], np.log2(following.hz))
        self._octaves = octaves[-1]
        decided = np.zeros(frames)
        for k in range(frames):
            path = self._score[:, None] - cost[k]
            best = path.argmax(axis=0)
            score = gain[k] + path.max(axis=0)
            self._score = score - score.max()
            self._past.append((hz[k], best))
            if len(self._past) > self._delay:
                path = self._score[:, None] - cost_after[k]
                after = int((gain_after[k] + path.max(axis=0)).argmax())
                decided[k] = self._decide(int(path[:, after].argmax()))
        return decided

    def _loudest_of(self, level: Float64) -> Float64:
        """Return the recent maximum of the level at each frame."""
        loudest = np.empty(len(level))
        for k, now in enumerate(level.tolist()):
            self._loudest = max(self._loudest * _LOUDEST_DECAY, now, _LOUDEST_FLOOR)
            loudest[k] = self._loudest
        return loudest

    def _decide(self, state: int) -> float:
        """Return f0 of the oldest frame on the path that ends in a state of the newest one."""
        for _, best in list(self._past)[:0:-1]:
            state = int(best[state])
        return float(self._past[0][0][state])


def _gains(candidates: Candidates, loudest: Float64) -> Float64:
    """Return the score of each state in each frame; the unvoiced one follows the candidates."""
    voiced = np.where(candidates.strength > 0, candidates.strength, -9.0)
    silence = np.maximum(0.0, 2.0 - candidates.level / (_SILENT * loudest))
    return np.concatenate([voiced, (_UNVOICED + silence)[:, None]], axis=1)


def _costs(before: Float64, after: Float64) -> Float64:
    """Return the cost of each change of state, (frames, states, states), from f0 in octaves."""
    frames, unvoiced = before.shape
    cost = np.full((frames, unvoiced + 1, unvoiced + 1), _SWITCH)
    cost[:, :unvoiced, :unvoiced] = _JUMP * np.abs(before[:, :, None] - after[:, None])
    cost[:, unvoiced, unvoiced] = 0.0
    return cost
