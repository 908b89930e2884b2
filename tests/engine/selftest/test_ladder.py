"""After a failed self-test rtvc computes in the next way that is right, and says so."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.models.ops import backend, conv2d_gpu, gpu, gru, ops, small_conv2d
from rtvc.engine.models.ops.backend import Compute
from rtvc.engine.selftest import ladder
from rtvc.engine.selftest.ladder import climb, ensure_tested, next_step, step_down
from rtvc.engine.thread_pool import all_rest
from tests.engine.models.golden_voices import golden_arrays
from tests.engine.selftest.faults import FAULTS, spoil, spoiled
from tests.support.material import more

pytestmark = pytest.mark.slow

GPU = Compute("cpu", "gpu", "float16")
"""The operators and the precision of a GPU, on the CPU."""
CPU = Compute("cpu", "cpu", "float32")


class Kept:
    """A store in memory."""

    def __init__(self) -> None:
        self.verdicts: dict[str, dict[str, Any]] = {}

    def load(self, key: str) -> dict[str, Any] | None:
        return self.verdicts.get(key)

    def save(self, key: str, verdict: dict[str, Any]) -> None:
        self.verdicts[key] = verdict


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ladder, "_once", ladder._Once())
    mx.disable_compile()
    all_rest(20.0)  # what is built for an earlier test takes processor time
    yield
    mx.enable_compile()
    ops.use(backend.FIRST)


def golden_sound() -> np.ndarray:
    """Render a voice of tests/golden with what networks use that are built now."""
    from rtvc.engine.rvc.loading import load_voice
    from tests.engine.models.golden_voices import GOLDEN

    g = golden_arrays("voice_v1_f0_40k")
    network = load_voice(GOLDEN / "voice_v1_f0_40k.pth")
    return network.synthesize(g["phone"][0], g["pitch"][0], g["pitchf"][0])


def test_a_wrong_kernel_of_the_recurrent_layer_becomes_a_loop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gru, "kernel_or_loop", spoiled(gru.loop, FAULTS["one row"]))
    verdict, steps = climb(GPU)
    assert verdict.passed
    assert verdict.compute == Compute("cpu", "gpu", "float16", gru_kernel=False)
    assert len(steps) == 2
    (sentence,) = verdict.sentences
    assert "computes the recurrent layer wrongly (MLX 0.3" in sentence
    assert "rtvc computes the recurrent layer in a loop, and small images " in sentence
    assert "without its own kernel, instead. Please report it" in sentence


def image_kernel(
    spoil: Callable[[mx.array, mx.array | None, bool], mx.array],
) -> Callable[..., mx.array]:
    """Return a kernel of small images whose result, without the addend, is spoiled."""

    def kernel(
        _: str,
        x: mx.array,
        weight: mx.array,
        bias: mx.array,
        addend: mx.array | None,
        *,
        by_row: bool,
    ) -> mx.array:
        weight = weight.transpose(1, 0, 2, 3) if by_row else weight
        y: mx.array = mx.maximum(mx.conv2d(x, weight, padding=1) + bias, 0.0)
        return spoil(y, addend, by_row)

    return kernel


@pytest.mark.parametrize("fault", more(FAULTS))
def test_a_wrong_kernel_of_small_images_becomes_a_convolution(
    monkeypatch: pytest.MonkeyPatch, fault: str
):
    def spoiled_image(y: mx.array, addend: mx.array | None, _: bool) -> mx.array:
        return FAULTS[fault](y if addend is None else y + addend)

    monkeypatch.setattr(gru, "kernel_or_loop", gru.loop)
    monkeypatch.setattr(gru, "kernel_language", lambda: "metal")
    monkeypatch.setattr(small_conv2d, "kernel", image_kernel(spoiled_image))
    verdict, steps = climb(GPU)
    assert verdict.passed
    assert verdict.compute == Compute("cpu", "gpu", "float16", gru_kernel=False)
    assert len(steps) == 2
    assert "computes a 3x3 convolution of few pixels wrongly" in verdict.sentences[0]


def test_a_kernel_that_does_not_compile_becomes_a_loop(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> mx.array:
        raise RuntimeError("[metal::Device] Unable to build metal library from source")

    monkeypatch.setattr(gru, "kernel_or_loop", refused)
    verdict, _ = climb(GPU)
    assert not verdict.compute.gru_kernel
    assert "fails to compute the recurrent layer" in verdict.sentences[0]


def test_wrong_float16_becomes_float32(monkeypatch: pytest.MonkeyPatch):
    right = gpu.linear

    def linear(x: mx.array, *rest: Any) -> mx.array:
        y = right(x, *rest)
        return FAULTS["scale 1.01"](y) if x.dtype == mx.float16 else y

    monkeypatch.setattr(gpu, "linear", linear)
    verdict, _ = climb(GPU)
    assert verdict.passed
    assert verdict.compute == Compute("cpu", "gpu", "float32")
    (sentence,) = verdict.sentences
    assert "a matrix product wrongly" in sentence
    assert "rtvc computes in float32" in sentence


ON_GPU = sorted(set(ops.operators()) - {"bidirectional_gru"})


@pytest.mark.parametrize(
    ("name", "fault"),
    more(
        [
            ("conv1d", "sign"),
            ("attention", "zeros"),
            ("tanh", "NaN"),
            *((name, fault) for name in ON_GPU for fault in ("scale 1.01", "one row")),
        ],
    ),
)
def test_a_wrong_gpu_becomes_the_cpu_whose_sound_is_right(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: str
):
    ops.use(CPU)
    expected = golden_sound()
    module = conv2d_gpu if "2d" in name else gpu
    monkeypatch.setattr(module, name, spoiled(getattr(module, name), FAULTS[fault]))
    began = time.process_time()
    verdict, steps = climb(GPU)
    assert time.process_time() - began < 3.0
    assert verdict.passed
    assert verdict.compute == CPU == backend.compute
    before = [step.compute.precision for step in steps if step.compute.gru_kernel]
    assert before in (["float16", "float32", "float32"], ["float16", "float32"])
    assert len(verdict.sentences) == len(steps) - 1
    assert "rtvc computes on the processor" in verdict.sentences[-1]
    np.testing.assert_array_equal(golden_sound(), expected)


def test_a_cpu_that_is_wrong_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        mx, "argmax", lambda *a, right=mx.argmax, **k: spoil(right(*a, **k), mx.abs)
    )
    verdict, _ = climb(CPU)
    assert not verdict.passed
    assert "The processor computes values at the maximum wrongly" in verdict.sentences[0]
    assert "Install mlx again." in verdict.sentences[0]


def test_the_order_of_the_steps():
    on_gpu = Compute("gpu", "gpu", "float16")
    assert next_step(on_gpu, ["gru"]) == Compute("gpu", "gpu", "float16", gru_kernel=False)
    assert next_step(on_gpu, ["linear"]) == Compute("gpu", "gpu", "float32")
    looped = Compute("gpu", "gpu", "float32", gru_kernel=False)
    assert next_step(looped, ["gru"]) == CPU
    assert next_step(CPU, ["gru"]) is None


def test_a_machine_is_tested_once(monkeypatch: pytest.MonkeyPatch):
    store, tested = Kept(), []

    def count(start: Compute, **options: bool) -> Any:
        tested.append(start)
        return climb(start, **options)

    monkeypatch.setattr(ladder, "climb", count)
    assert ensure_tested(store).passed
    assert ensure_tested(store).passed
    monkeypatch.setattr(ladder, "_once", ladder._Once())  # another run
    assert ensure_tested(store).passed
    assert len(tested) == 1
    assert list(store.verdicts) == [ladder.current_key()]
    # A new version of the system, of MLX or of the GPU's driver is another key.
    monkeypatch.setattr(ladder, "_once", ladder._Once())
    monkeypatch.setattr(platform, "version", lambda: "another build")
    ensure_tested(store)
    assert len(tested) == 2


def test_a_verdict_is_used_by_the_next_run(monkeypatch: pytest.MonkeyPatch):
    store = Kept()
    monkeypatch.setattr(backend, "FIRST", GPU)
    monkeypatch.setattr(gru, "kernel_or_loop", spoiled(gru.loop, FAULTS["NaN"]))
    first = ensure_tested(store)
    monkeypatch.setattr(ladder, "_once", ladder._Once())
    monkeypatch.setattr(ladder, "climb", lambda *_: pytest.fail("tested again"))
    ops.use(GPU)
    again = ensure_tested(store)
    assert again == first
    assert again.sentences  # told in each run
    assert not backend.compute.gru_kernel


UNKNOWN = {"device": "gpu", "operators": "cuda", "precision": "float128", "gru_kernel": True}


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"passed": True, "compute": {"device": 1}},
        {"passed": False},
        {"passed": True, "compute": UNKNOWN, "sentences": []},
        {"passed": True, "compute": dataclasses.asdict(backend.FIRST), "sentences": "none"},
    ],
)
def test_a_verdict_that_is_not_readable_is_made_again(saved: dict[str, Any]):
    store = Kept()
    store.save(ladder.current_key(), saved)
    assert ensure_tested(store) == ladder.Verdict(backend.FIRST, True)
    assert store.verdicts[ladder.current_key()]["passed"] is True


def test_a_running_voice_steps_down():
    ops.use(Compute("cpu", "gpu", "float32", gru_kernel=False))
    assert step_down() == (
        "rtvc computes on the processor with other operators, which takes longer, from now on."
    )
    assert backend.compute == CPU
    assert not step_down()


@pytest.mark.parametrize("wrong", more(["wide", "without addend", "one row", "last channels"]))
def test_a_kernel_that_is_wrong_for_some_shapes_only_is_replaced(
    monkeypatch: pytest.MonkeyPatch, wrong: str
):
    def gru_kernel(projected: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
        states = gru.loop(projected, weight, bias)
        return states[::-1] if wrong == "wide" and bias.shape[-1] == 256 else states

    def spoiled_image(y: mx.array, addend: mx.array | None, by_row: bool) -> mx.array:
        if (wrong == "without addend" and addend is None) or (wrong == "one row" and by_row):
            y = y[:, :, ::-1]
        if wrong == "last channels" and y.shape[3] % 8:
            y = mx.concatenate([y[..., :-4], mx.zeros_like(y[..., -4:])], axis=3)
        return y if addend is None else y + addend

    monkeypatch.setattr(gru, "kernel_or_loop", gru_kernel)
    monkeypatch.setattr(gru, "kernel_language", lambda: "metal")
    monkeypatch.setattr(small_conv2d, "kernel", image_kernel(spoiled_image))
    verdict, steps = climb(GPU)
    assert verdict.passed
    assert verdict.compute == Compute("cpu", "gpu", "float16", gru_kernel=False)
    assert len(steps) == 2


@pytest.mark.parametrize(
    ("compute", "sentences", "told"),
    [
        (GPU, ["Nothing is wrong, and this is told."], None),
        (CPU, [], None),
        (CPU, ["Wrong.", 1], None),
        (CPU, [["Wrong."]], None),
        (CPU, ["Wrong.\x1b[2J\n"], ("Wrong.\\x1b[2J\\n",)),
    ],
)
def test_a_kept_verdict_tells_what_is_replaced_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
    compute: Compute,
    sentences: list[Any],
    told: tuple[str, ...] | None,
):
    monkeypatch.setattr(backend, "FIRST", GPU)
    store = Kept()
    saved = {"passed": True, "compute": dataclasses.asdict(compute), "sentences": sentences}
    store.save(ladder.current_key(), saved)
    monkeypatch.setattr(ladder, "climb", lambda *_: (ladder.Verdict(GPU, True), []))
    assert ensure_tested(store).sentences == (told or ())
    assert backend.compute == (CPU if told else GPU)
