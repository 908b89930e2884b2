"""2-D convolutions as single MLX primitives.

Images are (1, height, width, channels). A convolution is built once from its weight and
then called with images.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import mlx.core as mx

Conv2d = Callable[[mx.array], mx.array]


def conv2d(weight: mx.array, *, typical_size: tuple[int, int]) -> Conv2d:
    """Build a cross-correlation with zero padding that keeps the size of the image.

    Parameters
    ----------
    weight
        (out channels, kernel height, kernel width, in channels); the kernel is odd.
    typical_size
        Height and width of most images, for which the implementation is chosen. Every other
        size works too. With a height of 1 all rows of the kernel but the middle one meet
        padding only.

    Returns
    -------
    callable
        (1, height, width, in channels) to (1, height, width, out channels).
    """
    if typical_size[0] == 1:
        return _RowwiseConv2d(weight)
    _, rows, columns, _ = weight.shape
    padding = (rows // 2, columns // 2)
    return lambda x: mx.conv2d(x, weight, padding=padding)


class _RowwiseConv2d:
    """One convolution per kernel row, so that an image of one row reads one kernel row only."""

    def __init__(self, weight: mx.array) -> None:
        by_row = mx.contiguous(weight.transpose(1, 0, 2, 3))
        # Slices instead of indices give views of the weight, not copies.
        self._rows = [by_row[n : n + 1].squeeze(0)[:, None] for n in range(len(by_row))]
        mx.eval(self._rows)

    def __call__(self, x: mx.array) -> mx.array:
        _, height, _, _ = x.shape
        margin = len(self._rows) // 2
        padding = (0, self._rows[margin].shape[2] // 2)
        if height == 1:
            return mx.conv2d(x, self._rows[margin], padding=padding)
        x = mx.pad(x, [(0, 0), (margin, margin), (0, 0), (0, 0)])
        views = [x[:, n : n + height] for n in range(len(self._rows))]
        terms = [
            mx.conv2d(view, row, padding=padding)
            for view, row in zip(views, self._rows, strict=True)
        ]
        return functools.reduce(mx.add, terms)


def conv_transpose2d(weight: mx.array, *, typical_size: tuple[int, int]) -> Conv2d:
    """Build a transposed convolution of stride 2 that doubles height and width exactly.

    Equals ``torch.nn.ConvTranspose2d(kernel_size=3, stride=2, padding=1, output_padding=1)``.

    Parameters
    ----------
    weight
        (out channels, 3, 3, in channels).
    typical_size
        Height and width of most input images; see `conv2d`.

    Returns
    -------
    callable
        (1, height, width, in channels) to (1, 2 * height, 2 * width, out channels).
    """
    return lambda x: mx.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1)
