"""Measure the memory of a stream over many steps: python -m benchmarks.memory [--steps 10000].

Converts real speech with pauses with the small networks of tests/golden. Prints the memory of
MLX's arrays, MLX's cache of free buffers, and the whole process. Exits with 1 if the last values
exceed those after 100 steps by more than the reuse of buffers of other sizes explains.
"""

from __future__ import annotations

import argparse
import sys

from rtvc.settings import Settings
from rtvc.system.info import hardware, versions
from tests.engine.test_steady import watch

SLACK = 2**20
MARKS = (100, 300, 1000, 3000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    args = parser.parse_args()
    marks = (*(mark for mark in MARKS if mark < args.steps), args.steps)
    print(hardware(), versions())
    seen = watch(Settings(block=100.0, context=200.0, index_rate=0.5), marks)
    for mark, memory in zip(marks, seen, strict=True):
        rest = f"cache {memory.cached / 1e6:.3f} MB, process {memory.resident / 1e6:.1f} MB"
        print(f"{mark:6d} steps: arrays {memory.active / 1e6:.3f} MB, {rest}", flush=True)
    first, last = seen[0], seen[-1]
    grown = last.active - first.active, last.cached - first.cached
    return int(max(grown) > SLACK)


if __name__ == "__main__":
    sys.exit(main())
