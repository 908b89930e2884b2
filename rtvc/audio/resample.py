"""Sample-rate conversion of a mono stream.

* `BlockResampler`, inside the engine: each block gives an exact number of samples,
  and the delay is a known integer number of samples.
* `EdgeResampler`, between a device and the engine: takes any number of samples,
  returns those that are ready, and its ratio can be trimmed while it runs.

`BlockResampler` filters directly in the time domain. The FFT stages of soxr's
constant-rate mode delay the signal by up to 37 ms from 48 to 16 kHz and 177 ms from
8 to 48 kHz, where this filter needs 2.5 ms and 5 ms.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from rtvc._types import Float32, Float64

STOPBAND_DB = 100.0
"""Attenuation of images and aliases outside the transition band."""
PASSBAND, STOPBAND = 0.92, 1.08
"""Edges of the transition band as fractions of the lower Nyquist frequency: the
response is flat below and stops above. A little aliasing around the Nyquist frequency
halves the delay."""
MAX_TRIM = 2e-3
"""Largest relative change of the ratio of an `EdgeResampler`."""
_LONGEST_DELAY_S = 0.04
"""More than the 30 ms from 8 kHz to 48 kHz, the longest of any device."""
_JOIN_S = 0.005
GLIDE_S = 1.0
"""Time constant of a change of the ratio, in seconds."""


class BlockResampler:
    """Polyphase FIR resampler with exact sample counts and an exact delay.

    The output does not depend on how the signal is divided into blocks. At equal
    rates the output is the input, bit for bit and without delay.

    Parameters
    ----------
    in_rate, out_rate
        Sample rates in Hz, positive.
    stopband_db
        Attenuation of images and aliases; less gives a shorter delay.

    Attributes
    ----------
    step
        The length of a block must be a multiple of `step` input samples. At every
        rate that is a multiple of 100 Hz, a 10 ms frame is one.
    delay
        The filter's delay in output samples.
    delay_in
        The same delay in input samples.

    Raises
    ------
    ValueError
        If a rate is not positive.
    """

    def __init__(self, in_rate: int, out_rate: int, stopband_db: float = STOPBAND_DB) -> None:
        if in_rate <= 0 or out_rate <= 0:
            raise ValueError(f"sample rates must be positive, not {in_rate} and {out_rate}")
        self.in_rate = in_rate
        self.out_rate = out_rate
        common = math.gcd(in_rate, out_rate)
        up, down = out_rate // common, in_rate // common
        self.step = down
        self.delay = self.delay_in = 0
        if up == down:
            return
        half = _half_length(up, down, stopband_db)
        self.delay, self.delay_in = half // down, half // up
        self._kernels = _kernels(_low_pass(half, up, down, stopband_db), up, down)
        self._history = np.zeros(self._kernels.shape[1] - down, np.float32)

    def process(self, block: Float32) -> Float32:
        """Convert the next block.

        Parameters
        ----------
        block
            (samples,) float32, a multiple of `step` samples long; may be empty.

        Returns
        -------
        Float32
            (samples * out_rate / in_rate,).

        Raises
        ------
        ValueError
            If the length of `block` is not a multiple of `step`.
        """
        if block.size % self.step:
            raise ValueError(f"a block of {block.size} samples is not a multiple of {self.step}")
        if self.in_rate == self.out_rate or not block.size:
            return block
        signal = np.concatenate((self._history, block))
        self._history = signal[block.size :]
        windows = sliding_window_view(signal, self._kernels.shape[1])[:: self.step]
        # einsum sums each output sample separately, so it does not depend on the block size.
        output: Float32 = np.einsum("ik,jk->ij", windows, self._kernels).reshape(-1)
        return output

    def reset(self) -> None:
        """Clear the filter's history."""
        if self.delay:
            self._history = np.zeros_like(self._history)


def _half_length(up: int, down: int, stopband_db: float) -> int:
    """Return half the filter's length in samples at the common multiple of both rates."""
    width = 2 * math.pi * (STOPBAND - PASSBAND) / (2 * max(up, down))
    needed = (stopband_db - 7.95) / (2.285 * width) / 2
    unit = up * down  # makes the delay an integer number of samples at both rates
    return unit * math.ceil(needed / unit)


