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

from rtvc._types import Float64
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
    """f0 candidates of consecutive frames, and of what comes after each of them.

    Attributes
    ----------
    hz
        (2, frames, 8) float64, f0 of each candidate in Hz; undefined where `strength` is -1.
    strength
        (2, frames, 8) float64, height of the correlation peak, 1 = perfectly periodic, plus a bonus
        for shorter periods. A constant is subtracted in each frame, so that the strongest
        candidate has the height of the highest peak. -1 if there is no such candidate.
    level
        (2, frames) float64, RMS of the band from 40 to 3000 Hz.
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

    def __call__(self, signal: Float64, first: int, hop: int, count: int) -> Candidates:
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
        correlation = np.fft.irfft(magnitude, self._size // 2)[..., : self._longest + 2]
        correlation /= correlation[..., :1] + np.float32(1e-9)
        correlation *= self._window_correction[:, None]
        curves = np.empty((2, *correlation.shape[1:]))
        curves[0] = 0.5 * (correlation[0] + correlation[1])
        curves[1] = correlation[2]
        hz, strength = self._candidates(curves)
        return Candidates(hz, strength, np.sqrt(power[::2]).astype(np.float64))

    def _candidates(self, curves: Float64) -> Float64:
        """Return f0 and strength of the highest peaks of each correlation.

        Parameters
        ----------
        curves
            (2, frames, lags).

        Returns
        -------
        ndarray
            (2, 2, frames, 8): f0 in Hz and strength.
        """
        at = np.flatnonzero(self._peaks(curves))
        flat = curves.reshape(-1)
        left, peak, right = flat[at - 1], flat[at], flat[at + 1]
        # Parabolic interpolation through the three samples of a peak.
        shift = 0.5 * (left - right) / (left - 2 * peak + right)
        curve, lags = np.divmod(at, curves.shape[-1])
        hz = self._lag_rate / (lags + shift)
        height = np.minimum(peak - 0.25 * (left - right) * shift, 1.0)
        strength = height + _OCTAVE * np.log2(hz / self._floor)
        found: list[list[tuple[float, float, float]]] = [[] for _ in range(2 * curves.shape[1])]
        values = (values.tolist() for values in (curve, strength, hz, height))
        for index, score, f0, top in zip(*values, strict=True):
            if self._floor <= f0 <= self._ceiling:
                found[index].append((score, f0, top))
        best = np.array([value for candidates in found for value in self._best(candidates)])
        return best.reshape(*curves.shape[:2], 2, _CANDIDATES).transpose(2, 0, 1, 3)

    def _peaks(self, curves: Float64) -> NDArray[np.bool_]:
        """Return where correlations, (2, frames, lags), have peaks.

        Frames are processed one at a time because NumPy keeps the GIL for arrays this small.
        With all frames at once it would release the GIL and wait to get it back from a busy
        user interface.
        """
        low, high = self._shortest, self._longest + 1
        peaks = np.zeros(curves.shape, np.bool_)
        for k in range(curves.shape[1]):
            here, before, after = (curves[:, k, low + s : high + s] for s in (0, -1, 1))
            peaks[:, k, low:high] = (here >= before) & (here > after) & (here > _WEAKEST)
        return peaks

    def _best(self, found: list[tuple[float, float, float]]) -> list[float]:
        """Return 8 f0 and 8 strengths of the strongest candidates (strength, f0, height)."""
        missing = _CANDIDATES - min(len(found), _CANDIDATES)
        none, weakest = [self._floor] * missing, [-1.0] * missing
        if not found:
            return none + weakest
        # The bonus ranks the candidates; whether the frame is voiced does not depend on it.
        bonus = max(found)[0] - max(height for _, _, height in found)
        ranked = sorted([(strength - bonus, hz) for strength, hz, _ in found], reverse=True)
        strength, hz = zip(*ranked[:_CANDIDATES], strict=True)
        return [*hz, *none, *strength, *weakest]


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

    def feed(self, candidates: Candidates) -> Float64:
        """Add the candidates of the next frames and return the same number of decisions.

        Those of what comes after a frame influence the decision and are then forgotten.

        Returns
        -------
        ndarray
            (frames,) f0 in Hz, 0 = unvoiced, of the frames `delay` before these; 0 for frames
            before the start of the path.
        """
        frames = candidates.hz.shape[1]
        gain, gain_after = _gains(candidates, self._loudest_of(candidates.level[0]))
        hz = np.zeros((frames, _CANDIDATES + 1))
        hz[:, :_CANDIDATES] = candidates.hz[0]
        octaves = np.log2(candidates.hz)
        before = np.concatenate([self._octaves[None], octaves[0]])
        self._octaves = before[-1]
        cost, cost_after = _costs(np.stack([before[:-1], octaves[0]]), octaves)
        scores = np.empty(gain.shape)
        best = np.empty(gain.shape, np.intp)
        for k in range(frames):
            path = self._score - cost[k]
            best[k] = path.argmax(axis=1)
            score = gain[k] + np.maximum.reduce(path, axis=1)
            self._score = scores[k] = score - np.maximum.reduce(score)
        paths = scores[:, None] - cost_after
        after = (gain_after + np.maximum.reduce(paths, axis=2)).argmax(axis=1)
        states = paths[np.arange(frames), after].argmax(axis=1)
        decided = np.zeros(frames)
        for k, state in enumerate(states.tolist()):
            self._past.append((hz[k], best[k]))
            if len(self._past) > self._delay:
                decided[k] = self._decide(state)
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
    """Return the score of each state, (2, frames, states); the unvoiced one is the last."""
    strength = candidates.strength
    gains = np.empty((*strength.shape[:2], _CANDIDATES + 1))
    gains[..., :_CANDIDATES] = np.where(strength > 0, strength, -9.0)
    silence = np.maximum(0.0, 2.0 - candidates.level / (_SILENT * loudest))
    gains[..., _CANDIDATES] = _UNVOICED + silence
    return gains


def _costs(before: Float64, after: Float64) -> Float64:
    """Return the cost of each change of state from f0 in octaves.

    Parameters
    ----------
    before, after
        (2, frames, candidates).

    Returns
    -------
    ndarray
        (2, frames, states after, states before).
    """
    states = _CANDIDATES + 1
    cost = np.full((*before.shape[:2], states, states), _SWITCH)
    apart = np.abs(before[..., None, :] - after[..., None])
    cost[..., :_CANDIDATES, :_CANDIDATES] = _JUMP * apart
    cost[..., _CANDIDATES, _CANDIDATES] = 0.0
    return cost
