"""Loudness follow: the output gets the loudness of the input."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float32


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
        squares = (
            np.square(x.reshape(-1, self._frame), dtype=np.float64) for x in (reference, output)
        )
        powers = [(np.add.reduce(x, axis=1) / self._frame).tolist() for x in squares]
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
