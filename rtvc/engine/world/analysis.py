"""Analysis of a live signal into WORLD's parameters, frame by frame and once and for all.

Pitch comes from `world_pitch`; spectral envelope and aperiodicity from WORLD's
CheapTrick and D4C (Morise 2015, 2016). Each frame is a function of the samples
around it alone (and of the pitch decisions before it), so the sizes of the
blocks in which the signal arrives do not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyworld
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.engine.world.pitch import PERIODS, Candidates, Correlator, Tracker

RATE = 48000
HOP = 240
"""Samples from one frame to the next (5 ms)."""

OFFSET = 40
"""Frame k lies at sample k * HOP + OFFSET: room for what rings ahead of an excitation."""

_HALF_RATE = RATE // 2
_TAPS = 31
_MAX_DELAY = 6
_WARM_UP = 8
_POWER_FLOOR = 1e-16
_BIASED = 1.5
_LARGEST_CORRECTION = 0.03
_LOVE_TRAIN = 0.5
"""D4C's own voicing threshold: below its default 0.85, voicing is decided by the pitch."""


def lookahead_samples(floor: float) -> int:
    """Return how many samples after a frame's position the analysis of it must hear.

    Half of three periods of the lowest pitch, which is the window of both the
    pitch and the envelope, and half of the filter that halves the rate.
    """
    return 2 * round(PERIODS / 2 * _HALF_RATE / floor) + _TAPS // 2 + 1


def fft_size(floor: float) -> int:
    """Return the FFT size that holds three periods of `floor`, or nearly so.

    CheapTrick wants a floor of 70.4 Hz for 2048; one that is a hair lower is
    clipped to it instead of doubling the work.
    """
    return 2048 if floor >= 70.0 else 4096


@dataclass(frozen=True, slots=True)
class WorldFrames:
    """Consecutive frames of WORLD parameters.

    Attributes
    ----------
    hz
        (frames,) float64, pitch, 0 = unvoiced.
    spectra
        (2, frames, bins) float32: the natural logarithm of the power spectral
        density, and the share of it, 0..1, that is periodic; 0 where unvoiced.
    peak
        (frames,) float64, the highest sample within 15 ms of each frame.
    """

    hz: Float64
    spectra: Float32
    peak: Float64


