"""``rtvc bench``: the time of an engine step on this machine, by stage."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli import options
from rtvc.errors import RtvcError, UsageError, escaped
from rtvc.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from rtvc.cli.bench_report import Report
    from rtvc.engine.models.hubert import Hubert
    from rtvc.engine.models.rmvpe import RmvpeEstimator
    from rtvc.engine.profiling.bench import VoiceFigures
    from rtvc.engine.voice import Voice
    from rtvc.system.energy import EnergyMeter

SUMMARY = "measure how long a step of an RVC voice takes on this machine"
USAGE = "rtvc bench [--voice NAME...] [--rate RATE...] [FLAGS]\n       rtvc bench --quick [--json]"
DESCRIPTION = """\
Runs engine steps of RVC voices back to back and prints how long they take. No
download is needed: the voices v1-32k, v1-40k, v1-48k, v2-32k, v2-40k and v2-48k
have random weights at full size, and the time of a step depends only on the size.
All six run by default. Give the name of an installed voice to measure that one.

A step renders one block, so its p99 must be well below the block. Times are in ms.
Whole steps are timed first, under the conditions of a live run. Other steps are then
timed stage by stage; each stage finishes before the next begins, so the stages add up
to more than a step. GFLOP, prims (kernel launches on a GPU) and weights (bytes read)
are counted, not measured: they are the same on every machine of a type.

