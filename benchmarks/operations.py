"""Counts a full-size step: ``RTVC_OPERATORS=gpu python -m benchmarks.operations``.

Prints the rows of one set of operators for the table "Operations per step" in RESULTS.md, and the
parts of one voice. Nothing is computed, so any machine gives the figures of a GPU in float16.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops.backend import OPERATORS
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.profiling.op_count import Counts
from rtvc.engine.profiling.own_kernels import counted_as_one
from rtvc.engine.profiling.random_weights import FULL_ENCODER, FULL_RMVPE, KINDS, voice_values
from rtvc.engine.profiling.stage_times import count_step
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.weights.content_encoder import content_encoder_shapes
from rtvc.engine.weights.rmvpe import rmvpe_shapes
from rtvc.engine.weights.voice_config import parse_voice_config
from rtvc.engine.weights.voice_keys import HIFIGAN, voice_shapes
from rtvc.settings import Settings

IN_PARTS = "v2-40k"
PRECISION = mx.float16 if OPERATORS == "gpu" else mx.float32


def zeros(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def voice(kind: str, encoder: Hubert, rmvpe: RmvpeEstimator) -> RvcVoice:
    version, rate = KINDS[kind]
    config = parse_voice_config(voice_values(version, rate), 1)
    shapes = voice_shapes(
        config,
        phone_channels=256 if version == "v1" else 768,
        uses_pitch=True,
        vocoder=HIFIGAN,
    )
    shapes["emb_g.weight"] = (1, config.gin_channels)
    network = SynthesizerNetwork(zeros(shapes), config, precision=PRECISION)
    return RvcVoice(kind, network, encoder, lambda method: rmvpe)


def row(name: str, counts: Counts, digits: int) -> str:
    flop, weights = counts.flop / 1e9, counts.weight_bytes / 1e6
    figures = f"{flop:.{digits}f} | {counts.primitives} | {weights:.{digits - 1}f} MB"
    return f"| {name} | {figures} |"


def main() -> None:
    settings = Settings(block=250.0, context=2500.0, pitch_method="rmvpe")
    encoder = Hubert(zeros(content_encoder_shapes(FULL_ENCODER)), FULL_ENCODER, PRECISION)
    rmvpe = RmvpeEstimator(zeros(rmvpe_shapes(FULL_RMVPE)), FULL_RMVPE, PRECISION)
    parts: dict[str, Counts] = {}
    print(f"Operators: {OPERATORS}")
    print("| voice | GFLOP | primitives | weights |\n|---|---|---|---|")
    for kind in KINDS:
        stages = count_step(voice(kind, encoder, rmvpe), settings, as_gpu=OPERATORS == "gpu")
        total = sum(stages.values(), Counts())
        print(row(kind, total, 1), len([k for k in total.kinds if k.startswith("Compiled")]))
        parts = stages if kind == IN_PARTS else parts
    print(f"\n| {IN_PARTS} | GFLOP | primitives | weights |\n|---|---|---|---|")
    for name, counts in parts.items():
        print(row(name, counts, 2))


if __name__ == "__main__":
    if OPERATORS == "gpu":
        with counted_as_one():
            main()
    else:
        main()
