"""f0 as input of the synthesizer: bins of the pitch embedding, phase of the sine source."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtvc._types import Float64
from rtvc.errors import UsageError

LOWEST_HZ, HIGHEST_HZ = 50.0, 1100.0
COARSE_BINS = 256  # rows of the embedding; row 0 is not used by `coarse_pitch`
FRAME_S = 0.01


def _mel(hz: Float64 | float) -> Float64:
    return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)


_LOWEST, _HIGHEST = _mel(LOWEST_HZ), _mel(HIGHEST_HZ)


def coarse_pitch(f0_hz: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Map f0 to the bins of the synthesizer's pitch embedding.

    Bins are evenly spaced on the mel scale 1127 ln(1 + f/700), from 1 at 50 Hz and below to
    255 at 1100 Hz and above; halves round to even (RVC, ``infer/rtrvc.py``).

    Parameters
    ----------
    f0_hz
        f0 in Hz, any shape; 0 = unvoiced.

    Returns
    -------
    ndarray
        int32 bins 1..255 in the same shape; 1 where unvoiced.

    Raises
    ------
    UsageError
        A value is negative or not finite.
    """
    hz = np.asarray(f0_hz, dtype=np.float64)
    check_pitch(hz)
    bins = np.rint((_mel(hz) - _LOWEST) * (COARSE_BINS - 2) / (_HIGHEST - _LOWEST) + 1)
    return np.clip(bins, 1, COARSE_BINS - 1).astype(np.int32)


def sine_phase(f0_hz: npt.ArrayLike, initial_phase: float = 0.0) -> Float64:
    """Return the phase of the sine source at the start of each 10 ms frame and after the last.

    f0 is held within a frame, so a frame advances the phase by f0/100 cycles. With phases
    kept by absolute frame, overlapping renders of one frame use the same sine.

    Parameters
    ----------
    f0_hz
        f0 in Hz per frame, (T,); 0 = unvoiced, which does not advance the phase.
    initial_phase
        Phase at the first frame, in cycles.

    Returns
    -------
    ndarray
        (T + 1,) float64, cycles in [0, 1). The last value is the initial phase of the next
        frames.

    Raises
    ------
    UsageError
        A value is negative or not finite.
    """
    hz = np.asarray(f0_hz, dtype=np.float64)
    check_pitch(hz)
    return np.concatenate(([initial_phase], initial_phase + np.cumsum(hz * FRAME_S))) % 1.0


def check_pitch(f0_hz: npt.NDArray[np.floating]) -> None:
    """Raise an error if f0 is negative or not finite.

    Parameters
    ----------
    f0_hz
        f0 in Hz, any shape.

    Raises
    ------
    UsageError
        A value is negative or not finite.
    """
    if not (np.isfinite(f0_hz).all() and (f0_hz >= 0).all()):
        raise UsageError(
            "The f0 must be finite and not negative, in Hz with 0 for unvoiced frames."
        )
