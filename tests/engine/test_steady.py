"""Memory of a running stream: what a step leaves behind, the next one replaces.

``python -m benchmarks.memory`` does the same for 10,000 steps.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.rvc.voice import RvcStream
from rtvc.engine.rvc.window import FRAME
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import estimator, plan_for, speech, voice
from tests.support.material import more

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Memory:
    """Bytes: what MLX's arrays take, what it has ready for the next ones, the whole process."""

    active: int
    cached: int
    resident: int


def memory() -> Memory:
    gc.collect()
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * resource.getpagesize()
    else:
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Memory(mx.get_active_memory(), mx.get_cache_memory(), resident)


def watch(settings: Settings, marks: tuple[int, ...]) -> list[Memory]:
    """Stream speech with the small networks; return the memory after each number of steps."""
    made = voice("voice_v1_f0_40k")
    plan = plan_for(settings)
    stream = RvcStream(made, estimator("rmvpe"), plan, settings)
    size = plan.block * FRAME
    audio = np.resize(speech(), (len(speech()) // size) * size).reshape(-1, size)
    mx.clear_cache()
    seen = []
    for step in range(1, max(marks) + 1):
        # Regular pauses, after which a longer f0 window is used.
        if step % 50 == 0:
            stream.skip(np.zeros(20 * size, np.float32))
        stream.render(audio[step % len(audio)], settings)
        if step in marks:
            seen.append(memory())
    return seen


PROGRAM = """
import dataclasses, json, sys
from rtvc.settings import Settings
from tests.engine.test_steady import watch

settings = Settings(block=100.0, context=200.0, index_rate=float(sys.argv[1]))
print(json.dumps([dataclasses.astuple(seen) for seen in watch(settings, (52, 152))]))
"""


@pytest.mark.thorough
@pytest.mark.parametrize("index_rate", more([0.0, 0.5]))
@pytest.mark.slow
def test_memory_does_not_grow(index_rate: float) -> None:
    # In a process of its own: threads of other tests take and return memory too.
    printed = subprocess.check_output(
        [sys.executable, "-c", PROGRAM, str(index_rate)], cwd=ROOT, text=True
    )
    early, late = (Memory(*numbers) for numbers in json.loads(printed))
    # Buffers are used again for arrays a little smaller, so bytes go up and down; what is left
    # behind in every one of 100 steps is more.
    assert late.active - early.active < 2**16
    assert late.cached <= early.cached + 2**20
    assert late.resident <= early.resident + 8 * 2**20
