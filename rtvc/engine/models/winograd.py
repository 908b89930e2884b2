"""Residual blocks on polyphase signals, with a third fewer products (Winograd's F(2, 3)).

Two outputs of a convolution that are `dilation` samples apart share all but two of their
inputs. Winograd's minimal filtering computes both for three taps with four products instead
of six (Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", 2015), and for two taps with three instead of
four. Longer kernels are sums of such groups of taps. The results differ from a
direct convolution by rounding only. With an odd dilation, one of the two outputs is always an
even sample and the other an odd one, so both phases stay contiguous throughout a block.

CPU only: a GPU runs a convolution as one primitive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx

from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.cpu import (
    accumulate_product,
    add_difference,
    add_sum,
    pack_matrices,
)
from rtvc.engine.models.parameters import Conv1d
from rtvc.engine.models.stream_state import Chunk, ContextCache

MIN_CHANNELS = 64
"""Channels below which the saved products cost less than the additional sums."""


class Polyphase(NamedTuple):
    """The even and the odd samples of a signal, (1, n, C) each."""

    even: mx.array
    odd: mx.array


def split_phases(x: mx.array) -> Polyphase:
    """Split (1, 2 n, C) into its even and odd samples."""
    rows = x.reshape(1, -1, 2 * x.shape[2])
    even, odd = mx.split(rows, 2, axis=2)
    return Polyphase(mx.contiguous(even), mx.contiguous(odd))


def interleave_phases(phases: Polyphase) -> mx.array:
    """Interleave even and odd samples to (1, 2 n, C)."""
    even, odd = phases
    return mx.concatenate([even, odd], axis=2).reshape(1, -1, even.shape[2])


def mean_phases(signals: Sequence[Polyphase]) -> Polyphase:
    """Return the mean of polyphase signals of one shape."""
    return Polyphase(*map(ops.mean, zip(*signals, strict=True)))


def can_use_winograd(units: Sequence[Sequence[Conv1d]]) -> bool:
    """Return whether a `WinogradBlock` supports a residual block's convolutions and is faster."""
    for unit in units:
        if sum(conv.padding for conv in unit) % 2:
            return False  # the residual path would be offset by half a pair
        for conv in unit:
            width, kernel, _ = conv.weight.shape
            if conv.stride > 1 or kernel == 1 or kernel % 2 == 0 or conv.dilation % 2 == 0:
                return False
            if width < MIN_CHANNELS:
                return False
    return True


