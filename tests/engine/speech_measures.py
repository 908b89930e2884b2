"""Measures of speech, independent of what is inside the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from rtvc._types import Float32, Float64

SPEECH = Path(__file__).parents[1] / "data" / "speech"
NAMES = sorted(p.stem for p in SPEECH.glob("*.wav"))
RATE = 48000


def speech(name: str, seconds: float | None = None) -> Float32:
    """An utterance at 48 kHz, or its beginning."""
    samples, rate = soundfile.read(SPEECH / f"{name}.wav", dtype="float32")
    made: Float32 = soxr.resample(samples, rate, RATE, quality="VHQ").astype(np.float32)
    return made if seconds is None else made[: int(seconds * RATE)]


def reference_pitch(name: str) -> Float64:
    """Pitch every 10 ms, 0 = unvoiced, made by another estimator (see the README there)."""
    hz: Float64 = np.load(SPEECH / f"{name}.f0.npy").astype(np.float64)
    return hz


def harmonic_pitch(signal: Float32, floor: float, ceiling: float) -> Float64:
    """Pitch every 10 ms, 0 = unvoiced, by what lies on harmonics and not between them.

    A sum over the spectrum in the manner of SWIPE (Camacho and Harris, 2008):
    no autocorrelation, no path, no memory.
    """
    rate = 16000
    x = soxr.resample(signal, RATE, rate).astype(np.float64)
    window = np.hanning(round(5 * rate / floor))
    size = 1 << (4 * len(window)).bit_length()
    half = len(window) // 2
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, half + 1), len(window))
    frames = frames[:: rate // 100]
    spectra = np.sqrt(np.abs(np.fft.rfft(frames * window, size)))
    grid = floor * 2 ** np.arange(0, np.log2(ceiling / floor), 1 / 192)
    score = np.zeros((len(spectra), len(grid)))
    for n in range(1, 13):
        for place, sign in ((n, 1.0), (n - 0.5, -1.0)):
            at = place * grid * size / rate
            inside = at < min(4000.0, rate / 2 - 1) * size / rate
            values = spectra[:, np.minimum(np.round(at).astype(int), size // 2)]
            score += sign * np.where(inside, values / np.sqrt(place), 0.0)
    best = score.argmax(axis=1)
    strength = score.max(axis=1) / (spectra[:, : 4000 * size // rate].mean(axis=1) + 1e-9)
    level = np.sqrt(np.mean(frames**2, axis=1))
    return np.where((strength > 2.0) & (level > 1e-3), grid[best], 0.0)


def voiced_frames(name: str, signal: Float32, below_db: float = 20.0) -> NDArray[np.intp]:
    """Frames (10 ms) of an utterance that the reference calls voiced and that are loud."""
    pitch = reference_pitch(name)
    hop = RATE // 100
    count = min(len(pitch), len(signal) // hop - 5)
    level = np.array(
        [np.mean(signal[max(0, k * hop - hop) : k * hop + hop] ** 2) for k in range(count)]
    )
    loud = level > np.max(level) * 10 ** (-below_db / 10)
    return np.flatnonzero((pitch[:count] > 0) & loud & (np.arange(count) > 5))


def formants(signal: Float32, frames: NDArray[np.intp]) -> Float64:
    """First two resonances in Hz at each frame, (frames, 2), NaN where not found.

    Linear prediction by autocorrelation on 30 ms, order 12 at 10 kHz; poles
    between 200 and 4500 Hz of less than 500 Hz bandwidth.
    """
    rate = 10000
    x = soxr.resample(signal, RATE, rate).astype(np.float64)
    x = np.append(x[0], x[1:] - 0.97 * x[:-1])
    window = np.hamming(300)
    out = np.full((len(frames), 2), np.nan)
    for row, frame in zip(out, frames, strict=True):
        start = frame * rate // 100 - 150
        piece = x[start : start + 300]
        if start < 0 or len(piece) < 300:
            continue
        piece = piece * window
        r = np.correlate(piece, piece, "full")[299 : 299 + 13]
        matrix = r[np.abs(np.subtract.outer(np.arange(12), np.arange(12)))]
        matrix += 1e-6 * r[0] * np.eye(12)
        poles = np.roots(np.append(1.0, -np.linalg.solve(matrix, r[1:])))
        poles = poles[poles.imag > 0]
        hz = np.angle(poles) * rate / (2 * np.pi)
        width = -np.log(np.abs(poles)) * rate / np.pi
        hz = np.sort(hz[(hz > 200) & (hz < 4500) & (width < 500)])
        if len(hz) >= 2:
            row[:] = hz[:2]
    return out


def envelope_db(signal: Float32, frames: NDArray[np.intp]) -> Float64:
    """Smooth spectrum in dB at each frame, (frames, 1025), by 40 ms and a cepstral cut at 2 ms."""
    window = np.hanning(1920)
    out = np.empty((len(frames), 1025))
    for row, frame in zip(out, frames, strict=True):
        start = max(0, frame * 480 - 960)
        piece = np.zeros(1920)
        part = signal[start : start + 1920]
        piece[: len(part)] = part
        log = np.log(np.abs(np.fft.rfft(piece * window, 2048)) ** 2 + 1e-9)
        cepstrum = np.fft.irfft(log)
        cepstrum[97:-96] = 0.0
        row[:] = np.fft.rfft(cepstrum).real * (10 / np.log(10))
    return out


def warp_semitones(before: Float64, after: Float64, low: float, high: float) -> float:
    """By how many semitones the envelopes moved, as that stretch which fits best in a band."""
    hz = np.arange(before.shape[1]) * RATE / 2 / (before.shape[1] - 1)
    band = (hz > low) & (hz < high)
    tried = np.arange(-8, 8.01, 0.1)
    misfit = []
    for semitones in tried:
        source = hz[band] * 2 ** (-semitones / 12)
        moved = np.array([np.interp(source, hz, row) for row in before])
        gap = moved - after[:, band]
        misfit.append(np.mean(np.abs(gap - gap.mean(axis=1, keepdims=True))))
    return float(tried[int(np.argmin(misfit))])


def mel_db(signal: Float32, bands: int = 40) -> Float64:
    """Power in mel bands from 60 to 7600 Hz in dB, every 10 ms, smoothed over 50 ms."""
    hop, size = RATE // 100, 2048
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(signal, size // 2), size)[::hop]
    power = np.abs(np.fft.rfft(frames[: len(signal) // hop] * np.hanning(size))) ** 2
    mel = np.linspace(1127 * np.log1p(60.0 / 700), 1127 * np.log1p(7600.0 / 700), bands + 2)
    edges = 700 * np.expm1(mel / 1127)
    hz = np.arange(size // 2 + 1) * RATE / size
    rise = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    bank = np.clip(np.minimum(rise, fall), 0, None)
    energy = power @ (bank / bank.sum(axis=1, keepdims=True)).T
    smooth = np.apply_along_axis(np.convolve, 0, energy, np.ones(5) / 5, "same")
    return 10 * np.log10(smooth + 1e-8)


def log_spectral_distance(one: Float32, other: Float32, frames: NDArray[np.intp]) -> float:
    """Mean over frames of the RMS difference of their mel spectra in dB."""
    gap = (mel_db(one) - mel_db(other))[frames]
    return float(np.mean(np.sqrt(np.mean(gap**2, axis=1))))


def boundary_click(signal: Float32, block: int) -> float:
    """Largest second difference within 2 ms of a block boundary over the largest elsewhere."""
    bend = np.abs(np.diff(signal, 2))
    near = np.zeros(len(bend), bool)
    for boundary in range(block, len(signal) - 96, block):
        near[boundary - 96 : boundary + 96] = True
    return float(bend[near].max() / bend[~near].max())
