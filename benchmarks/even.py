"""Measure how much the time of a full-size voice's steps varies, and how much the machine does.

    python -m benchmarks.even [--voice v2-40k] [--block 100] [--context 500] [--steps 2000]

Steps are timed back to back, as in ``rtvc bench``. After each step a fixed workload, two matrix
products, is timed: if its time varies as much, the cause is the machine. Takes about 13 minutes.
Exits with 1 if the steps' p99 is too far above their p50.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time

import mlx.core as mx
import numpy as np

from benchmarks.full_size_step import full_size_voice, step_parser
from rtvc.cli.terminal import ProgressBar
from rtvc.engine.profiling.bench import Bench, Spread, spread
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions
from rtvc.system.realtime_mode import realtime_mode

MAX_RATIO = 1.25
_SIZE = 1024


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = step_parser(__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    voice = full_size_voice(args.voice)
    settings = Settings(voice=args.voice, block=args.block, context=args.context)
    matrix = mx.array(np.random.default_rng(0).standard_normal((_SIZE, _SIZE), np.float32))
    bar, start, workload = ProgressBar(sys.stderr), time.monotonic(), []
    with realtime_mode():
        bench = Bench(voice, settings)
        for number in range(args.steps):
            bar.show("steps", number / args.steps, time.monotonic() - start)
            bench.step()
            began = time.perf_counter()
            mx.eval(matrix @ (matrix @ matrix))
            workload.append(time.perf_counter() - began)
    bar.clear()
    steps = bench.figures().ms
    figures = {
        "settings": {name: getattr(args, name) for name in ("voice", "block", "context", "steps")},
        "load before": round(load, 2),
        "steps, ms": _figures(steps),
        "fixed workload, ms": _figures(spread(workload)),
        f"p99 of the steps over their p50 (at most {MAX_RATIO:g})": round(steps.p99 / steps.p50, 3),
    }
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    return int(steps.p99 > MAX_RATIO * steps.p50)


def _figures(times: Spread) -> dict[str, float]:
    return {name: round(value, 1) for name, value in dataclasses.asdict(times).items()}


if __name__ == "__main__":
    sys.exit(main())
