"""Finds a known signal in a recording, and lost samples in it, by cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.errors import RtvcError

MIN_PEAK_RATIO = 3.0
"""Ratio of the highest peak to the next from which the signal counts as found."""
_PEAK_SAMPLES = 48
"""Half the width of a peak of the correlation, in samples."""
_FIT_TAPS = 12
"""Half the length of the filter that is fitted to a block, in samples."""


@dataclass(frozen=True, slots=True)
class Match:
    """The position of a signal in a recording.

    Attributes
    ----------
    delay
        Samples from the start of the recording to the start of the signal, with a
        fraction.
    peak_ratio
        Height of the correlation's highest peak over the next; the signal counts as
        found from `MIN_PEAK_RATIO`.
    gain
        Amplitude in the recording over the amplitude of the signal.
    """

    delay: float
    peak_ratio: float
    gain: float

    @property
    def is_match(self) -> bool:
        """Whether the signal was found."""
        return self.peak_ratio >= MIN_PEAK_RATIO


def find_signal(recording: Float32, signal: Float32) -> Match:
    """Find a signal in a recording by cross-correlation.

    Parameters
    ----------
    recording
        (samples,) float32, longer than `signal`.
    signal
        (samples,) float32 that does not repeat itself.
    """
    if recording.size < signal.size:
        return Match(0.0, 0.0, 0.0)
    size = 1 << (recording.size + signal.size - 1).bit_length()
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(signal, size))
    correlation = np.fft.irfft(spectrum, size)[: recording.size - signal.size + 1]
    height = np.abs(correlation)
    at = int(np.argmax(height))
    energy = float(np.sum(signal.astype(np.float64) ** 2))
    if not height[at] or not energy:
        return Match(0.0, 0.0, 0.0)
    outside = np.ones(height.size, bool)
    outside[max(0, at - _PEAK_SAMPLES) : at + _PEAK_SAMPLES + 1] = False
    next_highest = float(height[outside].max(initial=1e-12))
    return Match(
        at + vertex(height, at), float(height[at]) / next_highest, float(correlation[at]) / energy
    )


def vertex(values: Float64, at: int) -> float:
    """Return the vertex of the parabola through a peak and its neighbours, relative to `at`."""
    if not 0 < at < values.size - 1:
        return 0.0
    left, middle, right = values[at - 1 : at + 2]
    curvature = left - 2 * middle + right
    return float((left - right) / (2 * curvature)) if curvature else 0.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """The offset and error of each block of a sent signal in a recording.

    Attributes
    ----------
    block
        Samples per block.
    offsets
        (blocks,) position of each block in the recording minus its position in the
        sent signal, in samples.
    errors_db
        (blocks,) power of the error of each block over the block's power; -inf is
        bit-exact. A gain or a shift by a fraction of a sample is no error.
    """

    block: int
    offsets: NDArray[np.int64]
    errors_db: Float64

    @property
    def delay(self) -> int:
        """The most frequent offset, in samples."""
        values, counts = np.unique(self.offsets, return_counts=True)
        return int(values[np.argmax(counts)])

    @property
    def exact(self) -> int:
        """Number of bit-exact blocks, at any offset."""
        return int(np.sum(np.isneginf(self.errors_db)))

    def broken(self, limit_db: float = -60.0) -> int:
        """Return the number of blocks with an error above `limit_db`, such as clicks and gaps."""
        return int(np.sum(self.errors_db > limit_db))

    def slips(self, tolerance: int = 0) -> int:
        """Return how often the offset changed by more than `tolerance` samples.

        Samples were lost or inserted there. With drift compensation between two clocks
        the offset changes by one sample now and then; use a tolerance of 1.
        """
        return int(np.count_nonzero(np.abs(np.diff(self.offsets)) > tolerance))


def align(sent: Float32, recording: Float32, *, block: int = 4800, reach: int = 9600) -> Alignment:
    """Find each block of a sent signal in a recording of it.

    The signal must not repeat itself; noise and speech do not. Blocks beyond the end
    of the recording are left out.

    Parameters
    ----------
    sent, recording
        (samples,) float32 at one sample rate.
    block
        Samples per block.
    reach
        Search range in samples around the offset of the previous block; 20 times this
        range if the block is not found in it.

    Raises
    ------
    RtvcError
        If the start of `sent` is not in the recording.
    """
    first = find_signal(recording, sent[: 4 * block])
    if not first.is_match:
        raise RtvcError("The sent signal is not in the recording. Connect the output to the input.")
    offset = round(first.delay)
    offsets, errors = [], []
    for start in range(0, sent.size - block + 1, block):
        piece = sent[start : start + block]
        at = start + offset
        if at + block + reach > recording.size:
            break
        error = _error_db(recording, at, piece)
        for distance in (reach, 20 * reach):
            if error < -60.0:
                break
            begin = max(0, at - distance)
            found = find_signal(recording[begin : at + block + distance], piece)
            if found.is_match:
                at = begin + round(found.delay)
                offset = at - start
                error = _error_db(recording, at, piece)
                break
        offsets.append(offset)
        errors.append(error)
    return Alignment(block, np.array(offsets, np.int64), np.array(errors))


def _error_db(recording: Float32, at: int, wanted: Float32) -> float:
    """Return the residual of a recorded block after the best short filter of `wanted`, in dB."""
    block = recording[at : at + wanted.size]
    if np.array_equal(block, wanted):
        return -np.inf
    # A resampler on the way shifts by a fraction of a sample; the filter compensates that.
    shifts = [np.roll(wanted, k)[_FIT_TAPS:-_FIT_TAPS] for k in range(-_FIT_TAPS, _FIT_TAPS + 1)]
    basis = np.stack(shifts, 1).astype(np.float64)
    target = block[_FIT_TAPS:-_FIT_TAPS].astype(np.float64)
    residual = target - basis @ np.linalg.lstsq(basis, target, rcond=None)[0]
    power = float(np.sum(wanted.astype(np.float64) ** 2)) + 1e-20
    return float(10 * np.log10(np.sum(residual**2) / power + 1e-20))
