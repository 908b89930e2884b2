"""FCPE: front end and decoding, and the real network if its weights are available."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc._types import AnyArray, Float32
from rtvc.engine.models.fcpe import FcpeEstimator
from rtvc.engine.weights.fcpe import FcpeConfig, read_fcpe
from rtvc.errors import RtvcError, UsageError

GOLDEN = Path(__file__).parents[2] / "golden" / "fcpe_174-50561-0000.npz"
WIDTH, INNER, KERNEL, LAYERS = 16, 32, 5, 2
CONFIG = FcpeConfig(128, WIDTH, LAYERS, KERNEL, 360, 32.7, 1975.5, uses_harmonic_embedding=False)
MODULE = "net.encoder_layers.{}.conformer.net"

State = dict[str, AnyArray]


def random_state() -> State:
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> Float32:
        scaled = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return np.asarray(scaled, dtype=np.float32)

    def vector(size: int, around: float = 0.0) -> Float32:
        return (around + 0.3 * rng.standard_normal(size)).astype(np.float32)

    state: State = {
        "cent_table": np.linspace(2051.1487, 9151.3, 360).astype(np.float32),
        "input_stack.0.weight": weight(WIDTH, 128, 3),
        "input_stack.0.bias": vector(WIDTH),
        "input_stack.1.weight": vector(WIDTH, 1.0),
        "input_stack.1.bias": vector(WIDTH),
        "input_stack.3.weight": weight(WIDTH, WIDTH, 3),
        "input_stack.3.bias": vector(WIDTH),
        "norm.weight": vector(WIDTH, 1.0),
        "norm.bias": vector(WIDTH),
        "output_proj.weight": weight(360, WIDTH),
        "output_proj.bias": vector(360),
    }
    for layer in range(LAYERS):
        name = MODULE.format(layer)
        state |= {
            f"{name}.0.weight": vector(WIDTH, 1.0),
            f"{name}.0.bias": vector(WIDTH),
            f"{name}.2.weight": weight(2 * INNER, WIDTH, 1),
            f"{name}.2.bias": vector(2 * INNER),
            f"{name}.4.conv.weight": weight(INNER, 1, KERNEL),
            f"{name}.4.conv.bias": vector(INNER),
            f"{name}.6.weight": weight(WIDTH, INNER, 1),
            f"{name}.6.bias": vector(WIDTH),
        }
    return state


def _numpy_network(w: State, mel: AnyArray) -> Any:
    """Compute the network in NumPy as in the paper: float64, channels first."""

    def conv(x: AnyArray, name: str, groups: int = 1) -> Any:
        weight, bias = w[f"{name}.weight"].astype(float), w[f"{name}.bias"].astype(float)
        kernel = weight.shape[2]
        padded = np.pad(x, [(0, 0), (kernel // 2, kernel // 2)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=1)
        if groups > 1:
            return np.einsum("ctk,ck->ct", windows, weight[:, 0]) + bias[:, None]
        return np.einsum("ctk,ock->ot", windows, weight) + bias[:, None]

    def norm(x: AnyArray, name: str) -> Any:
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        return x * w[f"{name}.weight"][:, None] + w[f"{name}.bias"][:, None]

    def sigmoid(x: AnyArray) -> Any:
        return 1 / (1 + np.exp(-x))

    x = conv(mel.T.astype(float), "input_stack.0")
    quarters = np.split(x, 4)
    x = np.concatenate([(q - q.mean()) / np.sqrt(q.var() + 1e-5) for q in quarters])
    x = x * w["input_stack.1.weight"][:, None] + w["input_stack.1.bias"][:, None]
    x = conv(np.where(x > 0, x, 0.01 * x), "input_stack.3")
    if "harmonic_emb.weight" in w:
        x = x + w["harmonic_emb.weight"][0][:, None]
    for layer in range(LAYERS):
        name = MODULE.format(layer)
        y = conv(norm(x, f"{name}.0"), f"{name}.2")
        y = conv(y[:INNER] * sigmoid(y[INNER:]), f"{name}.4.conv", groups=INNER)
        x = x + conv(y * sigmoid(y), f"{name}.6")
    x = norm(x, "norm")
    return sigmoid((w["output_proj.weight"] @ x).T + w["output_proj.bias"])


@pytest.fixture(scope="module")
def golden() -> State:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def state() -> State:
    return random_state()


@pytest.fixture(scope="module")
def small(state: State) -> FcpeEstimator:
    return FcpeEstimator(state, CONFIG)


def test_mel_spectrum_of_the_reference(small: FcpeEstimator, golden: State) -> None:
    log_mel = np.array(small.log_mel(mx.array(golden["audio"])))
    np.testing.assert_allclose(log_mel, golden["mel"][0], atol=5e-4, rtol=0)
    assert np.median(np.abs(log_mel - golden["mel"][0])) < 1e-6


@pytest.mark.parametrize("harmonic", [False, True], ids=["plain", "harmonic embedding"])
def test_network_against_numpy(state: State, golden: State, harmonic: bool) -> None:
    if harmonic:
        rows = np.random.default_rng(1).standard_normal((9, WIDTH)).astype(np.float32)
        state = state | {"harmonic_emb.weight": rows}
    audio = golden["audio"][8000:24000]
    fcpe = FcpeEstimator(state, replace(CONFIG, uses_harmonic_embedding=harmonic))
    expected = _numpy_network(state, np.array(fcpe.log_mel(mx.array(audio))))
    np.testing.assert_allclose(fcpe.salience(audio), expected, atol=5e-6, rtol=0)


def test_decoding_repeats_the_edge_bins(small: FcpeEstimator, state: State) -> None:
    rng = np.random.default_rng(0)
    peaks = np.array([0, 2, 4, 100, 355, 357, 359])
    salience = rng.uniform(0, 0.4, (len(peaks) + 1, 360)).astype(np.float32)
    salience[np.arange(len(peaks)), peaks] = 0.8
    salience[-1] = np.float32(0.006)  # equal to the threshold is unvoiced
    around = np.clip(peaks[:, None] + np.arange(-4, 5), 0, 359)
    weight = np.take_along_axis(salience[:-1].astype(float), around, axis=1)
    cents = (weight * state["cent_table"].astype(float)[around]).sum(1) / weight.sum(1)
    f0 = np.array(small.decode(mx.array(salience)))
    assert f0[-1] == 0
    assert np.abs(1200 * np.log2(f0[:-1] / 10) - cents).max() < 0.01


@pytest.mark.parametrize("samples", [433, 640, 4959, 4960])
def test_frame_count(small: FcpeEstimator, samples: int) -> None:
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, samples).astype(np.float32)
    assert small(audio).shape == (samples // 160 + 1,)
    assert small.salience(audio).shape == (samples // 160 + 1, 360)


def test_short_signals_are_refused(small: FcpeEstimator) -> None:
    with pytest.raises(UsageError, match="433 samples"):
        small(np.zeros(432, np.float32))


def test_unsupported_sizes_are_refused(state: State) -> None:
    for config in (replace(CONFIG, width=18), replace(CONFIG, kernel=4)):
        with pytest.raises(RtvcError, match="not supported"):
            FcpeEstimator(state, config)


def test_bins_that_do_not_increase_are_refused(state: State) -> None:
    with pytest.raises(RtvcError, match="do not increase"):
        FcpeEstimator(state | {"cent_table": np.zeros(360, np.float32)}, CONFIG)


def real_weights() -> Path | None:
    """Return the weights of torchfcpe, from RTVC_FCPE_WEIGHTS or the installed distribution."""
    if path := os.environ.get("RTVC_FCPE_WEIGHTS"):
        return Path(path)
    try:
        located = metadata.distribution("torchfcpe").locate_file("torchfcpe/assets/fcpe_c_v001.pt")
    except metadata.PackageNotFoundError:
        return None
    return Path(str(located))


@pytest.mark.skipif(real_weights() is None, reason="set RTVC_FCPE_WEIGHTS to fcpe_c_v001.pt")
@pytest.mark.parametrize("name", ["174-50561-0000", "2086-149214-0000"])
def test_real_weights_on_real_speech(name: str) -> None:
    path = real_weights()
    assert path is not None
    with np.load(GOLDEN.with_name(f"fcpe_{name}.npz")) as arrays:
        golden = dict(arrays)
    file = read_fcpe(path)
    fcpe = FcpeEstimator(file.weights, file.config)
    audio = golden["audio"]
    np.testing.assert_allclose(fcpe.salience(audio), golden["salience"][0], atol=2e-5, rtol=0)
    f0, expected = fcpe(audio), golden["f0"]
    voiced = expected > 0
    assert 100 < voiced.sum() < len(voiced) - 100
    np.testing.assert_array_equal(f0 > 0, voiced)
    assert (1200 * np.abs(np.log2(f0[voiced] / expected[voiced]))).max() < 0.05
