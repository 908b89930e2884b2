"""Choice of operators and precision for this machine.

Both follow from MLX's default device and are read once, at import. Two environment
variables override them, for tests and to count the operations of a GPU step on any machine:

``RTVC_OPERATORS``
    ``cpu`` (matrix products) or ``gpu`` (single primitives, fused).
``RTVC_PRECISION``
    ``float32`` or ``float16``: precision of the weights and of most of the computation.
"""

from __future__ import annotations

import os

import mlx.core as mx

from rtvc.errors import UsageError
from rtvc.system.blas import load_blas
from rtvc.system.malloc import keep_memory

_BLAS = load_blas()
keep_memory()


def _chosen(variable: str, default: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(variable) or default
    if value not in choices:
        raise UsageError(f"{variable} is {value!r}; it can be {' or '.join(choices)}.")
    return value


_ON_GPU = mx.default_device().type == mx.DeviceType.gpu

OPERATORS: str = _chosen("RTVC_OPERATORS", "gpu" if _ON_GPU else "cpu", ("cpu", "gpu"))
"""Set of operators that `ops` exports: ``"cpu"`` or ``"gpu"``."""

PRECISION: mx.Dtype = {"float16": mx.float16, "float32": mx.float32}[
    _chosen("RTVC_PRECISION", "float16" if _ON_GPU else "float32", ("float16", "float32"))
]
"""Default precision of a network's weights.

float16 halves the bytes that a GPU reads in every step, and reading weights takes most of the
time of a step. On the CPU float16 is slower. Statistics of norms, softmax, phase, log-mel
spectra, the recurrent state and the last convolution of a vocoder are always float32.
"""

TRACES_STEPS = OPERATORS == "gpu"
"""Whether whole networks are traced and compiled, once for every new input shape."""

STREAMS: int = _BLAS.streams if OPERATORS == "cpu" else 1
"""Number of MLX streams that compute parts of a layer in parallel; see `cpu_streams`."""