class Analyzer:
    """Keeps the recent signal and turns it into frames.

    Parameters
    ----------
    floor, ceiling
        Range of pitch in Hz.
    lookahead
        Samples after a frame's position that are there when it is asked for; what
        exceeds `lookahead_samples` is spent on surer pitch decisions.
    longest
        The most samples that are taken in and analysed at once.
    """

    def __init__(self, floor: float, ceiling: float, lookahead: int, longest: int) -> None:
        spare = lookahead - lookahead_samples(floor)
        if spare < 0:
            raise ValueError(f"{lookahead} samples of lookahead are too few for {floor:g} Hz")
        self._lookahead = lookahead
        self._floor = floor
        self._size = fft_size(floor)
        self._lowest = pyworld.get_cheaptrick_f0_floor(RATE, self._size) + 0.1
        self._correlate = Correlator(_HALF_RATE, floor, ceiling)
        self._delay = min(spare // HOP, _MAX_DELAY)
        self._track = Tracker(self._delay)
        # Windowed sinc, cut at 11 kHz: D4C looks no higher than 10.5 kHz at this rate.
        at = np.arange(_TAPS) - _TAPS // 2
        taps = np.sinc(at * 11000.0 / _HALF_RATE) * np.kaiser(_TAPS, 6.0)
        self._taps = taps / taps.sum()
        reach = math.ceil(2.5 * RATE / floor) + _WARM_UP * HOP
        self._keep = (lookahead + longest + reach + 2 * HOP) // HOP * HOP
        self._full = np.zeros(self._keep)
        self._half = np.zeros(self._keep // 2)
        self._end = 0
        self._next: int | None = None
        self._share = np.zeros(self.bins, np.float32)
        self._was_voiced = False

    @property
    def bins(self) -> int:
        """Frequencies in each frame, from 0 to 24 kHz."""
        return self._size // 2 + 1

    def push(self, samples: Float32) -> None:
        """Take the next samples (any even number) of the signal."""
        self._end += len(samples)
        self._full = np.concatenate([self._full, samples])
        # The last sample at half the rate is the last whose filter fits.
        fresh = self._full[-len(samples) - _TAPS + 2 :]
        halved = np.convolve(fresh, self._taps, "valid")[::2]
        self._half = np.concatenate([self._half, halved])[-self._keep // 2 :]
        self._full = self._full[-self._keep :]

    def reset(self) -> None:
        """Forget the path of the pitch: the frames between now and the next are left out."""
        self._next = None

    def frames(self, first: int, count: int) -> WorldFrames:
        """Return frames by absolute index; each must follow the last, except after a rest.

        The frames up to ``(end of signal - lookahead - OFFSET) / HOP`` can be had.
        """
        if self._next is None:
            self._track.reset()
            warm = self._delay + _WARM_UP
            self._track.feed(self._candidates(first - _WARM_UP, warm))
            self._was_voiced = False
        elif self._next != first:
            raise ValueError(f"frame {first} was asked for, but {self._next} comes next")
        self._next = first + count
        hz = self._refined(first, self._track.feed(self._candidates(first + self._delay, count)))
        centres = np.arange(first, first + count) * HOP + OFFSET
        seconds = (centres - (self._end - len(self._full))) / RATE
        voiced = np.where(hz > 0, np.maximum(hz, self._lowest), 0.0)
        power = pyworld.cheaptrick(self._full, voiced, seconds, RATE, fft_size=self._size)
        power += _POWER_FLOOR
        spectra = np.empty((2, count, self.bins), np.float32)
        np.log(power, out=spectra[0], casting="same_kind")
        spectra[1] = self._periodic_share(first, hz)
        around = np.lib.stride_tricks.sliding_window_view(np.abs(self._full), 6 * HOP)
        start = first * HOP + OFFSET - 3 * HOP - (self._end - len(self._full))
        return WorldFrames(hz, spectra, around[start::HOP][:count].max(axis=1))

    def _half_start(self) -> int:
        """Absolute index, at half the rate, of the first sample that is kept."""
        return (self._end - _TAPS // 2 + 1) // 2 - len(self._half)

    def _candidates(self, first: int, count: int) -> Candidates:
        index = (first * HOP + OFFSET) // 2 - self._half_start()
        return self._correlate(self._half, index, HOP // 2, count)

    def _half_seconds(self, index: NDArray[np.intp]) -> Float64:
        """Return where these frames lie in the signal at half the rate."""
        return (index * HOP + OFFSET) / RATE - self._half_start() / _HALF_RATE

    def _refined(self, first: int, hz: Float64) -> Float64:
        """Return the pitch without the bias (up to 20 cents) that it has near the floor.

        The windows hold few periods there; StoneMask, from the phase of the
        harmonics, is free of that, but not to be trusted with larger corrections.
        """
        low = np.flatnonzero((hz > 0) & (hz < _BIASED * self._floor))
        if len(low):
            refined = pyworld.stonemask(
                self._half, hz[low], self._half_seconds(first + low), _HALF_RATE
            )
            near = np.abs(refined / hz[low] - 1) < _LARGEST_CORRECTION
            hz[low] = np.where(near, refined, hz[low])
        return hz

    def _periodic_share(self, first: int, hz: Float64) -> Float32:
        """Return the share of periodic power, (frames, bins).

        It is measured every other frame, and at onsets. D4C hears 2.25 periods
        to either side; where that is more than there is, it is measured a
        little earlier: it changes slowly.
        """
        index = np.arange(first, first + len(hz))
        voiced = hz > 0
        before = np.concatenate([[self._was_voiced], voiced[:-1]])
        due = voiced & ((index % 2 == 0) | ~before)
        known = np.zeros((1 + int(due.sum()), self.bins), np.float32)
        known[0] = self._share
        if due.any():
            early = np.maximum(0.0, 2.25 / hz[due] - (self._lookahead - _TAPS) / RATE)
            aperiodicity = pyworld.d4c(
                self._half,
                hz[due],
                self._half_seconds(index[due]) - early,
                _HALF_RATE,
                threshold=_LOVE_TRAIN,
                fft_size=self._size // 2,
            )
            # Nothing is known of what lies above half of the half rate: noise.
            np.square(aperiodicity, out=aperiodicity)
            np.subtract(
                1.0, aperiodicity, out=known[1:, : aperiodicity.shape[1]], casting="same_kind"
            )
        share: Float32 = known[np.cumsum(due)]
        share[~voiced] = 0.0
        self._share, self._was_voiced = share[-1], bool(voiced[-1])
        return share
