"""Streaming analysis of a signal into WORLD parameters; each frame is computed once.

f0 comes from `rtvc.engine.world.pitch`, the spectral envelope and the aperiodicity from WORLD's
CheapTrick and D4C (Morise 2015, 2016). A frame depends only on the samples around it and on
earlier f0 decisions, so the result does not depend on block sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyworld
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.windows import windows
from rtvc.engine.world.pitch import Candidates, Correlator, Tracker, reach

RATE = 48000
HOP = 240
"""Samples per frame (5 ms)."""

OFFSET = 40
"""Frame k is centred at sample k * HOP + OFFSET, which leaves space for pre-ringing."""

_HALF_RATE = RATE // 2
_TAPS = 31
_MAX_DELAY = 6
_WARM_UP = 8
_POWER_FLOOR = 1e-16
_SILENCE = math.log(_POWER_FLOOR)
_BIASED = 1.5
"""f0 below this multiple of the floor is refined."""
_LARGEST_CORRECTION = 0.03
"""Largest relative f0 correction that is accepted."""
_PEAK_REACH = 3 * HOP
"""Samples before and after a frame in which its peak is searched."""
_LOUDEST = 4.0
"""Peak above which D4C gets a quieter signal: it returns NaN for speech without high frequencies
that is 20 dB above full scale."""
_LOVE_TRAIN = 0.5
"""D4C's voicing threshold, below its default of 0.85 so that the f0 tracker decides voicing."""


def lookahead_samples(floor: float) -> int:
    """Return the lookahead of the f0 analysis in samples after the centre of a frame.

    It is what the windows reach after a frame (1.31 periods of `floor`, in Hz), plus half of the
    filter that halves the sample rate.
    """
    return 2 * reach(_HALF_RATE, floor)[1] + _TAPS // 2 + 1


def fft_size(floor: float) -> int:
    """Return the FFT size for three periods of `floor` (in Hz).

    CheapTrick requires a floor of 70.4 Hz for size 2048. For 70.0 to 70.4 Hz, f0 is clipped to
    that instead of doubling the size.
    """
    return 2048 if floor >= 70.0 else 4096


@dataclass(frozen=True, slots=True)
class WorldFrames:
    """Consecutive frames of WORLD parameters.

    Attributes
    ----------
    hz
        (frames,) float64, f0 in Hz, 0 = unvoiced.
    spectra
        (2, frames, bins) float32: the natural logarithm of the power spectral density, and its
        periodic share in 0..1, which is 0 where unvoiced.
    peak
        (frames,) float64, the largest magnitude within 15 ms of each frame, or as far ahead as
        the lookahead reaches.
    low_delay
        (frames,) float64, or one value for all frames: delay of the lowest frequencies of the
        response to a pulse, in seconds.
    repaired
        Whether WORLD returned values that are not finite, which were replaced.
    """

    hz: Float64
    spectra: Float32
    peak: Float64
    low_delay: Float64 | float = 0.0
    repaired: bool = False


