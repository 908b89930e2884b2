"""Environment variables of MLX, set before MLX is imported, which reads each one once."""

from __future__ import annotations

import os

VARIABLES = {
    # float32 is float32: with TF32, an M5 or an NVIDIA GPU rounds the inputs of its products to
    # 10 bits. What rtvc computes in float32 is little, so this costs no time.
    "MLX_ENABLE_TF32": "0",
    # On CUDA, MLX keeps a plan for each shape of a convolution and a graph for each sequence of
    # kernels. An RVC voice makes more than 220 plans before its first step, and MLX keeps 128.
    "MLX_CUDA_CONV_CACHE_SIZE": "2048",
    "MLX_CUDA_GRAPH_CACHE_SIZE": "4000",
    # Otherwise MLX raises an error after twice as many misses as it keeps, in a thread's life. Each
    # phrase of a recording has its own length, and with it 100 plans and more.
    "MLX_ENABLE_CACHE_THRASHING_CHECK": "0",
}
"""Values by name."""


def set_mlx_environment() -> None:
    """Set `VARIABLES`, except those that you have set."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


_requested_device = ""


def request_device(device: str) -> None:
    """Use ``"cpu"`` or ``"gpu"``, or with ``"auto"`` or "" what MLX uses.

    Call it before the first network is imported. ``RTVC_DEVICE`` overrides it.
    """
    global _requested_device  # noqa: PLW0603
    _requested_device = device


def requested_device() -> str:
    """Return the device of `request_device`, "" if none was requested."""
    return _requested_device