def _low_pass(half: int, up: int, down: int, stopband_db: float) -> Float64:
    """Return a Kaiser-windowed sinc with its cutoff at the lower Nyquist frequency."""
    beta = 0.1102 * (stopband_db - 8.7)
    time = np.arange(-half, half + 1) / max(up, down)
    taps: Float64 = np.sinc(time) * np.kaiser(2 * half + 1, beta)
    # Each phase has unit gain at DC, so that a constant input gives a constant output.
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    return taps


def _kernels(taps: Float64, up: int, down: int) -> Float32:
    """Arrange the filter as (outputs per step, inputs per output)."""
    length = math.ceil(taps.size / up)
    kernels = np.zeros((up, length - 1 + down), np.float32)
    for output in range(up):
        newest, phase = divmod(output * down, up)
        own = taps[phase::up]
        end = length + newest
        kernels[output, end - own.size : end] = own[::-1]
    return kernels


class EdgeResampler:
    """Resampler for a device: any number of samples, a short delay, and an adjustable ratio.

    It uses soxr's variable-rate mode, which needs no FFT: 5 ms of delay from 44.1 to
    48 kHz, distortion below -110 dB.

    Parameters
    ----------
    in_rate, out_rate
        Nominal sample rates in Hz, positive.
    """

    def __init__(self, in_rate: float, out_rate: float) -> None:
        self.in_rate = in_rate
        self.out_rate = out_rate
        # soxr needs the largest possible ratio when the stream is created.
        self._soxr = soxr.ResampleStream(
            in_rate * (1 + 2 * MAX_TRIM), out_rate, 1, "float32", vr=True
        )
        self._soxr.set_io_ratio(in_rate, out_rate)
        self._target = self._trim = 0.0
        self._pending = 0.0
        self._last = np.zeros(2, np.float32)
        self._recent = np.zeros(math.ceil(_LONGEST_DELAY_S * in_rate), np.float32)

    @property
    def delay_s(self) -> float:
        """Present delay in seconds: audio that was passed in and not yet returned."""
        return self._pending / self.out_rate

    def trim(self, surplus: float) -> None:
        """Change the ratio over about a second so that there is more or less output.

        Parameters
        ----------
        surplus
            Additional output as a fraction of the nominal count, limited to
            +-`MAX_TRIM`.
        """
        self._target = min(max(surplus, -MAX_TRIM), MAX_TRIM)

    def process(self, samples: Float32) -> Float32:
        """Convert (samples,) float32 and return the output that is ready, (n,) float32."""
        if self._trim != self._target:
            # soxr's own slew rounds changes of a few parts per million to zero.
            share = min(1.0, samples.size / (GLIDE_S * self.in_rate))
            self._trim += share * (self._target - self._trim)
            self._soxr.set_io_ratio(self.in_rate, self.out_rate * (1 + self._trim))
        output: Float32 = self._soxr.resample_chunk(np.ascontiguousarray(samples))
        self._recent = np.concatenate([self._recent, samples])[-self._recent.size :]
        self._last = np.concatenate([self._last, output[-2:]])[-2:]
        expected = samples.size * self.out_rate / self.in_rate * (1 + self._trim)
        self._pending += expected - output.size
        return output

    def continued(self, tail: Float32) -> Float32:
        """Return what would follow the output so far if `tail` came next; changes nothing.

        It is interpolated linearly, from the samples that are still in the filter on.
        """
        signal = np.concatenate([self._recent, tail])
        ratio = self.in_rate / self.out_rate
        start = self._recent.size - self._pending * ratio
        at = np.arange(start, signal.size - 1, ratio)
        output: Float32 = np.interp(at, np.arange(signal.size), signal).astype(np.float32)
        # A change of the ratio leaves an error of a sample or two in the position.
        width = min(output.size, round(_JOIN_S * self.out_rate))
        if width:
            step = 2 * self._last[1] - self._last[0] - output[0]
            output[:width] += step * np.linspace(1, 0, width, dtype=np.float32)
        return output
