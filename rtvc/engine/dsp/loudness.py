"""Loudness follow and the true-peak limiter: the last stages before the output."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float32, Float64


class LoudnessFollow:
    """Moves the loudness of the output towards the loudness of the input.

    Both powers are smoothed with a time constant of 60 ms. The gain is linear over each 10 ms
    frame, so it has no steps.

    Parameters
    ----------
    rate
        Samples per second.
    """

    FLOOR = 1e-3
    """Lower limit of both RMS values (-60 dBFS), so that silence is not amplified."""
    MAX_GAIN = 8.0
    """Largest gain; the smallest is its inverse."""

    def __init__(self, rate: int) -> None:
        self._frame = rate // 100
        self._keep = math.exp(-0.010 / 0.060)
        self._in_power = self._out_power = 0.0
        self._gain = 1.0

    def process(self, output: Float32, reference: Float32, amount: float) -> Float32:
        """Return `output` with its loudness moved towards `reference`.

        Parameters
        ----------
        output, reference
            (samples,) float32, time-aligned, a whole number of 10 ms frames.
        amount
            0 (no change) to 1 (the loudness of `reference`).
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
    """Return 12-tap windowed-sinc filters for the fractions 1/4, 1/2 and 3/4, (3, 12)."""
    taps = np.arange(-5, 7)
    rows = []
    for part in (0.25, 0.5, 0.75):
        at = taps - part
        row = np.sinc(at) * np.cos(np.pi * at / 13.0) ** 2
        rows.append(row / row.sum())
    return np.array(rows)


class Limiter:
    """Look-ahead limiter on the true peak (4 times oversampled, after ITU-R BS.1770).

    A signal below the ceiling is delayed and otherwise unchanged, bit for bit.

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
    """Time constant with which the gain recovers, in seconds."""
    _LOOK = 5
    """Hops of 0.5 ms over which the gain may fall before a peak."""
    _TAPS = _interpolators()

    def __init__(self, rate: int) -> None:
        self._hop = rate // 2000
        self._recover = 1.0 - math.exp(-self._hop / (self.RELEASE_S * rate))
        # Inter-sample peaks are known half a filter length later.
        half = self._TAPS.shape[1] // 2
        self.delay = self._LOOK * self._hop + half
        self._held: Float32 = np.zeros(self.delay, np.float32)
        self._before = np.zeros(2 * half - 1, np.float32)
        self._needed: list[float] = [1.0] * self._LOOK
        """Largest allowed gain of each pending hop, oldest first."""
        self._gain = 1.0

    def process(self, block: Float32, ceiling_db: float) -> Float32:
        """Return the next block, limited to `ceiling_db`.

        Parameters
        ----------
        block
            (samples,) float32, a whole number of half milliseconds.
        ceiling_db
            Largest true peak in dBTP.
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
        # The gain is linear over each hop, and neither end exceeds the gain allowed there.
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
        # Rounding must not lift a peak above the ceiling.
        return np.clip(out * line, -ceiling, ceiling).astype(np.float32)

    def _gains_needed(self, block: Float32, ceiling: float) -> list[float]:
        """Return the largest allowed gain of each hop of the block, 6 samples late."""
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
