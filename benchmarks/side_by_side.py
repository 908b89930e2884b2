"""Compare a step of rtvc with the same step of the reference implementation, in one run.

    python -m benchmarks.side_by_side CHECKOUT --python PYTHON [--voice v2-40k] [--block 250]

CHECKOUT is a copy of RVC-Project/Retrieval-based-Voice-Conversion-WebUI, PYTHON the Python of an
environment in which it runs. Both use full-size networks with random weights, the same number of
threads and the same frames: rtvc in this process, the reference in a subprocess. They run one
step each in turn, so that both run in the same state of the machine and never compete. A step
is everything from the input at 16 kHz to the output at the voice's sample rate, before blocks
are joined.

Whole steps are timed as they run live. The stages of rtvc are timed in separate steps, in which
each stage is complete before the next one starts; PyTorch always works in this way. The result
is the median of the ratios within the pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAUSE_S = 0.03
"""Seconds between two steps, so that idle threads of one program sleep when the other starts."""

STAGES = ("content encoder", "pitch", "text encoder", "flow", "decoder", "rest")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--voice", default="v2-40k")
    parser.add_argument("--block", type=float, default=250.0)
    parser.add_argument("--context", type=float, default=2500.0)
    parser.add_argument("--crossfade", type=float, default=50.0)
    parser.add_argument("--content", choices=("window", "running"), default="window")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not (args.checkout / "infer" / "rtrvc.py").exists():
        parser.error(f"{args.checkout} is not a checkout of the reference: no infer/rtrvc.py.")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # read when a BLAS is loaded
    reference = Reference(args)
    ours = Rtvc(args)
    report = {
        "settings": {
            name: getattr(args, name)
            for name in ("voice", "block", "context", "crossfade", "pairs", "threads")
        },
        "reference": {"commit": _commit(args.checkout), **reference.facts},
        "load": os.getloadavg()[0],
        "pairs": _pairs(ours, reference, args.pairs),
    }
    reference.stop()
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1))
    print(_table(report))


class Rtvc:
    """Steps of rtvc."""

    def __init__(self, args: argparse.Namespace) -> None:
        import numpy as np

        from benchmarks.full_size_step import full_size_voice
        from rtvc.engine.plan import make_plan
        from rtvc.engine.profiling.stage_times import stage_methods
        from rtvc.engine.rvc.window import FRAME
        from rtvc.settings import Settings

        voice = full_size_voice(args.voice)
        # The same number of frames as the reference, whose crossfade is at most 40 ms.
        self._settings = Settings(
            voice=args.voice,
            block=args.block,
            context=args.context,
            crossfade=min(args.crossfade, 40.0),
            pitch_floor=100.0,
            content=args.content,
        )
        plan = make_plan(
            self._settings,
            voice_lookahead=voice.lookahead_frames(self._settings),
            continuous=voice.continuous,
        )
        self._stream = voice.open(plan, self._settings)
        self._parts = stage_methods(voice, self._settings)
        rng = np.random.default_rng(0)
        self._sounds = 0.1 * rng.standard_normal((8, plan.block * FRAME), np.float32)
        self._steps = 0
        for _ in range(2 + plan.context // plan.block):
            self.whole()

    def whole(self) -> float:
        """Run one step; return its time in seconds."""
        began = time.perf_counter()
        self._render()
        return time.perf_counter() - began

    def by_stages(self) -> dict[str, float]:
        """Run one step; return the time of its stages in seconds."""
        from rtvc.engine.profiling.stage_times import time_stages

        with time_stages(self._parts) as seconds:
            self._render()
        return dict(seconds)

    def _render(self) -> None:
        self._steps += 1
        self._stream.render(self._sounds[self._steps % len(self._sounds)], self._settings)


class Reference:
    """Steps of the reference, in a subprocess."""

    def __init__(self, args: argparse.Namespace) -> None:
        from rtvc.engine.profiling.random_weights import KINDS, voice_values

        version, rate = KINDS[args.voice]
        worker = Path(__file__).with_name("reference_worker.py")
        self._process = subprocess.Popen(
            [args.python, worker, args.checkout],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._request(
            {
                "version": version,
                "config": voice_values(version, rate),
                "block": round(args.block / 10),
                "context": round(args.context / 10),
                "crossfade": round(args.crossfade / 10),
                "threads": args.threads,
            }
        )

    def step(self) -> dict[str, Any]:
        """Run one step; return its time in seconds, total and by stages."""
        return self._request("step")

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _request(self, request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = self._process.stdout.readline()
        if not reply:
            sys.exit("The reference ended early; its output above has the reason.")
        answer: dict[str, Any] = json.loads(reply)
        return answer


def _pairs(ours: Rtvc, reference: Reference, wanted: int) -> list[dict[str, Any]]:
    from rtvc.cli.terminal import ProgressBar

    bar, began, pairs = ProgressBar(sys.stderr), time.monotonic(), []
    for number in range(wanted):
        bar.show("pairs", number / wanted, time.monotonic() - began)
        pairs.append(_pair(ours, reference, number))
    bar.clear()
    return pairs


def _pair(ours: Rtvc, reference: Reference, number: int) -> dict[str, Any]:
    """Run a whole step and one by stages of both; which is first alternates."""

    def turns(first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
        results = []
        for step in (second, first) if number % 2 else (first, second):
            time.sleep(PAUSE_S)
            results.append(step())
        return results[::-1] if number % 2 else results

    whole, whole_reference = turns(ours.whole, reference.step)
    parts, parts_reference = turns(ours.by_stages, reference.step)
    return {
        "rtvc": {"total": whole, **parts},
        "reference": {"total": whole_reference["total"], **parts_reference["stages"]},
    }


def _table(report: dict[str, Any]) -> str:
    """Return the measurements as a Markdown table in ms."""
    import numpy as np

    sizes = report["settings"]
    lines = [
        f"{sizes['voice']}, block {sizes['block']:g} ms, context {sizes['context']:g} ms, "
        f"{sizes['threads']} threads, {sizes['pairs']} pairs, load {report['load']:.2f} before; "
        f"reference {report['reference']['commit']}, torch {report['reference']['torch']}",
        "",
        "| | rtvc, median (min) | reference, median (min) | ratio, median | quartiles |",
        "|---|---|---|---|---|",
    ]
    for name in (*STAGES, "total"):
        ours, theirs = (
            np.array([pair[side].get(name, 0.0) for pair in report["pairs"]])
            for side in ("rtvc", "reference")
        )
        low, middle, high = np.percentile(ours / theirs, [25, 50, 75])
        times = [f"{1000 * np.median(t):.1f} ({1000 * t.min():.1f})" for t in (ours, theirs)]
        lines.append(f"| {name} | {' | '.join(times)} | {middle:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


def _commit(checkout: Path) -> str:
    done = subprocess.run(
        ["git", "-C", checkout, "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
