"""``rtvc calibrate``: measures step times, from which runs derive block and headroom."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from rtvc.cli import options
from rtvc.cli.run_devices import print_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rtvc.calibration.conditions import Conditions
    from rtvc.calibration.profiles import Profile
    from rtvc.calibration.timing import Timing
    from rtvc.cli.terminal import ProgressBar
    from rtvc.engine.profiling.step_timing import Show
    from rtvc.library import InstalledVoice
    from rtvc.setting import Value
    from rtvc.settings import Settings

SUMMARY = "measure this machine (one minute), so that runs use its shortest reliable block"
USAGE = "rtvc calibrate [--voice NAME] [--busy] [--profile NAME] [--seconds N]"
DESCRIPTION = """\
Measures the step times of the built-in voice and of RVC voices on this machine, for
several blocks and contexts, in about a minute, after the self-test of 'rtvc doctor'.
Unless you set block, headroom or context yourself, 'rtvc run' then uses the shortest block
whose steps leave a margin (99 of 100 steps take less than 60 % of the block) and the
headroom that this block needs.

One RVC voice is measured for each sample rate: the one with the most work. First close the
programs that you do not use together with rtvc. Measure again after a change of machine, MLX
version or power supply; 'rtvc run' tells you when. Ctrl-C stops the measurement and keeps
the previous results."""
EPILOG = """\
profiles:
  quality     context 2.5 s, steps under 50 % of the block, headroom 2.0 x the longest step
  balanced    context 1.0 s, steps under 60 % of the block, headroom 1.5 x the longest step
  fast        context 0.5 s, steps under 70 % of the block, headroom 1.2 x the longest step
The headroom is at least 20 ms longer than 99 of 100 steps, and has 12 ms in reserve.

