"""Sounds of a room without speech, synthesized: typing, a fan, breath."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32

RATE = 48_000


def typing(seconds: float, seed: int = 0, level: float = 0.1) -> Float32:
    """Key presses, 3 to 10 a second: a click, a resonance and a thump, down and up."""
    random = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE))
    at = np.arange(round(0.03 * RATE)) / RATE
    when = 0.05
    while when + 0.2 < seconds:
        for offset, share in ((0.0, 1.0), (random.uniform(0.05, 0.11), 0.6)):
            key = random.standard_normal(len(at)) * np.exp(-at / 0.004)
            for low, high, part, decay in ((1500, 5000, 0.7, 0.006), (120, 300, 0.8, 0.008)):
                hz = random.uniform(low, high)
                key += part * np.sin(2 * np.pi * hz * at) * np.exp(-at / decay)
            first = round((when + offset) * RATE)
            sound[first : first + len(at)] += share * random.uniform(0.4, 1.0) * key
        when += random.uniform(0.1, 0.35)
    return (level * sound).astype(np.float32)


def fan(seconds: float, seed: int = 0, level: float = 0.02) -> Float32:
    """Noise that falls towards high frequencies, and the hum of the blades at 118 Hz."""
    random = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    spectrum = np.fft.rfft(random.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    sound = np.fft.irfft(spectrum / np.maximum(hz, 60) ** 0.7, samples)
    sound /= np.std(sound)
    time = np.arange(samples) / RATE
    for n in range(1, 6):
        sound += 0.4 / n * np.sin(2 * np.pi * 118 * n * time + n)
    return (level * sound).astype(np.float32)


def breath(seconds: float, seed: int = 0, level: float = 0.05) -> Float32:
    """Breaths of 0.5 to 1.2 s with pauses: noise with three broad resonances."""
    random = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE))
    when = 0.3
    while when + 1.3 < seconds:
        samples = round(random.uniform(0.5, 1.2) * RATE)
        spectrum = np.fft.rfft(random.standard_normal(samples))
        hz = np.fft.rfftfreq(samples, 1 / RATE)
        resonances = ((600, 300, 1.0), (1600, 400, 0.8), (3200, 800, 0.5))
        shape = sum(share / (1 + ((hz - at) / width) ** 2) for at, width, share in resonances)
        one = np.fft.irfft(spectrum * shape, samples)
        first = round(when * RATE)
        part = random.uniform(0.5, 1.0) * np.hanning(samples) * one / np.std(one)
        sound[first : first + samples] += part
        when += samples / RATE + random.uniform(0.4, 1.5)
    return (level * sound).astype(np.float32)
