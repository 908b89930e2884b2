"""What the networks are made of on this machine: which operators, which precision.

Both follow from MLX's default device and are read once, at import. Two environment
variables overrule them, for tests and for counting what a GPU would do:

``RTVC_OPERATORS``
    ``cpu`` (matrix products) or ``gpu`` (single primitives, fused).
``RTVC_PRECISION``
    ``float32`` or ``float16``: of the weights, and of what is computed with them.
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
"""Which set of operators ``layers`` hands out."""

PRECISION: mx.Dtype = {"float16": mx.float16, "float32": mx.float32}[
    _chosen("RTVC_PRECISION", "float16" if _ON_GPU else "float32", ("float16", "float32"))
]
"""Of a network's weights unless it is told otherwise.

float16 halves what a GPU reads in every step, and reading is most of what it does. On the
CPU it would only be slower. Statistics of norms, softmax, phase, log-mel spectra, the
recurrent state and the last convolution of a vocoder are float32 in any case.
"""


TRACES_STEPS = OPERATORS == "gpu"
"""Whether whole networks are traced and compiled for every shape that they meet first."""

STREAMS: int = _BLAS.streams if OPERATORS == "cpu" else 1
"""How many parts of a network are computed side by side; see ``streams``."""
