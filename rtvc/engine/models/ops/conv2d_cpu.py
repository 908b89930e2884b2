"""2-D convolutions in the form that is fastest on MLX's CPU backend.

MLX unfolds the image (im2col) and runs one matrix product. That is fast for large products.
With few channels, unfolding takes longer than the product. With few pixels, the BLAS spends
its time on packing the weight, which it does for every product that is not small. Each of
these two cases has its own variant here.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32
from rtvc.engine.models.ops import conv2d_gpu
from rtvc.engine.models.ops.conv2d_gpu import Conv2d, Layer
from rtvc.engine.models.ops.cpu import relu

_MAX_ROWWISE_CHANNELS = 32
"""Output channels up to which unfolding takes longer than the product."""

_MAX_SMALL_PIXELS = 16
"""Pixels up to which packing the weight takes longer than the product."""

_BLOCK_CHANNELS = 64
"""Output channels per product of a small image; OpenBLAS with AVX-512 then packs nothing."""

_COPY_CHANNELS = 8
"""Output channels that are copied at once when a weight is rearranged."""


def conv2d(weight: mx.array, *, typical_size: tuple[int, int], dilation: int = 1) -> Conv2d:
    """See ``conv2d_gpu.conv2d``."""
    out, rows, columns, width = weight.shape
    if dilation > 1:
        return _DilatedConv2d(weight, dilation)
    if typical_size[0] * typical_size[1] <= _MAX_SMALL_PIXELS:
        return _SmallImageConv2d(weight, (rows // 2, columns // 2), typical_size[0])
    if out <= _MAX_ROWWISE_CHANNELS and width % 2 == 0 and weight.dtype == mx.float32:
        return _RowwiseConv2d(weight)
    return lambda x: mx.conv2d(x, weight, padding=(rows // 2, columns // 2))


def conv2d_relu(
    convolve: Conv2d, x: mx.array, bias: mx.array, addend: mx.array | None = None
) -> mx.array:
    """See ``conv2d_gpu.conv2d_relu``."""
    y = relu(convolve(x), bias)
    return y if addend is None else addend + y


def residual2d(
    first: Layer,
    second: Layer,
    *,
    typical_size: tuple[int, int],
    dilation: int = 1,
    kept: tuple[int, int] | None = None,
) -> Conv2d:
    """See ``conv2d_gpu.residual2d``."""
    convolutions = [
        conv2d(weight, typical_size=typical_size, dilation=dilation)
        for weight, _ in (first, second)
    ]
    return conv2d_gpu.residual(convolutions, first, second, kept, dilation)


class _RowwiseConv2d:
    """One product per kernel row: only columns are unfolded, as pairs of float32 in an int64."""

    def __init__(self, weight: mx.array) -> None:
        out, rows, self._columns, _ = weight.shape
        by_row = weight.transpose(1, 2, 3, 0).reshape(rows, -1, out)
        self._matrices = [mx.contiguous(by_row[n]) for n in range(rows)]
        mx.eval(self._matrices)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, width, _ = x.shape
        padding = (len(self._matrices) // 2,) * 2, (self._columns // 2,) * 2
        x = mx.pad(x.view(mx.int64), [(0, 0), *padding, (0, 0)])
        windows = mx.contiguous(_unfold_columns(x, self._columns)).view(mx.float32)
        windows = windows.reshape(-1, windows.shape[2])
        pixels = height * width
        y = windows[:pixels] @ self._matrices[0]
        for n, matrix in enumerate(self._matrices[1:], 1):
            y = mx.addmm(y, windows[n * width : n * width + pixels], matrix)
        return y.reshape(1, height, width, -1)


class _DilatedConv2d:
    """One product for all taps of a column kernel, and one per kernel row of a wider kernel."""

    def __init__(self, weight: mx.array, dilation: int) -> None:
        out, rows, self._columns, _ = weight.shape
        self._rows, self._dilation = rows, dilation
        # Unfolding a wide kernel completely takes longer than its products.
        parts = 1 if self._columns == 1 else rows
        self._matrices = [
            mx.contiguous(part.reshape(-1, out))
            for part in mx.split(weight.transpose(1, 2, 3, 0), parts)
        ]
        mx.eval(self._matrices)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, width, channels = x.shape
        padding = (self._rows // 2 * self._dilation,) * 2, (self._columns // 2,) * 2
        x = mx.pad(x, [(0, 0), *padding, (0, 0)])
        pixels, apart = height * width, self._dilation * width
        if self._columns == 1:
            shape = (pixels, self._rows, channels)
            windows = mx.as_strided(x, shape, (channels, apart * channels, 1))
            y = windows.reshape(pixels, -1) @ self._matrices[0]
        else:
            windows = _unfold_columns(x, self._columns)
            windows = mx.contiguous(windows).reshape(-1, windows.shape[2])
            y = windows[:pixels] @ self._matrices[0]
            for n, matrix in enumerate(self._matrices[1:], 1):
                y = mx.addmm(y, windows[n * apart : n * apart + pixels], matrix)
        return y.reshape(1, height, width, -1)


class _SmallImageConv2d:
    """Convolution as blocked products, for images of a few pixels.

    Kernel rows that meet padding only are not read.

    Parameters
    ----------
    weight
        As for `conv2d`; the kernel may also be even.
    padding
        Rows above and columns to the left of an output pixel that the kernel covers.
    height
        Height of most images.
    """

    def __init__(self, weight: mx.array, padding: tuple[int, int], height: int) -> None:
        out, _, self._columns, _ = weight.shape
        above, self._left = padding
        # By the row offset from an output pixel to the input row that a kernel row reads. Rows
        # that most images do not reach keep their layout.
        self._blocked, self._plain = {}, {}
        for n, row in enumerate(np.asarray(weight).transpose(1, 0, 2, 3)):
            matrix = row.reshape(out, -1)
            if abs(n - above) < height:
                self._blocked[n - above] = mx.array(_split_channels(matrix))
            else:
                self._plain[n - above] = mx.array(matrix)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, width, _ = x.shape
        x = mx.pad(x, [(0, 0), (0, 0), (self._left, self._columns - 1 - self._left), (0, 0)])
        windows = _unfold_columns(x, self._columns).reshape(height * width, -1)

        def pixels(offset: int) -> tuple[mx.array, tuple[int, int]]:
            """Return the input pixels at a row offset, and the padding of their products."""
            first, last = max(offset, 0), height + min(offset, 0)
            padding = max(-offset, 0) * width, max(offset, 0) * width
            return windows[first * width : last * width], padding

        total = None
        for offset, blocks in self._blocked.items():
            if abs(offset) < height:
                rows, padding = pixels(offset)
                term = rows @ blocks
                term = mx.pad(term, [(0, 0), padding, (0, 0)]) if offset else term
                total = term if total is None else total + term
        assert total is not None
        total = total.transpose(1, 0, 2).reshape(height * width, -1)
        for offset, matrix in self._plain.items():
            if abs(offset) < height:
                rows, padding = pixels(offset)
                total = total + mx.pad(rows @ matrix.T, [padding, (0, 0)])
        return total.reshape(1, height, width, -1)


def _split_channels(matrix: Float32) -> Float32:
    """Rearrange (out channels, inputs) into blocks: (blocks, inputs, out channels of a block)."""
    out, inputs = matrix.shape
    channels = out if out % _BLOCK_CHANNELS else _BLOCK_CHANNELS
    blocks = matrix.reshape(-1, channels, inputs)
    result = np.empty((len(blocks), inputs, channels), matrix.dtype)
    # A few channels at a time: rows that are a power of two apart evict one another from the
    # cache.
    for begin in range(0, channels, _COPY_CHANNELS):
        columns = slice(begin, begin + _COPY_CHANNELS)
        result[:, :, columns] = blocks[:, columns].transpose(0, 2, 1)
    return result


def _unfold_columns(x: mx.array, columns: int) -> mx.array:
    """Return a view of padded (1, H, W + columns - 1, C) as (H, W, columns * C)."""
    _, height, padded_width, channels = x.shape
    shape = (height, padded_width - columns + 1, columns * channels)
    return mx.as_strided(x, shape, (padded_width * channels, channels, 1))


def conv_transpose2d(weight: mx.array, *, typical_size: tuple[int, int]) -> Conv2d:
    """See ``conv2d_gpu.conv_transpose2d``; a sub-pixel convolution with 2 x 2 kernels.

    One convolution computes four outputs per input pixel, for even and odd rows and columns.
    """
    kernels = _subpixel_kernels(weight)
    mx.eval(kernels)
    height, width = typical_size
    small = (
        _SmallImageConv2d(kernels, (0, 0), height) if height * width <= _MAX_SMALL_PIXELS else None
    )

    def upsample(x: mx.array) -> mx.array:
        _, height, width, _ = x.shape
        if small is not None:
            y = small(x)
        else:
            y = mx.conv2d(mx.pad(x, [(0, 0), (0, 1), (0, 1), (0, 0)]), kernels)
        y = y.reshape(height, width, 2, 2, -1).transpose(0, 2, 1, 3, 4)
        return y.reshape(1, 2 * height, 2 * width, -1)

    return upsample


def _subpixel_kernels(weight: mx.array) -> mx.array:
    """Rearrange (O, 3, 3, I) into (4 O, 2, 2, I): even or odd rows, even or odd columns.

    Output row 2 h uses kernel row 1 on input row h; output row 2 h + 1 uses kernel row 2 on
    input row h and kernel row 0 on input row h + 1. The same holds for columns.
    """
    zeros = mx.zeros_like(weight[:, :1])
    even, odd = [weight[:, 1:2], zeros], [weight[:, 2:], weight[:, :1]]
    kernels = []
    for rows in (even, odd):
        by_row = mx.concatenate(rows, axis=1)
        gap = mx.zeros_like(by_row[:, :, :1])
        kernels.append(mx.concatenate([by_row[:, :, 1:2], gap], axis=2))
        kernels.append(mx.concatenate([by_row[:, :, 2:], by_row[:, :, :1]], axis=2))
    return mx.concatenate(kernels)
