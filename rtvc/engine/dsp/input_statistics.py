"""Mean and covariance of the last seconds of input, by which a content encoder is normalised."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rtvc._types import Float32, Float64

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
        self._known = 0
        """Samples to come that are counted already."""

    def follow(self, other: InputStatistics, known: int = 0) -> None:
        """Continue with the statistics of another stream of the same input.

        Parameters
        ----------
        other
            Those statistics, unless their windows are of another kind.
        known
            Samples that are pushed next although the other stream has counted them.
        """
        if (self._kernel, self._stride) == (other._kernel, other._stride):
            self._sums, self._tail, self._known = [*other._sums], other._tail, known

    def push(self, samples: Float32, *, skipped: bool = False) -> None:
        """Count the next samples of the input.

        Parameters
        ----------
        samples
            (samples,) at 16 kHz, a whole number of strides.
        skipped
            Whether they are not rendered. They may be silence.
        """
        known = min(self._known, len(samples))
        self._known -= known
        audio = np.concatenate([self._tail, samples[known:]])
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