examples:
  rtvc calibrate
  rtvc calibrate --voice Anna       only for voices of Anna's sample rate; keeps the rest
  rtvc calibrate --busy             under CPU load: longer blocks that survive a busy machine
  rtvc calibrate --profile fast     also make this the profile of future runs"""

_SECONDS = 60.0
_CHANGES: dict[str, Value] = {"pitch": 4.0, "formant": 2.0, "breathiness": 0.2}
"""Settings that make the built-in voice do all its work."""


T = TypeVar("T")


class _StoppedError(Exception):
    """The measurement has been interrupted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--voice",
        metavar="NAME",
        help="measure only this voice: 'world', an installed voice, or the path of a file",
    )
    parser.add_argument(
        "--busy",
        action="store_true",
        help="measure while one thread holds the interpreter and another loads a CPU core",
    )
    parser.add_argument(
        "--seconds",
        type=options.seconds,
        default=_SECONDS,
        metavar="N",
        help=f"time for the whole measurement; shorter is less reliable (default {_SECONDS:g})",
    )
    options.add_profile(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.config.calibration_yaml import only_calibration, refuse_newer

    refuse_newer()
    with only_calibration():
        _calibrate(args)
    return 0


def _calibrate(args: argparse.Namespace) -> None:
    """Measure the voices, and store the results."""
    from rtvc.calibration.conditions import conditions
    from rtvc.calibration.profiles import PROFILES
    from rtvc.cli.terminal import ProgressBar
    from rtvc.config.calibration_yaml import calibration_path, load_calibration, save_calibration
    from rtvc.config.remembered import load_remembered, save_remembered

    wanted = _voices(args.voice)
    seconds = args.seconds / len(wanted)
    load = " under CPU load" if args.busy else ""
    names = ", ".join(settings.voice for settings in wanted)
    print_note(
        f"Measuring {names}{load}: about {args.seconds:.0f} s. Ctrl-C keeps the previous results."
    )
    _test_device()
    before, damage = load_calibration()
    if damage:
        print_note(damage)
    remembered, damage = load_remembered()
    if damage:
        print_note(damage)
    now = conditions(busy=args.busy)
    profile = PROFILES[args.profile or remembered.profile]
    found: dict[str, Timing] = {}
    bar = ProgressBar(sys.stderr)
    processing: dict[str, float] = {}
    for settings in wanted:
        try:
            kind, found_timing = _measured(settings, now, seconds, bar)
            processing = processing or _on_a_thread(
                "microphone and effects", lambda show: _measure_parts(args, show), bar
            )
        finally:
            bar.clear()
        found_timing = dataclasses.replace(found_timing, processing=processing)
        found[kind] = found_timing
        print("\n".join(_report(kind, found_timing, before, profile)), flush=True)
    save_calibration({**before, **found})
    if args.profile:
        remembered = load_remembered()[0]  # a run may have written it meanwhile
        if args.profile != remembered.profile:
            save_remembered(dataclasses.replace(remembered, profile=args.profile))
    print(
        f"'rtvc run' starts with these sizes unless you set others. Stored in {calibration_path()}."
    )


def _test_device() -> None:
    """Run the self-test in another process; the voices then compute as it has found."""
    from rtvc.cli.probes import probe

    found = probe("self_test")
    if "error" in found:
        print_note(f"The self-test of the device failed: {found['error']}")
    for sentence in found.get("sentences", ()):
        print_note(sentence)


def _voices(name: str | None) -> list[Settings]:
    """Return settings for each voice to measure."""
    from rtvc.errors import RtvcError
    from rtvc.library import list_voices, require_base_models
    from rtvc.library.base_models import installed_model
    from rtvc.settings import Settings

    if name is not None:
        settings = Settings().replace(voice=name, **_CHANGES)
        options.require_voice(settings)
        return [settings]
    installed = list_voices()[0]
    if not installed:
        print_note("No RVC voice is installed: only the built-in voice is measured.")
    if installed and installed_model("rmvpe") is None:
        print_note(
            "The pitch estimator RMVPE is not installed: voices are measured with swift. Run "
            "'rtvc calibrate' again after you install it."
        )
    # Sorted by work, so the voice with the most work of each rate is kept.
    by_rate = {voice.manifest.sample_rate: voice for voice in sorted(installed, key=_work)}
    found = [Settings(index_rate=0.0).replace(**_CHANGES)]
    for _, voice in sorted(by_rate.items()):
        settings = Settings(voice=voice.name)
        try:
            require_base_models(voice, settings.pitch_method)
        except RtvcError as error:
            print_note(f"Not measured: {error}")
        else:
            found.append(settings if voice.manifest.index else settings.replace(index_rate=0.0))
    return found


def _work(voice: InstalledVoice) -> tuple[str, bool, int]:
    return voice.manifest.version, voice.manifest.uses_pitch, voice.manifest.index_vectors


def _measured(
    settings: Settings, conditions: Conditions, seconds: float, bar: ProgressBar
) -> tuple[str, Timing]:
    """Measure a voice, and return its kind and timing."""
    return _on_a_thread(
        settings.voice, lambda show: _measure(settings, conditions, seconds, show), bar
    )


def _on_a_thread(title: str, measure: Callable[[Show], T], bar: ProgressBar) -> T:
    """Measure on a thread of its own, like the engine's, and return the result."""
    from rtvc.engine.thread_pool import clear_mlx_streams
    from rtvc.system.thread_priority import reset_thread_priority

    began, stop = time.monotonic(), threading.Event()

    def show(share: float) -> None:
        if stop.is_set():
            raise _StoppedError
        bar.show(title, share, time.monotonic() - began)

    with ThreadPoolExecutor(1, "rtvc calibrate") as executor:
        executor.submit(reset_thread_priority)
        work = executor.submit(measure, show)
        try:
            return work.result()
        except BaseException:
            stop.set()
            raise
        finally:
            executor.submit(clear_mlx_streams)


@contextlib.contextmanager
def _undisturbed(*, busy: bool = False) -> Iterator[None]:
    """Give the calling thread the priority of the engine's, with other threads busy or not."""
    from rtvc.engine.profiling.step_timing import background_load
    from rtvc.system.realtime_mode import realtime_mode
    from rtvc.system.thread_priority import raise_thread_priority

    with realtime_mode(), background_load() if busy else contextlib.nullcontext():
        raise_thread_priority()
        yield


def _measure(
    settings: Settings, conditions: Conditions, seconds: float, show: Show
) -> tuple[str, Timing]:
    from rtvc.engine.profiling.step_timing import measure
    from rtvc.library.base_models import installed_model
    from rtvc.library.open_voice import find_voice
    from rtvc.live.demo import load_utterance
    from rtvc.settings import BUILT_IN

    voice = find_voice(settings.voice)
    built_in = settings.voice == BUILT_IN
    methods = [] if built_in else ["swift", "dio"]
    if not built_in and installed_model("fcpe") is not None:
        methods.append("fcpe")
    with _undisturbed(busy=conditions.busy):
        measured = measure(
            voice,
            settings,
            load_utterance(),
            conditions,
            seconds=seconds,
            methods=methods,
            report_progress=show,
        )
    return voice.kind, measured.timing


def _measure_parts(args: argparse.Namespace, show: Show) -> dict[str, float]:
    from rtvc.engine.profiling.step_timing import PARTS_SHARE, measure_processing
    from rtvc.live.demo import load_utterance

    with _undisturbed(busy=args.busy):
        return measure_processing(
            load_utterance(),
            seconds=PARTS_SHARE * args.seconds,
            busy=args.busy,
            report_progress=show,
        )


def _report(kind: str, timing: Timing, before: Mapping[str, Timing], profile: Profile) -> list[str]:
    """Return the lines of the report."""
    from rtvc.calibration.profiles import choose, too_slow
    from rtvc.config.calibration_yaml import describe_sizes

    title, *lines = describe_sizes(kind, timing)
    report = [title[:1].upper() + title[1:]]
    for line in lines:
        mark = "*" if line.startswith(f"{profile.name}:") else " "
        report.append(f"  {mark} {line}")
    sizes = choose(timing, profile)
    if sizes is None:
        report.append(f"    {too_slow(kind, timing, profile)}")
    elif kind in before and before[kind].conditions.same_machine(timing.conditions):
        old = before[kind].p99(sizes.block, sizes.context)
        report.append(f"    The previous measurement predicted {old:.1f} ms.")
    return report
