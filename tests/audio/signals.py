"""Test signals and error measures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtvc._types import Float32

RATE = 48_000


def noise_below(edge_hz: float, rate: int, samples: int, *, seed: int = 0) -> Float32:
    """Return noise at -20 dBFS RMS, band-limited to `edge_hz`."""
    from scipy.signal import firwin, lfilter  # 1.5 s to import

    white = np.random.default_rng(seed).standard_normal(samples)
    taps = firwin(1001, edge_hz * 0.95, fs=rate, window=("kaiser", 12.0))
    band = lfilter(taps, 1.0, white)
    noise: Float32 = (0.1 * band / np.std(band)).astype(np.float32)
    return noise


def sine(hz: float, rate: int, samples: int, *, start: int = 0, peak: float = 0.5) -> Float32:
    """Return a sine with phase 0 at sample 0, from sample `start` on."""
    time = np.arange(start, start + samples) / rate
    return (peak * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def tone(hz: float, level: float, seconds: float = 1.0, phase: float = 0.0) -> Float32:
    """Return a sine at 48 kHz."""
    angle = 2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE + phase
    return (level * np.sin(angle)).astype(np.float32)


def in_blocks(process: Callable[[Float32], Float32], signal: Float32, size: int = 4800) -> Float32:
    """Return what `process` makes of a signal, block by block."""
    return np.concatenate([process(signal[i : i + size]) for i in range(0, len(signal), size)])


def error_db(result: Float32, wanted: Float32) -> float:
    """Return the power of the difference over the power of `wanted`, in dB."""
    difference = result.astype(np.float64) - wanted
    return float(10 * np.log10(np.mean(difference**2) / np.mean(wanted.astype(np.float64) ** 2)))


def distortion_db(result: Float32, hz: float, rate: int) -> float:
    """Return the THD+N of a sine in dB; its frequency, amplitude and phase are fitted."""
    y = result.astype(np.float64)
    t = np.arange(y.size) / rate
    for _ in range(4):
        c, s = np.cos(2 * np.pi * hz * t), np.sin(2 * np.pi * hz * t)
        a, b, d, e = np.linalg.lstsq(np.stack([c, s, t * c, t * s], 1), y, rcond=None)[0]
        hz += (b * d - a * e) / (a * a + b * b) / (2 * np.pi)
    basis = np.stack([np.cos(2 * np.pi * hz * t), np.sin(2 * np.pi * hz * t)], 1)
    wave = basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(20 * np.log10(np.std(y - wave) / np.std(wave)))


def chirp(seconds: float = 0.3, low_hz: float = 300.0, high_hz: float = 6000.0) -> Float32:
    """Return a linear sweep at 48 kHz with a fade at both ends, peak 0.5.

    Its flat spectrum gives the correlation a single narrow peak.
    """
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (low_hz + (high_hz - low_hz) / (2 * seconds) * time) * time
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
    fade = np.sin(np.pi / 2 * edge) ** 2
    sweep: Float32 = (0.5 * fade * np.sin(phase)).astype(np.float32)
    return sweep
