"""Operators of the other device type."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import pytest

from rtvc.engine.models.ops import backend, ops
from rtvc.engine.models.ops.backend import Compute


@pytest.fixture
def gpu_operators() -> Iterator[None]:
    """Build networks with the GPU operators, step by step."""
    before = backend.compute
    ops.use(Compute(before.device, "gpu", "float32", before.gru_kernel))
    mx.disable_compile()
    yield
    mx.enable_compile()
    ops.use(before)
