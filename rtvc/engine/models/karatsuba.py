"""Residual blocks with long kernels with nine sixteenths of the products, for GPUs.

Karatsuba's scheme computes two adjacent outputs of two adjacent taps with three products instead
of four. For the taps h0, h1 and the inputs x0, x1, x2 they are (x0 - x1) h0, x1 (h0 + h1) and
(x2 - x1) h1; the outputs are the sums of the first two and of the last two. Here it is applied to
pairs, and to pairs of pairs: four outputs of four taps take nine products. A longer kernel is a
sum of groups of four taps, whose products are added before the outputs are computed.

With its activation a convolution is three kernels on a GPU instead of two: the transform, which
applies the activation first, the product, and the sum, which includes bias and residual path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx

from rtvc.engine.models.ops import ops
from rtvc.engine.models.parameters import Conv1d
from rtvc.engine.models.stream_state import ContextCache

TILE = 4
"""Outputs, and taps, that are computed together."""

_OUTER = 3  # products of two pairs, and of the two outputs and taps of a pair


class Tiles(NamedTuple):
    """Products of a convolution, which `sum` adds to its outputs.

    Attributes
    ----------
    products
        (9, rows, out channels); each phase has `pitch` rows, the last one fewer.
    pitch
        Rows from one phase to the next.
    dilation
        Number of phases: of the samples of a phase, each is `dilation` after the one before it.
    number
        Tiles per phase.
    """

    products: mx.array
    pitch: int
    dilation: int
    number: int

    def sum(self, bias: mx.array | None) -> mx.array:
        """Return the outputs plus a bias as float32 in the shape of `shape`, in order of time."""
        _, rows, channels = self.products.shape
        strides = (channels, _OUTER * rows * channels, rows * channels, self.pitch * channels, 1)
        a, b, c, d = (
            mx.as_strided(self.products, self.shape, strides, n * rows * channels).astype(
                mx.float32
            )
            for n in (0, 1, _OUTER, _OUTER + 1)
        )
        total = (a + b) + (c + d)
        return total if bias is None else total + bias

    @property
    def shape(self) -> tuple[int, ...]:
        """Tiles, two pairs of outputs, phases, channels."""
        return (self.number, 2, 2, self.dilation, self.products.shape[2])

    @property
    def length(self) -> int:
        """Number of outputs."""
        return self.number * TILE * self.dilation

    def flat(self, outputs: mx.array, dtype: mx.Dtype) -> mx.array:
        """Return a sum as (1, `length`, channels)."""
        return outputs.astype(dtype).reshape(1, self.length, -1)

    def view(self, x: mx.array, first: int = 0) -> mx.array:
        """Return `length` samples of (1, L, C) from `first` on, in the shape of `shape`."""
        return x[:, first : first + self.length].reshape(self.shape)


class TiledConv:
    """A convolution without padding and without its bias, whose outputs are `Tiles`."""

    def __init__(self, conv: Conv1d) -> None:
        out, kernel, channels = conv.weight.shape
        self.bias, self.padding, self._dilation = conv.bias, conv.padding, conv.dilation
        self._groups = math.ceil(kernel / TILE)
        taps = conv.weight.astype(mx.float32)
        taps = mx.pad(taps, [(0, 0), (0, TILE * self._groups - kernel), (0, 0)])
        taps = taps.reshape(out, self._groups, 2, 2, channels)
        for axis in (2, 3):
            first, second = mx.split(taps, 2, axis=axis)
            taps = mx.concatenate([first, first + second, second], axis=axis)
        weight = taps.transpose(2, 3, 1, 4, 0).reshape(_OUTER**2, self._groups * channels, out)
        self._weight = mx.contiguous(weight.astype(conv.weight.dtype))
        mx.eval(self._weight)

    def inputs(self, outputs: int) -> int:
        """Return the number of input samples from which `outputs` outputs are computed."""
        return (TILE * (self._count(outputs) + self._groups) - 1) * self._dilation

    def _count(self, outputs: int) -> int:
        return math.ceil(outputs / (TILE * self._dilation))

    def __call__(self, x: mx.array, outputs: int, slope: float) -> Tiles:
        """Convolve the leaky ReLU of x (1, at least `inputs(outputs)`, C), of slope `slope`."""
        channels, dilation, count = x.shape[2], self._dilation, self._count(outputs)
        pitch = count + self._groups - 1
        shape = (_OUTER, _OUTER, dilation, pitch, channels)
        sample = dilation * channels  # from a sample of a phase to its next one

        def inputs(pair: int | None, single: int | None) -> mx.array:
            """Return the inputs of all products, or those of one pair or of one in each pair."""
            strides = (
                2 * sample if pair is None else 0,
                sample if single is None else 0,
                *(channels, TILE * sample, 1),
            )
            offset = (2 * (pair or 0) + (single or 0)) * sample
            view = mx.as_strided(x, shape, strides, offset).astype(mx.float32)
            return ops.leaky_relu(view, slope)

        # The second of three inputs is subtracted from the others.
        outer = mx.array([-1.0, 0.0, -1.0]).reshape(-1, 1, 1, 1, 1)
        inner = outer.reshape(1, -1, 1, 1, 1)
        pairs = inputs(None, None) + outer * inputs(1, None)
        transformed = pairs + inner * (inputs(None, 1) + outer * inputs(1, 1))
        rows = dilation * pitch - (self._groups - 1)
        windows = mx.as_strided(
            transformed.astype(x.dtype),
            (_OUTER**2, rows, self._groups * channels),
            (dilation * pitch * channels, channels, 1),
        )
        return Tiles(windows @ self._weight, pitch, dilation, count)


class KaratsubaBlock:
    """A residual block of a GPU that computes its context again; see `hifigan.ResidualBlock`.

    Parameters
    ----------
    units
        Convolutions of each unit; the last one of a unit without dilation.
    slope
        Negative slope of the leaky ReLUs.
    """

    def __init__(self, units: Sequence[Sequence[Conv1d]], slope: float) -> None:
        self._units = [[TiledConv(conv) for conv in unit] for unit in units]
        self._slope = slope
        self.margin = sum(conv.padding for unit in units for conv in unit)

    def inputs(self, outputs: int) -> int:
        """Return the number of input samples from which `outputs` outputs are computed."""
        for unit in reversed(self._units):
            outputs = self._unit_inputs(unit, outputs)
        return outputs

    @staticmethod
    def _unit_inputs(unit: Sequence[TiledConv], outputs: int) -> int:
        for conv in reversed(unit):
            outputs = conv.inputs(outputs)
        return outputs

    def __call__(self, x: mx.array, cache: ContextCache, outputs: int) -> BlockResult:
        """Process a chunk.

        Parameters
        ----------
        x
            (1, at least `inputs(outputs)`, C), from `margin` samples before the first output on.
        cache
            Only for its zeros before the first chunk.
        outputs
            Number of output samples, a multiple of `TILE`.
        """
        before, lengths = self.margin, [outputs]
        for unit in reversed(self._units[1:]):
            lengths.insert(0, self._unit_inputs(unit, lengths[0]))
        results: list[BlockResult] = []
        for unit, length in zip(self._units, lengths, strict=True):
            if results:
                x = cache.zero_padding(results[-1].flat(), before)
            y, (*inner, last) = x, unit
            for n, conv in enumerate(inner):
                tiles = conv(y, self._unit_inputs(unit[n + 1 :], length), self._slope)
                before -= conv.padding
                y = cache.zero_padding(tiles.flat(tiles.sum(conv.bias), x.dtype), before)
            before -= last.padding
            context = sum(conv.padding for conv in unit)
            results.append(BlockResult(x, context, last(y, length, self._slope), last.bias))
        return results[-1]


class BlockResult(NamedTuple):
    """The output of a block, whose last sum is part of the kernel that reads it.

    Attributes
    ----------
    x
        Residual path.
    first
        Sample of `x` at the first output.
    tiles, bias
        The last convolution.
    """

    x: mx.array
    first: int
    tiles: Tiles
    bias: mx.array | None

    def sum(self, shaped: Tiles | None = None) -> mx.array:
        """Return the output in the shape of `shaped`, by default that of `tiles`, float32."""
        return (shaped or self.tiles).view(self.x, self.first) + self.tiles.sum(self.bias)

    def flat(self) -> mx.array:
        """Return the output, (1, L, C)."""
        return self.tiles.flat(self.sum(), self.x.dtype)
