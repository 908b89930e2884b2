"""A step with the decoder that remembers, against one with overlapping windows, in one run.

    python -m benchmarks.decoder [--voice v2-40k] [--block 100] [--context 500] [--pairs 40]

Both streams have the same networks of full size and random weights, and hear the same sound. The
one decodes every frame once; the other decodes each block with a margin, a crossfade and a
search, as voices do whose vocoder cannot continue. They take turns, each first in every other
pair. Exits with 1 if the median of the ratios is above what it may be.
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

MOST = 0.75


def streams(args: argparse.Namespace) -> tuple[list[RvcStream], Settings]:
    """Return the stream that remembers, and the other."""
    owner = full_size_voice(args.voice)
    settings = Settings(voice=args.voice, block=args.block, context=args.context)
    made = []
    for continuous in (True, False):
        owner.continuous = continuous
        plan = make_plan(
            settings, voice_lookahead=owner.lookahead_frames(settings), continuous=continuous
        )
        made.append(owner.open(plan, settings))
    return made, settings


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
    ours, others = 1000 * np.array(seconds)
    ratio = float(np.median(ours / others))
    figures = {
        "settings": {name: getattr(args, name) for name in ("voice", "block", "context", "pairs")},
        "remembers, ms, median and least": [round(np.median(ours), 1), round(ours.min(), 1)],
        "overlaps, ms, median and least": [round(np.median(others), 1), round(others.min(), 1)],
        f"ratio, median (at most {MOST:g})": round(ratio, 3),
        "ratio of the least": round(ours.min() / others.min(), 3),
    }
    print(json.dumps({"hardware": hardware(), "versions": versions()} | figures, indent=1))
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
