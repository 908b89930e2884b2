"""Residual blocks of convolutions over rows with a large dilation, for MLX's CPU backend.

Rows that are a multiple of the dilation apart form a class. It has few rows, and the kernel nearly
reaches all of them, so one product computes all classes. Its matrix is that of all rows of a class,
with zeros where the kernel does not reach: a copy of the image replaces the unfolding, and the
product is wide.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32
from rtvc.engine.models.ops.conv2d_gpu import Conv2d, Layer


class ClassBlock:
    """A residual block that changes to classes once, and back once.

    Parameters
    ----------
    first, second
        Weight and bias, as for `residual2d`, in float32, with one column and an even number of
        channels.
    any_height
        The same block for images of other heights.
    dilation
        Rows between the rows of the kernels.
    height
        Height of the images that it computes in this form.
    """

    def __init__(
        self, first: Layer, second: Layer, any_height: Conv2d, *, dilation: int, height: int
    ) -> None:
        self._dilation, self._height = dilation, height
        self._members = members = -(-height // dilation)
        self._matrices = [_matrix(weight, members) for weight, _ in (first, second)]
        # What the activation makes of rows below the image is 0: the second convolution reads it.
        rows = np.arange(members * dilation).reshape(members, dilation).T
        bias = np.where(rows[..., None] < height, np.asarray(first[1]), -np.inf).astype(np.float32)
        self._first_bias = mx.array(bias.reshape(dilation, 1, -1))
        self._second_bias = mx.tile(second[1], members)
        self._any_height = any_height
        mx.eval(self._matrices, self._first_bias, self._second_bias)

    def __call__(self, x: mx.array) -> mx.array:
        """Compute (1, height, width, channels)."""
        _, height, width, _ = x.shape
        if height != self._height:
            return self._any_height(x)
        first, second = self._matrices
        x = _classes(x, self._members, self._dilation)
        y = (x @ first).reshape(self._dilation, width, -1)
        y = mx.maximum(y + self._first_bias, 0.0)
        y = mx.addmm(x, y.reshape(x.shape), second)
        y = mx.maximum(y + self._second_bias, 0.0)
        return _image(y, self._members, width)[:, :height]


def _matrix(weight: mx.array, members: int) -> mx.array:
    """Return the matrix of all rows of a class, (members * in channels, members * out channels)."""
    out, rows, _, channels = weight.shape
    taps: Float32 = np.asarray(weight)[:, :, 0].transpose(1, 2, 0)
    matrix = np.zeros((members, channels, members, out), np.float32)
    for before in range(members):
        for after in range(members):
            tap = before - after + rows // 2
            if 0 <= tap < rows:
                matrix[before, :, after] = taps[tap]
    return mx.array(matrix.reshape(members * channels, members * out))


def _classes(x: mx.array, members: int, dilation: int) -> mx.array:
    """Return the image (1, height, width, channels) as (dilation * width, members * channels)."""
    _, height, width, _ = x.shape
    x = mx.pad(x[0].view(mx.int64), [(0, members * dilation - height), (0, 0), (0, 0)])
    pixels = dilation * width
    return _swap(x.reshape(members, pixels, -1)).reshape(pixels, -1)


def _image(y: mx.array, members: int, width: int) -> mx.array:
    """Undo `_classes`, with rows below the image."""
    pixels = len(y)
    y = _swap(y.view(mx.int64).reshape(pixels, members, -1))
    return y.reshape(1, -1, width, y.shape[-1])


def _swap(x: mx.array) -> mx.array:
    """Swap the first two axes of (a, b, pairs of channels) in memory; pairs of float32 as int64."""
    return mx.contiguous(x.transpose(1, 0, 2)).view(mx.float32)