class WinogradBlock:
    """`ResidualBlock.stream` for polyphase signals.

    Parameters
    ----------
    units, slope
        As in `ResidualBlock`; the units must pass `can_use_winograd`.
    """

    def __init__(self, units: Sequence[Sequence[Conv1d]], slope: float) -> None:
        self._units = [[_WinogradConv(conv) for conv in unit] for unit in units]
        self._slope = slope

    @property
    def margin(self) -> int:
        """Receptive field radius: input samples needed on each side of an output sample."""
        return sum(conv.margin for unit in self._units for conv in unit)

    def stream(self, x: Polyphase, cache: ContextCache, chunk: Chunk) -> Polyphase:
        """Process the next chunk.

        Parameters
        ----------
        x
            (1, n, C) for each phase.
        cache
            Left contexts of the layers.
        chunk
            Lengths of the chunk, in samples of one phase.

        Returns
        -------
        Polyphase
            (1, n - `margin` // 2, C) for each phase.
        """
        for unit in self._units:
            left = sum(conv.margin for conv in unit)
            extended = Polyphase(*(cache.prepend(phase, left // 2, chunk) for phase in x))
            y = Polyphase(*(ops.leaky_relu(phase, self._slope) for phase in extended))
            *inner, last = unit
            for conv in inner:
                left -= conv.margin
                active = (ops.leaky_relu(phase, self._slope) for phase in conv(y))
                even, odd = (
                    cache.zero_padding(phase, before)
                    for phase, before in zip(active, ((left + 1) // 2, left // 2), strict=True)
                )
                y = Polyphase(even, odd)
            x = last(y, x)
        return x


class _TransformedTaps(NamedTuple):
    """Winograd's filter transform of two or three adjacent taps, (inputs, outputs) each.

    Attributes
    ----------
    start
        Index of the first tap.
    first, third
        First and third tap, unchanged; `third` is None in a group of two.
    half_sum
        (first + second + third) / 2.
    half_difference
        (first - second + third) / 2.
    """

    start: int
    first: mx.array
    half_sum: mx.array
    half_difference: mx.array
    third: mx.array | None


class _WinogradConv:
    """Valid convolution of polyphase signals: `margin` samples less per side."""

    def __init__(self, conv: Conv1d) -> None:
        kernel, dilation = conv.weight.shape[1], conv.dilation
        self._bias = conv.bias
        # A product yields an even output and the odd output `dilation` samples later, which
        # belongs to the pair `_shift` positions further on.
        self._shift = (dilation - 1) // 2
        self.margin = conv.padding + 2 * self._shift
        self._kernel, self._dilation = kernel, dilation
        taps = pack_matrices(conv.weight).matrices
        self._groups, index = [], 0
        while index < kernel:
            size = 2 if (kernel - index) % 3 else 3
            first, second, *rest = taps[index : index + size]
            third = rest[0] if rest else None
            outer = first if third is None else first + third
            half_sum, half_difference = 0.5 * (outer + second), 0.5 * (outer - second)
            self._groups.append(_TransformedTaps(index, first, half_sum, half_difference, third))
            index += size
        mx.eval(self._groups)

    def __call__(self, x: Polyphase, residual: Polyphase | None = None) -> Polyphase:
        """Return the convolution, plus the first samples of `residual` unless it is None."""
        # Without the batch axis: MLX runs a product of batched arrays as several operations.
        rows = Polyphase(*(mx.squeeze(phase, 0) for phase in x))
        inputs, shift = _TransformedInputs(rows, self._dilation), self._shift
        pairs = x.even.shape[1] - self._dilation * self._kernel // 2
        length = pairs - shift
        sums = differences = None
        for taps in self._groups:
            n = taps.start
            sums = accumulate_product(sums, inputs.sum(n + 1, n + 2, 0, pairs), taps.half_sum)
            differences = accumulate_product(
                differences, inputs.difference(n + 2, n + 1, 0, pairs), taps.half_difference
            )
        assert sums is not None
        assert differences is not None
        # The sums are part of both phases, so the bias is added once.
        sums = sums if self._bias is None else sums + self._bias
        later = (sums[shift:], differences[shift:]) if shift else (sums, differences)
        earlier = (sums[:length], differences[:length]) if shift else later
        if residual is None:
            even, odd = mx.add(*later), mx.subtract(*earlier)
        else:
            even, odd = (mx.squeeze(phase[:, :length], 0) for phase in residual)
            even, odd = add_sum(even, *later), add_difference(odd, *earlier)
        for taps in self._groups:
            n = taps.start
            even = mx.addmm(even, inputs.difference(n, n + 2, shift, length), taps.first)
            if taps.third is not None:
                difference = inputs.difference(n + 1, n + 3, 0, length)
                odd = mx.addmm(odd, difference, taps.third, alpha=-1.0)
        return Polyphase(even[None], odd[None])


class _TransformedInputs:
    """Winograd's input transform: sums and differences of the inputs of two taps, cached.

    Phases are (n, C) here. Tap j of output pair n reads sample 2 n + j * dilation. Its phase
    depends on j alone, so one sum or difference, at another offset, serves other taps too.
    """

    def __init__(self, x: Polyphase, dilation: int) -> None:
        self._x, self._dilation = x, dilation
        self._cache: dict[tuple[bool, int, int, int], mx.array] = {}

    def sum(self, tap: int, other: int, begin: int, count: int) -> mx.array:
        """Return inputs of `tap` + inputs of `other`, (count, C), from pair `begin` on."""
        return self._combine(True, tap, other, begin, count)

    def difference(self, tap: int, other: int, begin: int, count: int) -> mx.array:
        """Return inputs of `tap` - inputs of `other`, (count, C), from pair `begin` on."""
        return self._combine(False, tap, other, begin, count)

    def _combine(self, add: bool, tap: int, other: int, begin: int, count: int) -> mx.array:
        offset, phase = divmod(tap * self._dilation, 2)
        other_offset, other_phase = divmod(other * self._dilation, 2)
        first, distance = min(offset, other_offset), offset - other_offset
        key = (add, phase, other_phase, distance)
        if key not in self._cache:
            a, b = self._x[phase], self._x[other_phase]
            length = a.shape[0] - abs(distance)
            if distance > 0:
                a, b = a[distance:], b[:length]
            elif distance < 0:
                a, b = a[:length], b[-distance:]
            self._cache[key] = a + b if add else a - b
        return self._cache[key][first + begin : first + begin + count]
