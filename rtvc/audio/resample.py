"""Sample-rate conversion of a running mono signal.

Two converters, for two needs:

* `BlockResampler`, inside the engine: every block gives an exact number of
  samples and the delay is a whole, known number of samples.
* `EdgeResampler`, between a device and the engine: any number of samples in,
  whatever is ready out, and the ratio may be trimmed while it runs.

`BlockResampler` filters directly in the time domain. The transform stages of
soxr's constant-rate mode hold back up to 37 ms from 48 to 16 kHz and 177 ms from
8 to 48 kHz, where this filter needs 2.5 ms and 5 ms.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from rtvc._types import Float32, Float64

STOPBAND_DB = 100.0
"""Images and aliases outside the transition band lie this far down."""
PASSBAND, STOPBAND = 0.92, 1.08
"""Edges of the transition band, as fractions of the lower Nyquist frequency: flat
below, silent above. Around the Nyquist frequency itself a little is folded back,
which halves the delay."""
MAX_TRIM = 2e-3
"""Largest relative change of speed that an `EdgeResampler` can be asked for."""
GLIDE_S = 1.0
"""Time constant with which a new speed is approached."""


class BlockResampler:
    """Polyphase FIR conversion with exact counts and an exact delay.

    The result does not depend on how the signal is cut into blocks. At equal
    rates the signal passes bit for bit, without delay.

    Parameters
    ----------
    in_rate, out_rate
        Samples per second, positive.

    Attributes
    ----------
    step
        A block must be a multiple of so many input samples; every rate that is
        a multiple of 100 has a multiple of it in a 10 ms frame.
    delay
        How late the result is, in output samples, exactly.
    delay_in
        The same delay in input samples, exactly.

    Raises
    ------
    ValueError
        For a rate that is not positive.
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
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
        half = _half_length(up, down)
        self.delay, self.delay_in = half // down, half // up
        self._kernels = _kernels(_low_pass(half, up, down), up, down)
        self._history = np.zeros(self._kernels.shape[1] - down, np.float32)

    def process(self, block: Float32) -> Float32:
        """Convert the next block.

        Parameters
        ----------
        block
            (samples,) float32, a multiple of `step` samples; may be empty.

        Returns
        -------
        Samples
            (samples * out_rate / in_rate,) float32.

        Raises
        ------
        ValueError
            If `block` is not a multiple of `step`.
        """
        if block.size % self.step:
            raise ValueError(f"a block of {block.size} samples is no multiple of {self.step}")
        if self.in_rate == self.out_rate or not block.size:
            return block
        signal = np.concatenate((self._history, block))
        self._history = signal[block.size :]
        windows = sliding_window_view(signal, self._kernels.shape[1])[:: self.step]
        # einsum sums each output alone, so a sample never depends on the size of its block.
        made: Float32 = np.einsum("ik,jk->ij", windows, self._kernels).reshape(-1)
        return made

    def reset(self) -> None:
        """Forget the signal so far."""
        if self.delay:
            self._history = np.zeros_like(self._history)


def _half_length(up: int, down: int) -> int:
    """Return half the filter's length at the common multiple of both rates."""
    width = 2 * math.pi * (STOPBAND - PASSBAND) / (2 * max(up, down))
    needed = (STOPBAND_DB - 7.95) / (2.285 * width) / 2
    whole = up * down  # makes the delay a whole number of samples at both rates
    return whole * math.ceil(needed / whole)


def _low_pass(half: int, up: int, down: int) -> Float64:
    """Return a Kaiser-windowed sinc that cuts at the lower Nyquist frequency."""
    beta = 0.1102 * (STOPBAND_DB - 8.7)
    time = np.arange(-half, half + 1) / max(up, down)
    taps: Float64 = np.sinc(time) * np.kaiser(2 * half + 1, beta)
    # Each phase has unit gain at DC, so that a constant stays one exactly.
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    return taps


def _kernels(taps: Float64, up: int, down: int) -> Float32:
    """Lay the filter out as (outputs per step, inputs that they see)."""
    length = math.ceil(taps.size / up)
    kernels = np.zeros((up, length - 1 + down), np.float32)
    for output in range(up):
        newest, phase = divmod(output * down, up)
        own = taps[phase::up]
        end = length + newest
        kernels[output, end - own.size : end] = own[::-1]
    return kernels


class EdgeResampler:
    """Conversion at a device's edge: free counts, little delay, speed that can be trimmed.

    soxr's variable-rate engine, which works without transforms: 5 ms from 44.1
    to 48 kHz, distortion below -110 dB.

    Parameters
    ----------
    in_rate, out_rate
        Nominal samples per second, positive.
    """

    def __init__(self, in_rate: float, out_rate: float) -> None:
        self.in_rate = in_rate
        self.out_rate = out_rate
        # The engine is built for the largest ratio that it may ever be asked for.
        self._soxr = soxr.ResampleStream(
            in_rate * (1 + 2 * MAX_TRIM), out_rate, 1, "float32", vr=True
        )
        self._soxr.set_io_ratio(in_rate, out_rate)
        self._target = self._trim = 0.0
        self._pending = 0.0

    @property
    def delay_s(self) -> float:
        """Seconds of signal that went in and have not come out."""
        return self._pending / self.out_rate

    def trim(self, surplus: float) -> None:
        """Make `surplus` more output than nominal from now on, gliding there in about a second.

        Parameters
        ----------
        surplus
            As a fraction of the nominal count, cut off at +-`MAX_TRIM`.
        """
        self._target = min(max(surplus, -MAX_TRIM), MAX_TRIM)

    def process(self, samples: Float32) -> Float32:
        """Convert (samples,) float32 and return what is ready, (n,) float32."""
        if self._trim != self._target:
            # soxr's own glide rounds changes of a few parts per million to nothing.
            share = min(1.0, samples.size / (GLIDE_S * self.in_rate))
            self._trim += share * (self._target - self._trim)
            self._soxr.set_io_ratio(self.in_rate, self.out_rate * (1 + self._trim))
        made: Float32 = self._soxr.resample_chunk(np.ascontiguousarray(samples))
        self._pending += samples.size * self.out_rate / self.in_rate * (1 + self._trim) - made.size
        return made
