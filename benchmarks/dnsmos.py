"""DNSMOS P.835: an estimate of how listeners rate speech, noise and the whole, 1 to 5.

The network comes with the package speechmos, of which only the file is used: what speechmos
itself imports is large. C. K. A. Reddy, V. Gopal, R. Cutler, "DNSMOS P.835: A non-intrusive
perceptual objective speech quality metric to evaluate noise suppressors", ICASSP 2022.

    python -m pip install --group ratings
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RATE = 16_000
_LENGTH = round(9.01 * RATE)
_HOP = RATE
# From what the network returns to the scale of the ratings, highest power first.
_SIGNAL = -0.08397278, 1.22083953, 0.0052439
_BACKGROUND = -0.13166888, 1.60915514, -0.39604546
_OVERALL = -0.06766283, 1.11546468, 0.04602535


class Score(NamedTuple):
    """The ratings: of the speech, of the background, and overall."""

    signal: float
    background: float
    overall: float


def score(sound: np.ndarray) -> Score:
    """Rate a sound, (samples,) at 16 kHz: windows of 9 s; a shorter sound is repeated to that."""
    sound = np.clip(sound, -1.0, 1.0).astype(np.float32)
    sound = np.resize(sound, max(_LENGTH, len(sound)))
    windows = [sound[at : at + _LENGTH] for at in range(0, len(sound) - _LENGTH + 1, _HOP)]
    raw = np.mean([_network().run(None, {"input_1": one[None]})[0][0] for one in windows], axis=0)
    scales = (_SIGNAL, _BACKGROUND, _OVERALL)
    return Score(*(float(np.polyval(scale, one)) for scale, one in zip(scales, raw, strict=True)))


@functools.cache
def _network() -> Any:
    import onnxruntime

    spec = find_spec("speechmos")
    if spec is None or spec.origin is None:
        raise SystemExit("Install the networks first: pip install --group ratings")
    path = Path(spec.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
