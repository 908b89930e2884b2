"""Choice of device, operators and precision for this machine.

All follow from MLX's default device, once, at import. `ops.use` changes them while the program
runs, for the networks that are built from then on. Environment variables override them:

``RTVC_DEVICE``
    ``cpu`` or ``gpu``: the device that computes.
``RTVC_OPERATORS``
    ``cpu`` (matrix products) or ``gpu`` (single primitives, fused); for tests, and to count the
    operations of a GPU step on any machine.
``RTVC_PRECISION``
    ``float32`` or ``float16``: precision of the weights and of most of the computation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx

from rtvc.errors import UsageError
from rtvc.system.blas import load_blas
from rtvc.system.malloc import keep_memory
from rtvc.system.mlx_environment import requested_device

Kind = Literal["cpu", "gpu"]

_BLAS = load_blas()
keep_memory()


@dataclass(frozen=True, slots=True)
class Compute:
    """How networks compute.

    Attributes
    ----------
    device
        MLX's device.
    operators
        Set of operators that `ops` exports.
    precision
        Default precision of a network's weights: ``"float32"`` or ``"float16"``, and for
        reference numbers ``"float64"``.
    gru_kernel
        Whether a GPU runs rtvc's own kernels: a recurrent layer as one kernel instead of a loop,
        and convolutions of small images with their activation.
    """

    device: Kind
    operators: Kind
    precision: str
    gru_kernel: bool = True


def _chosen(variable: str, default: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(variable) or default
    if value not in choices:
        raise UsageError(f"{variable} is {value!r}; it can be {' or '.join(choices)}.")
    return value


def _select_device() -> Kind:
    usual = "gpu" if mx.default_device().type == mx.DeviceType.gpu else "cpu"
    named = "RTVC_DEVICE is" if os.environ.get("RTVC_DEVICE") else "The chosen device is"
    requested = requested_device()
    default = requested if requested in ("cpu", "gpu") else usual
    found = _chosen("RTVC_DEVICE", default, ("cpu", "gpu"))
    if found == "gpu" and usual == "cpu":
        other = "remove it" if os.environ.get("RTVC_DEVICE") else "'rtvc run --compute auto'"
        raise UsageError(
            f"{named} 'gpu', but MLX finds no GPU here. Use 'cpu', or {other}; "
            "'rtvc doctor' shows what MLX finds."
        )
    return "gpu" if found == "gpu" else "cpu"


def _first() -> Compute:
    """Return what the device and the environment ask for."""
    device = _select_device()
    operators = _chosen("RTVC_OPERATORS", device, ("cpu", "gpu"))
    usual = "float16" if device == "gpu" else "float32"
    precision = _chosen("RTVC_PRECISION", usual, ("float16", "float32"))
    return Compute(device, "gpu" if operators == "gpu" else "cpu", precision)


FIRST = _first()
"""What this machine uses unless a self-test fails."""

compute = FIRST
"""What networks use that are built now; changed by `ops.use` only."""

OPERATORS: str = FIRST.operators
"""Set of operators at import: ``"cpu"`` or ``"gpu"``."""

STREAMS: int = _BLAS.streams if OPERATORS == "cpu" else 1
"""Number of MLX streams that compute parts of a layer in parallel; see `cpu_streams`."""

mx.set_default_device(mx.gpu if FIRST.device == "gpu" else mx.cpu)


def default_precision() -> mx.Dtype:
    """Return the default precision of a network's weights.

    float16 halves the bytes that a GPU reads in every step, and reading weights takes most of the
    time of a step. On the CPU float16 is slower. Statistics of norms, softmax, phase, log-mel
    spectra, the recurrent state and the last convolution of a vocoder are always float32.
    """
    found: mx.Dtype = getattr(mx, compute.precision)
    return found


def traces_steps() -> bool:
    """Return whether whole networks are traced and compiled, once for every new input shape."""
    return compute.operators == "gpu"


def set_compute(new: Compute) -> None:
    """Set `compute` and MLX's device; for `ops.use`."""
    global compute  # noqa: PLW0603
    compute = new
    mx.set_default_device(mx.gpu if new.device == "gpu" else mx.cpu)