Ctrl-C stops early and prints the results so far."""
EPILOG = """\
examples:
  rtvc bench
  rtvc bench --voice v2-40k --block 100 --context 500
  rtvc bench --rate 40k --steps 200
  rtvc bench --json > before.json
  rtvc bench --compare before.json    after a change"""

_BLOCK, _CONTEXT, _STEPS = 250.0, 2500.0, 30
_QUICK_BLOCK, _QUICK_CONTEXT, _QUICK_STEPS = 100.0, 500.0, 10
_MOST_BY_STAGES = 50
"""Steps timed by stage at most: they give medians; tails come from the whole steps."""


def _steps(text: str) -> int:
    """Return a number of steps as typed."""
    if not (text.isdecimal() and int(text) >= 1):
        raise UsageError(f"--steps is {text!r}, but must be a whole number of 1 or more.")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--voice",
        nargs="+",
        metavar="NAME",
        default=[],
        help="v2-40k and the like, or an installed voice",
    )
    parser.add_argument(
        "--rate",
        nargs="+",
        choices=("32k", "40k", "48k"),
        default=[],
        help="the random voices of these rates",
    )
    for name, about, default in (
        ("block", "new audio per step", _BLOCK),
        ("context", "past audio given to the model with each block", _CONTEXT),
    ):
        setting = SETTINGS[name]
        parser.add_argument(
            setting.flag,
            action=options.SettingAction,
            setting=setting,
            default=None,
            metavar="MS",
            help=f"{about}; {setting.allowed} (default {default:g})",
        )
    content = SETTINGS["content"]
    parser.add_argument(
        content.flag,
        action=options.SettingAction,
        setting=content,
        default=content.default,
        metavar="|".join(content.choices),
        help=f"{content.help[0].lower()}{content.help[1:].rstrip('.')} (default {content.default})",
    )
    parser.add_argument(
        "--steps",
        type=_steps,
        metavar="N",
        help=f"whole steps to time for each voice; half as many, at most {_MOST_BY_STAGES}, are "
        f"timed by stage (default {_STEPS})",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{_QUICK_STEPS} steps of v2-40k with a block of {_QUICK_BLOCK:g} ms and a context of "
        f"{_QUICK_CONTEXT:g} ms, the sizes of a fast machine",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--compare",
        type=options.file_path,
        metavar="FILE",
        help="print the ratio to an earlier report of --json",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.cli.bench_report import comparison_lines, head_lines, ratios, read_report, voice_lines
    from rtvc.cli.run_report import as_json
    from rtvc.library.computing import needs_mlx

    if args.quick:
        _choose_quick(args)
    _use_defaults(args)
    settings = Settings(block=args.block, context=args.context, content=args.content)
    before = None if args.compare is None else read_report(args.compare, settings)
    with needs_mlx():
        names = _names(args.voice, args.rate)
    _refuse_unknown(names)
    meter, no_energy = _energy()
    report = _head(settings, no_energy)
    if not args.json:
        _print(head_lines(report))
    progress = _BenchProgress(len(names), args.steps)
    try:
        for name in names:
            for figures in _measured(name, settings.replace(voice=name), meter, progress):
                report["voices"].append(dataclasses.asdict(figures))
                progress.bar.clear()
                if not args.json:
                    print()
                    _print(voice_lines(report["voices"][-1]))
        report["complete"] = True
    except KeyboardInterrupt:
        pass  # the voices measured so far are reported
    finally:
        progress.bar.clear()
    if args.json:
        if before is not None:
            report["ratios"] = ratios(report, before)
        print(as_json(report), end="")
    elif before is not None:
        print()
        _print(comparison_lines(report, before, str(args.compare)))
    if report["complete"]:
        return 0
    print("Interrupted: the report covers the steps that ran.", file=sys.stderr)
    return 128 + signal.SIGINT


def _choose_quick(args: argparse.Namespace) -> None:
    sizes = args.block, args.context, args.steps
    if args.voice or args.rate or any(size is not None for size in sizes):
        raise UsageError(
            "--quick measures v2-40k with sizes of its own: leave out --voice, --rate, --block, "
            "--context and --steps."
        )
    args.voice, args.steps = ["v2-40k"], _QUICK_STEPS
    args.block, args.context = _QUICK_BLOCK, _QUICK_CONTEXT


def _use_defaults(args: argparse.Namespace) -> None:
    for name, value in (("block", _BLOCK), ("context", _CONTEXT), ("steps", _STEPS)):
        if getattr(args, name) is None:
            setattr(args, name, value)


class _BenchProgress:
    """A progress bar over the steps of all voices."""

    def __init__(self, voices: int, steps: int) -> None:
        from rtvc.cli.terminal import ProgressBar

        self.steps, self.by_stages = steps, min(-(-steps // 2), _MOST_BY_STAGES)
        self.bar = ProgressBar(sys.stderr)
        self._all = voices * (steps + self.by_stages)
        self._began, self._done = time.monotonic(), 0

    def repeat(self, title: str, step: Callable[[], None], times: int) -> None:
        """Run `step` a number of times."""
        for _ in range(times):
            self.show(title)
            step()
            self._done += 1

    def show(self, title: str) -> None:
        """Show the title and the share of the steps that have run."""
        self.bar.show(title, self._done / self._all, time.monotonic() - self._began)


def _measured(
    name: str, settings: Settings, meter: EnergyMeter | None, progress: _BenchProgress
) -> Iterator[VoiceFigures]:
    """Yield the results of a voice; an interrupt is raised after the results so far."""
    from rtvc.engine.profiling.bench import Bench
    from rtvc.system.realtime_mode import realtime_mode

    progress.show(f"{name}: loading")
    bench = Bench(_open(name, settings), settings, meter)
    interrupted = False
    try:
        with realtime_mode():
            progress.repeat(name, bench.step, progress.steps)
        progress.repeat(f"{name} by stage", bench.step_by_stages, progress.by_stages)
        bench.count()
    except KeyboardInterrupt:
        interrupted = True
    if bench.steps:
        yield bench.figures()
    if interrupted:
        raise KeyboardInterrupt


def _names(voices: list[str], rates: list[str]) -> list[str]:
    """Return the names of the voices to measure, without duplicates."""
    from rtvc.engine.profiling.random_weights import KINDS

    by_rate = [kind for kind in KINDS if kind.partition("-")[2] in rates]
    return list(dict.fromkeys(voices + by_rate)) or list(KINDS)


def _refuse_unknown(names: list[str]) -> None:
    """Refuse a voice that cannot be measured before any output."""
    from rtvc.cli.options import require_voice
    from rtvc.engine.profiling.random_weights import KINDS
    from rtvc.library import is_path

    for name in names:
        if name not in KINDS:
            require_voice(Settings(voice=name))
            if is_path(name) and not os.path.exists(os.path.expanduser(name)):
                raise UsageError(f"There is no file or folder {name!r}. Check the path.")


def _open(name: str, settings: Settings) -> Voice:
    """Return a voice with random weights, or an installed one."""
    from rtvc.engine.profiling.random_weights import KINDS, random_voice
    from rtvc.engine.rvc.voice import RvcVoice
    from rtvc.library.open_voice import find_voice

    if name in KINDS:
        return RvcVoice(name, random_voice(*KINDS[name]), _encoder(), lambda method: _estimator())
    return find_voice(name)


@cache
def _encoder() -> Hubert:
    from rtvc.engine.profiling.random_weights import random_encoder

    return random_encoder()


@cache
def _estimator() -> RmvpeEstimator:
    from rtvc.engine.profiling.random_weights import random_rmvpe

    return random_rmvpe()


def _head(settings: Settings, no_energy: str) -> Report:
    """Return a report without voices: machine, versions and settings."""
    import mlx.core as mx

    from rtvc.cli.bench_report import new_report
    from rtvc.system.blas import load_blas

    blas = load_blas()
    threads = "" if blas.threads is None else f", {blas.threads} thread(s)"
    device = mx.default_device().type.name
    return new_report(settings, Path(blas.library).name + threads, device, no_energy)


def _energy() -> tuple[EnergyMeter | None, str]:
    """Return the energy meter, or the reason why there is none."""
    from rtvc.system.energy import EnergyMeter

    try:
        return EnergyMeter(), ""
    except RtvcError as reason:
        return None, str(reason)


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(escaped(line), flush=True)  # a report to compare with can be anyone's
