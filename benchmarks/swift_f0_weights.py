"""Writes the weights of SwiftF0 and its test vectors from the package swift-f0 0.3.0.

    pip download --no-deps swift-f0==0.3.0, and unpack swift_f0/model.onnx
    python -m benchmarks.swift_f0_weights model.onnx

Needs the packages onnx and onnxruntime, which nothing else here uses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

from rtvc.engine.models.swift_f0 import F0_MAX, F0_MIN
from rtvc.engine.weights.swift_f0 import BUNDLED, SHAPES

SPEECH = Path("tests/data/speech")
UTTERANCES = ("2902-9006-0000", "777-126732-0000")
GOLDEN = Path("tests/golden/swift_f0.npz")


def convert(model: Path) -> None:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(model).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # The graph has no names of its own: convolutions appear in the order of `SHAPES`, except
    # that the branch for voicing comes before the score of the pitches.
    layers = [node for node in graph.node if node.op_type == "Conv"]
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in SHAPES))
    weights = {}
    for name, layer in zip(names, layers, strict=True):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = (tensors[i] for i in layer.input[1:])
    assert {name: array.shape for name, array in weights.items()} == SHAPES
    np.savez_compressed(BUNDLED, **weights)


def write_golden(model: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    found = {}
    limits = {"fmin": np.array(F0_MIN, np.float32), "fmax": np.array(F0_MAX, np.float32)}
    for utterance in UTTERANCES:
        audio = soundfile.read(SPEECH / f"{utterance}.wav", dtype="float32")[0]
        pitch, confidence = session.run(["pitch", "confidence"], {"audio": audio[None], **limits})
        found |= {f"{utterance}.hz": pitch[0], f"{utterance}.confidence": confidence[0]}
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
    write_golden(Path(sys.argv[1]))
    for path in (BUNDLED, GOLDEN):
        print(f"{path}: {path.stat().st_size} bytes")
