"""Grouped convolution with a long kernel as products of spectra.

The signal is cut into blocks. A Fourier transform of a few hundred samples is a product with a
small constant matrix, which also cuts and pads the blocks; between the two transforms each
frequency is a product of complex matrices. For HuBERT's kernel of 128 this takes a quarter of the
multiplications of the convolution, and MLX does not unfold the signal to 128 times its size.

On the CPU the products of spectra have so few rows that reading the weights takes most of their
time, so these are stored in the order in which OpenBLAS reads them without packing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32

MIN_KERNEL = 64
"""Taps from which spectra take less time than one product per tap."""

_BLOCK = 73
"""Largest number of outputs per block. With 128 taps a transform then has 200 samples."""

_SEGMENT = 4 * _BLOCK
"""Outputs per transform: the matrices grow with the square of it."""

_SCALE = 1 / 16
"""Factor on the spectra, so that float16 represents the sum of a block."""


class Spectrum(NamedTuple):
    """The weight of a grouped convolution in the form for `convolve`.

    Attributes
    ----------
    weight
        Real, then imaginary part of the conjugate spectrum of each kernel,
        (groups, frequencies, 2 * out channels / groups, in channels / groups).
    kernel
        Number of taps.
    """

    weight: mx.array
    kernel: int


def pack(weight: mx.array, groups: int, *, inputs_first: bool = False) -> Spectrum:
    """Prepare a weight (out channels, kernel, in channels / groups) for `convolve`.

    With `inputs_first` the matrices are stored as (in, out); shape and values stay the same.
    """
    out, kernel, width = weight.shape
    taps = np.array(weight.astype(mx.float32)).reshape(groups, out // groups, kernel, width)
    spectra = np.fft.rfft(taps, _transform(kernel), axis=2).conj()
    parts = np.concatenate([spectra.real, spectra.imag], axis=1).transpose(0, 2, 1, 3)
    if inputs_first:
        stored = np.ascontiguousarray(parts.swapaxes(2, 3), np.float32)
        return Spectrum(mx.array(stored, weight.dtype).swapaxes(2, 3), kernel)
    return Spectrum(mx.array(parts.astype(np.float32), weight.dtype), kernel)


def convolve(x: mx.array, spectrum: Spectrum, padding: int) -> mx.array:
    """Cross-correlate (1, L, in channels), with `padding` zeros on both sides.

    Returns
    -------
    mx.array
        (1, L + 2 * padding - kernel + 1, out channels).
    """
    kernel, length = spectrum.kernel, x.shape[1]
    outputs = length + 2 * padding - kernel + 1
    parts = []
    for first in range(0, outputs, _SEGMENT):
        count = min(_SEGMENT, outputs - first)
        # Without the padding the inputs of these outputs are `begin` to `begin + count + kernel`.
        begin = first - padding
        inputs = x[0, max(begin, 0) : begin + count + kernel - 1]
        parts.append(_convolve_segment(inputs, spectrum, max(-begin, 0), count))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=1)


def _convolve_segment(x: mx.array, spectrum: Spectrum, zeros: int, count: int) -> mx.array:
    """Return `count` outputs, (1, count, out channels), for `zeros` zeros followed by x (L, C)."""
    groups, bins, wide, width = spectrum.weight.shape
    sizes = spectrum.kernel, zeros, len(x), count
    forward, inverse = (mx.array(matrix, x.dtype) for matrix in _transforms(*sizes))
    # Rows: real and imaginary part of each block, for each frequency.
    spectra = (forward @ x).reshape(bins, -1, groups, width).transpose(2, 0, 1, 3)
    products = spectra @ spectrum.weight.transpose(0, 1, 3, 2)
    y = inverse @ products.reshape(groups, -1, wide // 2)
    return mx.contiguous(y.transpose(1, 0, 2)).reshape(1, count, -1)


def _transform(kernel: int) -> int:
    """Return the number of samples of a transform, which is even."""
    return (kernel + _BLOCK) // 2 * 2


@lru_cache(maxsize=4)
def _transforms(kernel: int, zeros: int, length: int, count: int) -> tuple[Float32, Float32]:
    """Return the matrices of the transforms to and from the spectra of all blocks.

    Returns
    -------
    forward : ndarray
        (frequencies * blocks * 2, length): real and imaginary part of each block.
    inverse : ndarray
        (count, frequencies * blocks * 2 * 2), from the products of each of these with the real
        and with the imaginary part of the weight.
    """
    samples = _transform(kernel)
    blocks = -(-count // _BLOCK)
    each = -(-count // blocks)
    angles = 2 * np.pi / samples * np.arange(samples // 2 + 1)
    starts = each * np.arange(blocks)

    def waves(positions: NDArray[np.int_], end: int) -> NDArray[np.complex128]:
        """Return exp(i angle position), 0 outside a block, (frequencies, blocks, positions)."""
        local = positions - starts[:, None]
        found: NDArray[np.complex128] = np.exp(1j * angles[:, None, None] * local)
        found[:, (local < 0) | (local >= end)] = 0.0
        return found

    into = waves(zeros + np.arange(length), samples)
    forward = _SCALE * np.stack([into.real, -into.imag], axis=2)
    out_of = waves(np.arange(count), each) * (2 / samples / _SCALE)
    out_of[[0, -1]] *= 0.5
    # Re(product * exp(...)) for the four products of real and imaginary parts.
    cosine, sine = out_of.real, out_of.imag
    inverse = np.stack([np.stack([cosine, -sine]), np.stack([-sine, -cosine])])
    return (
        forward.reshape(-1, length).astype(np.float32),
        inverse.transpose(4, 2, 3, 0, 1).reshape(count, -1).astype(np.float32),
    )
