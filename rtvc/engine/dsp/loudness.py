"""Loudness follow and the true-peak limiter: the last things before the output."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float32, Float64


class LoudnessFollow:
    """Moves the loudness of the output towards that of the input.

    Both powers are smoothed over about 60 ms, and the gain is a straight line
    over each 10 ms frame, so that it never steps.

    Parameters
    ----------
    rate
        Samples per second.
    """

    FLOOR = 1e-3
    """RMS (-60 dBFS) below which neither signal counts: silence is not amplified."""
    MAX_GAIN = 8.0
    """Largest gain, and the inverse of the smallest."""

    def __init__(self, rate: int) -> None:
        self._frame = rate // 100
        self._keep = math.exp(-0.010 / 0.060)
        self._in_power = self._out_power = 0.0
        self._gain = 1.0

    def process(self, output: Float32, reference: Float32, amount: float) -> Float32:
        """Return `output` with the loudness of `reference` to the given degree.

        Parameters
        ----------
        output, reference
            (samples,) of the same time, whole 10 ms frames.
        amount
            0 changes nothing, 1 follows fully.
        """
        powers = [
            np.mean(np.square(x.reshape(-1, self._frame), dtype=np.float64), axis=1).tolist()
            for x in (reference, output)
        ]
        gains = [self._gain]
        for in_power, out_power in zip(*powers, strict=True):
            self._in_power += (1.0 - self._keep) * (in_power - self._in_power)
            self._out_power += (1.0 - self._keep) * (out_power - self._out_power)
            reference_rms = max(math.sqrt(self._in_power), self.FLOOR)
            output_rms = max(math.sqrt(self._out_power), self.FLOOR)
            gains.append(
                min(max((reference_rms / output_rms) ** amount, 1.0 / self.MAX_GAIN), self.MAX_GAIN)
            )
        self._gain = gains[-1]
        if all(gain == 1.0 for gain in gains):
            return output
        at = np.arange(len(gains)) * self._frame
        line = np.interp(np.arange(1, len(output) + 1), at, gains)
        return (output * line).astype(np.float32)


def _interpolators() -> Float64:
    """Return three 12-tap windowed-sinc filters for the points at 1/4, 1/2 and 3/4 of a sample."""
    taps = np.arange(-5, 7)
    rows = []
    for part in (0.25, 0.5, 0.75):
        at = taps - part
        row = np.sinc(at) * np.cos(np.pi * at / 13.0) ** 2
        rows.append(row / row.sum())
    return np.array(rows)


class Limiter:
    """Look-ahead limiter on the true peak (4 times oversampled, after ITU-R BS.1770).

    A signal below the ceiling comes out bit for bit, only delayed.

    Parameters
    ----------
    rate
        Samples per second.

    Attributes
    ----------
    delay
        Samples by which the output lags the input.
    """

    RELEASE_S = 0.080
    _LOOK = 5
    """Hops over which the gain may come down before a peak."""
    _TAPS = _interpolators()

    def __init__(self, rate: int) -> None:
        self._hop = rate // 2000
        self._recover = 1.0 - math.exp(-self._hop / (self.RELEASE_S * rate))
        # Peaks between samples are known half a filter later.
        half = self._TAPS.shape[1] // 2
        self.delay = self._LOOK * self._hop + half
        self._held: Float32 = np.zeros(self.delay, np.float32)
        self._before = np.zeros(2 * half - 1, np.float32)
        self._needed: list[float] = [1.0] * self._LOOK
        """Gain that each hop that waits for output needs, oldest first."""
        self._gain = 1.0

    def process(self, block: Float32, ceiling_db: float) -> Float32:
        """Return the next block, no true peak of which passes `ceiling_db` (dBTP).

        The block's length is a whole number of half milliseconds.
        """
        ceiling = 10.0 ** (ceiling_db / 20.0)
        needed = self._needed + self._gains_needed(block, ceiling)
        joined = np.concatenate([self._held, block])
        self._held = joined[len(block) :]
        out = joined[: len(block)]
        hops = len(block) // self._hop
        self._needed = needed[hops:]
        if self._gain == 1.0 and min(needed) == 1.0:
            return out
        # The gain is a straight line over each hop, and both its ends obey that hop.
        edges = [self._gain]
        for index in range(hops):
            ahead = needed[index + 1 : index + 1 + self._LOOK]
            gain = edges[-1]
            fall = min((need - gain) / (j + 1) for j, need in enumerate(ahead))
            if fall < 0.0:
                gain += fall
            else:
                gain += (1.0 - gain) * self._recover
                gain = min(1.0 if gain > 0.9999 else gain, needed[index], ahead[0])
            edges.append(gain)
        self._gain = edges[-1]
        line = np.interp(np.arange(1, len(block) + 1), np.arange(hops + 1) * self._hop, edges)
        # Rounding must not carry a peak over the ceiling.
        return np.clip(out * line, -ceiling, ceiling).astype(np.float32)

    def _gains_needed(self, block: Float32, ceiling: float) -> list[float]:
        """Return the gain that each hop of the block (6 samples late) needs."""
        width = len(self._before)
        joined = np.concatenate([self._before, block])
        self._before = joined[len(block) :]
        peak = np.abs(joined[5 : 5 + len(block)])
        if float(np.max(np.abs(joined), initial=0.0)) * 3.0 > ceiling:
            windows = np.lib.stride_tricks.sliding_window_view(joined, width + 1)
            between = np.abs(windows @ self._TAPS.T.astype(np.float32)).max(axis=1)
            peak = np.maximum(peak, between)
        hops = peak.reshape(-1, self._hop).max(axis=1)
        return np.minimum(1.0, ceiling / np.maximum(hops, 1e-9)).tolist()  # type: ignore[no-any-return]
