"""Interface of the pitch estimators, and the base class of networks with pitch bins."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Literal, Protocol, TypedDict, Unpack

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.engine.models.ops.backend import STREAMS
from rtvc.engine.models.ops.cpu_streams import use_stream
from rtvc.engine.models.ops.ops import compiled
from rtvc.errors import UsageError

SAMPLE_RATE = 16000
HOP = 160
_PEAK_RADIUS = 4  # bins on each side of the peak that the average includes


class PitchOptions(TypedDict, total=False):
    """Keyword arguments of a call of a `PitchEstimator`."""

    threshold: float | None
    f0_min: float | None
    f0_max: float | None


class PitchEstimator(Protocol):
    """Estimates the f0 of a voice.

    Attributes
    ----------
    name
        Name in the settings.
    threshold
        Default voicing threshold.
    min_samples
        Minimum length of a signal, in samples.
    reserved_frames
        Work of the last stream on this estimator in a live step, in frames of the content
        encoder; see `Hubert.convolve`.
    """

    name: str
    threshold: float
    min_samples: int
    reserved_frames: int = 0

    def __call__(
        self,
        audio_16k: Float32,
        *,
        threshold: float | None = None,
        f0_min: float | None = None,
        f0_max: float | None = None,
    ) -> Float32:
        """Return f0 every 10 ms.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz, in [-1, 1].
        threshold
            Voicing confidence, 0 to 1 in the estimator's own measure, above which a frame is
            voiced; None for the estimator's default.
        f0_min, f0_max
            Search range in Hz; None for the whole range of the estimator.

        Returns
        -------
        Float32
            (samples // 160 + 1,) in Hz, 0 where unvoiced. Frame k describes the signal around
            sample 160 k.

        Raises
        ------
        UsageError
            The signal is not mono or shorter than `min_samples`, or the range is empty.
        """

    def begin(
        self, audio_16k: Float32, *, position: int | None = None, **options: Unpack[PitchOptions]
    ) -> Callable[[], Float32]:
        """Start an estimate; return a function that waits for f0 and returns it.

        Parameters
        ----------
        audio_16k, **options
            As in a call.
        position
            Sample of a stream at which the signal starts, for an estimator whose own frames are
            not those of rtvc: it then keeps them in the same places from window to window. None
            for a whole signal.
        """
        return lambda: self(audio_16k, **options)


class SalienceEstimator(PitchEstimator):
    """A pitch estimator whose network outputs the salience of 360 pitch bins per frame.

    A subclass provides the attributes and ``_network``.

    Attributes
    ----------
    cents
        (bins,) centre of each bin in cents above 10 Hz, increasing.
    pad_mode
        Salience beyond the first and the last bin in the average around a peak: zero
        ("constant") or that of the edge bin ("edge").
    """

    name: str
    threshold: float
    min_samples: int
    cents: Float64
    pad_mode: Literal["constant", "edge"]

    def __init__(self) -> None:
        self._compiled_network = compiled(self._network)
        self._compiled_pitch = compiled(self._pitch)

    def _network(self, audio: mx.array) -> mx.array:
        """Return the salience, (frames, bins) float32, for (samples,)."""
        raise NotImplementedError

    def activations(self, audio: mx.array) -> mx.array:
        """Return the unevaluated salience in [0, 1], (frames, bins), for (samples,)."""
        with use_stream(STREAMS - 1):
            return self._compiled_network(audio)

    def salience(self, audio_16k: Float32) -> Float32:
        """Return the salience of every bin.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz, in [-1, 1].

        Returns
        -------
        Float32
            (samples // 160 + 1, bins) in [0, 1].
        """
        self._check(audio_16k)
        return np.array(self.activations(mx.array(audio_16k)), dtype=np.float32)

    def __call__(self, audio_16k: Float32, **options: Unpack[PitchOptions]) -> Float32:
        """See ``PitchEstimator``; a frame is voiced if its peak salience exceeds `threshold`."""
        return self.begin(audio_16k, **options)()

    def begin(
        self, audio_16k: Float32, *, position: int | None = None, **options: Unpack[PitchOptions]
    ) -> Callable[[], Float32]:
        """See ``PitchEstimator``; the device already computes when this returns."""
        self._check(audio_16k)
        f0 = self.decode(self.activations(mx.array(audio_16k)), **options)
        mx.async_eval(f0)  # type: ignore[no-untyped-call]
        return lambda: np.array(f0, dtype=np.float32)

    def decode(
        self,
        salience: mx.array,
        *,
        threshold: float | mx.array | None = None,
        f0_min: float | None = None,
        f0_max: float | None = None,
    ) -> mx.array:
        """Return the unevaluated f0: the mean of the bins around the peak, weighted by salience.

        Parameters
        ----------
        salience
            (frames, bins).
        threshold, f0_min, f0_max
            As in a call. Only bins within the range can be the peak.

        Returns
        -------
        mx.array
            (frames,) in Hz, 0 where the peak salience does not exceed the threshold.
        """
        # As arrays, so that a change of the settings does not trigger a compilation.
        inside = mx.array(self._bin_mask(f0_min, f0_max))
        lowest = mx.array(self.threshold if threshold is None else threshold)
        with use_stream(STREAMS - 1):
            return self._compiled_pitch(salience, inside, lowest)

    def _pitch(self, salience: mx.array, inside: mx.array, threshold: mx.array) -> mx.array:
        eligible = mx.where(inside, salience, -1.0)
        centre = mx.argmax(eligible, axis=1)
        sums = mx.take(self._peak_weights, centre, axis=0) @ salience[:, :, None]
        offset = sums[:, 1, 0] / sums[:, 0, 0]
        f0 = 10.0 * mx.exp((mx.take(self._peak_cents, centre) + offset) * (math.log(2.0) / 1200.0))
        return mx.where(mx.max(eligible, axis=1) > threshold, f0, 0.0)

    @cached_property
    def _peak_cents(self) -> mx.array:
        return mx.array(self.cents.astype(np.float32))

    @cached_property
    def _peak_weights(self) -> mx.array:
        """Weights of the salience for the average around each peak, (bins, 2, bins).

        First for the sum of the salience, then for the sum of the salience times the distance
        to the peak in cents. Relative to the peak: absolute cents would lose precision.
        """
        bins = len(self.cents)
        around = np.arange(bins)[:, None] + np.arange(-_PEAK_RADIUS, _PEAK_RADIUS + 1)
        nearest = np.clip(around, 0, bins - 1)
        counted = (around == nearest) | (self.pad_mode == "edge")
        times = np.zeros((bins, bins))
        np.add.at(times, (np.arange(bins)[:, None], nearest), counted)
        distance = self.cents - self.cents[:, None]
        return mx.array(np.stack([times, times * distance], axis=1).astype(np.float32))

    def _bin_mask(self, f0_min: float | None, f0_max: float | None) -> NDArray[np.bool_]:
        hertz = 10.0 * 2.0 ** (self.cents / 1200.0)
        low = hertz[0] if f0_min is None else f0_min
        high = hertz[-1] if f0_max is None else f0_max
        inside: NDArray[np.bool_] = (hertz >= low) & (hertz <= high)
        if not inside.any():
            raise UsageError(
                f"No pitch lies between {low:g} and {high:g} Hz for {self.name}, which covers "
                f"{hertz[0]:.1f} to {hertz[-1]:.1f} Hz; widen the range."
            )
        return inside

    def _check(self, audio: Float32) -> None:
        check_signal(audio, self.min_samples, self.name)


def check_signal(audio: Float32, min_samples: int, name: str) -> None:
    """Raise `UsageError` for a signal that is not mono or too short for the estimator `name`."""
    if audio.ndim != 1 or audio.shape[0] < min_samples:
        raise UsageError(
            f"{name} needs a mono signal of at least {min_samples} samples at 16 kHz, "
            f"not one of shape {audio.shape}."
        )
