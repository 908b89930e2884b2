"""Pitch as the synthesizer takes it: the coarse bins of its embedding, the phase of its sine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtvc._types import Float64
from rtvc.errors import UsageError

LOWEST_HZ, HIGHEST_HZ = 50.0, 1100.0
COARSE_BINS = 256  # rows of the embedding; 0 is never made here, but old frames may hold it
FRAME_S = 0.01


def _mel(hz: Float64 | float) -> Float64:
    return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)


_LOWEST, _HIGHEST = _mel(LOWEST_HZ), _mel(HIGHEST_HZ)


def coarse_pitch(f0_hz: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Map pitch to the bins of the synthesizer's pitch embedding.

    Bins are even on the mel scale 1127 ln(1 + f/700), from 1 at 50 Hz and below to 255 at
    1100 Hz and above; half a bin rounds to even (RVC, ``infer/rtrvc.py``).

    Parameters
    ----------
    f0_hz
        Pitch in Hz, any shape; 0 is unvoiced.

    Returns
    -------
    ndarray
        Bins 1..255 as int32, of the same shape; 1 where unvoiced.

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
    """Phase of the source's sine at the beginning of every 10 ms frame, and after the last.

    Pitch is held within a frame, so a frame advances the phase by f0/100 cycles. Kept with
    the pitch of the stream, it lets overlapping renders of one frame use the same sine.

    Parameters
    ----------
    f0_hz
        Pitch in Hz per frame, (T,); 0 is unvoiced and leaves the phase where it is.
    initial_phase
        Phase at the first frame, in cycles.

    Returns
    -------
    ndarray
        Cycles in [0, 1), (T + 1,) float64; the last one is the initial phase of what follows.

    Raises
    ------
    UsageError
        A value is negative or not finite.
    """
    hz = np.asarray(f0_hz, dtype=np.float64)
    check_pitch(hz)
    return np.concatenate(([initial_phase], initial_phase + np.cumsum(hz * FRAME_S))) % 1.0


def check_pitch(f0_hz: npt.NDArray[np.floating]) -> None:
    """Refuse pitch that is negative or not finite.

    Parameters
    ----------
    f0_hz
        Pitch in Hz, any shape.

    Raises
    ------
    UsageError
        A value is negative or not finite.
    """
    if not (np.isfinite(f0_hz).all() and (f0_hz >= 0).all()):
        raise UsageError("Pitch is given in Hz, 0 where unvoiced; it cannot be negative or NaN.")
