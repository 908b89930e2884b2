"""3 x 3 convolution with bias and ReLU for images of a few pixels, as one GPU kernel.

MLX's convolutions compute 32 pixels or more at a time, in few threadgroups for a small image,
and the activation is a second launch. Here each group of `LANES` threads computes all pixels of
one output channel, so that every weight is read once, by neighbouring threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import mlx.core as mx

from rtvc.engine.models.ops.gru import ATTRIBUTES, HEADERS

MAX_PIXELS = 16
"""Pixels of the largest image; the sums of all threads must fit in threadgroup memory."""

LANES = 32
"""Threads that share the input channels of one output channel."""

CHANNELS_PER_GROUP = 8
"""Output channels of a threadgroup."""

SOURCE = """
    // BY_ROW: weights (3, out, 3, in), else (out, 3, 3, in).
    const int lane = THREAD % LANES;
    const int slot = THREAD / LANES;
    const int channels = x_shape[3];
    const int outputs = bias_shape[0];
    const int output = GROUP * SLOTS + slot;
    const int pixels = HEIGHT * WIDTH;
    SHARED float sums[SLOTS * HEIGHT * WIDTH * LANES];
    float sum[HEIGHT * WIDTH];
    for (int pixel = 0; pixel < pixels; ++pixel) {
        sum[pixel] = 0.0f;
    }
    if (output < outputs) {
        for (int row = 0; row < 3; ++row) {
            // In an image of one row the others meet padding only, and are not read.
            if (HEIGHT == 1 && row != 1) {
                continue;
            }
            const int first = BY_ROW ? (row * outputs + output) * 3 : (output * 3 + row) * 3;
            for (int column = 0; column < 3; ++column) {
                for (int c = lane; c < channels; c += LANES) {
                    const float w = float(weight[(first + column) * channels + c]);
                    for (int pixel = 0; pixel < pixels; ++pixel) {
                        const int y = pixel / WIDTH + row - 1;
                        const int at = pixel % WIDTH + column - 1;
                        if (y >= 0 && y < HEIGHT && at >= 0 && at < WIDTH) {
                            sum[pixel] += w * float(x[(y * WIDTH + at) * channels + c]);
                        }
                    }
                }
            }
        }
    }
    for (int pixel = 0; pixel < pixels; ++pixel) {
        sums[(slot * pixels + pixel) * LANES + lane] = sum[pixel];
    }
    BARRIER;
    for (int n = THREAD; n < SLOTS * pixels; n += SLOTS * LANES) {
        const int pixel = n % pixels;
        const int channel = GROUP * SLOTS + n / pixels;
        if (channel < outputs) {
            float total = float(bias[channel]);
            for (int other = 0; other < LANES; ++other) {
                total += sums[n * LANES + other];
            }
            total = total > 0.0f ? total : 0.0f;
            const int place = pixel * outputs + channel;
            out[place] = ADD ? total + float(addend[place]) : total;
        }
    }
"""
"""Body of the kernel. `gru.HEADERS` defines the macros in capitals for Metal and for CUDA."""


def kernel(
    language: Literal["metal", "cuda"],
    x: mx.array,
    weight: mx.array,
    bias: mx.array,
    addend: mx.array | None,
    *,
    by_row: bool,
) -> mx.array:
    """Return max(conv(x) + bias, 0) + addend.

    Parameters
    ----------
    language
        Language of kernels for the device.
    x
        (1, height, width, in channels), at most `MAX_PIXELS` pixels.
    weight
        (out channels, 3, 3, in channels), or with `by_row` (3, out channels, 3, in channels).
    bias
        (out channels,).
    addend
        (1, height, width, out channels), or None.
    by_row
        Layout of the weight.

    Returns
    -------
    mx.array
        (1, height, width, out channels), in the precision of `x`.
    """
    _, height, width, _ = x.shape
    outputs = bias.shape[0]
    build: Callable[..., Any] = mx.fast.metal_kernel if language == "metal" else mx.fast.cuda_kernel
    run = build(
        name="rtvc_small_conv2d",
        input_names=["x", "weight", "bias", "addend"],
        output_names=["out"],
        source=(ATTRIBUTES if language == "metal" else "") + SOURCE,
        header=HEADERS[language],
    )
    threads = CHANNELS_PER_GROUP * LANES
    groups = -(-outputs // CHANNELS_PER_GROUP)
    results: list[mx.array] = run(
        inputs=[x, weight, bias, bias if addend is None else addend],
        template=[
            ("HEIGHT", height),
            ("WIDTH", width),
            ("SLOTS", CHANNELS_PER_GROUP),
            ("LANES", LANES),
            ("BY_ROW", by_row),
            ("ADD", addend is not None),
        ],
        grid=(groups * threads, 1, 1),
        threadgroup=(threads, 1, 1),
        output_shapes=[(1, height, width, outputs)],
        output_dtypes=[x.dtype],
    )
    return results[0]
