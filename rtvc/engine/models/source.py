"""Excitation of a vocoder: sines at f0 and its harmonics, and noise.

The source of neural source-filter models (Wang et al. 2019,
https://arxiv.org/abs/1904.12088) as RVC and Applio use it. Phase is in cycles and wrapped
once per frame, so float32 is precise enough for a window of any length.
"""

from __future__ import annotations

import math
from typing import Protocol

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from rtvc.engine.models.ops import ops
from rtvc.engine.models.parameters import Linear

SINE_AMPLITUDE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = SINE_AMPLITUDE / 3
PHASE_STEPS = 1 << 24  # steps per cycle; float32 represents each one exactly


class F0Upsampler(Protocol):
    """Upsampling of f0 from frames to samples."""

    def upsample(self, f0: mx.array) -> mx.array:
        """Return the f0 of every sample, (1, T, hop), for (1, T), in the same unit."""

    def cumulative(self, f0: mx.array) -> mx.array:
        """Return the cumulative sum of `upsample` within each frame, (1, T, hop)."""


class HeldF0:
    """Constant f0 within a frame (HiFi-GAN and its MRF variant)."""

    def __init__(self, hop: int) -> None:
        self._count = _constant(np.arange(1, hop + 1))

    def upsample(self, f0: mx.array) -> mx.array:
        """See `F0Upsampler`."""
        return mx.repeat(f0[:, :, None], self._count.size, axis=2)

    def cumulative(self, f0: mx.array) -> mx.array:
        """See `F0Upsampler`."""
        return f0[:, :, None] * self._count


class LinearF0:
    """Linear interpolation of f0 between the centres of frames (RefineGAN).

    The cumulative sum of a line has a closed form, so there is no running sum at audio rate
    and no rounding error that grows with it.
    """

    def __init__(self, hop: int) -> None:
        time = (np.arange(hop) + 0.5) / hop - 0.5
        before, after = np.minimum(time, 0), np.maximum(time, 0)
        self._count = _constant(np.arange(1, hop + 1))
        self._before, self._after = _constant(before), _constant(after)
        self._sum_before = _constant(np.cumsum(before))
        self._sum_after = _constant(np.cumsum(after))

    def upsample(self, f0: mx.array) -> mx.array:
        """See `F0Upsampler`."""
        slope, next_slope = self._slopes(f0)
        return f0[:, :, None] + slope * self._before + next_slope * self._after

    def cumulative(self, f0: mx.array) -> mx.array:
        """See `F0Upsampler`."""
        slope, next_slope = self._slopes(f0)
        held = f0[:, :, None] * self._count
        return held + slope * self._sum_before + next_slope * self._sum_after

    @staticmethod
    def _slopes(f0: mx.array) -> tuple[mx.array, mx.array]:
        """Return the change per frame before and after each frame's centre, 0 at the ends."""
        steps = f0[:, 1:] - f0[:, :-1]
        flat = mx.zeros_like(f0[:, :1])
        slope = mx.concatenate([flat, steps], axis=1)[:, :, None]
        next_slope = mx.concatenate([steps, flat], axis=1)[:, :, None]
        return slope, next_slope


class SineSource:
    """Generates the excitation (1, T * hop, 1) from f0 (1, T) in Hz.

    Parameters
    ----------
    upsampler
        Upsampling of f0 from frames to samples.
    merge
        Trained linear map from the harmonics to one signal.
    harmonics
        Number of sines; 1 is the fundamental alone.
    sample_rate
        Sample rate in Hz.
    """

    def __init__(
        self, upsampler: F0Upsampler, merge: Linear, harmonics: int, sample_rate: int
    ) -> None:
        self.harmonics = harmonics
        self._upsampler = upsampler
        self._merge = merge
        self._sample_rate = sample_rate
        self._numbers = _constant(np.arange(1, harmonics + 1))
        self._compiled_excite = ops.compiled(self._excite)

    def __call__(self, f0_hz: mx.array, phase: mx.array, noise: mx.array | None) -> mx.array:
        """Generate the excitation.

        Parameters
        ----------
        f0_hz
            (1, T); 0 is unvoiced.
        phase
            Phase of the fundamental one sample before the first one, in cycles, scalar.
        noise
            Standard normal, (1, T * hop, harmonics); None for no noise. It is scaled to 0.003
            in voiced samples and to a third of the amplitude of the sines in unvoiced ones.

        Returns
        -------
        mx.array
            (1, T * hop, 1), in [-1, 1].
        """
        return self._compiled_excite(f0_hz, phase, noise)

    def _excite(self, f0_hz: mx.array, phase: mx.array, noise: mx.array | None) -> mx.array:
        cycles = self._cycles(f0_hz, phase)[:, :, None]
        if self.harmonics > 1:
            cycles = _fraction(cycles * self._numbers)
        # Harmonic n has n times the phase of the fundamental. The reference draws random phase
        # offsets in every call, which would be discontinuous from block to block.
        sines = SINE_AMPLITUDE * mx.sin((2 * math.pi) * cycles)
        voiced = self._upsampler.upsample(f0_hz).reshape(1, -1, 1) > 0
        mixed = mx.where(voiced, sines, 0.0)
        if noise is not None:
            mixed = mixed + mx.where(voiced, VOICED_NOISE, UNVOICED_NOISE) * noise
        return ops.tanh(self._merge(mixed))

    def _cycles(self, f0_hz: mx.array, phase: mx.array) -> mx.array:
        """Return the phase after each sample's own increment, in [0, 1) cycles, (1, T * hop)."""
        inside = self._upsampler.cumulative(f0_hz) * (1.0 / self._sample_rate)
        # Complete cycles do not matter, so frames are summed exactly, as integers.
        steps = (_fraction(inside[:, :, -1]) * PHASE_STEPS).astype(mx.uint32)
        starts = (mx.cumsum(steps, axis=1) - steps) % PHASE_STEPS
        starts = phase + starts.astype(mx.float32) * (1.0 / PHASE_STEPS)
        return _fraction(starts[:, :, None] + inside).reshape(1, -1)


def _fraction(x: mx.array) -> mx.array:
    return x - mx.floor(x)


def _constant(values: npt.NDArray[np.number]) -> mx.array:
    """Return an evaluated array; a lazy one can be used only on the thread that built it."""
    return mx.array(values.astype(np.float32))
