"""``rtvc calibrate``: measures this machine, so that runs fit it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rtvc.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtvc.calibration.conditions import Conditions
    from rtvc.calibration.profiles import Profile
    from rtvc.calibration.timing import Timing
    from rtvc.cli.terminal import ProgressBar
    from rtvc.engine.profiling.step_timing import Show
    from rtvc.library import InstalledVoice
    from rtvc.settings import Settings, Value

SUMMARY = "measure this machine (a minute), so that runs get the shortest block that it keeps"
USAGE = "rtvc calibrate [--voice NAME] [--busy] [--profile NAME] [--seconds N]"
DESCRIPTION = """\
Measures how long steps of the built-in voice and of RVC voices take on this machine, for
several blocks and contexts, in about a minute. 'rtvc run' then uses the shortest block whose
steps leave a margin (99 of 100 stay under 60 % of the block), with the headroom that belongs
to it, wherever you have not chosen block, headroom or context yourself.

Of the RVC voices one for each sample rate is measured, the one with the most work. Close what
does not run while you use rtvc. Measure again after a change of machine, of MLX or of the
power supply; 'rtvc run' says so. Ctrl-C ends it and leaves the last measurement in use."""
EPILOG = """\
profiles, each with the block that its margin asks for:
  quality     context 2.5 s, steps under 50 % of a block, headroom for twice the longest step
  balanced    context 1.0 s, 60 %, one and a half times
  fast        context 0.5 s, 70 %, a fifth more than the longest step

