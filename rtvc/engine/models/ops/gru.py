"""Bidirectional gated recurrent unit (GRU; Cho et al. 2014).

Each step depends on the state of the previous one. As single primitives on a GPU, the loop
is hundreds of launches with little work each, so one custom kernel runs all steps there: one
threadgroup per direction, with the state in threadgroup memory. On the CPU the loop is
fastest.

Gates are in the order reset, update, candidate. The state is always float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import mlx.core as mx

MAX_THREADS = 512
"""Threads per threadgroup. Metal allows 1024, and fewer for a kernel that uses many registers."""

SOURCE = """
    // HIDDEN * PARTS threads: one per unit and part. Each part sums over a range of the old
    // state.
    const int unit = THREAD % HIDDEN;
    const int part = THREAD / HIDDEN;
    const int direction = GROUP;
    const int frames = projected_shape[0];
    const int span = (HIDDEN + PARTS - 1) / PARTS;
    const int begin = part * span;
    const int end = begin + span < HIDDEN ? begin + span : HIDDEN;
    SHARED float state[HIDDEN];
    SHARED float sums[3 * PARTS * HIDDEN];
    if (part == 0) {
        state[unit] = 0.0f;
    }
    BARRIER;
    for (int step = 0; step < frames; ++step) {
        const int frame = direction == 0 ? step : frames - 1 - step;
        float r = 0.0f, z = 0.0f, n = 0.0f;
        for (int k = begin; k < end; ++k) {
            // Neighbouring threads read neighbouring weights.
            const int row = (direction * HIDDEN + k) * 3 * HIDDEN + unit;
            const float old = state[k];
            r += old * float(state_weight[row]);
            z += old * float(state_weight[row + HIDDEN]);
            n += old * float(state_weight[row + 2 * HIDDEN]);
        }
        sums[part * HIDDEN + unit] = r;
        sums[(PARTS + part) * HIDDEN + unit] = z;
        sums[(2 * PARTS + part) * HIDDEN + unit] = n;
        BARRIER;
        if (part == 0) {
            for (int other = 1; other < PARTS; ++other) {
                r += sums[other * HIDDEN + unit];
                z += sums[(PARTS + other) * HIDDEN + unit];
                n += sums[(2 * PARTS + other) * HIDDEN + unit];
            }
            const int column = (frame * 2 + direction) * 3 * HIDDEN + unit;
            r = 1.0f / (1.0f + EXP(-(r + float(projected[column]))));
            z = 1.0f / (1.0f + EXP(-(z + float(projected[column + HIDDEN]))));
            n += float(state_bias[direction * HIDDEN + unit]);
            n = TANH(float(projected[column + 2 * HIDDEN]) + r * n);
            const float next = n + z * (state[unit] - n);
            state[unit] = next;
            out[(frame * 2 + direction) * HIDDEN + unit] = next;
        }
        BARRIER;
    }
"""
"""Body of the kernel. `HEADERS` defines the macros in capitals for Metal and for CUDA."""

HEADERS = {
    "metal": """
#define THREAD int(thread_position_in_threadgroup.x)
#define GROUP int(threadgroup_position_in_grid.x)
#define SHARED threadgroup
#define BARRIER threadgroup_barrier(metal::mem_flags::mem_threadgroup)
#define EXP metal::precise::exp
#define TANH metal::precise::tanh
""",
    "cuda": """
#define THREAD int(threadIdx.x)
#define GROUP int(blockIdx.x)
#define SHARED __shared__
#define BARRIER __syncthreads()
#define EXP expf
#define TANH tanhf
""",
}

ATTRIBUTES = "    // thread_position_in_threadgroup, threadgroup_position_in_grid\n"
"""MLX declares the Metal attributes whose names occur in the body of a kernel."""


def kernel_or_loop(projected: mx.array, state_weight: mx.array, state_bias: mx.array) -> mx.array:
    """See ``loop``; one kernel launch if MLX runs on a GPU."""
    language, hidden = kernel_language(), state_bias.shape[-1]
    if language is None or hidden > MAX_THREADS:
        return loop(projected, state_weight, state_bias)
    return kernel(language, projected, state_weight, state_bias)


def kernel_language() -> Literal["metal", "cuda"] | None:
    """Return the language of kernels for MLX's default device; None for the CPU."""
    if mx.default_device().type == mx.DeviceType.cpu:
        return None
    return "metal" if mx.metal.is_available() else "cuda"


def kernel(
    language: Literal["metal", "cuda"],
    projected: mx.array,
    state_weight: mx.array,
    state_bias: mx.array,
) -> mx.array:
    """See ``loop``; the hidden width is at most ``MAX_THREADS``."""
    hidden = state_bias.shape[-1]
    parts = MAX_THREADS // hidden
    build: Callable[..., Any] = mx.fast.metal_kernel if language == "metal" else mx.fast.cuda_kernel
    run = build(
        name="rtvc_gru",
        input_names=["projected", "state_weight", "state_bias"],
        output_names=["out"],
        source=(ATTRIBUTES if language == "metal" else "") + SOURCE,
        header=HEADERS[language],
    )
    outputs: list[mx.array] = run(
        inputs=[projected, state_weight, state_bias],
        template=[("HIDDEN", hidden), ("PARTS", parts)],
        grid=(2 * hidden * parts, 1, 1),
        threadgroup=(hidden * parts, 1, 1),
        output_shapes=[(projected.shape[0], 2 * hidden)],
        output_dtypes=[mx.float32],
    )
    return outputs[0]


def loop(projected: mx.array, state_weight: mx.array, state_bias: mx.array) -> mx.array:
    """Run both directions over all frames.

    Parameters
    ----------
    projected
        Projected inputs of the gates, with their biases, (frames, 2 * 3 * hidden): forward
        direction, then backward.
    state_weight
        Recurrent weights, (2, hidden, 3 * hidden).
    state_bias
        Recurrent bias of the candidate, (2, 1, hidden); the reset gate multiplies it.

    Returns
    -------
    mx.array
        (frames, 2 * hidden) float32.
    """
    projected, weight, bias = (
        part.astype(mx.float32) for part in (projected, state_weight, state_bias)
    )
    forward, backward = mx.split(projected, 2, axis=1)
    # The backward direction reads the frames in reverse, so both states are one
    # (2, 1, hidden) array and each step is one batched product.
    r, z, n = mx.split(mx.stack([forward, backward[::-1]])[:, :, None], 3, axis=3)
    state = mx.zeros((2, 1, r.shape[3]))
    states = []
    for step in range(projected.shape[0]):
        hr, hz, hn = mx.split(state @ weight, 3, axis=2)
        state = _step(r[:, step] + hr, z[:, step] + hz, n[:, step], hn + bias, state)
        states.append(state)
    both = mx.concatenate(states, axis=1)
    return mx.concatenate([both[0], both[1][::-1]], axis=1)


def _gates(r: mx.array, z: mx.array, n: mx.array, hn: mx.array, state: mx.array) -> mx.array:
    """Return the new state; the reset gate multiplies `hn`, which includes its bias."""
    candidate = mx.tanh(n + mx.sigmoid(r) * hn)
    return candidate + mx.sigmoid(z) * (state - candidate)


_step: Callable[..., mx.array] = mx.compile(_gates)
