"""f0 estimators without weights, from the WORLD vocoder.

DIO (Morise, Kawahara, Katayose, 2009) refined by StoneMask is fast enough for live use. Harvest
(Morise, 2017) is more accurate and takes forty times as long. Both classify too many frames as
voiced, so D4C's voicing test ("Love Train", Morise, 2016) decides voicing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyworld

from rtvc._types import Float32, Float64
from rtvc.engine.models.pitch_estimator import HOP, SAMPLE_RATE, PitchEstimator, check_signal
from rtvc.errors import UsageError

_FRAME_MS = 1000 * HOP / SAMPLE_RATE
_LOWEST_HZ, _HIGHEST_HZ = 40.0, 1600.0
_F0_MIN, _F0_MAX = 50.0, 1100.0

_Track = tuple[Float64, Float64]


class WorldEstimator(PitchEstimator):
    """A ``PitchEstimator`` based on WORLD.

    It has no salience, because these methods select among candidates instead of rating bins.
    `threshold` is the share of a frame's power below 7.9 kHz that must lie below 4 kHz for the
    frame to be voiced; 0 skips the test.

    Parameters
    ----------
    name
        Value of ``Settings.pitch_method``.
    track
        ``pyworld.dio`` or ``pyworld.harvest``.
    """

    threshold = 0.85
    min_samples = 1600

    def __init__(self, name: str, track: Callable[..., _Track]) -> None:
        self.name = name
        self._track = track

    def __call__(
        self,
        audio_16k: Float32,
        *,
        threshold: float | None = None,
        f0_min: float | None = None,
        f0_max: float | None = None,
    ) -> Float32:
        """See ``PitchEstimator``; the default range is 50 to 1100 Hz."""
        check_signal(audio_16k, self.min_samples, self.name)
        low = _F0_MIN if f0_min is None else f0_min
        high = _F0_MAX if f0_max is None else f0_max
        if not _LOWEST_HZ <= low < high <= _HIGHEST_HZ:
            raise UsageError(
                f"{self.name} cannot estimate f0 from {low:g} to {high:g} Hz. "
                f"Use a range within {_LOWEST_HZ:g} to {_HIGHEST_HZ:g} Hz."
            )
        audio = np.ascontiguousarray(audio_16k, dtype=np.float64)
        f0, times = self._track(
            audio, SAMPLE_RATE, f0_floor=low, f0_ceil=high, frame_period=_FRAME_MS
        )
        f0 = pyworld.stonemask(audio, f0, times, SAMPLE_RATE)
        limit = self.threshold if threshold is None else threshold
        if limit > 0:
            # D4C returns an aperiodicity of 1 in every band for frames that fail its test. For
            # the others the lowest bin is close to 0.
            aperiodicity = pyworld.d4c(audio, f0, times, SAMPLE_RATE, threshold=limit)
            f0 = np.where(aperiodicity[:, 0] < 0.5, f0, 0.0)
        return f0.astype(np.float32)


def dio() -> WorldEstimator:
    """Return DIO refined by StoneMask: about 2 ms for 0.3 s of audio."""
    return WorldEstimator("dio", pyworld.dio)


def harvest() -> WorldEstimator:
    """Return Harvest refined by StoneMask: about 120 ms for 0.3 s of audio."""
    return WorldEstimator("harvest", pyworld.harvest)
