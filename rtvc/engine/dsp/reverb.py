"""A small reverb: a feedback delay network of eight lines."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float64
from rtvc.engine.dsp.conditioning import RAMP_S, Ramp
from rtvc.engine.dsp.sola import fade_in

SHORTEST_S, LONGEST_S = 0.3, 3.0
"""Reverberation time (to -60 dB) at size 0 and 1."""

_CHUNK = 480
"""Samples computed at once; less than the shortest delay, so that feedback is known."""
_DELAYS = np.array([1123, 1301, 1511, 1747, 1999, 2237, 2503, 2791])
"""Delays in samples at 48 kHz, 23 to 58 ms; primes, so that echoes do not coincide."""
_LINES = len(_DELAYS)
_RING = 4096
_DAMPING = 0.2
"""Share of the neighbouring samples in each pass: lowers high frequencies like air and walls."""
_SPREAD, _TAPS = 1440, 6
"""Samples (30 ms) over which each line gets the input, and how often."""
_SILENT = 1e-9

_pair = np.array([[1.0, 1.0], [1.0, -1.0]])
_MIX = np.kron(np.kron(_pair, _pair), _pair) / np.sqrt(_LINES)
"""Hadamard matrix: feedback between all lines without loss."""


def reverberation_s(size: float) -> float:
    """Return the time in which the reverb falls by 60 dB below 1 kHz, for a size from 0 to 1."""
    return float(SHORTEST_S * (LONGEST_S / SHORTEST_S) ** size)


class Reverb:
    """Mixes a signal with its reverberation; it adds no delay.

    The structure is that of Jot and Chaigne, "Digital delay networks for designing artificial
    reverberators" (1991). Each line gets the input at six moments within 30 ms, which makes the
    echoes dense from the start.

    Parameters
    ----------
    rate
        Samples per second, 48000.
    mix
        Share of the reverberation at the start of the stream.
    """

    def __init__(self, rate: int, mix: float) -> None:
        self._rate = rate
        self._mix = Ramp(rate, mix)
        rng = np.random.default_rng(8)
        self._offsets = rng.integers(0, _SPREAD, (_LINES, _TAPS))
        self._signs = rng.choice([-1.0, 1.0], (_LINES, _TAPS)) / np.sqrt(_TAPS)
        self._ring = np.zeros((_LINES, 0))
        self._past = np.zeros(0)
        self._at = 0
        self._gains = np.zeros(0)

    def process(self, audio: Float64, mix: float, size: float) -> Float64:
        """Return the next block, whole 10 ms frames; `audio` itself while `mix` is 0.

        Parameters
        ----------
        audio
            (samples,).
        mix
            Share of the reverberation, 0 to 1; 0 = off, which forgets the reverberation.
        size
            0 to 1; see `reverberation_s`.
        """
        share = self._mix.process(mix, len(audio))
        if isinstance(share, float) and share == 0.0:
            self.forget()
            return audio
        source = audio.astype(np.float64)
        if not self._ring.size:
            self._ring, self._past = np.zeros((_LINES, _RING)), np.zeros(_SPREAD)
            self._gains = self._gains_for(size)
            if isinstance(share, np.ndarray):
                # A sound that begins at once would click in each of its echoes.
                rise = fade_in(round(RAMP_S * self._rate))
                source[: len(rise)] *= rise[: len(source)]
        wet = self._wet(source, self._gains_for(size))
        mixed: Float64 = audio + share * (wet - audio)
        return mixed

    def forget(self) -> None:
        """Forget the reverberation."""
        if self._ring.size:
            self._ring, self._past = np.zeros((_LINES, 0)), np.zeros(0)

    def skip(self, samples: int, mix: float, size: float) -> None:
        """Let the reverberation decay for a number of samples that are not output."""
        if self._ring.size:
            self.process(np.zeros(samples), mix, size)

    def _gains_for(self, size: float) -> Float64:
        gains: Float64 = 10.0 ** (-3.0 * _DELAYS / (self._rate * reverberation_s(size)))
        return gains

    def _wet(self, audio: Float64, gains: Float64) -> Float64:
        joined = np.concatenate([self._past, audio])
        self._past = joined[len(audio) :]
        wet = np.zeros(len(audio))
        old, self._gains = self._gains, gains
        if not joined.any() and np.abs(self._ring).max() < _SILENT:
            self._ring[:] = 0.0
            return wet
        fed = np.zeros((_LINES, len(audio)))
        for line in range(_LINES):
            for offset, sign in zip(self._offsets[line], self._signs[line], strict=True):
                start = _SPREAD - offset
                fed[line] += sign * joined[start : start + len(audio)]
        within = np.arange(-1, _CHUNK + 1)
        progress = np.arange(1, _CHUNK + 1) / _CHUNK
        for first in range(0, len(audio), _CHUNK):
            places = (self._at - _DELAYS[:, None] + within) % _RING
            late = np.take_along_axis(self._ring, places, axis=1)
            late = (1 - _DAMPING) * late[:, 1:-1] + _DAMPING / 2 * (late[:, :-2] + late[:, 2:])
            # Gains move along a line, so that another size has no steps.
            late *= old[:, None] + (gains - old)[:, None] * progress
            change = _loudness(gains) - _loudness(old)
            wet[first : first + _CHUNK] = late.sum(axis=0) * (_loudness(old) + change * progress)
            old = gains
            to = (self._at + np.arange(_CHUNK)) % _RING
            self._ring[:, to] = _MIX @ late + fed[:, first : first + _CHUNK]
            self._at = (self._at + _CHUNK) % _RING
        return wet


def _loudness(gains: Float64) -> float:
    """Return the factor that makes the lines together as loud as steady noise that is put in."""
    return float(np.sqrt((1 - np.mean(gains**2)) / _LINES))
