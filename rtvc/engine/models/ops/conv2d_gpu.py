"""2-D convolutions as single MLX primitives.

Images are (1, height, width, channels). A convolution is built once from its weight and
then called with images.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import mlx.core as mx

from rtvc.engine.models.ops import backend, gpu, gru, small_conv2d

Conv2d = Callable[[mx.array], mx.array]
Layer = tuple[mx.array, mx.array]
"""Weight (out channels, kernel height, kernel width, in channels) and bias (out channels,)."""

# From these sizes on, MLX 0.32 on Metal convolves 3 x 3 kernels with Winograd's method.
_WINOGRAD_PIXELS = 4096
_WINOGRAD_CHANNELS = 256
"""Input and output channels together."""


def conv2d(weight: mx.array, *, typical_size: tuple[int, int], dilation: int = 1) -> Conv2d:
    """Build a cross-correlation with zero padding that keeps the size of the image.

    Parameters
    ----------
    weight
        (out channels, kernel height, kernel width, in channels); the kernel is odd.
    typical_size
        Height and width of most images, for which the implementation is chosen. Every other
        size works too. With a height of 1 all rows of the kernel but the middle one meet
        padding only.
    dilation
        Rows between the rows of the kernel.

    Returns
    -------
    callable
        (1, height, width, in channels) to (1, height, width, out channels).
    """
    if dilation > 1:
        _, rows, columns, _ = weight.shape
        padding = rows // 2 * dilation, columns // 2
        return lambda x: mx.conv2d(x, weight, padding=padding, dilation=(dilation, 1))
    if typical_size[0] == 1:
        return _RowwiseConv2d(weight)
    _, rows, columns, _ = weight.shape
    if (rows, columns) == (3, 3) and math.prod(typical_size) <= small_conv2d.MAX_PIXELS:
        return _SmallImageConv2d(weight)
    return lambda x: _convolve(x, weight)


def uses_winograd(x: mx.array, weight: mx.array) -> bool:
    """Return whether MLX's Metal backend would use Winograd's F(6, 3) with float16 here.

    It stores transformed inputs and weights in the precision of the input. In float16 the result
    is 30 to 40 dB less accurate, and not finite for activations above about 470.
    """
    out, rows, columns, channels = weight.shape
    return (
        x.dtype == mx.float16
        and (rows, columns) == (3, 3)
        and channels % 32 == out % 32 == 0
        and channels + out >= _WINOGRAD_CHANNELS
        and x.shape[1] * x.shape[2] >= _WINOGRAD_PIXELS
    )


def _convolve(x: mx.array, weight: mx.array) -> mx.array:
    """Convolve with zero padding that keeps the size of the image."""
    _, rows, columns, _ = weight.shape
    padding = (rows // 2, columns // 2)
    if uses_winograd(x, weight):
        return _convolve_by_rows(x, weight, padding)
    return mx.conv2d(x, weight, padding=padding)


def _convolve_by_rows(x: mx.array, weight: mx.array, padding: tuple[int, int]) -> mx.array:
    """Convolve in bands of rows, each with fewer pixels than Winograd's method needs."""
    _, height, width, _ = x.shape
    margin = padding[0]
    band = (_WINOGRAD_PIXELS - 1) // width - 2 * margin
    if band < 1:
        raise ValueError(f"an image of width {width} has no band of rows below the limit")
    x = mx.pad(x, [(0, 0), (margin, margin), (0, 0), (0, 0)])
    bands = [
        mx.conv2d(x[:, row : row + band + 2 * margin], weight, padding=(0, padding[1]))
        for row in range(0, height, band)
    ]
    return mx.concatenate(bands, axis=1)


def conv2d_relu(
    convolve: Conv2d, x: mx.array, bias: mx.array, addend: mx.array | None = None
) -> mx.array:
    """Return max(convolve(x) + bias, 0), plus `addend`; one kernel launch for small images.

    Parameters
    ----------
    convolve
        From `conv2d` or `conv_transpose2d`.
    x
        (1, height, width, in channels).
    bias
        (out channels,).
    addend
        As large as the result, or None.
    """
    if isinstance(convolve, (_RowwiseConv2d, _SmallImageConv2d)):
        language = gru.kernel_language() if backend.compute.gru_kernel else None
        pixels, kernel = x.shape[1] * x.shape[2], convolve.weight.shape[1:3]
        by_row = isinstance(convolve, _RowwiseConv2d)
        if by_row:
            kernel = convolve.weight.shape[0], convolve.weight.shape[2]
        if language is not None and pixels <= small_conv2d.MAX_PIXELS and kernel == (3, 3):
            return small_conv2d.kernel(language, x, convolve.weight, bias, addend, by_row=by_row)
    y = mx.maximum(convolve(x) + bias, 0.0)
    return y if addend is None else addend + y


def residual2d(
    first: Layer,
    second: Layer,
    *,
    typical_size: tuple[int, int],
    dilation: int = 1,
    kept: tuple[int, int] | None = None,
) -> Conv2d:
    """Build a residual block: max(x + convolve(max(convolve(x) + bias, 0)) + bias, 0).

    Parameters
    ----------
    first, second
        Weight and bias of the convolutions, which keep the number of channels.
    typical_size, dilation
        As for `conv2d`.
    kept
        Rows that are computed, from the first one on, by the first convolution and of the result;
        by default all.
    """
    convolutions = [
        conv2d(weight, typical_size=typical_size, dilation=dilation)
        for weight, _ in (first, second)
    ]
    return residual(convolutions, first, second, kept, dilation)


def residual(
    convolutions: Sequence[Conv2d],
    first: Layer,
    second: Layer,
    kept: tuple[int, int] | None,
    dilation: int,
) -> Conv2d:
    """Return the residual block of `residual2d` that consists of two convolutions."""
    reach = first[0].shape[1] // 2 * dilation

    def block(x: mx.array) -> mx.array:
        height = x.shape[1]
        between, left = (height, height) if kept is None else kept
        x = x[:, : between + reach]
        y = gpu.relu(convolutions[0](x)[:, :between], first[1])
        return gpu.relu(convolutions[1](y)[:, :left] + x[:, :left], second[1])

    return block


class _SmallImageConv2d:
    """A convolution that `conv2d_relu` computes in one launch."""

    def __init__(self, weight: mx.array) -> None:
        self.weight = weight

    def __call__(self, x: mx.array) -> mx.array:
        return _convolve(x, self.weight)


class _RowwiseConv2d:
    """One convolution per kernel row, so that an image of one row reads one kernel row only."""

    def __init__(self, weight: mx.array) -> None:
        self.weight = by_row = mx.contiguous(weight.transpose(1, 0, 2, 3))
        # Slices instead of indices give views of the weight, not copies.
        self._rows = [by_row[n : n + 1].squeeze(0)[:, None] for n in range(len(by_row))]
        mx.eval(self.weight, self._rows)

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
