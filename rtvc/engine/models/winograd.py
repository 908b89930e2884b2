"""Residual blocks on even and odd samples apart, with a third fewer products.

Two outputs of a convolution that are `dilation` samples apart have all but two of their
inputs in common. Winograd's minimal filtering makes both of three taps with four products
instead of six ("Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", 2015, F(2, 3)), and of two taps with three
instead of four; longer kernels are sums of such runs of taps. The results differ from those
of plain products by rounding. Where the dilation is odd, one of the two outputs is always an
even sample and the other an odd one, so both phases stay whole arrays throughout a block.

On the CPU only: a GPU has one primitive for a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx

from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.cpu import accumulate_product, pack_taps
from rtvc.engine.models.parameters import Conv1d
from rtvc.engine.models.stream_state import Chunk, ContextCache

MIN_CHANNELS = 32
"""Channels from which on products cost enough for saving some to be worth more sums."""


class Polyphase(NamedTuple):
    """The even and the odd samples of a signal, (1, n, C) each."""

    even: mx.array
    odd: mx.array


def split_phases(x: mx.array) -> Polyphase:
    """(1, 2 n, C) to its phases."""
    rows = x.reshape(1, -1, 2 * x.shape[2])
    even, odd = mx.split(rows, 2, axis=2)
    return Polyphase(mx.contiguous(even), mx.contiguous(odd))


def interleave_phases(phases: Polyphase) -> mx.array:
    """Phases to (1, 2 n, C)."""
    even, odd = phases
    return mx.concatenate([even, odd], axis=2).reshape(1, -1, even.shape[2])


def mean_phases(signals: Sequence[Polyphase]) -> Polyphase:
    """Mean of signals."""
    return Polyphase(*map(ops.mean, zip(*signals, strict=True)))


def can_use_winograd(units: Sequence[Sequence[Conv1d]]) -> bool:
    """Whether the convolutions of a residual block can be, and should be, a `WinogradBlock`."""
    for unit in units:
        if sum(conv.padding for conv in unit) % 2:
            return False  # the residual path would be half a pair away
        for conv in unit:
            width, kernel, _ = conv.weight.shape
            if conv.stride > 1 or kernel == 1 or kernel % 2 == 0 or conv.dilation % 2 == 0:
                return False
            if width < MIN_CHANNELS:
                return False
    return True


class WinogradBlock:
    """Does what `ResidualBlock.stream` does, to phases.

    Parameters
    ----------
    units, slope
        As of a `ResidualBlock`; `can_use_winograd` says whether they can be.
    """

    def __init__(self, units: Sequence[Sequence[Conv1d]], slope: float) -> None:
        self._units = [[_WinogradConv(conv) for conv in unit] for unit in units]
        self._slope = slope

    @property
    def margin(self) -> int:
        """How many samples to either side must be there for one that is wanted."""
        return sum(conv.margin for unit in self._units for conv in unit)

    def stream(self, x: Polyphase, cache: ContextCache, chunk: Chunk) -> Polyphase:
        """Make the next piece, counted in samples of a phase; the last `margin` / 2 are lost."""
        for unit in self._units:
            before = sum(conv.margin for conv in unit)
            heard = Polyphase(*(cache.prepend(phase, before // 2, chunk) for phase in x))
            y = Polyphase(*(ops.leaky_relu(phase, self._slope) for phase in heard))
            *inner, last = unit
            for conv in inner:
                before -= conv.margin
                sums, bias = conv(y), conv.bias
                even = cache.zero_padding(sums.even, (before + 1) // 2, bias)
                odd = cache.zero_padding(sums.odd, before // 2, bias)
                y = Polyphase(*(ops.leaky_relu(phase, self._slope, bias) for phase in (even, odd)))
            sums = last(y)
            short = (phase[:, : sums.even.shape[1]] for phase in x)
            x = Polyphase(*(map(ops.residual, short, sums, (last.bias, last.bias))))
        return x


class _TransformedTaps(NamedTuple):
    """Two or three neighbouring taps as matrices, (inputs, outputs) each.

    Attributes
    ----------
    first
        The first of them.
    early, late
        First and third tap by themselves; None where there are only two.
    added, taken
        Half of all three added up, and the same with the second one taken off.
    """

    first: int
    early: mx.array
    added: mx.array
    taken: mx.array
    late: mx.array | None


class _WinogradConv:
    """A convolution of phases, without its bias. `margin` samples are lost at either end."""

    def __init__(self, conv: Conv1d) -> None:
        kernel, dilation = conv.weight.shape[1], conv.dilation
        self.bias = conv.bias
        # The odd outputs are so many places further on than the even ones they are made with.
        self._shift = (dilation - 1) // 2
        self.margin = conv.padding + 2 * self._shift
        self._kernel, self._dilation = kernel, dilation
        taps = pack_taps(conv.weight).matrices
        self._runs, first = [], 0
        while first < kernel:
            size = 2 if (kernel - first) % 3 else 3
            early, second, *rest = taps[first : first + size]
            outer = early + rest[0] if rest else early
            added, taken = 0.5 * (outer + second), 0.5 * (outer - second)
            self._runs.append(
                _TransformedTaps(first, early, added, taken, rest[0] if rest else None)
            )
            first += size
        mx.eval(self._runs)

    def __call__(self, x: Polyphase) -> Polyphase:
        """Return the sums over all taps."""
        # Without the axis of the batch: a product with it is several operations for MLX.
        rows = Polyphase(*(mx.squeeze(phase, 0) for phase in x))
        heard, shift = _TransformedInputs(rows, self._dilation), self._shift
        pairs = x.even.shape[1] - self._dilation * self._kernel // 2
        short = pairs - shift
        added = taken = None
        for run in self._runs:
            n = run.first
            added = accumulate_product(added, heard.sum(n + 1, n + 2, 0, pairs), run.added)
            taken = accumulate_product(taken, heard.difference(n + 2, n + 1, 0, pairs), run.taken)
        assert added is not None
        assert taken is not None
        even, odd = added + taken, added - taken
        if shift:
            even, odd = even[shift:], odd[:short]
        for run in self._runs:
            n = run.first
            even = mx.addmm(even, heard.difference(n, n + 2, shift, short), run.early)
            if run.late is not None:
                gone = heard.difference(n + 1, n + 3, 0, short)
                odd = mx.addmm(odd, gone, run.late, alpha=-1.0)
        return Polyphase(even[None], odd[None])


class _TransformedInputs:
    """Sums and differences of what two taps hear, each made once; phases are (n, C) here.

    Tap j of the pair of outputs n hears sample 2 n + j * dilation. Which phase that is in
    depends on j alone, so the same sum, further on, serves for other taps.
    """

    def __init__(self, x: Polyphase, dilation: int) -> None:
        self._x, self._dilation = x, dilation
        self._made: dict[tuple[bool, int, int, int], mx.array] = {}

    def sum(self, one: int, other: int, begin: int, count: int) -> mx.array:
        """(count, C) of two taps, from the pair `begin` on."""
        return self._combined(True, one, other, begin, count)

    def difference(self, one: int, other: int, begin: int, count: int) -> mx.array:
        """(count, C) of the first less the second."""
        return self._combined(False, one, other, begin, count)

    def _combined(self, adds: bool, one: int, other: int, begin: int, count: int) -> mx.array:
        at, phase = divmod(one * self._dilation, 2)
        at_other, phase_other = divmod(other * self._dilation, 2)
        first, apart = min(at, at_other), at - at_other
        key = (adds, phase, phase_other, apart)
        if key not in self._made:
            a, b = self._x[phase], self._x[phase_other]
            length = a.shape[0] - abs(apart)
            if apart > 0:
                a, b = a[apart:], b[:length]
            elif apart < 0:
                a, b = a[:length], b[-apart:]
            self._made[key] = a + b if adds else a - b
        return self._made[key][first + begin : first + begin + count]
