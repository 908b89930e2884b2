"""Residual blocks of convolutions with few channels, for MLX's CPU backend.

A product whose result has only as many columns as there are channels is narrow, and a BLAS takes
twice as long for it. Here each product computes `_GROUP` rows of the image. Its matrix has zeros
where the kernel does not reach. Pixels of a column are next to each other in memory, so unfolding
copies long pieces; it does so along the rows only, as more unfolded pixels do not fit the caches.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc.engine.models.ops.conv2d_gpu import Conv2d, Layer
from rtvc.engine.models.ops.cpu import accumulate_product

_GROUP = 4
"""Rows that a product computes: more are more zeros, fewer are narrower."""


class GroupedBlock:
    """A residual block.

    Inside, an image is (columns, classes, rows, pairs of channels). A class has the rows that are a
    multiple of the dilation apart. Pairs of float32 are copied as int64.

    Parameters
    ----------
    first, second
        Weight and bias, as for `residual2d`, in float32, with an even number of channels.
    any_height
        The same block for images of other heights.
    dilation
        Rows between the rows of the kernels.
    height
        Height of the images that it computes in this form.
    kept
        Rows that the first convolution computes, and rows of the result; see `fits`.
    """

    def __init__(
        self,
        first: Layer,
        second: Layer,
        any_height: Conv2d,
        *,
        dilation: int,
        height: int,
        kept: tuple[int, int],
    ) -> None:
        self._dilation, self._height = dilation, height
        self._rows = [rows // dilation for rows in kept]
        self._matrices = [_matrices(weight) for weight, _ in (first, second)]
        # Over all rows of a column, as wide sums are faster.
        self._biases = [
            mx.tile(bias, _GROUP * _groups(rows))
            for (_, bias), rows in zip((first, second), self._rows, strict=True)
        ]
        self._any_height = any_height
        mx.eval(self._matrices, self._biases)

    @staticmethod
    def fits(height: int, kept: tuple[int, int], dilation: int) -> bool:
        """Return whether images of a height, and the rows that are kept, have this form."""
        return not (height % dilation or kept[0] % dilation or kept[1] % (_GROUP * dilation))

    def __call__(self, x: mx.array) -> mx.array:
        """Compute (1, height, width, channels)."""
        _, height, width, channels = x.shape
        if height != self._height:
            return self._any_height(x)
        pairs = x.view(mx.int64).reshape(-1, self._dilation, width, channels // 2)
        x = mx.contiguous(pairs.transpose(2, 1, 0, 3))
        y = self._activated(self._convolved(x, 0, None), 0, width)[:, :, : self._rows[0]]
        kept = x[:, :, : self._rows[1]].view(mx.float32).reshape(-1, _GROUP * channels)
        y = self._activated(self._convolved(y, 1, kept), 1, width)
        y = mx.contiguous(y.transpose(2, 1, 0, 3)).view(mx.float32)
        return y.reshape(1, -1, width, channels)

    def _convolved(self, x: mx.array, layer: int, start: mx.array | None) -> mx.array:
        """Return `start` and the convolution, (columns * classes * groups, _GROUP * channels)."""
        width, classes, height, pairs = x.shape
        matrices = self._matrices[layer]
        groups, taken = _groups(self._rows[layer]), matrices[0].shape[0] // (2 * pairs)
        margin, side = (taken - _GROUP) // 2, len(matrices) // 2
        below = max(0, _GROUP * groups + margin - height)
        x = mx.pad(x, [(side, side), (0, 0), (margin, below), (0, 0)])
        column = x.shape[2] * pairs
        shape = (len(x) * classes, groups, taken * pairs)
        windows = mx.contiguous(mx.as_strided(x, shape, (column, _GROUP * pairs, 1)))
        windows = windows.view(mx.float32).reshape(-1, 2 * taken * pairs)
        y, products = start, width * classes * groups
        for n, matrix in enumerate(matrices):
            y = accumulate_product(y, windows[n * classes * groups :][:products], matrix)
        assert y is not None
        return y

    def _activated(self, y: mx.array, layer: int, width: int) -> mx.array:
        """Add the bias of a layer and apply the activation; return pairs."""
        bias, channels = self._biases[layer], y.shape[1] // _GROUP
        y = mx.maximum(y.reshape(-1, len(bias)) + bias, 0.0).view(mx.int64)
        return y.reshape(width, self._dilation, -1, channels // 2)


def _groups(rows: int) -> int:
    return -(-rows // _GROUP)


def _matrices(weight: mx.array) -> list[mx.array]:
    """Return a matrix for each column of a kernel, (inputs, `_GROUP` * out channels)."""
    out, rows, columns, channels = weight.shape
    taps = np.asarray(weight).transpose(2, 1, 3, 0)
    matrices = np.zeros((columns, _GROUP + rows - 1, channels, _GROUP, out), np.float32)
    for row in range(_GROUP):
        matrices[:, row : row + rows, :, row] = taps
    return [mx.array(matrix.reshape(-1, _GROUP * out)) for matrix in matrices]
