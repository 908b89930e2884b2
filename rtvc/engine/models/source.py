"""Excitation: the sine at the pitch, and noise, that a vocoder shapes into a voice.

The source of neural source-filter models (Wang et al. 2019,
https://arxiv.org/abs/1904.12088) as RVC and Applio use it. Phase is counted in
cycles and wrapped once a frame, so that float32 serves however long the window.
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
PHASE_STEPS = 1 << 24  # parts of a cycle; float32 holds them all


class F0Upsampler(Protocol):
    """How pitch goes from frames to samples."""

    def upsample(self, f0: mx.array) -> mx.array:
        """Pitch (1, T) to pitch of every sample, (1, T, hop), in the same unit."""

    def cumulative(self, f0: mx.array) -> mx.array:
        """Sum of the samples from the beginning of the frame, each with its own: (1, T, hop)."""


class HeldF0:
    """Pitch stays the same within a frame (HiFi-GAN and its MRF variant)."""

    def __init__(self, hop: int) -> None:
        self._count = _constant(np.arange(1, hop + 1))

    def upsample(self, f0: mx.array) -> mx.array:
        """See `F0Upsampler`."""
        return mx.repeat(f0[:, :, None], self._count.size, axis=2)

    def cumulative(self, f0: mx.array) -> mx.array:
        """See `F0Upsampler`."""
        return f0[:, :, None] * self._count


class LinearF0:
    """Pitch goes straight from the middle of one frame to the next (RefineGAN).

    The sums of a straight line are known in closed form, so that there is no
    running sum at audio rate and no rounding that grows with it.
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
        rise, on_rise = self._slopes(f0)
        return f0[:, :, None] + rise * self._before + on_rise * self._after

    def cumulative(self, f0: mx.array) -> mx.array:
        """See `F0Upsampler`."""
        rise, on_rise = self._slopes(f0)
        return f0[:, :, None] * self._count + rise * self._sum_before + on_rise * self._sum_after

    @staticmethod
    def _slopes(f0: mx.array) -> tuple[mx.array, mx.array]:
        """Change per frame towards a frame's middle, and away from it; flat at the ends."""
        steps = f0[:, 1:] - f0[:, :-1]
        flat = mx.zeros_like(f0[:, :1])
        rise = mx.concatenate([flat, steps], axis=1)[:, :, None]
        on_rise = mx.concatenate([steps, flat], axis=1)[:, :, None]
        return rise, on_rise


class SineSource:
    """Pitch (1, T) in Hz to excitation (1, T * hop, 1).

    Parameters
    ----------
    upsampler
        How pitch goes from frames to samples.
    merge
        Linear map of the harmonics to one signal, trained with the voice.
    harmonics
        How many sines there are: 1 is the fundamental alone.
    sample_rate
        Samples per second.
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
        """Make the excitation.

        Parameters
        ----------
        f0_hz
            Pitch, (1, T); 0 is unvoiced.
        phase
            Phase of the sine just before the first sample, in cycles, scalar.
        noise
            Standard normal, (1, T * hop, harmonics), or None for none at all. Its amplitude
            is 0.003 where voiced and a third of the sine's where not.
        """
        return self._compiled_excite(f0_hz, phase, noise)

    def _excite(self, f0_hz: mx.array, phase: mx.array, noise: mx.array | None) -> mx.array:
        cycles = self._cycles(f0_hz, phase)[:, :, None] * self._numbers
        # Harmonics start at n times the phase of the fundamental: the reference draws their
        # offsets at random for every call, which cannot be continued from block to block.
        sines = SINE_AMPLITUDE * mx.sin((2 * math.pi) * _fraction(cycles))
        voiced = self._upsampler.upsample(f0_hz).reshape(1, -1, 1) > 0
        mixed = mx.where(voiced, sines, 0.0)
        if noise is not None:
            mixed = mixed + mx.where(voiced, VOICED_NOISE, UNVOICED_NOISE) * noise
        return ops.tanh(self._merge(mixed))

    def _cycles(self, f0_hz: mx.array, phase: mx.array) -> mx.array:
        """Phase of every sample modulo 1, (1, T * hop): a sample has its own step behind it."""
        inside = self._upsampler.cumulative(f0_hz) * (1.0 / self._sample_rate)
        # Whole turns do not count, so frames add up in integers, exactly.
        steps = (_fraction(inside[:, :, -1]) * PHASE_STEPS).astype(mx.uint32)
        starts = (mx.cumsum(steps, axis=1) - steps) % PHASE_STEPS
        starts = phase + starts.astype(mx.float32) * (1.0 / PHASE_STEPS)
        return _fraction((starts[:, :, None] + inside).reshape(1, -1))


def _fraction(x: mx.array) -> mx.array:
    return x - mx.floor(x)


def _constant(values: npt.NDArray[np.number]) -> mx.array:
    """Put values in place now: an array left lazy could be used only on the thread that made it."""
    return mx.array(values.astype(np.float32))
