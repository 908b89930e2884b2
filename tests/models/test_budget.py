"""What one step costs a GPU, counted at full size, so that it cannot creep up.

The graph is that of the GPU's operators; nothing is evaluated, so any machine can count it.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.counting import Counts, count, one_kernel
from rtvc.engine.models import backend, gru
from rtvc.engine.models.flow import MARGIN_FRAMES
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.interpolate import sample_linear
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.plan import make_plan
from rtvc.engine.random_networks import FULL_ENCODER, FULL_RMVPE, voice_values
from rtvc.engine.rvc import LOOKAHEAD
from rtvc.engine.rvc_window import Window, make_window
from rtvc.engine.weights.content_encoder import content_encoder_shapes
from rtvc.engine.weights.rmvpe import rmvpe_shapes
from rtvc.engine.weights.voice_config import parse_voice_config
from rtvc.engine.weights.voice_keys import HIFIGAN, voice_shapes
from rtvc.settings import Settings

pytestmark = pytest.mark.skipif(
    backend.OPERATORS != "gpu", reason="counts the GPU's operators; see test_operator_sets.py"
)

PRIMITIVES, WEIGHT_BYTES = 850, 340e6

FRAME, HOP = 160, 400
SETTINGS = Settings(block=250.0, context=2500.0)
PLAN = make_plan(SETTINGS, voice_lookahead=LOOKAHEAD, continuous=True)


def _zeros(*shape: int) -> mx.array:
    return mx.zeros(shape)


def _weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights that nobody will multiply with."""
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _kernel(language: str, *inputs: mx.array) -> mx.array:
    frames, gates = inputs[0].shape
    return one_kernel(inputs, [(frames, gates // 3)], [mx.float32])[0]


@pytest.fixture(scope="module")
def encoder() -> Hubert:
    return Hubert(_weights(content_encoder_shapes(FULL_ENCODER)), FULL_ENCODER, mx.float16)


@pytest.fixture(scope="module")
def rmvpe() -> RmvpeEstimator:
    return RmvpeEstimator(_weights(rmvpe_shapes(FULL_RMVPE)), FULL_RMVPE, mx.float16)


@pytest.fixture(autouse=True)
def _one_kernel_for_the_recurrent_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel cannot be built here, but it can be counted."""
    monkeypatch.setattr(gru, "kernel_language", lambda: "metal")
    monkeypatch.setattr(gru, "kernel", _kernel)


def _pitch(rmvpe: RmvpeEstimator, frames: int) -> Counts:
    return count(
        lambda audio: rmvpe.decode(rmvpe.activations(audio)), _zeros(frames * FRAME), as_gpu=True
    )


def _voice(window: Window) -> dict[str, Counts]:
    config = parse_voice_config(voice_values("v2", 40_000), 1)
    shapes = voice_shapes(config, phone_channels=768, uses_pitch=True, vocoder=HIFIGAN)
    voice = Synthesizer(_weights(shapes), config, mx.float16)
    vocoder, speaker = voice.vocoder, voice.embedding(0)
    assert isinstance(vocoder, StreamingVocoder)
    source, frames, heard = vocoder.source, window.frames, PLAN.block + vocoder.halo_frames
    assert source is not None
    # As `rtvc.engine.rvc_decoder` does with a block in the middle of a stream.
    before, first = 2, window.skip - 2 - MARGIN_FRAMES
    excited = before + heard + 1
    z, excitation = mx.zeros((1, frames - first, 192), mx.float16), _zeros(1, excited * HOP, 1)
    _, state = vocoder.stream(z[:, :heard], excitation[:, : heard * HOP], speaker, (), PLAN.block)
    state = tuple(mx.zeros(part.shape, part.dtype) for part in state)
    mx.eval(speaker)

    def decode(z: mx.array, excitation: mx.array, *state: mx.array) -> object:
        z = sample_linear(z, np.minimum(np.arange(heard) + before + MARGIN_FRAMES, frames - 1))
        excitation = sample_linear(excitation, np.arange(heard * HOP) + before * HOP)
        return vocoder.stream(z, excitation, speaker, state, PLAN.block)

    return {
        "latent": count(
            lambda features, coarse, noise: voice.latent(features, coarse, speaker, noise, first),
            _zeros(1, frames, 768),
            mx.zeros((1, frames), mx.int32),
            _zeros(1, frames, 192),
            as_gpu=True,
        ),
        "source": count(source, _zeros(1, excited), mx.array(0.0), excitation, as_gpu=True),
        "decoder": count(decode, z, excitation, *state, as_gpu=True),
    }


def _stages(encoder: Hubert, rmvpe: RmvpeEstimator) -> dict[str, Counts]:
    window = make_window(PLAN, reach=12, pitch_method="rmvpe")
    audio = _zeros((window.frames + 1) * FRAME)
    return {
        "encoder": count(encoder.features, audio, as_gpu=True),
        "pitch": _pitch(rmvpe, window.pitch),
        **_voice(window),
    }


def test_a_step_stays_within_its_budget(encoder: Hubert, rmvpe: RmvpeEstimator) -> None:
    stages = _stages(encoder, rmvpe)
    total = sum(stages.values(), Counts())
    told = {name: (c.primitives, round(c.weight_bytes / 1e6, 1)) for name, c in stages.items()}
    assert total.primitives <= PRIMITIVES, told
    assert total.weight_bytes <= WEIGHT_BYTES, told


def test_only_the_layers_that_are_used_are_read(encoder: Hubert) -> None:
    audio = _zeros(281 * FRAME)
    whole = count(encoder.features, audio)
    nine = count(lambda audio: encoder.features(audio, layer=9, project=True), audio)
    layer = 2 * (4 * 768 * 768 + 2 * 768 * 3072)  # bytes of a layer's matrices
    projection = 2 * 768 * 256
    saved = whole.weight_bytes - nine.weight_bytes + projection
    assert 3 * layer < saved < 3.02 * layer


def test_rows_of_padding_are_not_read(rmvpe: RmvpeEstimator) -> None:
    one_row, two_rows = (_pitch(rmvpe, frames).weight_bytes for frames in (31, 63))
    config = FULL_RMVPE
    width = config.base_channels << config.levels
    convolutions = 2 * config.blocks * config.intermediate_layers
    kernels = 2 * 9 * width * (width * (convolutions - 1) + width // 2)  # the first is narrower
    assert two_rows - one_row == pytest.approx(kernels * 2 / 3, rel=1e-4)
