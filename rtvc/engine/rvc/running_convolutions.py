"""Convolutions of the content encoder for new input only, normalised by the last seconds.

The encoder normalises the output of its first convolution over time. Normalised over a window of
input, it changes everywhere with each new block, so every step computes the whole window again.
Normalised by what came in during the last seconds, a frame is computed once and stays. It also
comes closer to the conversion of a file, which normalises over a whole phrase.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from rtvc._types import Float32, Float64
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops.cpu_streams import partition
from rtvc.engine.rvc.window import FRAME

SECONDS = 10.0
"""Length of the input that the statistics are of. Phrases of files are this long at most."""
_SILENT = 1e-4
"""Power relative to other input (-40 dB) below which skipped input is not counted."""
_RATE = 16_000


class _Part(NamedTuple):
    """Sums over some input windows."""

    windows: int
    total: Float64
    products: Float64
    power: float
    skipped: bool


class InputStatistics:
    """Mean and covariance of the newest input windows of a convolution.

    Silence that was skipped is not counted, so that speech after a pause is normalised as before
    it.

    Parameters
    ----------
    kernel, stride
        Length of a window and samples from one to the next.
    seconds
        Length of the input that they are of, at 16 kHz.
    """

    def __init__(self, kernel: int, stride: int, seconds: float = SECONDS) -> None:
        self._kernel, self._stride = kernel, stride
        self._longest = round(seconds * _RATE / stride)
        self._sums: list[tuple[Any, ...]] = []
        """The parts; plain tuples where a saved state was restored."""
        self._tail: Float32 = np.zeros(0, np.float32)

    def push(self, samples: Float32, *, skipped: bool = False) -> None:
        """Count the next samples of the input.

        Parameters
        ----------
        samples
            (samples,) at 16 kHz, a whole number of strides.
        skipped
            Whether they are not rendered. They may be silence.
        """
        audio = np.concatenate([self._tail, samples])
        # The next windows start where these end.
        windows = max((len(audio) - self._kernel) // self._stride + 1, 0)
        self._tail = audio[windows * self._stride :]
        if windows:
            self._count(audio.astype(np.float64), skipped)

    def _count(self, audio: Float64, skipped: bool) -> None:
        windows = np.lib.stride_tricks.sliding_window_view(audio, self._kernel)[:: self._stride]
        products = windows.T @ windows
        power = float(np.trace(products)) / len(windows)
        known = self._parts
        if skipped and power <= _SILENT * max((part.power for part in known), default=0.0):
            return
        parts = [p for p in known if not p.skipped or p.power > _SILENT * power]
        parts.append(_Part(len(windows), windows.sum(axis=0), products, power, skipped))
        while sum(part.windows for part in parts[1:]) >= self._longest:
            parts.pop(0)
        self._sums = [*parts]

    @property
    def _parts(self) -> list[_Part]:
        return [_Part(*sums) for sums in self._sums]

    def values(self) -> tuple[Float64, Float64]:
        """Return mean and covariance, (kernel,) and (kernel, kernel); zeros before any input."""
        parts = self._parts
        count = sum(part.windows for part in parts)
        if not count:
            return np.zeros(self._kernel), np.zeros((self._kernel, self._kernel))
        mean = np.sum([part.total for part in parts], axis=0) / count
        products = np.sum([part.products for part in parts], axis=0) / count
        return mean, products - np.outer(mean, mean)


class RunningConvolutions:
    """The output of the convolutions for the windows of a stream; computes new rows only.

    Parameters
    ----------
    encoder
        The content encoder.
    frames
        Frames of 10 ms in a window that begins where it should; the encoder's rows are 20 ms
        long, so a window may begin one frame earlier.
    block
        Frames from one window to the next.
    """

    def __init__(self, encoder: Hubert, frames: int, block: int) -> None:
        self._encoder = encoder
        self._statistics = InputStatistics(*encoder.first_kernel)
        # Sizes do not vary between steps, since each size would be traced.
        self._all = encoder.frames((frames + 1) * FRAME)
        self._new = min((block + 1) // 2, self._all)
        self._rows: mx.array | None = None
        self._end = 0

    def push(self, samples: Float32, *, skipped: bool = False) -> None:
        """Count the next samples of the input; see `InputStatistics.push`."""
        self._statistics.push(samples, skipped=skipped)

    def begin(self, audio_16k: Float32, start: int) -> list[mx.array]:
        """Return the output of the convolutions for a window, not evaluated.

        Rows that an earlier call has returned stay as they were. After a gap all are computed.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz; its last samples are the last ones that were pushed.
        start
            Index of its first frame of 10 ms, even.

        Returns
        -------
        list of array
            See `Hubert.convolve`.
        """
        count = self._encoder.frames(len(audio_16k))
        end = start // 2 + count
        fresh = end - self._end
        known = count - fresh
        if self._rows is not None and 0 <= fresh <= self._new and known <= self._rows.shape[1]:
            new = self._compute(audio_16k, max(count - self._new, 0), self._new)
            old = self._rows[:, self._rows.shape[1] - known :]
            self._rows = mx.concatenate([old, new[:, new.shape[1] - fresh :]], axis=1)
        else:
            self._rows = self._compute(audio_16k, 0, self._all)[:, :count]
        self._end = end
        return [self._rows[:, part] for part in partition(count)]

    def _compute(self, audio_16k: Float32, first: int, count: int) -> mx.array:
        """Return `count` rows from row `first` on; those beyond the audio are of silence."""
        hop = self._encoder.hop
        needed = (count - 1) * hop + self._encoder.receptive_field
        audio = audio_16k[first * hop : first * hop + needed]
        audio = np.pad(audio, (0, needed - len(audio)))
        mean, covariance = self._statistics.values()
        parts = self._encoder.convolve_by(
            mx.array(audio),
            mx.array(mean.astype(np.float32)),
            mx.array(covariance.astype(np.float32)),
        )
        return mx.concatenate(parts, axis=1)
