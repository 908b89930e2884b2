"""Synthesis of a voice from WORLD's parameters, one block continuing another.

After Morise et al., "WORLD: a vocoder-based high-quality speech synthesis
system" (2016): pulses at the zeros of a running phase and noise, shaped by
minimum-phase responses of the envelope and the aperiodicity. What is carried
from block to block is the phase, the last frame and the ringing tail, and the
noise is a function of time, so a stream has no seams.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.noise import frame_noise
from rtvc.engine.world.analysis import HOP, OFFSET, RATE, WorldFrames

_SINC = 32
"""Samples over which a pulse between two samples is spread."""

_SINC_DELAY = _SINC // 2 - 1

_NOISE_FRAME = 480


class WorldSynthesizer:
    """Turns frames into sound.

    Parameters
    ----------
    bins
        Frequencies of a frame, from 0 to half the rate.
    seed
        Key of the noise.
    """

    def __init__(self, bins: int, seed: int) -> None:
        self._bins = bins
        self._size = 2 * (bins - 1)
        self._seed = seed
        rise = (np.arange(HOP, dtype=np.float32) + 0.5) / HOP
        self._window = np.concatenate([rise, rise[::-1]])
        # Hann, over what remains of the transform behind the latest excitation.
        mean = np.hanning(self._size - 2 * HOP - OFFSET)
        self._mean = np.fft.rfft(mean / mean.sum(), self._size).astype(np.complex64)
        self._phase = 0.0
        self._last: tuple[float, NDArray[np.complex64], Float32] | None = None
        self._tail = np.zeros(self._size - HOP, np.float32)
        self._pulse_tail = np.zeros(_SINC, np.float32)

    @property
    def silent(self) -> bool:
        """Whether the next frames start from silence, so that the first only opens them."""
        return self._last is None

    def reset(self) -> None:
        """Drop the sound that still rings; the phase stays where it is."""
        self._last = None
        self._tail[:] = 0.0
        self._pulse_tail[:] = 0.0

    def render(self, first: int, frames: WorldFrames) -> Float32:
        """Return the sound up to the last of these frames.

        Parameters
        ----------
        first
            Absolute index, even, of the frame from which there is no sound yet:
            the last of the previous call or, after a rest, the first of these.
        frames
            The frames after `first` or, after a rest, from `first`; an odd
            number then, else an even one.

        Returns
        -------
        ndarray
            (intervals * HOP,) float32.
        """
        old = 0 if self._last is None else 1
        rows = old + len(frames.hz)
        hz = np.empty(rows)
        response = np.empty((rows, self._bins), np.complex64)
        # Gains of the pulse and of the noise; both follow the power.
        gains = np.empty((2, rows, self._bins), np.float32)
        if self._last is not None:
            hz[0], response[0], gains[:, 0] = self._last
        hz[old:] = frames.hz
        self._minimum_phase(frames.spectra[0], response[old:])
        gains[0, old:] = frames.spectra[1]
        np.subtract(1, gains[0, old:], out=gains[1, old:])
        np.sqrt(gains[:, old:], out=gains[:, old:])
        self._last = float(hz[-1]), response[-1], gains[:, -1]
        spectra = self._excite(first, hz)
        spectra *= gains
        sound = spectra[0]
        sound += spectra[1]
        sound *= response
        return self._overlap_add(np.fft.irfft(sound).astype(np.float32, copy=False))

    def _minimum_phase(self, log_power: Float32, out: NDArray[np.complex64]) -> None:
        """Write the minimum-phase spectra of these power spectra.

        The cepstrum of the log power, folded onto positive time: half of it is
        that of the log amplitude, and its mirror image comes on top. The mean of
        each response is taken away under a slow window, as in WORLD.
        """
        cepstra = np.fft.irfft(log_power)[:, : self._bins]
        cepstra[:, 0] *= 0.5
        cepstra[:, -1] *= 0.5
        np.exp(np.fft.rfft(cepstra, self._size), out=out, casting="same_kind")
        out -= out[:, :1] * self._mean

    def _excite(self, first: int, hz: Float64) -> NDArray[np.complex64]:
        """Return the spectra of pulses and noise around each frame, (2, frames, bins)."""
        hops = len(hz) - 1
        signals = np.zeros((2, (hops + 2) * HOP), np.float32)
        heard = signals[:, HOP:-HOP]
        heard[0] = self._pulses(hz)
        heard[1] = frame_noise(self._seed, first // 2, hops // 2, _NOISE_FRAME)
        stretches = np.lib.stride_tricks.sliding_window_view(signals, 2 * HOP, axis=1)[:, ::HOP]
        # Pulses come late by their own spread, so they are laid down that much earlier.
        rows = np.zeros((2, len(hz), OFFSET - _SINC_DELAY + 2 * HOP), np.float32)
        np.multiply(stretches, self._window, out=rows[..., OFFSET - _SINC_DELAY :])
        return np.fft.rfft(rows, self._size).astype(np.complex64, copy=False)

    def _pulses(self, hz: Float64) -> Float32:
        """Return the pulse train between frames at these pitches, _LATE samples late.

        Pitch is linear between voiced frames and constant towards an unvoiced
        one; phase is its exact integral, so no block boundary is felt.
        """
        before, after = hz[:-1], hz[1:]
        start = np.where(before > 0, before, after)
        slope = np.where(after > 0, after, before) - start
        phase = self._phase + np.concatenate(
            [[0.0], np.cumsum((start + 0.5 * slope) * (HOP / RATE))]
        )
        self._phase = float(phase[-1] % 1.0)
        count = np.arange(1, int(phase[-1]) + 1)
        interval = np.searchsorted(phase[1:], count)
        start, slope = start[interval], slope[interval] * (RATE / HOP)
        cycles = count - phase[interval]
        pitch = np.sqrt(np.maximum(start * start + 2.0 * slope * cycles, 1.0))
        position = interval * HOP + 2.0 * cycles / (start + pitch) * RATE
        whole = np.floor(position)
        distance = np.arange(_SINC) - _SINC_DELAY - (position - whole)[:, None]
        shape = np.sinc(distance) * np.cos(np.pi / _SINC * distance) ** 2
        shape *= np.sqrt(RATE / pitch)[:, None]
        index = whole.astype(np.intp)[:, None] + np.arange(_SINC)
        length = (len(hz) - 1) * HOP
        train = np.zeros(length + _SINC)
        np.add.at(train, index.ravel(), shape.ravel())
        train[:_SINC] += self._pulse_tail
        self._pulse_tail = train[length:].astype(np.float32)
        return train[:length].astype(np.float32)

    def _overlap_add(self, rows: Float32) -> Float32:
        """Add the responses, each a hop after the one before, to what still rings."""
        frames, size = rows.shape
        length = (frames - 1) * HOP + size
        # Row k is written k hops to the right, then all are summed at once.
        shifted = np.zeros((frames, length + HOP), np.float32)
        step = shifted.itemsize
        np.lib.stride_tricks.as_strided(
            shifted, (frames, size), ((length + 2 * HOP) * step, step), writeable=True
        )[:] = rows
        total = shifted.sum(axis=0)[HOP:length]
        total[: len(self._tail)] += self._tail
        heard = (frames - 1) * HOP
        self._tail = total[heard:].copy()
        sound: Float32 = total[:heard]
        return sound
