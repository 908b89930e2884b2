"""Preparation of a recording for offline conversion: zero-phase high-pass, split into phrases."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.engine.dsp.conditioning import HIGH_PASS_HZ

_ORDER = 5
_REACH_S = 0.25
"""Length of the high-pass response on either side in seconds; beyond it is below -200 dB."""
_PIECE = 1 << 18
"""FFT size of the overlap-save filtering."""

_CENTRE_S, _QUERY_S = 30.0, 5.0
"""Phrases are 25 to 35 s long: the reference program splits at 38 s plus or minus 6 s, or with
little memory at 30 s plus or minus 5 s."""
_SMOOTH = 5
"""Frames over which the level is averaged, 50 ms."""


def high_pass(sound: Float32, rate: int) -> Float32:
    """Apply a zero-phase high-pass at 48 Hz.

    It equals a fifth-order Butterworth filter applied forwards and backwards, as in RVC's
    reference program, and is computed as convolution with one symmetric impulse response of the
    squared magnitude.

    Parameters
    ----------
    sound
        (samples,) float32, at least 2 samples.
    rate
        Samples per second.
    """
    reach = round(_REACH_S * rate)
    size = 1 << (4 * reach - 1).bit_length()
    corner = np.tan(np.pi * HIGH_PASS_HZ / rate)
    warped = np.tan(np.pi * np.arange(1, size // 2) / size)
    squared = 1.0 / (1.0 + (corner / warped) ** (2 * _ORDER))
    response = np.fft.irfft(np.concatenate([[0.0], squared, [1.0]]))
    kernel = np.concatenate([response[-reach:], response[: reach + 1]])
    # Odd reflection, so that a signal that does not start at 0 has no step at its ends.
    padded = np.pad(sound, reach, mode="reflect", reflect_type="odd")
    transform = np.fft.rfft(kernel, _PIECE)
    step = _PIECE - 2 * reach
    filtered = np.empty(len(sound), np.float32)
    for at in range(0, len(sound), step):
        piece = np.fft.irfft(np.fft.rfft(padded[at : at + _PIECE], _PIECE) * transform, _PIECE)
        filtered[at : at + step] = piece[2 * reach :][: len(filtered) - at]
    return filtered


def split(sound: Float32, frame: int) -> list[tuple[int, int]]:
    """Split a recording into phrases at its quietest frames.

    Parameters
    ----------
    sound
        (frames * frame,) float32.
    frame
        Samples per 10 ms frame.

    Returns
    -------
    list of (int, int)
        First frame of each phrase and the frame after its last. Phrases start at even frames.
    """
    frames = len(sound) // frame
    loudness = np.abs(sound[: frames * frame]).reshape(frames, frame).mean(axis=1)
    smooth = np.convolve(loudness, np.ones(_SMOOTH), "same")
    centre, query = round(100 * _CENTRE_S), round(100 * _QUERY_S)
    cuts = [0]
    while frames - cuts[-1] > centre + query:
        first = cuts[-1] + centre - query
        quietest = first + int(smooth[first : first + 2 * query].argmin())
        cuts.append(quietest // 2 * 2)
    return list(zip(cuts, [*cuts[1:], frames], strict=True))
