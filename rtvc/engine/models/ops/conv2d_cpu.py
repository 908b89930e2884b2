"""Convolutions of images as MLX's CPU backend runs them fastest.

MLX lays out what every pixel hears and makes one product of it. That is fast for large
products. Where there are few channels, laying out takes longer than the product; where there
are few pixels, the BLAS spends its time on packing the weight, which it does for every
product but small ones. Both have a variant of their own here.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc._types import Float32
from rtvc.engine.models.ops.conv2d_gpu import Conv2d

_MAX_ROWWISE_CHANNELS = 32
"""Out channels up to which laying out takes longer than the product."""

_MAX_SMALL_PIXELS = 16
"""Pixels up to which packing takes longer than the product."""

_BLOCK_CHANNELS = 64
"""Columns of a product of a few pixels: so that OpenBLAS packs nothing, where it has AVX-512."""

_COPY_CHANNELS = 8
"""Columns that are laid out at once."""


def conv2d(weight: mx.array, *, typical_size: tuple[int, int]) -> Conv2d:
    """See ``conv2d_gpu.conv2d``."""
    out, rows, columns, width = weight.shape
    if typical_size[0] * typical_size[1] <= _MAX_SMALL_PIXELS:
        return _SmallImageConv2d(weight, (rows // 2, columns // 2), typical_size[0])
    if out <= _MAX_ROWWISE_CHANNELS and width % 2 == 0 and weight.dtype == mx.float32:
        return _RowwiseConv2d(weight)
    return lambda x: mx.conv2d(x, weight, padding=(rows // 2, columns // 2))


class _RowwiseConv2d:
    """A product for each row of the kernel: only columns are laid out, two numbers at a time."""

    def __init__(self, weight: mx.array) -> None:
        out, rows, self._columns, _ = weight.shape
        by_row = weight.transpose(1, 2, 3, 0).reshape(rows, -1, out)
        self._matrices = [mx.contiguous(by_row[n]) for n in range(rows)]
        mx.eval(self._matrices)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, wide, _ = x.shape
        around = (len(self._matrices) // 2,) * 2, (self._columns // 2,) * 2
        x = mx.pad(x.view(mx.int64), [(0, 0), *around, (0, 0)])
        heard = mx.contiguous(_unfold_columns(x, self._columns)).view(mx.float32)
        heard = heard.reshape(-1, heard.shape[2])
        pixels = height * wide
        y = heard[:pixels] @ self._matrices[0]
        for n, matrix in enumerate(self._matrices[1:], 1):
            y = mx.addmm(y, heard[n * wide : n * wide + pixels], matrix)
        return y.reshape(1, height, wide, -1)


class _SmallImageConv2d:
    """Small products for images that are most often of a few pixels.

    Rows of the kernel that hear padding alone are not even read.

    Parameters
    ----------
    weight
        As of `conv2d`; the kernel may be even.
    before
        How many rows above the one that is made the kernel begins, and how many columns to
        the left.
    height
        Of most images.
    """

    def __init__(self, weight: mx.array, before: tuple[int, int], height: int) -> None:
        out, _, self._columns, _ = weight.shape
        above, self._left = before
        # By how far below the row that is made the one is that they hear.
        self._blocked, self._plain = {}, {}
        for n, row in enumerate(np.asarray(weight).transpose(1, 0, 2, 3)):
            whole = row.reshape(out, -1)
            if abs(n - above) < height:
                self._blocked[n - above] = mx.array(_split_channels(whole))
            else:
                self._plain[n - above] = mx.array(whole)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, wide, _ = x.shape
        x = mx.pad(x, [(0, 0), (0, 0), (self._left, self._columns - 1 - self._left), (0, 0)])
        heard = _unfold_columns(x, self._columns).reshape(height * wide, -1)

        def pixels(below: int) -> tuple[mx.array, tuple[int, int]]:
            """Return what there is to hear, and for how many pixels before and after not."""
            first, last = max(below, 0), height + min(below, 0)
            return heard[first * wide : last * wide], (max(-below, 0) * wide, max(below, 0) * wide)

        total = None
        for below, parts in self._blocked.items():
            if abs(below) < height:
                rows, around = pixels(below)
                made = rows @ parts
                made = mx.pad(made, [(0, 0), around, (0, 0)]) if below else made
                total = made if total is None else total + made
        assert total is not None
        total = total.transpose(1, 0, 2).reshape(height * wide, -1)
        for below, whole in self._plain.items():
            if abs(below) < height:
                rows, around = pixels(below)
                total = total + mx.pad(rows @ whole.T, [around, (0, 0)])
        return total.reshape(1, height, wide, -1)


def _split_channels(whole: Float32) -> Float32:
    """(out channels, heard) to (parts, heard, out channels of a part)."""
    out, heard = whole.shape
    columns = out if out % _BLOCK_CHANNELS else _BLOCK_CHANNELS
    parts = whole.reshape(-1, columns, heard)
    made = np.empty((len(parts), heard, columns), whole.dtype)
    # Some columns at a time: lines that lie a power of two apart push one another out of the
    # cache.
    for begin in range(0, columns, _COPY_CHANNELS):
        some = slice(begin, begin + _COPY_CHANNELS)
        made[:, :, some] = parts[:, some].transpose(0, 2, 1)
    return made


def _unfold_columns(x: mx.array, columns: int) -> mx.array:
    """(1, H, W + columns - 1, C), padded, to (H, W, columns * C), not laid out."""
    _, height, wide, width = x.shape
    shape = (height, wide - columns + 1, columns * width)
    return mx.as_strided(x, shape, (wide * width, width, 1))


def conv_transpose2d(weight: mx.array, *, typical_size: tuple[int, int]) -> Conv2d:
    """See ``conv2d_gpu.conv_transpose2d``; a sub-pixel convolution with 2 x 2 kernels."""
    kernels = _subpixel_kernel(weight)
    mx.eval(kernels)
    small = (
        _SmallImageConv2d(kernels, (0, 0), typical_size[0])
        if typical_size[0] * typical_size[1] <= _MAX_SMALL_PIXELS
        else None
    )

    def upsample(x: mx.array) -> mx.array:
        _, height, wide, _ = x.shape
        if small is not None:
            y = small(x)
        else:
            y = mx.conv2d(mx.pad(x, [(0, 0), (0, 1), (0, 1), (0, 0)]), kernels)
        y = y.reshape(height, wide, 2, 2, -1).transpose(0, 2, 1, 3, 4)
        return y.reshape(1, 2 * height, 2 * wide, -1)

    return upsample


def _subpixel_kernel(weight: mx.array) -> mx.array:
    """Rearrange (O, 3, 3, I) into (4 O, 2, 2, I): rows and columns even or odd.

    Output row 2 h takes kernel row 1 of input row h; output row 2 h + 1 takes row 2 of
    input row h and row 0 of input row h + 1. Columns alike.
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
