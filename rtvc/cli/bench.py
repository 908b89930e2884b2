"""``rtvc bench``: how long a step takes on this machine, and where the time goes."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError, UsageError
from rtvc.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from rtvc.cli.bench_report import Report
    from rtvc.engine.models.hubert import Hubert
    from rtvc.engine.models.rmvpe import RmvpeEstimator
    from rtvc.engine.profiling.bench import VoiceFigures
    from rtvc.engine.voice import Voice
    from rtvc.system.energy import EnergyMeter

SUMMARY = "measure how long a step of an RVC voice takes on this machine"
USAGE = "rtvc bench [--voice NAME...] [--rate RATE...] [FLAGS]"
DESCRIPTION = """\
Runs steps of RVC voices back to back and tells how long they take. Without a
download: the voices have random weights and the full size of their kind, which
is what the time depends on. v1-32k, v1-40k, v1-48k, v2-32k, v2-40k and v2-48k are
such voices, and by default all six are run; an installed voice goes by its name.

A step makes one block of sound, so it must be shorter than the block, by far: look
at p99. Times are in ms. First whole steps are timed as they are live; then the
parts of others, each complete before the next begins, so that the parts add up to
more than a step. GFLOP, prims (launches on a GPU) and weights (bytes read) are
counted, and are the same on every machine of a kind.

Ctrl-C ends early and tells what is known by then."""
EPILOG = """\
examples:
  rtvc bench
  rtvc bench --voice v2-40k --block 100 --context 500
  rtvc bench --rate 40k --steps 200
  rtvc bench --json > before.json
  rtvc bench --compare before.json    after a change"""

_BLOCK, _CONTEXT, _STEPS = 250.0, 2500.0, 30
_MOST_BY_STAGES = 50
"""Steps in parts. They give medians; the tail is that of whole steps."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--voice", nargs="+", metavar="NAME", default=[], help="a kind such as v2-40k, or installed"
    )
    parser.add_argument(
        "--rate", nargs="+", choices=("32k", "40k", "48k"), default=[], help="kinds of these rates"
    )
    for name, default in (("block", _BLOCK), ("context", _CONTEXT)):
        setting = SETTINGS[name]
        parser.add_argument(
            setting.flag,
            type=float,
            default=default,
            metavar="MS",
            help=f"{setting.help[0].lower()}{setting.help[1:].rstrip('.')}; {setting.allowed} "
            f"(default here {default:g})",
        )
    parser.add_argument(
        "--steps",
        type=int,
        default=_STEPS,
        metavar="N",
        help=f"whole steps to time for each voice, and half as many in parts, {_MOST_BY_STAGES} "
        f"at most (default {_STEPS})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="print ratios to what --json printed earlier"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.cli.bench_report import comparison_lines, head_lines, ratios, read_report, voice_lines
    from rtvc.cli.run_report import as_json

    if args.steps < 1:
        raise UsageError(f"--steps is {args.steps}, but must be 1 or more.")
    settings = Settings(block=args.block, context=args.context)
    before = None if args.compare is None else read_report(args.compare, settings)
    names = _names(args.voice, args.rate)
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
        pass  # what there is, is shown
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
    print("rtvc: interrupted; these are the figures until then.", file=sys.stderr)
    return 128 + signal.SIGINT


class _BenchProgress:
    """How much of all steps is done."""

    def __init__(self, voices: int, steps: int) -> None:
        from rtvc.cli.terminal import ProgressBar

        self.steps, self.by_stages = steps, min(-(-steps // 2), _MOST_BY_STAGES)
        self.bar = ProgressBar(sys.stderr)
        self._all = voices * (steps + self.by_stages)
        self._began, self._done = time.monotonic(), 0

    def repeat(self, title: str, step: Callable[[], None], times: int) -> None:
        """Make so many steps."""
        for _ in range(times):
            self.show(title)
            step()
            self._done += 1

    def show(self, title: str) -> None:
        """Say what is being done."""
        self.bar.show(title, self._done / self._all, time.monotonic() - self._began)


def _measured(
    name: str, settings: Settings, meter: EnergyMeter | None, progress: _BenchProgress
) -> Iterator[VoiceFigures]:
    """Yield the figures of a voice; an interrupt comes after those that there are."""
    from rtvc.engine.profiling.bench import Bench
    from rtvc.system.realtime_mode import realtime_mode

    progress.show(f"{name}: loading")
    bench = Bench(_open(name, settings), settings, meter)
    interrupted = False
    try:
        with realtime_mode():
            progress.repeat(name, bench.step, progress.steps)
        progress.repeat(f"{name} in parts", bench.step_by_stages, progress.by_stages)
        bench.count()
    except KeyboardInterrupt:
        interrupted = True
    if bench.steps:
        yield bench.figures()
    if interrupted:
        raise KeyboardInterrupt


def _names(voices: list[str], rates: list[str]) -> list[str]:
    """Return the voices that are meant, each once."""
    from rtvc.engine.profiling.random_weights import KINDS

    by_rate = [kind for kind in KINDS if kind.partition("-")[2] in rates]
    return list(dict.fromkeys(voices + by_rate)) or list(KINDS)


def _open(name: str, settings: Settings) -> Voice:
    """Return a voice of random weights, or an installed one."""
    from rtvc.cli.options import require_voice
    from rtvc.engine.profiling.random_weights import KINDS, random_voice
    from rtvc.engine.rvc.voice import RvcVoice
    from rtvc.library.open_voice import find_voice

    if name in KINDS:
        return RvcVoice(name, random_voice(*KINDS[name]), _encoder(), lambda method: _estimator())
    require_voice(settings)
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
    """Return a report with what is known of the machine."""
    import mlx.core as mx

    from rtvc.cli.bench_report import new_report
    from rtvc.system.blas import load_blas

    blas = load_blas()
    threads = "" if blas.threads is None else f", {blas.threads} thread(s)"
    device = mx.default_device().type.name
    return new_report(settings, Path(blas.library).name + threads, device, no_energy)


def _energy() -> tuple[EnergyMeter | None, str]:
    """Return what measures energy, or why nothing does."""
    from rtvc.system.energy import EnergyMeter

    try:
        return EnergyMeter(), ""
    except RtvcError as reason:
        return None, str(reason)


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line, flush=True)
