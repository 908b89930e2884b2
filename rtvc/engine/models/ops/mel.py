"""Log-mel spectra for the pitch networks.

The networks differ in mel scale, lower frequency limit, padding and magnitude, so this
module has the parts and each network combines them.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float64

WINDOW = 1024
FLOOR = 1e-5  # lower limit of the mel bands before the logarithm


def mel_filters(bands: int, rate: int, f_min: float, f_max: float, *, htk: bool) -> mx.array:
    """Return triangular filters of equal area on a mel scale.

    Equals ``librosa.filters.mel(norm="slaney")``.

    Parameters
    ----------
    bands
        Number of filters.
    rate
        Sample rate in Hz.
    f_min, f_max
        Lower edge of the first filter and upper edge of the last filter, in Hz.
    htk
        Mel scale: 2595 log10(1 + f / 700) if True, else Slaney's, which is linear up to 1 kHz
        and logarithmic above.

    Returns
    -------
    mx.array
        (WINDOW // 2 + 1, bands).
    """
    to_mel, from_mel = (_hz_to_htk, _htk_to_hz) if htk else (_hz_to_slaney, _slaney_to_hz)
    limits = to_mel(np.array([f_min, f_max]))
    edges = from_mel(np.linspace(limits[0], limits[1], bands + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(WINDOW // 2 + 1)[:, None] * (rate / WINDOW)
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))
    return mx.array(triangles.astype(np.float32))


def hann(size: int = WINDOW) -> mx.array:
    """Return the periodic Hann window, (size,)."""
    phase = 2 * np.pi * np.arange(size) / size
    return mx.array((0.5 - 0.5 * np.cos(phase)).astype(np.float32))


def reflect(audio: mx.array, samples: int) -> mx.array:
    """Pad (n,) by reflection with `samples` at both ends, as in ``np.pad``; n > samples."""
    head = audio[samples:0:-1]
    tail = audio[-2 : -samples - 2 : -1]
    return mx.concatenate([head, audio, tail])


def spectra(audio: mx.array, window: mx.array, hop: int) -> mx.array:
    """Return the complex spectra of all complete windows of (n,), (frames, WINDOW // 2 + 1)."""
    frames = (audio.shape[0] - WINDOW) // hop + 1
    return mx.fft.rfft(mx.as_strided(audio, (frames, WINDOW), (hop, 1)) * window, axis=1)


def log_mel(magnitude: mx.array, filters: mx.array) -> mx.array:
    """Return the natural logarithm of the mel bands, at least `FLOOR` each, (frames, bands)."""
    return mx.log(mx.maximum(magnitude @ filters, FLOOR))


def _hz_to_htk(hz: Float64) -> Float64:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _htk_to_hz(mel: Float64) -> Float64:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


# Slaney's Auditory Toolbox: 200/3 Hz per mel up to 1 kHz (15 mel), then 27 mel per factor 6.4.
_SLOPE = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _SLOPE
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_slaney(hz: Float64) -> Float64:
    above = _KNEE_MEL + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    return np.where(hz < _KNEE_HZ, hz / _SLOPE, above)


def _slaney_to_hz(mel: Float64) -> Float64:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _SLOPE, above)
