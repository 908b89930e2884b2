"""Partition of a network's work over streams; test_operator_sets.py tests parity."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtvc.engine.models.ops import cpu_streams

ROOT = Path(__file__).parents[4]

THREADS = """
import threading
import mlx.core as mx
from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.cpu_streams import STREAMS, use_stream, map_streams

def work():
    x, bias = mx.ones((3, 4)), mx.ones(4)
    results = map_streams(lambda factor: factor * ops.gelu(x, bias), [1.0, 2.0])
    with use_stream(STREAMS - 1):
        results.append(results[0] + results[1])
    total = results[1] + results[2]
    mx.eval(total)
    sums.append(total.sum().item() / ops.gelu(x, bias).sum().item())
    mx.clear_streams()

sums = []
for _ in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(STREAMS, [round(value, 5) for value in sums])
"""


@pytest.mark.parametrize(
    ("streams", "count", "reserved", "expected"),
    [
        (1, 5, 0, [(0, 5)]),
        (1, 5, 9, [(0, 5)]),
        (2, 6, 0, [(0, 3), (3, 6)]),
        (2, 5, 0, [(0, 2), (2, 5)]),
        (2, 10, 4, [(0, 7), (7, 10)]),
        (2, 10, 10, [(0, 10)]),
        (2, 10, 99, [(0, 10)]),
        (2, 1, 0, [(0, 1)]),
        (3, 2, 0, [(0, 1), (1, 2)]),
        (3, 8, 0, [(0, 2), (2, 5), (5, 8)]),
    ],
)
def test_partition(
    monkeypatch: pytest.MonkeyPatch,
    streams: int,
    count: int,
    reserved: int,
    expected: list[tuple[int, int]],
) -> None:
    monkeypatch.setattr(cpu_streams, "STREAMS", streams)
    assert cpu_streams.partition(count, reserved) == [slice(*ends) for ends in expected]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one stream")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_thread_has_its_own_streams(threads: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", THREADS],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "RTVC_OPERATORS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == f"{2 if threads == 2 else 1} [5.0, 5.0, 5.0]", run.stderr
