"""A recording prepared for conversion as a whole: high-pass without phase, cut into phrases."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.engine.dsp.conditioning import HIGH_PASS_HZ

_ORDER = 5
_REACH_S = 0.25
"""How far the high-pass rings to either side: beyond, below -200 dB."""
_PIECE = 1 << 18

_CENTRE_S, _QUERY_S = 30.0, 5.0
"""Phrases are about so long, give or take: RVC's reference cuts at 38 and 6 s, or at 30 and 5 s
where memory is short."""
_SMOOTH = 5
"""Frames over which quiet is measured, 50 ms."""


def high_pass(sound: Float32, rate: int) -> Float32:
    """Take away what lies below 48 Hz, without moving anything in time.

    A Butterworth filter of fifth order, forwards and backwards, as in RVC's reference:
    its squared magnitude is applied as one symmetric impulse response.

    Parameters
    ----------
    sound
        (samples,) at least 2.
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
    # Odd at the ends: a signal that does not begin at 0 begins without a jump all the same.
    padded = np.pad(sound, reach, mode="reflect", reflect_type="odd")
    transform = np.fft.rfft(kernel, _PIECE)
    step = _PIECE - 2 * reach
    made = np.empty(len(sound), np.float32)
    for at in range(0, len(sound), step):
        piece = np.fft.irfft(np.fft.rfft(padded[at : at + _PIECE], _PIECE) * transform, _PIECE)
        made[at : at + step] = piece[2 * reach :][: len(made) - at]
    return made


def split(sound: Float32, frame: int) -> list[tuple[int, int]]:
    """Cut a recording at its quietest places.

    Parameters
    ----------
    sound
        (frames * frame,).
    frame
        Samples in a frame of 10 ms.

    Returns
    -------
    list of (int, int)
        First frame and the one after the last of each phrase; every cut is at an even frame.
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
