"""The self-test passes where MLX is right, and finds every fault that is planted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.models.fcpe import FcpeEstimator
from rtvc.engine.models.hifigan import HiFiGan
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops import backend, ops
from rtvc.engine.models.ops.backend import Compute
from rtvc.engine.models.refinegan import RefineGan
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.models.source import SineSource
from rtvc.engine.models.swift_f0 import SwiftF0Estimator
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.selftest.networks import NETWORK_CASES
from rtvc.engine.selftest.numbers import fold, judge, uniform
from rtvc.engine.selftest.operators import OPERATOR_CASES, Case
from rtvc.engine.selftest.run import CASES, REFERENCE, reference, run_cases
from tests.engine.selftest.faults import CALL_FAULTS, FAULTS, ORDER_FAULTS, spoiled

PRIMITIVES = [
    (mx.fft, "rfft"),
    (mx, "cumsum"),
    (mx, "take"),
    (mx, "take_along_axis"),
    (mx, "argmax"),
    (mx, "softmax"),
    (mx, "rsqrt"),
    (mx.fast, "layer_norm"),
    (mx.random, "normal"),
]
NETWORKS = [
    (Hubert, "_convolve"),
    (Hubert, "_transform"),
    (RmvpeEstimator, "_network"),
    (FcpeEstimator, "_network"),
    (SwiftF0Estimator, "scores"),
    (Synthesizer, "_make_latent"),
    (SineSource, "_excite"),
    (HiFiGan, "_decode_chunk"),
    (RefineGan, "_decode"),
]
CASES_OF_NETWORK = {
    "_convolve": ("hubert convolutions",),
    "_transform": ("hubert",),
    "_make_latent": ("latent",),
    "_excite": ("source",),
    "_decode_chunk": ("hifigan", "mrf"),
    "_decode": ("refinegan",),
}
CPU = Compute("cpu", "cpu", "float32")
GPU = Compute("cpu", "gpu", "float16")
"""The operators and the precision of a GPU, on the CPU."""
UNUSED = {("residual2d", CPU)}
"""SwiftF0, the only network that has it, is computed with NumPy on a CPU, without operators."""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()
    ops.use(backend.FIRST)


def test_the_reference_numbers_are_few_and_complete():
    assert set(reference()) == {case.name for case in CASES}
    assert REFERENCE.stat().st_size < 38_000


@pytest.mark.parametrize("compute", [CPU, GPU], ids=["cpu", "gpu operators in float16"])
def test_everything_passes_where_mlx_is_right(compute: Compute):
    ops.use(compute)
    results = list(run_cases())
    assert [r.case.name for r in results] == [case.name for case in CASES]
    lowest = 100 if compute is CPU else 50
    for result in results:
        assert result.passed, result
        assert result.judgement is not None
        assert result.judgement.snr_db > lowest, result


@cache
def users(compute: Compute) -> dict[str, list[Case]]:
    """Return the cases that call each operator, single operators first."""
    ops.use(compute)
    table = ops.operators()
    cases: dict[str, list[Case]] = {name: [] for name in table}
    called: set[str] = set()

    def noting(name, function):
        def call(*arguments, **options):
            called.add(name)
            return function(*arguments, **options)

        return call

    for name, function in table.items():
        table[name] = noting(name, function)
    for case in CASES:
        called.clear()
        case.compute()
        for name in called:
            cases[name].append(case)
    return cases


def found(cases: Sequence[Case]) -> bool:
    return any(not result.passed for result in run_cases(cases))


@pytest.mark.parametrize("compute", [CPU, GPU], ids=["cpu", "gpu operators"])
@pytest.mark.parametrize("name", sorted(ops.operators()))
def test_every_fault_of_an_operator_is_found(name: str, compute: Compute):
    cases = users(compute)[name]
    if (name, compute) in UNUSED:
        assert not cases
        return
    assert cases, f"no case uses {name}"
    ops.use(compute)
    table = ops.operators()
    right = table[name]
    faults = FAULTS | ORDER_FAULTS | {name: make() for name, make in CALL_FAULTS.items()}
    for fault, change in faults.items():
        table[name] = spoiled(right, change)
        assert found(cases), f"{name}: {fault}"


@pytest.mark.parametrize(
    ("name", "case", "wrong_from"),
    [("linear", "linear large", 1 << 20), ("conv1d_packed", "conv long", 64 * 8192)],
)
def test_a_fault_of_large_results_only_is_found(name: str, case: str, wrong_from: int):
    # As in the product of an M5 that is right with 2^19 results and wrong with 2^21.
    ops.use(CPU)
    table = ops.operators()
    right = table[name]

    def wrong_if_large(*arguments: Any, **options: Any) -> mx.array:
        y = right(*arguments, **options)
        return FAULTS["one row"](y * 1.01) if y.size >= wrong_from else y

    table[name] = wrong_if_large
    cases = [one for one in OPERATOR_CASES if one.name in (name, case, "conv dilated")]
    assert [r.case.name for r in run_cases(cases) if not r.passed] == [case]


@pytest.mark.parametrize("compute", [CPU, GPU], ids=["cpu", "gpu operators"])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gated", "gelu", "softmax"])
def test_a_fault_of_large_inputs_only_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, compute: Compute
):
    # As with an exponential that overflows: the quotient of two of them is not a number.
    ops.use(compute)
    right = mx.softmax if name == "softmax" else ops.operators()[name]

    def overflowing(x: mx.array, *rest: Any, **options: Any) -> mx.array:
        return right(mx.where(mx.abs(x) > 88.0, float("nan"), x).astype(x.dtype), *rest, **options)

    if name == "softmax":
        monkeypatch.setattr(mx, "softmax", overflowing)
    else:
        ops.operators()[name] = overflowing
    cases = [case for case in OPERATOR_CASES if case.name in (name, "large inputs")]
    assert [r.case.name for r in run_cases(cases) if not r.passed] == ["large inputs"]


@pytest.mark.parametrize(("module", "name"), PRIMITIVES, ids=str)
def test_every_fault_of_a_primitive_is_found(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str
):
    ops.use(GPU)
    right = getattr(module, name)
    for fault, change in FAULTS.items():
        monkeypatch.setattr(module, name, spoiled(right, change))
        assert found(OPERATOR_CASES[::-1]), f"{name}: {fault}"  # their cases are the last ones


@pytest.mark.parametrize(("owner", "method"), NETWORKS, ids=str)
def test_every_fault_of_a_network_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str
):
    ops.use(CPU)
    right = getattr(owner, method)
    own_name = owner.__name__.removesuffix("Estimator").lower()
    wanted = CASES_OF_NETWORK.get(method, (own_name,))
    cases = [case for case in NETWORK_CASES if case.name in wanted]
    assert len(cases) == len(wanted)
    for fault, change in (FAULTS | {"one frame late": ORDER_FAULTS["one frame late"]}).items():
        monkeypatch.setattr(owner, method, spoiled(right, change))
        for case in cases:
            assert found((case,)), f"{method} in {case.name}: {fault}"


def numpy_results() -> dict[str, np.ndarray]:
    """Results of some cases by plain loops in float64, without MLX."""
    x = uniform("x", 1, 70, 32)[0].astype(float)
    w = uniform("w", 32, 11, 32, scale=352**-0.5).astype(float)
    padded = np.pad(x, ((25, 25), (0, 0)))
    dilated = sum(padded[5 * k : 5 * k + 70] @ w[:, k].T for k in range(11))
    x = uniform("x", 1, 9, 64)[0].astype(float)
    w = uniform("w", 32, 16, 64, scale=1024**-0.5).astype(float)
    whole = np.zeros((8 * 10 + 16, 32))
    for n in range(9):
        whole[10 * n : 10 * n + 16] += np.einsum("okc,c->ko", w, x[n])
    image = np.pad(uniform("x", 1, 8, 16, 8)[0].astype(float), ((1, 1), (1, 1), (0, 0)))
    w = uniform("w", 16, 3, 3, 8, scale=72**-0.5).astype(float)
    convolved = sum(image[a : a + 8, b : b + 16] @ w[:, a, b].T for a in range(3) for b in range(3))
    small = np.pad(uniform("x", 1, 2, 8, 40)[0].astype(float), ((1, 1), (1, 1), (0, 0)))
    w = uniform("w", 44, 3, 3, 40, scale=360**-0.5).astype(float)
    few = sum(small[a : a + 2, b : b + 8] @ w[:, a, b].T for a in range(3) for b in range(3))
    few = np.maximum(few + uniform("b", 44), 0.0)
    few = np.concatenate([few + uniform("a", 1, 2, 8, 44)[0], few], axis=2)
    q, k, v = (uniform(part, 1, 2, 40, 64)[0].astype(float) for part in "qkv")
    scores = np.exp(q @ k.transpose(0, 2, 1) / 8)
    attention = scores / scores.sum(-1, keepdims=True) @ v
    steps = (uniform("x", 1, 40) * np.float32(1e6) + np.float32(8e6)).astype(np.uint32)
    phase = (np.cumsum(steps.astype(np.uint64)) - steps[0]) % (1 << 24) / 2.0**24 - 0.5
    return {
        "conv dilated": dilated,
        "transposed 10": whole[3 : 3 + 90],
        "image": convolved,
        "image small": few,
        "attention": attention,
        "phase": phase,
        "gru": numpy_gru(32, 20),
        "gru wide": numpy_gru(256, 6),
    }


def numpy_gru(hidden: int, frames: int) -> np.ndarray:
    projected = uniform("x", frames, 6 * hidden).astype(float)
    weight = uniform("w", 2, hidden, 3 * hidden, scale=hidden**-0.5).astype(float)
    bias = uniform("b", 2, 1, hidden, scale=0.1).astype(float)
    out = np.zeros((frames, 2, hidden))
    for direction in range(2):
        state = np.zeros(hidden)
        for frame in range(frames)[:: 1 - 2 * direction]:
            r, z, n = projected[frame].reshape(2, 3, hidden)[direction]
            hr, hz, hn = (state @ weight[direction]).reshape(3, hidden)
            r, z = 1 / (1 + np.exp(-(r + hr))), 1 / (1 + np.exp(-(z + hz)))
            candidate = np.tanh(n + r * (hn + bias[direction, 0]))
            state = candidate + z * (state - candidate)
            out[frame, direction] = state
    return out.reshape(frames, -1)


@pytest.mark.parametrize(
    "name",
    [
        "conv dilated",
        "transposed 10",
        "image",
        "image small",
        "attention",
        "phase",
        "gru",
        "gru wide",
    ],
)
def test_the_reference_is_what_numpy_computes(name: str):
    assert judge(fold(numpy_results()[name]), reference()[name]).snr_db > 120


@pytest.mark.parametrize("compute", [CPU, GPU], ids=["cpu", "gpu operators"])
def test_a_stream_that_continues_the_one_before_is_found(
    monkeypatch: pytest.MonkeyPatch, compute: Compute
):
    right: Any = HiFiGan.stream
    left: list[Any] = []

    def stream(self: Any, *inputs: Any) -> Any:
        # The state of a stream that has ended stays in the device's memory.
        before = inputs[3] or (left[-1] if left else ())
        sound, state = right(self, *inputs[:3], before, inputs[4])
        left.append(state)
        return sound, state

    monkeypatch.setattr(HiFiGan, "stream", stream)
    ops.use(compute)
    assert found([case for case in NETWORK_CASES if case.name == "hifigan"])
