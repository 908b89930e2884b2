"""Streaming synthesis from WORLD parameters, without discontinuities between blocks.

After Morise et al., "WORLD: a vocoder-based high-quality speech synthesis system" (2016): pulses
at the zeros of a running phase and noise, filtered by minimum-phase responses of the envelope
and the aperiodicity. Low frequencies are delayed by `WorldFrames.low_delay`. The phase, the last
frame and the tail of the responses are carried from block to block, and the noise is a function
of the absolute time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.noise import FrameNoise
from rtvc.engine.dsp.windows import windows
from rtvc.engine.world.analysis import HOP, OFFSET, RATE, WorldFrames

_SINC = 32
"""Length of the windowed sinc of a pulse at a fractional position, in samples."""

_SINC_DELAY = _SINC // 2 - 1

_LOW_HZ = 500.0
"""Frequency at which a delay of the low frequencies has fallen to 1/e."""

_NOISE_FRAME = 480
"""Samples per frame of noise (10 ms)."""


class WorldSynthesizer:
    """Renders frames of WORLD parameters.

    Parameters
    ----------
    bins
        Frequency bins per frame, from 0 to half the sample rate.
    seed
        Seed of the noise.
    """

    def __init__(self, bins: int, seed: int) -> None:
        self._bins = bins
        self._size = 2 * (bins - 1)
        self._noise = FrameNoise(seed, _NOISE_FRAME)
        rise = (np.arange(HOP, dtype=np.float32) + 0.5) / HOP
        self._window = np.concatenate([rise, rise[::-1]])
        # Hann window over the part of the transform after the latest excitation.
        mean = np.hanning(self._size - 2 * HOP - OFFSET)
        self._mean = np.fft.rfft(mean / mean.sum(), self._size).astype(np.complex64)
        # Phase of an all-pass whose group delay is 1 s at 0 Hz.
        fall = np.exp(-np.arange(bins) * (RATE / self._size / _LOW_HZ))
        self._low_phase = (2 * np.pi * _LOW_HZ * (fall - 1)).astype(np.float32)
        self._phase = 0.0
        self._last: tuple[float, NDArray[np.complex64], Float32] | None = None
        self._tail = np.zeros(self._size - HOP, np.float32)
        self._pulse_tail = np.zeros(_SINC, np.float32)

    @property
    def silent(self) -> bool:
        """Whether the next frames start from silence; the first is then only a start point."""
        return self._last is None

    def reset(self) -> None:
        """Clear the tail of the responses; keep the phase."""
        self._last = None
        self._tail[:] = 0.0
        self._pulse_tail[:] = 0.0

    def render(self, first: int, frames: WorldFrames) -> Float32:
        """Render the signal from frame `first` to the last of `frames`.

        Parameters
        ----------
        first
            Even absolute index of the last frame of the previous call or, if `silent`, of the
            first of `frames`.
        frames
            An even number of frames after `first` or, if `silent`, an odd number from `first`.

        Returns
        -------
        ndarray
            (intervals * HOP,) float32, one interval between each two frames.
        """
        old = 0 if self._last is None else 1
        rows = old + len(frames.hz)
        hz = np.empty(rows)
        response = np.empty((rows, self._bins), np.complex64)
        # Amplitudes of pulse and noise, from the periodic share of the power.
        gains = np.empty((2, rows, self._bins), np.float32)
        if self._last is not None:
            hz[0], response[0], gains[:, 0] = self._last
        hz[old:] = frames.hz
        self._respond(frames, response[old:])
        gains[0, old:] = frames.spectra[1]
        np.subtract(1, gains[0, old:], out=gains[1, old:])
        np.sqrt(gains[:, old:], out=gains[:, old:])
        self._last = float(hz[-1]), response[-1], gains[:, -1]
        sound = self._excite(first, hz, gains)
        sound *= response
        return self._overlap_add(np.fft.irfft(sound).astype(np.float32, copy=False))

    def _respond(self, frames: WorldFrames, out: NDArray[np.complex64]) -> None:
        """Write the spectra of the responses to `out`, (frames, bins).

        Minimum-phase spectra follow from the cepstrum of the log amplitude (half the log power),
        folded onto positive time. The low frequencies are then delayed. The mean of each response
        is removed under a Hann window, as in WORLD.
        """
        cepstra = np.fft.irfft(frames.spectra[0])[:, : self._bins]
        cepstra[:, 0] *= 0.5
        cepstra[:, -1] *= 0.5
        logarithm = np.fft.rfft(cepstra, self._size)
        delay = np.atleast_1d(np.asarray(frames.low_delay, np.float32))
        if delay.any():
            logarithm.imag += delay[:, None] * self._low_phase
        np.exp(logarithm, out=out, casting="same_kind")
        out -= out[:, :1] * self._mean

    def _excite(self, first: int, hz: Float64, gains: Float32) -> NDArray[np.complex64]:
        """Return the spectra of the excitation around each frame, (frames, bins).

        Parameters
        ----------
        first
            As for `render`.
        hz
            (frames,)
        gains
            (2, frames, bins) of pulses and noise.
        """
        hops = len(hz) - 1
        # Unvoiced frames have no pulses, whose gain is 0 there.
        voiced = int(hz.any())
        signals = np.zeros((voiced + 1, (hops + 2) * HOP), np.float32)
        inner = signals[:, HOP:-HOP]
        if voiced:
            inner[0] = self._pulses(hz)
        else:
            self._pulse_tail[:] = 0.0
        inner[-1] = self._noise.draw(first // 2, hops // 2)
        stretches = windows(signals, 2 * HOP, HOP, count=len(hz))
        # Pulses are delayed by half their sinc, so they are placed that much earlier.
        rows = np.zeros((voiced + 1, len(hz), OFFSET - _SINC_DELAY + 2 * HOP), np.float32)
        np.multiply(stretches, self._window, out=rows[..., OFFSET - _SINC_DELAY :])
        spectra = np.fft.rfft(rows, self._size).astype(np.complex64, copy=False)
        spectra *= gains[1 - voiced :]
        sound: NDArray[np.complex64] = spectra[-1]
        if voiced:
            sound += spectra[0]
        return sound

    def _pulses(self, hz: Float64) -> Float32:
        """Return the pulse train between frames of f0 `hz`, `_SINC_DELAY` samples late.

        f0 is linear between voiced frames and constant towards an unvoiced frame. The phase is
        its exact integral, so the pulses do not depend on block boundaries.
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
        """Overlap-add the responses, one per hop, onto the tail of the previous call."""
        frames, size = rows.shape
        length = (frames - 1) * HOP + size
        # Row k is written k hops to the right, then the rows are summed.
        shifted = np.zeros((frames, length + HOP), np.float32)
        places = windows(shifted.reshape(-1), size, length + 2 * HOP, count=frames)
        places[:] = rows
        total = np.add.reduce(shifted, axis=0)[HOP:length]
        total[: len(self._tail)] += self._tail
        complete = (frames - 1) * HOP
        self._tail = total[complete:].copy()
        sound: Float32 = total[:complete]
        return sound
