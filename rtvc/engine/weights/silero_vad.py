"""Reads the weights of the voice activity detector Silero VAD, which are part of rtvc."""

from __future__ import annotations

from pathlib import Path

from rtvc._types import Weights
from rtvc.engine.weights.bundled import read_bundled
from rtvc.engine.weights.strict import Shape

BUNDLED = Path(__file__).with_name("silero_vad.npz")
"""Weights of Silero VAD 6.2 at 16 kHz (MIT licence, see THIRD-PARTY.md), from
``python -m benchmarks.silero_vad_weights``."""

SHAPES: dict[str, Shape] = {
    "stft.forward_basis_buffer": (258, 1, 256),
    **{
        f"encoder.{layer}.reparam_conv.{part}": (width, inputs, 3) if part == "weight" else (width,)
        for layer, (inputs, width) in enumerate(((129, 128), (128, 64), (64, 64), (64, 128)))
        for part in ("weight", "bias")
    },
    "decoder.rnn.weight_ih": (512, 128),
    "decoder.rnn.weight_hh": (512, 128),
    "decoder.rnn.bias_ih": (512,),
    "decoder.rnn.bias_hh": (512,),
    "decoder.decoder.2.weight": (128,),
    "decoder.decoder.2.bias": (),
}
"""Name and shape of every weight: (out channels, in channels, frames)."""


def read_silero_vad() -> Weights:
    """Return the weights by name, float32.

    Raises
    ------
    RtvcError
        The file is missing or does not fit: rtvc is not installed completely.
    """
    return read_bundled(BUNDLED, "the voice activity detector Silero VAD", SHAPES)
