"""The content encoder against golden outputs of transformers' HubertModel, a small one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from rtvc._types import AnyArray, Float32
from rtvc.engine.models.hubert import Hubert, _FirstConvolution
from rtvc.engine.weights.content_encoder import ContentEncoder, read_content_encoder
from rtvc.errors import RtvcError, UsageError

GOLDEN = Path(__file__).parents[2] / "golden"

State = dict[str, AnyArray]


@pytest.fixture(scope="module")
def encoder() -> ContentEncoder:
    return read_content_encoder(GOLDEN / "hubert_small")


@pytest.fixture(scope="module")
def hubert(encoder: ContentEncoder) -> Hubert:
    return Hubert(encoder.weights, encoder.config)


@pytest.fixture(scope="module")
def golden() -> State:
    with np.load(GOLDEN / "hubert_small.npz") as file:
        return dict(file)


def _assert_close(actual: Float32, expected: Float32, tolerance: float = 2e-5) -> None:
    assert actual.shape == expected.shape
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error < tolerance, f"relative error {error:.1e}"


@pytest.mark.parametrize(
    ("name", "layer", "project"),
    [
        ("layer1", 1, False),
        ("layer9", 9, False),
        ("layer12", 12, False),
        ("layer12", None, False),
        ("v1_proj", 9, True),
    ],
)
def test_outputs_of_the_reference(
    hubert: Hubert, golden: State, name: str, layer: int | None, project: bool
) -> None:
    features = hubert(golden["audio"], layer=layer, project=project)
    assert features.dtype == np.float32
    _assert_close(features, golden[name][0])


def test_convolutions(hubert: Hubert, golden: State) -> None:
    parts = hubert.convolve(mx.array(golden["audio"]))
    features = np.concatenate([np.array(part) for part in parts], axis=1)
    _assert_close(features, golden["conv_features"])


def test_first_convolution_norm_is_accurate_for_long_audio() -> None:
    rng = np.random.default_rng(0)
    # Similar to speech: 40 s with low-frequency energy and a DC offset.
    audio = np.cumsum(rng.standard_normal(640_000)) * 1e-3
    audio = (audio - np.linspace(audio[0], audio[-1], audio.size) + 0.05).astype(np.float32)
    weight = rng.standard_normal((16, 10)).astype(np.float32)
    scale, shift = rng.standard_normal((2, 16)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), 10)[::5]
    y = windows @ weight.T.astype(np.float64)
    expected = (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5) * scale + shift
    convolution = _FirstConvolution(
        mx.array(weight[:, :, None]), 5, mx.array(scale), mx.array(shift), eps=1e-5
    )
    actual = convolution(mx.array(audio))(slice(None))
    longer = convolution(mx.array(audio), len(expected) + 7)
    assert longer(slice(None)).shape == (len(expected) + 7, 16)
    np.testing.assert_array_equal(np.array(longer(slice(len(expected)))), np.array(actual))
    # The tolerance is for the reference BLAS, which sums 128,000 products in sequence; the
    # error with other libraries is 3e-6.
    _assert_close(np.array(actual), expected.astype(np.float32), tolerance=5e-5)


@pytest.mark.parametrize(("samples", "frames"), [(400, 1), (719, 1), (720, 2), (16000, 49)])
def test_frame_count(hubert: Hubert, samples: int, frames: int) -> None:
    audio = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    assert hubert.frames(samples) == frames
    assert hubert(audio, layer=1).shape == (frames, 96)


def test_silence_gives_finite_features(hubert: Hubert) -> None:
    assert np.isfinite(hubert(np.zeros(1600, np.float32))).all()


def test_nonexistent_layers_are_refused(hubert: Hubert, golden: State) -> None:
    for layer in (-1, 13):
        with pytest.raises(UsageError, match="layers 0 to 12"):
            hubert(golden["audio"], layer=layer)


@pytest.mark.parametrize("shape", [(399,), (0,), (2, 16000)])
def test_short_or_multichannel_signals_are_refused(hubert: Hubert, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="400 samples"):
        hubert(np.zeros(shape, np.float32))


def test_v1_features_need_the_projection(encoder: ContentEncoder) -> None:
    weights = {n: w for n, w in encoder.weights.items() if not n.startswith("final_proj")}
    plain = Hubert(weights, replace(encoder.config, projection=None))
    audio = np.zeros(1600, np.float32)
    assert plain(audio, layer=1).shape == (4, 96)
    with pytest.raises(RtvcError, match="final projection"):
        plain(audio, layer=1, project=True)


def test_fairseq_layout_gives_the_same_features(golden: State) -> None:
    # Its weights have half precision, and it does not store the number of heads.
    encoder = read_content_encoder(GOLDEN / "hubert_small_fairseq.pt")
    features = Hubert(encoder.weights, encoder.config)(golden["audio"], layer=9, project=True)
    _assert_close(features, golden["v1_proj"][0], tolerance=2e-2)
