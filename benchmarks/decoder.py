"""Compare a step with the stateful decoder to one with overlapping windows, in the same run.

    python -m benchmarks.decoder [--voice v2-40k] [--block 100] [--context 500] [--pairs 40]

Both streams use the same full-size networks with random weights and get the same input. The
first decodes every frame once. The second decodes each block with a margin, a crossfade and a
search, as is needed for a vocoder without streaming state. The two alternate, and so does which
of them is first. Exits with 1 if the median of the ratios exceeds its limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from benchmarks.full_size_step import full_size_voice, step_parser
from rtvc.engine.plan import make_plan
from rtvc.engine.rvc.voice import RvcStream
from rtvc.engine.rvc.window import FRAME
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions

MAX_RATIO = 0.75


def streams(args: argparse.Namespace) -> tuple[list[RvcStream], Settings]:
    """Return the stream with the stateful decoder and the one with overlapping windows."""
    voice = full_size_voice(args.voice)
    settings = Settings(voice=args.voice, block=args.block, context=args.context)
    opened = []
    for continuous in (True, False):
        voice.continuous = continuous
        plan = make_plan(
            settings, voice_lookahead=voice.lookahead_frames(settings), continuous=continuous
        )
        opened.append(voice.open(plan, settings))
    return opened, settings


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = step_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    args = parser.parse_args()
    pair, settings = streams(args)
    rng = np.random.default_rng(0)
    size = round(args.block / 10) * FRAME
    seconds: list[list[float]] = [[], []]
    for number in range(-4, args.pairs):
        block = 0.1 * rng.standard_normal(size, np.float32)
        for which in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            pair[which].render(block, settings)
            if number >= 0:
                seconds[which].append(time.perf_counter() - began)
    stateful, overlapping = 1000 * np.array(seconds)
    ratio = float(np.median(stateful / overlapping))
    figures = {
        "settings": {name: getattr(args, name) for name in ("voice", "block", "context", "pairs")},
        "stateful, ms, median and min": _median_and_min(stateful),
        "overlapping, ms, median and min": _median_and_min(overlapping),
        f"ratio, median (at most {MAX_RATIO:g})": round(ratio, 3),
        "ratio of the minima": round(stateful.min() / overlapping.min(), 3),
    }
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    return int(ratio > MAX_RATIO)


def _median_and_min(values: np.ndarray) -> list[float]:
    return [round(float(np.median(values)), 1), round(float(values.min()), 1)]


if __name__ == "__main__":
    sys.exit(main())