examples:
  rtvc calibrate
  rtvc calibrate --voice Anna       only voices of Anna's sample rate; others stay as they were
  rtvc calibrate --busy             while other programs compute: longer blocks, but safe ones
  rtvc calibrate --profile fast     and use this profile from now on"""

_SECONDS = 60.0
_CHANGES: dict[str, Value] = {"pitch": 4.0, "formant": 2.0, "breathiness": 0.2}
"""What costs the built-in voice time."""


class _StoppedError(Exception):
    """The measurement is to end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--voice",
        metavar="NAME",
        help="measure with this voice only: 'world', an installed one, or the path of its file",
    )
    parser.add_argument(
        "--busy",
        action="store_true",
        help="measure while one thread keeps the interpreter busy and another loads a core",
    )
    parser.add_argument(
        "--seconds",
        type=options.seconds,
        default=_SECONDS,
        metavar="N",
        help=f"measure for so long in all (default {_SECONDS:g}); with less it is less sure",
    )
    options.add_profile(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.calibration.conditions import conditions
    from rtvc.calibration.profiles import PROFILES
    from rtvc.cli.terminal import ProgressBar
    from rtvc.config.calibration_yaml import calibration_path, load_calibration, save_calibration
    from rtvc.config.remembered import load_remembered, save_remembered

    wanted = _voices(args.voice)
    seconds = args.seconds / len(wanted)
    load = " while other threads compute" if args.busy else ""
    names = ", ".join(settings.voice for settings in wanted)
    _say(f"Measuring {names}{load}: about {args.seconds:.0f} s. Ctrl-C leaves all as is.")
    before, damage = load_calibration()
    if damage:
        _say(damage)
    choices, damage = load_remembered()
    if damage:
        _say(damage)
    now = conditions(busy=args.busy)
    profile = PROFILES[args.profile or choices.profile]
    found: dict[str, Timing] = {}
    bar = ProgressBar(sys.stderr)
    for settings in wanted:
        try:
            kind, found_timing = _measured(settings, now, seconds, bar)
        finally:
            bar.clear()
        found[kind] = found_timing
        print("\n".join(_report(kind, found_timing, before, profile)), flush=True)
    save_calibration({**before, **found})
    if args.profile and args.profile != choices.profile:
        save_remembered(dataclasses.replace(choices, profile=args.profile))
    print(f"'rtvc run' uses it where nothing else is chosen. It is in {calibration_path()}.")
    return 0


def _voices(name: str | None) -> list[Settings]:
    """Return settings with each voice that is to be measured."""
    from rtvc.errors import RtvcError
    from rtvc.library import list_voices, require_ready
    from rtvc.settings import Settings

    if name is not None:
        settings = Settings().replace(voice=name, **_CHANGES)
        options.require_voice(settings)
        return [settings]
    installed = list_voices()[0]
    if not installed:
        _say("No RVC voice is installed, so only the built-in voice is measured.")
    # The one with the most work comes last, and stays.
    by_rate = {voice.manifest.sample_rate: voice for voice in sorted(installed, key=_work)}
    found = [Settings(index_rate=0.0).replace(**_CHANGES)]
    for _, voice in sorted(by_rate.items()):
        settings = Settings(voice=voice.name)
        try:
            require_ready(voice, settings.pitch_method)
        except RtvcError as error:
            _say(f"Not measured: {error}")
        else:
            found.append(settings if voice.manifest.index else settings.replace(index_rate=0.0))
    return found


def _work(voice: InstalledVoice) -> tuple[str, bool, int]:
    return voice.manifest.version, voice.manifest.uses_pitch, voice.manifest.index_vectors


def _measured(
    settings: Settings, conditions: Conditions, seconds: float, bar: ProgressBar
) -> tuple[str, Timing]:
    """Measure a voice on a thread of its own, as the engine's would be; return its kind too."""
    from rtvc.engine.worker import leave_this_thread

    began, stop = time.monotonic(), threading.Event()

    def show(share: float) -> None:
        if stop.is_set():
            raise _StoppedError
        bar.show(settings.voice, share, time.monotonic() - began)

    with ThreadPoolExecutor(1, "rtvc calibrate") as hand:
        work = hand.submit(_measure, settings, conditions, seconds, show)
        try:
            return work.result()
        except BaseException:
            stop.set()
            raise
        finally:
            hand.submit(leave_this_thread)


def _measure(
    settings: Settings, conditions: Conditions, seconds: float, show: Show
) -> tuple[str, Timing]:
    from rtvc.calibration.profiles import kind_of_rate
    from rtvc.engine.profiling.step_timing import busy, measure
    from rtvc.library.base_models import installed_model
    from rtvc.library.open_voice import find_voice
    from rtvc.live.demo import load_utterance
    from rtvc.settings import BUILT_IN
    from rtvc.system.realtime_mode import realtime_mode
    from rtvc.system.thread_priority import begin_as_equal, prefer_this_thread

    begin_as_equal()
    voice = find_voice(settings.voice)
    built_in = settings.voice == BUILT_IN
    kind = BUILT_IN if built_in else kind_of_rate(voice.output_rate)
    methods = [] if built_in else ["dio"]
    if not built_in and installed_model("fcpe") is not None:
        methods.append("fcpe")
    with realtime_mode(), busy() if conditions.busy else contextlib.nullcontext():
        prefer_this_thread()
        measured = measure(
            voice,
            settings,
            load_utterance(),
            conditions,
            seconds=seconds,
            methods=methods,
            show=show,
        )
    return kind, measured.timing


def _report(kind: str, timing: Timing, before: Mapping[str, Timing], profile: Profile) -> list[str]:
    """Return what was found, line by line."""
    from rtvc.calibration.profiles import choose, too_slow
    from rtvc.config.calibration_yaml import described

    title, *lines = described(kind, timing)
    report = [title[:1].upper() + title[1:]]
    for line in lines:
        mark = "*" if line.startswith(f"{profile.name}:") else " "
        report.append(f"  {mark} {line}")
    sizes = choose(timing, profile)
    if sizes is None:
        report.append(f"    {too_slow(kind, timing, profile)}")
    elif kind in before and before[kind].conditions.same_machine(timing.conditions):
        old = before[kind].p99(sizes.block, sizes.context)
        report.append(f"    The measurement before says {old:.1f} ms there.")
    return report


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
