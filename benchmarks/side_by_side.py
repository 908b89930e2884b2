"""Compare a step of rtvc with the same step of the reference and of rvc-next, in one run.

    python -m benchmarks.side_by_side CHECKOUT --python PYTHON [--voice v2-40k] [--block 250]
    python -m benchmarks.side_by_side [CHECKOUT] --rvc-next WHEEL --python PYTHON
    python -m benchmarks.side_by_side [CHECKOUT --python PYTHON] --rvc-next VENV/bin/python

CHECKOUT is a copy of RVC-Project/Retrieval-based-Voice-Conversion-WebUI, the reference. WHEEL is
a wheel of rvc-next; instead of it you can give the Python of an environment in which rvc-next is
installed. PYTHON is the Python of an environment with torch, transformers, librosa, numpy and
scipy, in which the checkout and the wheel run; `pip install --no-deps` is enough for rvc-next.

All use full-size networks with random weights, no index, the same number of threads and the same
frames: rtvc in this process, the others each in a subprocess. They run one step each in turn, so
that all run in the same state of the machine and never compete. A step is everything from the
input at 16 kHz to the output at the voice's sample rate, before blocks are joined.

Whole steps are timed as they run live. The stages of rtvc are timed in separate steps, in which
each stage is complete before the next one starts; PyTorch always works in this way. The stages of
the others are their own functions, timed when they are called; their code is unchanged. The
result is the median of the ratios within the rounds; Ctrl-C ends them early.

"processor time" is that of all threads of a program during a whole step. Other load on the machine
changes it less, if you give `--threads 1`: PyTorch's threads wait for one another by computing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rivals import Rival, missing_import
from benchmarks.step_table import table, turns

if TYPE_CHECKING:
    from rtvc.settings import Settings

PAUSE_S = 0.03
"""Seconds between two steps, so that idle threads of one program sleep when the other starts."""


def main(words: Sequence[str] | None = None) -> None:
    parser = _parser()
    args = parser.parse_args(words)
    commands = _commands(args, parser.error)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # read when a BLAS is loaded
    settings = _settings(args, parser.error)
    ours = Rtvc(settings)
    request = _request(args)
    rivals = {name: Rival(name, command, request) for name, command in commands.items()}
    load = os.getloadavg()[0]
    try:
        rounds = _rounds({"rtvc": ours, **rivals}, args.rounds)
    finally:
        for rival in rivals.values():
            rival.stop()
    names = ("voice", "block", "context", "crossfade", "content", "threads")
    report = {
        "settings": {name: getattr(args, name) for name in names},
        "rivals": {name: rival.facts for name, rival in rivals.items()},
        "load": load,
        "rounds": rounds,
    }
    if args.checkout is not None:
        report["rivals"]["reference"]["commit"] = _commit(args.checkout)
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1))
    print(table(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, nargs="?", metavar="CHECKOUT")
    parser.add_argument("--rvc-next", metavar="WHEEL_OR_PYTHON")
    parser.add_argument("--python", help="Python that runs CHECKOUT and WHEEL")
    parser.add_argument("--voice", default="v2-40k")
    parser.add_argument("--block", type=float, default=250.0)
    parser.add_argument("--context", type=float, default=2500.0)
    parser.add_argument("--crossfade", type=float, default=50.0)
    parser.add_argument("--content", choices=("window", "running"), default="window")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    return parser


def _commands(args: argparse.Namespace, error: Callable[[str], Any]) -> dict[str, list[str]]:
    """Return the command of each rival by its name; report the first wrong argument."""
    if args.checkout is None and args.rvc_next is None:
        error("There is nothing to compare with: give CHECKOUT, --rvc-next, or both.")
    if min(args.rounds, args.threads) < 1:
        error("--rounds and --threads must be 1 or more.")
    commands = {}
    if args.checkout is not None:
        if not (args.checkout / "infer" / "rtrvc.py").exists():
            error(f"{args.checkout} is not a checkout of the reference: no infer/rtrvc.py.")
        python = _python(args.python, "CHECKOUT", error)
        commands["reference"] = _worker(python, "reference_worker", args.checkout)
    if args.rvc_next is not None:
        if args.rvc_next.endswith(".whl"):
            _check_wheel(Path(args.rvc_next), error)
            python = _python(args.python, "A wheel", error)
            commands["rvc-next"] = _worker(python, "rvc_next_worker", Path(args.rvc_next))
        else:
            python = _executable(args.rvc_next, "--rvc-next", error)
            commands["rvc-next"] = _worker(python, "rvc_next_worker")
    for name, command in commands.items():
        # The reference's own packages are in its checkout.
        module = "torch" if name == "reference" or len(command) > 3 else "rvc_next"
        if problem := missing_import(command[0], module):
            error(problem)
    return commands


def _python(text: str | None, what: str, error: Callable[[str], Any]) -> str:
    if text is None:
        error(f"{what} needs --python, the Python of an environment with torch.")
    return _executable(str(text), "--python", error)


def _executable(text: str, flag: str, error: Callable[[str], Any]) -> str:
    found = shutil.which(text)
    if found is None:
        wheel = " or a wheel (.whl)" if flag == "--rvc-next" else ""
        error(f"{flag} is {text!r}, which is not a Python that can be run{wheel}.")
    # Not resolved: the link in an environment is what selects the environment.
    return str(Path(str(found)).absolute())


def _check_wheel(path: Path, error: Callable[[str], Any]) -> None:
    try:
        with zipfile.ZipFile(path) as wheel:
            wheel.getinfo("rvc_next/engine/stream/engine.py")
    except (OSError, zipfile.BadZipFile):
        error(f"--rvc-next is {str(path)!r}, which cannot be read as a wheel.")
    except KeyError:
        error(f"{path} is not a wheel of rvc-next with its streaming engine.")


def _worker(python: str, module: str, *arguments: Path) -> list[str]:
    return [python, "-m", f"benchmarks.{module}", *(str(path.resolve()) for path in arguments)]


def _settings(args: argparse.Namespace, error: Callable[[str], Any]) -> Settings:
    """Return the settings of rtvc; report the first wrong value."""
    from rtvc.engine.profiling.random_weights import KINDS
    from rtvc.errors import RtvcError
    from rtvc.settings import Settings

    if args.voice not in KINDS:
        error(f"--voice is {args.voice!r}, but must be one of {', '.join(KINDS)}.")
    try:
        # The same number of frames as the reference, whose crossfade is at most 40 ms.
        return Settings(
            voice=args.voice,
            block=args.block,
            context=args.context,
            crossfade=min(args.crossfade, 40.0),
            pitch_floor=100.0,
            content=args.content,
        )
    except RtvcError as problem:
        error(str(problem))
        raise


def _request(args: argparse.Namespace) -> dict[str, Any]:
    """Return the first request to a worker."""
    from rtvc.engine.profiling.random_weights import KINDS, voice_values

    version, rate = KINDS[args.voice]
    sizes = {name: round(getattr(args, name) / 10) for name in ("block", "context", "crossfade")}
    return {
        "version": version,
        "config": voice_values(version, rate),
        "threads": args.threads,
        **sizes,
    }


class Rtvc:
    """Steps of rtvc."""

    def __init__(self, settings: Settings) -> None:
        import numpy as np

        from benchmarks.full_size_step import full_size_voice
        from rtvc.engine.plan import make_plan
        from rtvc.engine.profiling.stage_times import stage_methods
        from rtvc.engine.rvc.window import FRAME

        self._settings = settings
        voice = full_size_voice(settings.voice)
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

    def whole(self) -> dict[str, float]:
        """Run one step; return its time and its processor time in seconds."""
        began, used = time.perf_counter(), time.process_time()
        self._render()
        return {
            "total": time.perf_counter() - began,
            "processor time": time.process_time() - used,
        }

    def by_stages(self) -> dict[str, float]:
        """Run one step; return the time of its stages in seconds."""
        from rtvc.engine.profiling.stage_times import time_stages

        with time_stages(self._parts) as seconds:
            self._render()
        return dict(seconds)

    def _render(self) -> None:
        self._steps += 1
        self._stream.render(self._sounds[self._steps % len(self._sounds)], self._settings)


def _rounds(programs: dict[str, Any], wanted: int) -> list[dict[str, dict[str, float]]]:
    """Run rounds; return the seconds of each round by program and stage."""
    from rtvc.cli.terminal import ProgressBar

    bar, began, rounds = ProgressBar(sys.stderr), time.monotonic(), []
    try:
        for number in range(wanted):
            bar.show("rounds", number / wanted, time.monotonic() - began)
            rounds.append(_round(programs, number))
    except KeyboardInterrupt:
        if not rounds:
            raise
    finally:
        bar.clear()
    return rounds


def _round(programs: dict[str, Any], number: int) -> dict[str, dict[str, float]]:
    times: dict[str, dict[str, float]] = {name: {} for name in programs}
    for way in ("by_stages", "whole"):
        for name in turns(list(programs), number):
            time.sleep(PAUSE_S)
            times[name] |= getattr(programs[name], way)()
    return times


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
