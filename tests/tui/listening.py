"""What a recording of the speaker tells of a performance: when it changed, clicks, leaks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rtvc._types import Float32, Float64
from tests.audio.signals import noise_below
from tests.support.sound_server import RATE, RecordedSound

TONE_HZ = 150.0
_MARK_HZ = 2500.0, 6000.0
"""Where the vowel has nothing, and its noise shows where the microphone's own sound went."""
_LONGEST_WAY_S = 0.7
_HOP, _FRAME = RATE // 100, 2048


def vowel(seconds: float) -> Float32:
    """Return a steady vowel of 150 Hz with a little noise, by which a recording knows it again."""
    t = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * TONE_HZ * k * t) / k for k in range(1, 12))
    mark = _marked(noise_below(_MARK_HZ[1], RATE, len(t)))
    return (0.1 * tone + 0.03 * mark).astype(np.float32)


def cut(recording: RecordedSound, start: float, length: float) -> Float32:
    """Return what was heard from a moment of the monotonic clock on."""
    first = round((start - recording.began) * RATE)
    assert first >= 0, "before the recording"
    return recording.samples[first : first + round(length * RATE)]


def bend(recording: RecordedSound, start: float, length: float) -> float:
    """Return the largest second difference: what makes a click."""
    return float(np.abs(np.diff(cut(recording, start, length), 2)).max(initial=0.0))


def likeness(heard: RecordedSound, said: RecordedSound, start: float, length: float) -> float:
    """Return how far the output is the microphone itself, from 0 to 1, by the vowel's noise.

    A synthesized voice has noise of its own, which is like it by chance only:
    0.25 in pieces of 100 ms, 0.1 in those of 600.
    """
    out = _marked(cut(heard, start, length))
    mark = _marked(cut(said, start - _LONGEST_WAY_S, length + _LONGEST_WAY_S))
    size = 1 << (len(mark) + len(out)).bit_length()
    product = np.fft.irfft(np.fft.rfft(mark, size) * np.conj(np.fft.rfft(out, size)))
    power = np.mean(mark**2) * len(out) * np.sum(out**2)
    return float(np.abs(product[: len(mark) - len(out) + 1]).max() / np.sqrt(power + 1e-20))


def moment(recording: RecordedSound, key: float, settled: float) -> float:
    """Return how many seconds after a key its change was heard.

    That is when the spectrum became, and stayed, nearer to what it is after
    `settled` than to what it was before the key.
    """
    old = _spectra(cut(recording, key - 0.6, 0.6)).mean(axis=0)
    new = _spectra(cut(recording, settled, 0.6)).mean(axis=0)
    assert np.sqrt(np.mean((new - old) ** 2)) > 3.0, "nothing has changed"
    spectra = _spectra(cut(recording, key - 0.1, settled - key + 0.4))
    nearer = np.linalg.norm(spectra - new, axis=1) < np.linalg.norm(spectra - old, axis=1)
    last_old = np.flatnonzero(~nearer)[-1]
    return float((last_old + 1) * _HOP / RATE - 0.1 + _FRAME / 2 / RATE)


def half_way(recording: RecordedSound, key: float, hz: float, longest: float = 0.5) -> float:
    """Return how many seconds after a key the sound at one frequency came or went by half."""
    width = round(3 * RATE / hz)  # whole periods, so that other harmonics do not count
    sound = cut(recording, key - width / RATE, longest + 2 * width / RATE)
    turning = sound * np.exp(-2j * np.pi * hz / RATE * np.arange(len(sound)))
    whole = np.cumsum(np.concatenate([[0], turning]))
    level = np.abs(whole[width:] - whole[:-width])
    steady = level[: width // 2].mean(), level[-width // 2 :].mean()
    assert max(steady) > 5 * min(steady), "nothing has changed"
    there = level > max(steady) / 2
    at = int(np.flatnonzero(there != there[0])[0])
    return (at - width / 2) / RATE


def _marked(sound: Float32) -> Float64:
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(hz < _MARK_HZ[0]) | (hz > _MARK_HZ[1])] = 0
    return np.fft.irfft(spectrum, len(sound))


def _spectra(sound: Float32) -> Float64:
    """Return levels in dB of 30 bands from 80 Hz to 8 kHz, (frames, 30), every 10 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME))) ** 2
    edges = np.round(np.geomspace(80, 8000, 31) * _FRAME / RATE).astype(int)
    bands = [power[:, a : max(b, a + 1)].mean(axis=1) for a, b in pairwise(edges)]
    return 10 * np.log10(np.stack(bands, axis=1) + 1e-4)
