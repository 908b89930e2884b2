"""Convolutions of images as MLX's CPU backend runs them fastest.

MLX lays out what every pixel hears and makes one product of it. That is fast for large
products. Where there are few channels, laying out takes longer than the product; where there
are few pixels, the BLAS spends its time on packing the weight, which it does for every
product but small ones. Both have a variant of their own here.
"""

from __future__ import annotations

import mlx.core as mx

from rtvc.engine.models.conv2d_gpu import Conv2d

_NARROW = 32
"""Out channels up to which laying out takes longer than the product."""

_FEW = 16
"""Pixels up to which packing takes longer than the product."""

_SMALL = 1e6
"""Multiplications of a product up to which OpenBLAS packs nothing, where it has AVX-512."""

_COLUMNS = 64
"""Columns of such a product of a few pixels: a multiple of a vector."""

_FEWEST_COLUMNS = 8


def conv2d(weight: mx.array, *, flat: bool = False) -> Conv2d:
    """See ``conv2d_gpu.conv2d``."""
    out, _, _, width = weight.shape
    if flat:
        return _Flat(weight)
    if out <= _NARROW and width % 2 == 0 and weight.dtype == mx.float32:
        return _ByRows(weight)
    return _Unfolded(weight)


class _Unfolded:
    """One product of what every pixel hears of all rows and columns."""

    def __init__(self, weight: mx.array) -> None:
        self._weight = weight

    def __call__(self, x: mx.array) -> mx.array:
        _, height, wide, _ = x.shape
        out, rows, columns, width = self._weight.shape
        pixels, heard = height * wide, rows * columns * width
        at_once = _columns_at_once(pixels * heard, out)
        if pixels > _FEW or not at_once:
            return mx.conv2d(x, self._weight, padding=(rows // 2, columns // 2))
        x = _padded(x, rows // 2, columns // 2)
        row, pixel = x.shape[2] * width, width
        shape, strides = (height, wide, rows, columns * width), (row, pixel, row, 1)
        unfolded = mx.as_strided(x, shape, strides).reshape(pixels, heard)
        parts = self._weight.reshape(-1, at_once, heard).transpose(0, 2, 1)
        return _joined(unfolded @ parts, height)


class _ByRows:
    """A product for each row of the kernel: only columns are laid out, two numbers at a time."""

    def __init__(self, weight: mx.array) -> None:
        out, rows, self._columns, width = weight.shape
        by_row = weight.transpose(1, 2, 3, 0).reshape(rows, -1, out)
        self._matrices = [mx.contiguous(by_row[n]) for n in range(rows)]
        mx.eval(self._matrices)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, wide, _ = x.shape
        x = _padded(x.view(mx.int64), len(self._matrices) // 2, self._columns // 2)
        heard = mx.contiguous(_heard_of_a_row(x, self._columns)).view(mx.float32)
        heard = heard.reshape(-1, heard.shape[2])
        pixels = height * wide
        y = heard[:pixels] @ self._matrices[0]
        for n, matrix in enumerate(self._matrices[1:], 1):
            y = mx.addmm(y, heard[n * wide : n * wide + pixels], matrix)
        return y.reshape(1, height, wide, -1)


class _Flat:
    """Most often one row of few pixels: small products, and only with the middle of the kernel."""

    def __init__(self, weight: mx.array) -> None:
        out, rows, self._columns, width = weight.shape
        at_once = out if out % _COLUMNS else _COLUMNS
        by_row = weight.transpose(1, 2, 3, 0).reshape(rows, -1, out // at_once, at_once)
        by_row = mx.contiguous(by_row.transpose(0, 2, 1, 3))
        # Slices and not numbers: a part of the weight in its place, and no copy of it.
        self._rows = [by_row[n : n + 1].squeeze(0) for n in range(rows)]
        mx.eval(self._rows)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, wide, _ = x.shape
        reach = len(self._rows) // 2
        if height == 1:
            heard = _heard_of_a_row(_padded(x, 0, self._columns // 2), self._columns)
            return _joined(heard @ self._rows[reach], 1)
        heard = _heard_of_a_row(_padded(x, reach, self._columns // 2), self._columns)
        heard = heard.reshape(-1, heard.shape[2])
        y = heard[: height * wide] @ self._rows[0]
        for n, row in enumerate(self._rows[1:], 1):
            y = y + heard[n * wide : (n + height) * wide] @ row
        return _joined(y, height)


def _columns_at_once(rest: int, out: int) -> int:
    """How many columns a product may have in order to be small; 0 if that is too few of them.

    Parameters
    ----------
    rest
        Multiplications for each column.
    out
        All columns, of which it must be a part.
    """
    at_once = _COLUMNS
    while at_once >= _FEWEST_COLUMNS:
        if rest * at_once <= _SMALL and out % at_once == 0:
            return at_once
        at_once //= 2
    return 0


def _padded(x: mx.array, rows: int, columns: int) -> mx.array:
    return mx.pad(x, [(0, 0), (rows, rows), (columns, columns), (0, 0)])


def _heard_of_a_row(x: mx.array, columns: int) -> mx.array:
    """(1, H, W + columns - 1, C), padded, to (H, W, columns * C), not laid out."""
    _, height, wide, width = x.shape
    shape = (height, wide - columns + 1, columns * width)
    return mx.as_strided(x, shape, (wide * width, width, 1))


def _joined(parts: mx.array, height: int) -> mx.array:
    """(parts, pixels, channels of a part) to (1, height, width, channels)."""
    pixels = parts.shape[1]
    return parts.transpose(1, 0, 2).reshape(1, height, pixels // height, -1)


def doubling(weight: mx.array) -> mx.array:
    """Rearrange (O, 3, 3, I) into the four phases of ``double2d``, (4 O, 2, 2, I).

    Output row 2 h takes kernel row 1 of input row h; output row 2 h + 1 takes row 2 of
    input row h and row 0 of input row h + 1. Columns alike.
    """
    zeros = mx.zeros_like(weight[:, :1])
    even, odd = [weight[:, 1:2], zeros], [weight[:, 2:], weight[:, :1]]
    phases = []
    for rows in (even, odd):
        by_row = mx.concatenate(rows, axis=1)
        gap = mx.zeros_like(by_row[:, :, :1])
        phases.append(mx.concatenate([by_row[:, :, 1:2], gap], axis=2))
        phases.append(mx.concatenate([by_row[:, :, 2:], by_row[:, :, :1]], axis=2))
    return mx.concatenate(phases)


def double2d(x: mx.array, weight: mx.array) -> mx.array:
    """See ``conv2d_gpu.double2d``; the weight comes from this module's ``doubling``."""
    batch, height, width, _ = x.shape
    channels = weight.shape[0] // 4
    if height == 1:
        weight = weight[:, :1]  # the row below is padding
    else:
        x = mx.concatenate([x, mx.zeros_like(x[:, :1])], axis=1)
    x = mx.concatenate([x, mx.zeros_like(x[:, :, :1])], axis=2)
    y = mx.conv2d(x, weight).reshape(batch, height, width, 2, 2, channels)
    return y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels)
