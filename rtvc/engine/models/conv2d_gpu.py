"""Convolutions of images as single MLX primitives.

Images are (1, height, width, channels). A convolution is made of its weight once, and then
called with an image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import mlx.core as mx

Conv2d = Callable[[mx.array], mx.array]


def conv2d(weight: mx.array, *, flat: bool = False) -> Conv2d:
    """Make a cross-correlation with zero padding, whose result is as large as the image.

    Parameters
    ----------
    weight
        (out channels, kernel height, kernel width, in channels), odd kernel.
    flat
        Whether images are of a single row most often. Such a row sees padding above and
        below, so the middle row of the kernel is all that counts; it lies by itself then,
        and the others are not even read.

    Returns
    -------
    callable
        (1, height, width, in channels) to (1, height, width, out channels).
    """
    if flat:
        return _ByRows(weight)
    _, rows, columns, _ = weight.shape
    padding = (rows // 2, columns // 2)
    return lambda x: mx.conv2d(x, weight, padding=padding)


class _ByRows:
    """See `conv2d`."""

    def __init__(self, weight: mx.array) -> None:
        by_row = mx.contiguous(weight.transpose(1, 0, 2, 3))
        # Slices and not numbers: a part of the weight in its place, and no copy of it.
        self._rows = [by_row[n : n + 1].squeeze(0)[:, None] for n in range(len(by_row))]
        mx.eval(self._rows)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, _, _ = x.shape
        reach = len(self._rows) // 2
        padding = (0, self._rows[reach].shape[2] // 2)
        if height == 1:
            return mx.conv2d(x, self._rows[reach], padding=padding)
        x = mx.pad(x, [(0, 0), (reach, reach), (0, 0), (0, 0)])
        views = [x[:, n : n + height] for n in range(len(self._rows))]
        made = [
            mx.conv2d(view, row, padding=padding)
            for view, row in zip(views, self._rows, strict=True)
        ]
        return functools.reduce(mx.add, made)


def doubling(weight: mx.array) -> mx.array:
    """Return the weight as ``double2d`` of this module wants it: as it is."""
    return weight


def double2d(x: mx.array, weight: mx.array) -> mx.array:
    """Transposed convolution 3 x 3 of stride 2 that doubles height and width exactly.

    ``torch.nn.ConvTranspose2d(kernel_size=3, stride=2, padding=1, output_padding=1)``.

    Parameters
    ----------
    x
        (batch, height, width, in channels).
    weight
        (out channels, 3, 3, in channels), through this module's ``doubling``.

    Returns
    -------
    mx.array
        (batch, 2 * height, 2 * width, out channels).
    """
    return mx.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1)
