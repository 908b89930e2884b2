"""Cost of one step on a GPU, counted with networks of full size, against a fixed budget.

The graph uses the GPU operators and is not evaluated, so every machine can count it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops import backend
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.models.swift_f0 import SwiftF0Estimator
from rtvc.engine.models.swift_f0_sizes import GRID
from rtvc.engine.profiling.op_count import Counts, count
from rtvc.engine.profiling.own_kernels import counted_as_one
from rtvc.engine.profiling.random_weights import FULL_ENCODER, FULL_RMVPE, KINDS, voice_values
from rtvc.engine.profiling.stage_times import count_step
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.weights.content_encoder import content_encoder_shapes
from rtvc.engine.weights.rmvpe import rmvpe_shapes
from rtvc.engine.weights.swift_f0 import read_swift_f0
from rtvc.engine.weights.voice_config import parse_voice_config
from rtvc.engine.weights.voice_keys import HIFIGAN, voice_shapes
from rtvc.settings import Settings

pytestmark = [
    pytest.mark.full_size,
    pytest.mark.skipif(
        backend.OPERATORS != "gpu", reason="counts the GPU operators; see test_operator_sets.py"
    ),
]


class Budget(NamedTuple):
    """Most that a step may cost.

    Attributes
    ----------
    gflop, launches, weight_mb
        GFLOP, kernel launches, and MB of weights in float16.
    fused
        Different fused functions, which are compiled at each start.
    """

    gflop: float
    launches: int
    weight_mb: float
    fused: int = 35


BUDGETS = {
    "v1-32k": Budget(50, 700, 292),
    "v1-40k": Budget(60, 655, 292),
    "v1-48k": Budget(54, 695, 292),
    "v2-32k": Budget(63, 680, 340),
    "v2-40k": Budget(66, 680, 340),
    "v2-48k": Budget(66, 700, 342, fused=39),
}


def _weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return zeros; the tests only count operations."""
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def encoder() -> Hubert:
    return Hubert(_weights(content_encoder_shapes(FULL_ENCODER)), FULL_ENCODER, mx.float16)


@pytest.fixture(scope="module")
def rmvpe() -> RmvpeEstimator:
    return RmvpeEstimator(_weights(rmvpe_shapes(FULL_RMVPE)), FULL_RMVPE, mx.float16)


def _voice(kind: str) -> SynthesizerNetwork:
    version, rate = KINDS[kind]
    config = parse_voice_config(voice_values(version, rate), 1)
    width = 256 if version == "v1" else 768
    shapes = voice_shapes(config, phone_channels=width, uses_pitch=True, vocoder=HIFIGAN)
    shapes["emb_g.weight"] = (1, config.gin_channels)
    return SynthesizerNetwork(_weights(shapes), config, precision=mx.float16)


@pytest.fixture(autouse=True)
def _one_operation_per_kernel() -> Iterator[None]:
    """Count each kernel as one operation, because not every machine can build it."""
    with counted_as_one():
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_stays_within_its_budget(encoder: Hubert, rmvpe: RmvpeEstimator, kind: str) -> None:
    rvc_voice = RvcVoice(kind, _voice(kind), encoder, lambda method: rmvpe)
    settings = Settings(block=250.0, context=2500.0, pitch_method="rmvpe")
    stages = count_step(rvc_voice, settings, as_gpu=True)
    report = {name: (c.primitives, round(c.weight_bytes / 1e6, 1)) for name, c in stages.items()}
    total, budget = sum(stages.values(), Counts()), BUDGETS[kind]
    # Lower limits, because a step with a missing part would stay within any budget.
    assert 0.9 * budget.gflop < total.flop / 1e9 <= budget.gflop, report
    assert 0.9 * budget.weight_mb < total.weight_bytes / 1e6 <= budget.weight_mb, report
    assert 0.9 * budget.launches < total.primitives <= budget.launches, report
    kinds = [name for name in total.kinds if name.startswith("Compiled")]
    assert 20 < len(kinds) <= budget.fused


def test_unused_layers_are_not_read(encoder: Hubert) -> None:
    audio = mx.zeros(281 * 160)
    whole = count(encoder.features, audio)
    nine = count(lambda audio: encoder.features(audio, layer=9, project=True), audio)
    layer = 2 * (4 * 768 * 768 + 2 * 768 * 3072)  # bytes of a layer's matrices
    projection = 2 * 768 * 256
    saved = whole.weight_bytes - nine.weight_bytes + projection
    assert 3 * layer < saved < 3.02 * layer


def test_kernel_rows_on_padding_are_not_read(rmvpe: RmvpeEstimator) -> None:
    one_row, two_rows = (
        count(rmvpe.activations, mx.zeros(frames * 160)).weight_bytes for frames in (31, 63)
    )
    width = FULL_RMVPE.base_channels << FULL_RMVPE.levels
    convolutions = 2 * FULL_RMVPE.blocks * FULL_RMVPE.intermediate_layers
    kernels = 2 * 9 * width * (width * (convolutions - 1) + width // 2)  # the first is narrower
    # Kernels for few pixels read their biases too.
    assert two_rows - one_row == pytest.approx(kernels * 2 / 3, rel=5e-3)


def test_swift_f0_stays_within_its_budget() -> None:
    swift = SwiftF0Estimator(read_swift_f0())
    counted = count(swift.scores, mx.zeros(16 * GRID + 2048))  # 17 frames: a block of 100 ms
    spectra = 4 * (128 * (257 + 513 + 1025) + 512 + 1024 + 2048)  # filters and windows
    assert 80e6 < counted.flop < 90e6, counted
    assert 57_000 < counted.weight_bytes - spectra < 80_000, counted
    assert 45 < counted.primitives <= 60, counted
