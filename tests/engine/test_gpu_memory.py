"""GPU memory kept wired during a rest, and limited. The CPU evaluates in place of a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine import gpu_memory
from rtvc.engine.rvc.voice import RvcStream
from rtvc.engine.thread_bound import ThreadBound
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import plan_for, speech, voice

SETTINGS = Settings(block=100.0, context=300.0)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Pretend that MLX computes on Metal; return the wired limits that are set."""
    found: list[int] = []
    monkeypatch.setattr(gpu_memory, "on_gpu", lambda: True)
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(
        mx, "device_info", lambda: {"max_recommended_working_set_size": 11_453_251_584}
    )
    monkeypatch.setattr(mx, "set_wired_limit", found.append)
    gpu_memory.wire_memory.cache_clear()
    cached = mx.set_cache_limit(0)
    mx.set_cache_limit(cached)
    yield found
    mx.set_cache_limit(cached)
    gpu_memory.wire_memory.cache_clear()


def test_nothing_is_wired_on_cuda(limits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx.metal, "is_available", lambda: False)
    memory = gpu_memory.ResidentMemory()
    memory.rest()
    assert not limits
    assert memory.evaluations == 0


def _stream() -> RvcStream:
    rvc_voice = voice()
    return RvcStream(rvc_voice, rvc_voice.estimator(SETTINGS), plan_for(SETTINGS), SETTINGS)


def _on_its_thread(use: Callable[[RvcStream], Any]) -> Any:
    bound = ThreadBound(_stream, "test stream")
    try:
        return bound.call(use)
    finally:
        bound.close()


def test_the_limit_is_set_once_for_all_streams(limits: list[int]) -> None:
    _on_its_thread(lambda stream: None)
    _on_its_thread(lambda stream: None)
    assert limits == [2_500_000_000]


def test_weights_that_did_not_fit_beside_freed_buffers_are_wired(
    limits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wired:
        """What MLX keeps wired: it adds what fits when it is made, or when the limit changes."""

        limit, buffers = 0, {"freed": 2_000_000_000}
        wired = frozenset[str]()

        def set_limit(self, limit: int) -> None:
            if limit != self.limit:
                self.limit = limit
                self.fit(self.buffers)

        def fit(self, names: Iterable[str]) -> None:
            for name in names:
                if sum(self.buffers[one] for one in {*self.wired, name}) <= self.limit:
                    self.wired |= {name}

        def clear(self) -> None:
            del self.buffers["freed"]
            self.wired -= {"freed"}

    memory = Wired()
    monkeypatch.setattr(mx, "set_wired_limit", memory.set_limit)
    monkeypatch.setattr(mx, "clear_cache", memory.clear)
    gpu_memory.wire_memory()
    memory.buffers["weights"] = 600_000_000
    memory.fit(["weights"])
    assert memory.wired == {"freed"}
    gpu_memory.release_freed_memory()
    assert memory.wired == {"weights"}


def test_a_small_gpu_limits_it(limits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 10**9})
    assert gpu_memory.wire_memory() == 10**9
    assert limits == [10**9]


def test_a_resting_stream_keeps_the_gpu_awake(limits: list[int]) -> None:
    def rest(stream: RvcStream) -> tuple[int, int, int]:
        stream.render(speech()[:1600], SETTINGS)
        silence = np.zeros(1600, np.float32)
        stream.skip(silence)
        at_once = stream.memory.evaluations
        time.sleep(gpu_memory.INTERVAL_S + 0.05)
        stream.skip(silence)
        stream.skip(silence)
        after = stream.memory.evaluations
        stream.render(speech()[:1600], SETTINGS)
        stream.skip(silence)
        return at_once, after, stream.memory.evaluations

    assert _on_its_thread(rest) == (0, 1, 1)


@pytest.mark.skipif(gpu_memory.on_gpu(), reason="tests the CPU")
def test_nothing_happens_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "clear_cache", lambda: pytest.fail("the cache was cleared"))
    monkeypatch.setattr(mx, "set_cache_limit", lambda _: pytest.fail("the cache was limited"))
    gpu_memory.wire_memory.cache_clear()
    assert gpu_memory.wire_memory() == 0
    gpu_memory.release_freed_memory()
    memory = gpu_memory.ResidentMemory()
    memory.rest()
    assert memory.evaluations == 0


@pytest.mark.parametrize("metal", [True, False])
def test_freed_buffers_are_returned_on_every_gpu(
    limits: list[int], monkeypatch: pytest.MonkeyPatch, metal: bool
) -> None:
    monkeypatch.setattr(mx.metal, "is_available", lambda: metal)
    mx.eval(mx.zeros(1 << 20) + 1)
    gpu_memory.release_freed_memory()
    assert mx.get_cache_memory() == 0


@pytest.mark.parametrize("metal", [True, False])
@pytest.mark.parametrize("limit", [gpu_memory.release_freed_memory, gpu_memory.ResidentMemory])
def test_freed_buffers_of_many_sizes_are_limited_on_every_gpu(
    limits: list[int], monkeypatch: pytest.MonkeyPatch, limit: Callable[[], object], metal: bool
) -> None:
    monkeypatch.setattr(mx.metal, "is_available", lambda: metal)
    monkeypatch.setattr(gpu_memory, "_CACHED_BYTES", 20_000_000)
    mx.set_cache_limit(10**9)  # by default MLX keeps most of a GPU's memory
    limit()
    for size in range(3_000_000, 6_000_000, 300_000):
        mx.eval(mx.zeros(size) + 1)
        # Memory above the limit is returned with the next allocation.
        assert mx.get_cache_memory() <= 20_000_000 + 2 * 4 * size
    mx.clear_cache()
