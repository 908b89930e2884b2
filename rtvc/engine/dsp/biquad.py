"""Coefficients of second-order filters, and a cascade of them without a loop over samples."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float64

Section = tuple[float, float, float, float, float]
"""b0, b1, b2, a1, a2 of a second-order filter, with a0 = 1."""

CHUNK = 96
"""Samples that a cascade computes in one matrix product: a fifth of 10 ms at 48 kHz."""

THROUGH: Section = (1.0, 0.0, 0.0, 0.0, 0.0)
"""A section that changes nothing."""


def high_pass(rate: int, hz: float) -> Section:
    """Return a Butterworth high-pass of second order, -3 dB at `hz`."""
    k = math.tan(math.pi * hz / rate)
    norm = 1.0 / (1.0 + math.sqrt(2.0) * k + k * k)
    return norm, -2 * norm, norm, 2 * (k * k - 1) * norm, (1 - math.sqrt(2.0) * k + k * k) * norm


def first_order_high_pass(rate: int, hz: float) -> Section:
    """Return a high-pass of first order, -3 dB at `hz`."""
    k = math.tan(math.pi * hz / rate)
    return 1 / (1 + k), -1 / (1 + k), 0.0, (k - 1) / (k + 1), 0.0


def peak(rate: int, hz: float, gain_db: float, q: float) -> Section:
    """Return a peaking filter (Bristow-Johnson, "Audio EQ Cookbook")."""
    a, cosine, alpha = _cookbook(rate, hz, gain_db, q)
    a0 = 1 + alpha / a
    return (
        (1 + alpha * a) / a0,
        -2 * cosine / a0,
        (1 - alpha * a) / a0,
        -2 * cosine / a0,
        (1 - alpha / a) / a0,
    )


def low_shelf(rate: int, hz: float, gain_db: float) -> Section:
    """Return a low shelf with half of the gain in dB at `hz` and no overshoot."""
    return _shelf(rate, hz, gain_db, 1.0)


def high_shelf(rate: int, hz: float, gain_db: float) -> Section:
    """Return a high shelf with half of the gain in dB at `hz` and no overshoot."""
    return _shelf(rate, hz, gain_db, -1.0)


def _cookbook(rate: int, hz: float, gain_db: float, q: float) -> tuple[float, float, float]:
    angle = 2 * math.pi * hz / rate
    return 10 ** (gain_db / 40), math.cos(angle), math.sin(angle) / (2 * q)


def _shelf(rate: int, hz: float, gain_db: float, sign: float) -> Section:
    """Return a shelf of the Audio EQ Cookbook: low with `sign` 1, high with -1."""
    a, cosine, alpha = _cookbook(rate, hz, gain_db, math.sqrt(0.5))
    cosine *= sign
    root = 2 * math.sqrt(a) * alpha
    a0 = (a + 1) + (a - 1) * cosine + root
    return (
        a * ((a + 1) - (a - 1) * cosine + root) / a0,
        sign * 2 * a * ((a - 1) - (a + 1) * cosine) / a0,
        a * ((a + 1) - (a - 1) * cosine - root) / a0,
        sign * -2 * ((a - 1) + (a + 1) * cosine) / a0,
        ((a + 1) + (a - 1) * cosine - root) / a0,
    )


class Cascade:
    """Second-order sections in a row, as one state-space system over chunks of `CHUNK` samples.

    One matrix product gives the response of all chunks to their own input; only the states, two
    per section, are carried from chunk to chunk. All of it is float64.

    Parameters
    ----------
    sections
        The sections in order; without any, `process` must not be called.
    """

    def __init__(self, *sections: Section) -> None:
        order = 2 * len(sections)
        self._state = np.zeros(order)
        self._own = self._free = self._drive = self._step = np.zeros((0, 0))
        if not sections:
            return
        # x' = A x + B u, y = C x + D u, section by section in transposed direct form II.
        a, b, c, d = np.zeros((order, order)), np.zeros(order), np.zeros(order), 1.0
        for k, (b0, b1, b2, a1, a2) in enumerate(sections):
            at = slice(2 * k, 2 * k + 2)
            drive = np.array([b1 - a1 * b0, b2 - a2 * b0])
            a[at, : 2 * k] = np.outer(drive, c[: 2 * k])
            a[at, at] = [[-a1, 1.0], [-a2, 0.0]]
            b[at] = drive * d
            c[: 2 * k] *= b0
            c[2 * k] = 1.0
            d *= b0
        forced, observed = [b], [c]
        for _ in range(CHUNK - 1):
            forced.append(a @ forced[-1])
            observed.append(observed[-1] @ a)
        impulse = np.array([d] + [float(c @ x) for x in forced[:-1]])
        lag = np.subtract.outer(np.arange(CHUNK), np.arange(CHUNK))
        self._own = np.where(lag >= 0, impulse[np.maximum(lag, 0)], 0.0).T.copy()
        self._free = np.array(observed).T.copy()
        self._drive = np.array(forced[::-1])
        self._step = np.linalg.matrix_power(a, CHUNK)

    def clear(self) -> None:
        """Forget the past: the next block follows silence."""
        self._state = np.zeros_like(self._state)

    def process(self, block: Float64) -> Float64:
        """Filter the next block.

        Parameters
        ----------
        block
            (samples,) float32 or float64, a whole number of chunks.

        Returns
        -------
        ndarray
            (samples,) float64.
        """
        chunks = block.reshape(-1, CHUNK).astype(np.float64, copy=False)
        driven = chunks @ self._drive
        starts = np.empty_like(driven)
        state = self._state
        for k, drive in enumerate(driven):
            starts[k] = state
            state = self._step @ state + drive
        # A decayed filter outputs exact zeros, not denormal numbers.
        state[np.abs(state) < 1e-18] = 0.0
        self._state = state
        filtered: Float64 = (chunks @ self._own + starts @ self._free).ravel()
        return filtered
