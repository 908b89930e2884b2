"""The voices in tests/golden, each loaded once."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtvc._types import Float32
from rtvc.engine.rvc.loading import load_voice
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.weights.voice_config import parse_voice_config
from rtvc.engine.weights.weight_norm import fold_weight_norm

GOLDEN = Path(__file__).parents[2] / "golden"
SPEAKERS = 3

Arrays = dict[str, Float32]


@cache
def golden_voice(name: str) -> SynthesizerNetwork:
    if name == "applio_refinegan_32k":
        return SynthesizerNetwork(
            refinegan_weights(), parse_voice_config(refinegan_list(), SPEAKERS)
        )
    return load_voice(GOLDEN / f"{name}.pth")


@cache
def golden_arrays(name: str) -> Arrays:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def refinegan_list() -> list[Any]:
    config: list[Any] = _refinegan()["config"]
    return config


@cache
def refinegan_weights() -> Arrays:
    """Weights of the RefineGAN voice, too large for a file: each is seeded by its index."""
    weights = {}
    for number, name in enumerate(sorted(_refinegan()["shapes"])):
        shape = _refinegan()["shapes"][name]
        w = np.random.RandomState(1000 + number).standard_normal(shape).astype(np.float32)
        if name.endswith("gamma"):
            w = 1 + np.float32(0.1) * w
        elif name.endswith("weight_g"):
            w = np.ones(shape, np.float32)
        elif len(shape) > 1:
            fan = shape[-1] if "emb_g" in name or "emb_pitch" in name else np.prod(shape[1:])
            w = w / np.sqrt(np.float32(fan))
        else:
            w = np.float32(0.05) * w
        weights[name] = w.astype(np.float16).astype(np.float32)
    return fold_weight_norm(weights)


@cache
def _refinegan() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((GOLDEN / "applio_refinegan_32k.json").read_text())
    return facts


def window(name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], int]:
    """Return the features, coarse pitch, f0 in Hz and speaker of the reference run."""
    g = golden_arrays(name)
    return g["phone"][0], g["pitch"][0], g["pitchf"][0], int(g["sid"][0])
