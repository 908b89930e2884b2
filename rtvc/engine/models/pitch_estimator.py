"""What every pitch estimator does, and the part that networks with pitch bins share."""

from __future__ import annotations

import math
from collections.abc import Callable
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
_PEAK_RADIUS = 4  # bins to either side of the peak that are averaged


class PitchOptions(TypedDict, total=False):
    """What a `PitchEstimator` is called with besides the signal."""

    threshold: float | None
    f0_min: float | None
    f0_max: float | None


class PitchEstimator(Protocol):
    """Estimates the pitch of a voice.

    Attributes
    ----------
    name
        As in the settings.
    threshold
        Default of the call's `threshold`.
    min_samples
        Fewest samples that a signal may have.
    reserved_frames
        See `Hubert.convolve`: by how much more the last lane has to do in a live step.
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
        """Return the pitch every 10 ms.

        Parameters
        ----------
        audio_16k
            (samples,) at 16 kHz, in [-1, 1].
        threshold
            How sure the estimator must be before it calls a frame voiced, 0 to 1, in its own
            measure; None is its default.
        f0_min, f0_max
            Range of the pitch looked for, Hz; None is all that the estimator knows.

        Returns
        -------
        Float32
            (samples // 160 + 1,) in Hz, 0 where unvoiced. Frame k is about sample 160 k.
        """

    def begin(self, audio_16k: Float32, **options: Unpack[PitchOptions]) -> Callable[[], Float32]:
        """As calling, but return at once what will wait for the pitch and return it."""
        return lambda: self(audio_16k, **options)


class SalienceEstimator(PitchEstimator):
    """A pitch estimator whose network rates 360 pitch bins in every frame.

    A subclass supplies the attributes and ``activations``.

    Attributes
    ----------
    cents
        (bins,) centre of each bin in cents above 10 Hz, rising.
    pad_mode
        What lies beyond the first and the last bin for the average around a peak:
        nothing ("constant") or the edge bin again ("edge").
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
        """Rate every bin: (samples,) to (frames, bins), float32."""
        raise NotImplementedError

    def activations(self, audio: mx.array) -> mx.array:
        """Return the network's rating in [0, 1], (frames, bins), unevaluated, for (samples,)."""
        with use_stream(STREAMS - 1):
            return self._compiled_network(audio)

    def salience(self, audio_16k: Float32) -> Float32:
        """Return the network's rating of every bin.

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
        """See ``PitchEstimator``; `threshold` is the salience that the peak must exceed."""
        return self.begin(audio_16k, **options)()

    def begin(self, audio_16k: Float32, **options: Unpack[PitchOptions]) -> Callable[[], Float32]:
        """See ``PitchEstimator``; the device has begun."""
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
        """Turn salience into pitch, unevaluated: the mean of the bins around the highest.

        Parameters
        ----------
        salience
            (frames, bins).
        threshold, f0_min, f0_max
            As for the call. Only bins inside the range can be the highest.

        Returns
        -------
        mx.array
            (frames,) in Hz, 0 where the highest salience does not exceed the threshold.
        """
        # Arrays, so that a change of the settings compiles nothing.
        inside = mx.array(self._bin_mask(f0_min, f0_max))
        lowest = mx.array(self.threshold if threshold is None else threshold)
        with use_stream(STREAMS - 1):
            return self._compiled_pitch(salience, inside, lowest)

    def _pitch(self, salience: mx.array, inside: mx.array, threshold: mx.array) -> mx.array:
        eligible = mx.where(inside, salience, -1.0)
        centre = mx.argmax(eligible, axis=1, keepdims=True)
        # Bins count from the padded start, so bin b of the grid is at b + _REACH.
        around = centre + mx.arange(2 * _PEAK_RADIUS + 1)
        padded = mx.pad(salience, [(0, 0), (_PEAK_RADIUS, _PEAK_RADIUS)], mode=self.pad_mode)
        weight = mx.take_along_axis(padded, around, axis=1)
        cents = mx.array(np.pad(self.cents, _PEAK_RADIUS, mode="edge").astype(np.float32))
        # Relative to the peak, where float32 keeps all digits that matter.
        peak_cents = cents[centre + _PEAK_RADIUS]
        offset = (weight * (cents[around] - peak_cents)).sum(1) / weight.sum(1)
        f0 = 10.0 * mx.exp((peak_cents[:, 0] + offset) * (math.log(2.0) / 1200.0))
        return mx.where(mx.max(eligible, axis=1) > threshold, f0, 0.0)

    def _bin_mask(self, f0_min: float | None, f0_max: float | None) -> NDArray[np.bool_]:
        hertz = 10.0 * 2.0 ** (self.cents / 1200.0)
        low = hertz[0] if f0_min is None else f0_min
        high = hertz[-1] if f0_max is None else f0_max
        inside: NDArray[np.bool_] = (hertz >= low) & (hertz <= high)
        if not inside.any():
            raise UsageError(
                f"No pitch lies between {low:g} and {high:g} Hz for {self.name}, which knows "
                f"{hertz[0]:.1f} to {hertz[-1]:.1f} Hz; widen the range."
            )
        return inside

    def _check(self, audio: Float32) -> None:
        check_signal(audio, self.min_samples, self.name)


def check_signal(audio: Float32, min_samples: int, name: str) -> None:
    """Refuse a signal that is not mono or too short for the estimator called `name`."""
    if audio.ndim != 1 or audio.shape[0] < min_samples:
        raise UsageError(
            f"{name} needs a mono signal of at least {min_samples} samples at 16 kHz, "
            f"not one of shape {audio.shape}."
        )
