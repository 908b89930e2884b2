"""Small networks in float16 compared with float32, on this machine's backend.

Signal-to-error ratios in dB, measured with MLX 0.32.4 on the CPU, with the CPU operators and
the GPU operators: content features 61 and 58 before the first layer, 58 and 53 after the last;
salience of RMVPE 62, of FCPE 73 and 70; audio of the voices 48 to 53; audio of a stream of
1.5 s with an index 46.
"""

from __future__ import annotations

import gc
from functools import cache, partial
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from rtvc._types import Float32
from rtvc.engine.models.fcpe import FcpeEstimator
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.rvc.network import SynthesizerNetwork
from rtvc.engine.rvc.voice import RvcStream, RvcVoice
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.settings import Settings
from tests.engine.models.golden_voices import window
from tests.engine.models.test_fcpe import CONFIG as FCPE
from tests.engine.models.test_fcpe import random_state
from tests.engine.rvc.rvc_stack import index, plan_for, speech, stream_all

GOLDEN = Path(__file__).parents[2] / "golden"
PRECISIONS = (mx.float32, mx.float16)


@cache
def _audio() -> Float32:
    with np.load(GOLDEN / "rmvpe_small.npz") as file:
        audio: Float32 = file["audio"][:16_000]
    return audio


def _snr(exact: NDArray[np.floating], rounded: NDArray[np.floating]) -> float:
    """Return the signal-to-error ratio in dB."""
    assert rounded.shape == exact.shape
    assert np.isfinite(rounded).all()
    error = np.mean((rounded.astype(float) - exact) ** 2)
    assert error > 0, "both have the same precision"
    return float(10 * np.log10(np.mean(exact.astype(float) ** 2) / error))


@pytest.mark.parametrize("layer", [0, None])
def test_content_encoder(layer: int | None) -> None:
    file = read_content_encoder(GOLDEN / "hubert_small")
    exact, rounded = (
        Hubert(file.weights, file.config, precision)(_audio(), layer=layer)
        for precision in PRECISIONS
    )
    assert rounded.dtype == np.float32
    assert _snr(exact, rounded) > 50


def test_rmvpe() -> None:
    file = read_rmvpe(GOLDEN / "rmvpe_small.pt")
    exact, rounded = (
        RmvpeEstimator(file.weights, file.config, precision) for precision in PRECISIONS
    )
    # The spectrum is float32 in both cases.
    one, other = (np.array(n.log_mel(mx.array(_audio()))) for n in (exact, rounded))
    np.testing.assert_array_equal(one, other)
    assert _snr(exact.salience(_audio()), rounded.salience(_audio())) > 50


@pytest.mark.thorough
def test_fcpe() -> None:
    exact, rounded = (FcpeEstimator(random_state(), FCPE, precision) for precision in PRECISIONS)
    assert _snr(exact.salience(_audio()), rounded.salience(_audio())) > 50


@cache
def _voice(name: str, precision: mx.Dtype) -> SynthesizerNetwork:
    file = read_voice_checkpoint(GOLDEN / f"{name}.pth")
    return SynthesizerNetwork(file.weights, file.config, precision=precision)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["voice_v2_f0_40k", "voice_v1_f0_48k", "applio_mrf_40k"])
def test_voice(name: str) -> None:
    features, coarse, hz, speaker = window(name)
    exact, rounded = (
        _voice(name, precision).synthesize(features, coarse, hz, speaker=speaker)
        for precision in PRECISIONS
    )
    assert rounded.dtype == np.float32
    assert _snr(exact, rounded) > 45


def test_excitation_is_float32() -> None:
    """A phase error of a thousandth of a cycle at 800 Hz would click at every block boundary."""
    hz = mx.array(np.full((1, 20), 799.3, np.float32))
    excitations = []
    for precision in PRECISIONS:
        source = _voice("voice_v2_f0_40k", precision).network.vocoder.source
        assert source is not None
        excitations.append(np.array(source(hz, mx.array(0.3), None)))
    np.testing.assert_array_equal(excitations[0], excitations[1])


@pytest.mark.parametrize("name", ["voice_v2_f0_40k"])
def test_half_the_memory(name: str) -> None:
    sizes = []
    for precision in PRECISIONS:
        file = read_voice_checkpoint(GOLDEN / f"{name}.pth")
        gc.collect()  # arrays of tests before it
        before = mx.get_active_memory()
        voice = SynthesizerNetwork(file.weights, file.config, precision=precision)
        sizes.append(mx.get_active_memory() - before)
        del voice
    assert 0.49 < sizes[1] / sizes[0] < 0.56


def _same(estimator: RmvpeEstimator, kind: str) -> RmvpeEstimator:
    return estimator


@pytest.mark.thorough
def test_a_stream() -> None:
    """All networks together, block by block, with the decoder's stream state in float16."""
    settings = Settings(block=100.0, context=300.0, index_rate=0.3)
    content = read_content_encoder(GOLDEN / "hubert_small")
    pitch = read_rmvpe(GOLDEN / "rmvpe_small.pt")
    signals = []
    for precision in PRECISIONS:
        estimator = RmvpeEstimator(pitch.weights, pitch.config, precision)
        voice = RvcVoice(
            "golden",
            _voice("voice_v1_f0_40k", precision),
            Hubert(content.weights, content.config, precision),
            partial(_same, estimator),
            index(),
        )
        stream = RvcStream(voice, estimator, plan_for(settings), settings)
        rendered = stream_all(stream, speech()[:12_800], settings, 10)
        signals.append(np.concatenate([part.audio for part in rendered]))
    exact, rounded = signals
    assert rounded.dtype == np.float32
    # A small f0 error becomes a phase error that accumulates.
    assert _snr(exact, rounded) > 40
