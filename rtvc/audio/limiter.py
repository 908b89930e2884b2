"""The true-peak limiter, and a resampler whose output it keeps below the ceiling too."""

from __future__ import annotations

import math

import numpy as np
import soxr

from rtvc._types import Float32, Float64
from rtvc.audio.fifo import SampleFifo


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
    hop
        Samples per hop of about half a millisecond, the grid of the gain.
    lowest_gain
        Lowest gain in the newest block, 1.0 where nothing was limited.
    """

    RELEASE_S = 0.080
    """Time constant with which the gain recovers, in seconds."""
    _LOOK = 5
    """Hops of 0.5 ms over which the gain may fall before a peak."""
    _TAPS = _interpolators()

    def __init__(self, rate: int) -> None:
        self.hop = max(1, rate // 2000)
        self._recover = 1.0 - math.exp(-self.hop / (self.RELEASE_S * rate))
        # Inter-sample peaks are known half a filter length later.
        half = self._TAPS.shape[1] // 2
        self.delay = self._LOOK * self.hop + half
        self._held: Float32 = np.zeros(self.delay, np.float32)
        self._before = np.zeros(2 * half - 1, np.float32)
        self._needed: list[float] = [1.0] * self._LOOK
        """Largest allowed gain of each pending hop, oldest first."""
        self._gain = 1.0
        self._ceiling = 0.0
        """That of the samples that are held back."""
        self.lowest_gain = 1.0

    def clear(self) -> None:
        """Forget the samples that are held back: the next block does not continue them."""
        self._held = np.zeros_like(self._held)
        self._before = np.zeros_like(self._before)
        self._needed = [1.0] * self._LOOK

    def process(self, block: Float32, ceiling_db: float) -> Float32:
        """Return the next block, limited to `ceiling_db`.

        Parameters
        ----------
        block
            (samples,) float32, a whole number of hops.
        ceiling_db
            Largest true peak in dBTP.
        """
        ceiling = 10.0 ** (ceiling_db / 20.0)
        before, self._ceiling = self._ceiling, ceiling
        needed = self._needed + self._gains_needed(block, ceiling)
        joined = np.concatenate([self._held, block])
        self._held = joined[len(block) :]
        out = joined[: len(block)]
        hops = len(block) // self.hop
        self._needed = needed[hops:]
        if self._gain == 1.0 and min(needed) == 1.0:
            self.lowest_gain = 1.0
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
        self._gain, self.lowest_gain = edges[-1], min(edges)
        line = np.interp(np.arange(1, len(block) + 1), np.arange(hops + 1) * self.hop, edges)
        limited = out * line
        # Rounding must not lift a peak above the ceiling. What came in before a lower one keeps its
        # own, while the gain falls: to clip it would click.
        held = self.delay if before > ceiling else 0
        np.clip(limited[:held], -before, before, out=limited[:held])
        np.clip(limited[held:], -ceiling, ceiling, out=limited[held:])
        return limited.astype(np.float32)

    def _gains_needed(self, block: Float32, ceiling: float) -> list[float]:
        """Return the largest allowed gain of each hop of the block, 6 samples late."""
        joined = np.concatenate([self._before, block])
        self._before = joined[len(block) :]
        magnitude = np.abs(joined)
        if float(np.max(magnitude, initial=0.0)) * 3.0 <= ceiling:
            return [1.0] * (len(block) // self.hop)
        # `sliding_window_view` does the same in 15 us, this in 1 us.
        shape, step = (len(block), self._TAPS.shape[1]), joined.itemsize
        windows = np.ndarray(shape, joined.dtype, joined, 0, (step, step))
        between = np.abs(windows @ self._TAPS.T.astype(np.float32)).max(axis=1)
        peak = np.maximum(magnitude[5 : 5 + len(block)], between)
        hops = peak.reshape(-1, self.hop).max(axis=1)
        return np.minimum(1.0, ceiling / np.maximum(hops, 1e-9)).tolist()  # type: ignore[no-any-return]


class LimitedResampler:
    """Converts the rate of a mono stream that is below a ceiling, and keeps it there.

    Samples of another rate lie between those of the first one, and a lower rate lacks its highest
    frequencies: both raise peaks, at 8 kHz by some dB. The limiter's delay is compensated: the
    result begins with the first sample, and is as long as that of the resampler alone.

    Parameters
    ----------
    in_rate, out_rate
        Sample rates in Hz.
    ceiling_db
        Largest true peak of the output in dBTP.

    Attributes
    ----------
    delay
        Samples that the limiter holds back, at `out_rate`, beyond those of the resampler.
    """

    def __init__(self, in_rate: int, out_rate: int, ceiling_db: float) -> None:
        self._soxr = soxr.ResampleStream(in_rate, out_rate, 1)
        self._limiter = Limiter(out_rate)
        self._ceiling_db = ceiling_db
        self._waiting = SampleFifo()
        self._early = self._limiter.delay
        self._left = 0
        """Samples that were converted and not yet returned."""
        self.delay = self._limiter.delay + self._limiter.hop

    def process(self, samples: Float32, *, last: bool = False) -> Float32:
        """Convert (samples,) float32, and return the output that is ready, (n,) float32.

        Parameters
        ----------
        samples
            The next samples.
        last
            Whether these are the last ones; then all of the rest is returned.
        """
        made = self._soxr.resample_chunk(np.ascontiguousarray(samples), last=last)
        self._left += made.size
        self._waiting.push(made)
        hop = self._limiter.hop
        if last:
            rest = self._limiter.delay
            rest += -(self._waiting.size + rest) % hop
            self._waiting.push(np.zeros(rest, np.float32))
        whole = self._waiting.pop(self._waiting.size // hop * hop)
        if not whole.size:
            return whole
        output = self._limiter.process(whole, self._ceiling_db)
        late = min(self._early, output.size)
        self._early -= late
        output = output[late : late + self._left]
        self._left -= output.size
        return output