class Analyzer:
    """Buffers the newest input and analyses it into frames.

    Parameters
    ----------
    floor, ceiling
        Range of f0 in Hz.
    lookahead
        Samples available after the centre of a requested frame. Samples beyond
        `lookahead_samples` delay the f0 decision, which makes it more reliable.
    longest
        Largest number of samples pushed and analysed at once.

    Raises
    ------
    ValueError
        If `lookahead` is less than `lookahead_samples` of `floor`.
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
        # Windowed sinc with cutoff 11 kHz; D4C uses nothing above 10.5 kHz at half the rate.
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
        """Number of frequency bins per frame, from 0 to 24 kHz."""
        return self._size // 2 + 1

    def push(self, samples: Float32) -> None:
        """Append the next samples of the signal, (samples,) float32, an even number."""
        self._end += len(samples)
        self._full = np.concatenate([self._full, samples])
        # The newest sample at half the rate is the newest for which the filter fits.
        fresh = self._full[-len(samples) - _TAPS + 2 :]
        halved = np.convolve(fresh, self._taps, "valid")[::2]
        self._half = np.concatenate([self._half, halved])[-self._keep // 2 :]
        self._full = self._full[-self._keep :]

    def reset(self, skipped: int) -> None:
        """Reset the f0 tracker, so that the next call of `frames` may skip frames.

        Parameters
        ----------
        skipped
            Number of frames that are skipped.
        """
        self._next = None
        self._track.skip(skipped)

    def frames(self, first: int, count: int) -> WorldFrames:
        """Return consecutive frames by absolute index.

        Parameters
        ----------
        first
            Absolute index of the first frame. It must follow the previous call's last frame,
            except after `reset`. The newest available frame is
            ``(end of signal - lookahead - OFFSET) / HOP``.
        count
            Number of frames.

        Raises
        ------
        ValueError
            If `first` does not follow the previous frame.
        """
        if self._next is None:
            self._track.reset()
            warm = self._delay + _WARM_UP
            self._track.feed(self._candidates(first - _WARM_UP, warm))
            self._was_voiced = False
        elif self._next != first:
            raise ValueError(f"frame {first} requested, but the next one is {self._next}")
        self._next = first + count
        hz = self._track.feed(self._candidates(first + self._delay, count))
        hz = self._refined(first, hz)
        centres = np.arange(first, first + count) * HOP + OFFSET
        seconds = (centres - (self._end - len(self._full))) / RATE
        voiced = np.where(hz > 0, np.maximum(hz, self._lowest), 0.0)
        seconds -= self._missing(voiced, 1.5, 0)
        power = pyworld.cheaptrick(self._full, voiced, seconds, RATE, fft_size=self._size)
        power += _POWER_FLOOR
        spectra = np.empty((2, count, self.bins), np.float32)
        np.log(power, out=spectra[0], casting="same_kind")
        repaired = not np.isfinite(spectra[0]).all()
        if repaired:
            np.nan_to_num(spectra[0], copy=False, nan=_SILENCE, posinf=_SILENCE, neginf=_SILENCE)
        repaired = self._periodic_share(first, hz, spectra[1]) or repaired
        # A high floor has less lookahead than the reach.
        ahead = min(_PEAK_REACH, self._lookahead)
        start = first * HOP + OFFSET - _PEAK_REACH - (self._end - len(self._full))
        size = _PEAK_REACH + ahead
        near = np.abs(self._full[start : start + (count - 1) * HOP + size])
        peak = windows(near, size, HOP, count=count).max(axis=1)
        return WorldFrames(hz, spectra, peak, repaired=repaired)

    def _half_start(self) -> int:
        """Return the absolute index of the oldest kept sample at half the rate."""
        return (self._end - _TAPS // 2 + 1) // 2 - len(self._half)

    def _missing(self, hz: Float64, periods: float, margin: int) -> Float64:
        """Return how much earlier than its frame something is measured, in seconds.

        It needs a number of periods after the frame, and the lookahead, less a margin in samples,
        may be shorter. 0 where unvoiced.
        """
        needed = periods / np.where(hz > 0, hz, np.inf)
        return np.maximum(0.0, needed - (self._lookahead - margin) / RATE)

    def _candidates(self, first: int, count: int) -> Candidates:
        index = (first * HOP + OFFSET) // 2 - self._half_start()
        return self._correlate(self._half, index, HOP // 2, count)

    def _half_seconds(self, index: NDArray[np.intp]) -> Float64:
        """Return the frame centres in the kept signal at half the rate, in seconds."""
        return (index * HOP + OFFSET) / RATE - self._half_start() / _HALF_RATE

    def _refined(self, first: int, hz: Float64) -> Float64:
        """Correct the bias of f0 near the floor, which is up to 20 cents.

        It arises because the windows hold few periods there. StoneMask, which uses the phase
        of the harmonics, has no such bias, but large corrections by it are not reliable.
        """
        low = np.flatnonzero((hz > 0) & (hz < _BIASED * self._floor))
        if len(low):
            seconds = self._half_seconds(first + low) - self._missing(hz[low], 1.5, _TAPS)
            refined = pyworld.stonemask(self._half, hz[low], seconds, _HALF_RATE)
            near = np.abs(refined / hz[low] - 1) < _LARGEST_CORRECTION
            hz[low] = np.where(near, refined, hz[low])
        return hz

    def _periodic_share(self, first: int, hz: Float64, out: Float32) -> bool:
        """Write the periodic share of the power, (frames, bins); return whether it was repaired.

        It is measured in every second frame and at onsets, and held in between. D4C needs 2.25
        periods on either side. If there is less lookahead, it is measured slightly earlier,
        since it changes slowly.
        """
        voiced = (hz > 0).tolist()
        before = [self._was_voiced, *voiced]
        due = [
            k
            for k, sounding in enumerate(voiced)
            if sounding and ((first + k) % 2 == 0 or not before[k])
        ]
        repaired = False
        measured: dict[int, Float32] = {}
        if due:
            shares, repaired = self._measured_share(first + np.array(due), hz[due])
            measured = dict(zip(due, shares, strict=True))
        for k, sounding in enumerate(voiced):
            self._share = measured.get(k, self._share)
            out[k] = self._share if sounding else 0.0
        self._was_voiced = voiced[-1]
        return repaired

    def _measured_share(self, index: NDArray[np.intp], hz: Float64) -> tuple[Float32, bool]:
        """Return the periodic share of voiced frames, (frames, bins), and whether it was repaired.

        Parameters
        ----------
        index
            Absolute indices of the frames.
        hz
            Their f0.
        """
        share = np.zeros((len(hz), self.bins), np.float32)
        peak = float(np.abs(self._half).max())
        aperiodicity = pyworld.d4c(
            self._half / peak if peak > _LOUDEST else self._half,
            hz,
            self._half_seconds(index) - self._missing(hz, 2.25, _TAPS),
            _HALF_RATE,
            threshold=_LOVE_TRAIN,
            fft_size=self._size // 2,
        )
        # Bins above the half-rate signal's band stay 0: treated as noise.
        np.square(aperiodicity, out=aperiodicity)
        np.subtract(1.0, aperiodicity, out=share[:, : aperiodicity.shape[1]], casting="same_kind")
        bad = ~np.isfinite(share)
        repaired = bool(bad.any())
        if repaired:
            share[bad] = 0.0
        return share, repaired
