"""``rtvc run``: live, from the microphone to the speaker."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.commands import options
from rtvc.errors import RtvcError, UsageError

if TYPE_CHECKING:
    from rtvc.audio.devices import Direction
    from rtvc.audio.endpoint import Endpoint
    from rtvc.config import Choices
    from rtvc.session import Session
    from rtvc.settings import Settings
    from rtvc.terminal import Keyboard, StatusDisplay

SUMMARY = "change your voice live (what rtvc does without a command)"
USAGE = "rtvc run [FLAGS]"
DESCRIPTION = """\
Takes the microphone, changes the voice, and plays it on the speaker, until q or
Ctrl-C. On a terminal it opens the control panel, where ? shows all keys. Settings
and devices are remembered for the next run.

Block, headroom and context that you do not choose are those that 'rtvc calibrate' found for
this machine, if it has run. If steps are late again and again, rtvc goes on with less (a
shorter context, no retrieval, a cheaper pitch estimator, a longer block), says so, and goes
back when there is room.

Wear headphones, or the microphone hears the speaker. To use the voice in a call,
name a virtual cable (such as BlackHole) as the output, and choose the same cable
as the microphone of the call.

Without a sound device it plays a bundled utterance as the microphone and writes
the result to a file, so that you hear what it does."""
EPILOG = """\
examples:
  rtvc run --preset deep
  rtvc run --pitch 4 --formant 2 --input "USB" --output "BlackHole"
  rtvc run --preset robot --block 60 --headroom 40    less latency, more computing
  rtvc run --voice Anna --profile fast                the same, by what 'rtvc calibrate' measured
  rtvc run --seconds 60 --stats figures.json          a measurement
  rtvc run --demo                                     the bundled utterance to a file"""
_FIRST_PRESET = "deep"
_DEMO_FILE = "rtvc-demo.wav"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    devices = parser.add_argument_group("devices ('rtvc devices' lists them)")
    devices.add_argument("--input", metavar="NAME", help="microphone: its name or a part of it")
    devices.add_argument("--output", metavar="NAME", help="speaker: its name or a part of it")
    devices.add_argument(
        "--demo",
        nargs="?",
        const=_DEMO_FILE,
        metavar="FILE",
        help=f"no devices: play a bundled utterance and write FILE (default {_DEMO_FILE})",
    )
    course = parser.add_argument_group("course of the run")
    course.add_argument("--seconds", type=options.seconds, metavar="N", help="stop after N seconds")
    course.add_argument(
        "--no-tui",
        action="store_true",
        help="one line of status instead of the control panel; so it is too where the output is "
        "no terminal, and with --seconds, --stats and --demo",
    )
    course.add_argument(
        "--stats", type=Path, metavar="FILE", help="at the end write all figures to FILE as JSON"
    )
    course.add_argument(
        "--force", action="store_true", help="overwrite the files of --stats and --demo"
    )
    course.add_argument(
        "--reset",
        action="store_true",
        help="forget what was remembered and start as at the first time",
    )
    course.add_argument(
        "--no-save",
        action="store_true",
        help="do not remember the devices and settings of this run",
    )
    options.add_profile(parser)
    options.add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.config import Choices, load_choices, save_choices
    from rtvc.presets import find_preset
    from rtvc.session import Session
    from rtvc.sizing import sizes_at_default, sizing_here
    from rtvc.terminal import Keyboard, StatusDisplay

    choices, sentence = (Choices(), "") if args.reset else load_choices()
    if sentence:
        _say(sentence)
    settings = _with_a_voice(options.chosen(args, choices.settings), args)
    _refuse_existing(args)
    if not choices.settings.changed() and not options.shape_voice(args):
        # Who starts it for the first time should hear a changed voice, not their own.
        settings = find_preset(_FIRST_PRESET).apply_to(settings)
        _say(f"Nothing is chosen yet: preset {_FIRST_PRESET!r}. 'rtvc presets' lists others.")
    scene = _scene(args, choices)
    if choices.settings.changed() and settings == choices.settings:
        _say(f"As last time: {options.described(settings.changed())}. --reset forgets it.")

    stated = (choices.chosen | options.stated(args)) & sizes_at_default(settings)
    sizing, sizes = sizing_here(settings, args.profile or choices.profile, stated)
    for sentence in filter(None, (sizes.facts, sizes.doubts)):
        _say(sentence)
    microphone, speaker = scene.remembered or ("", "")
    remembered = Choices(microphone, speaker, settings, sizing.profile.name, sizing.chosen)

    if scene.remembered is not None and _on_panel(args):
        from rtvc.commands import panel

        message = " ".join(filter(None, (scene.advice, sizes.doubts)))
        return panel.run(remembered, sizing, message, remember=not args.no_save)

    display = StatusDisplay(sys.stdout)
    session = Session(scene.endpoint, settings, sizing=sizing)
    try:
        with Keyboard() as keyboard:
            session.start()
            if scene.remembered is not None and not args.no_save:
                save_choices(remembered)
            try:
                _watch(session, scene, keyboard, display, seconds=args.seconds)
            finally:
                session.stop()
                display.clear()
    except BaseException:
        # Ctrl-C is a normal end: the figures and the file are what the run was for.
        if session.stats().blocks:
            _finish(args, scene, session, display.elapsed_s)
        raise
    _finish(args, scene, session, display.elapsed_s)
    return 0


@dataclass(frozen=True, slots=True)
class _Scene:
    """Where sound comes from and goes to.

    Attributes
    ----------
    endpoint
        For the session.
    input, output
        Names for a person.
    remembered
        The devices' names for the next run, None if they are not to be remembered.
    hint
        Tells what is probably wrong, "" if nothing is.
    keep
        Keeps what the run made, and says so.
    advice
        A warning about the devices, "" if there is none.
    """

    endpoint: Endpoint
    input: str
    output: str
    remembered: tuple[str, str] | None
    hint: Callable[[], str]
    keep: Callable[[], str]
    advice: str = ""


def _with_a_voice(settings: Settings, args: argparse.Namespace) -> Settings:
    """Return settings whose voice is there: the built-in one where that of last time has gone."""
    from rtvc.library import BUILT_IN

    try:
        options.require_voice(settings)
    except RtvcError as error:
        if options.shape_voice(args):
            raise
        _say(f"{str(error).rstrip('.')}. It was the voice of last time; using the built-in one.")
        return settings.replace(voice=BUILT_IN[0])
    return settings


def _on_panel(args: argparse.Namespace) -> bool:
    """Return whether a person sits there, to whom the panel can be shown."""
    from rtvc.terminal import is_live

    measured = args.seconds is not None or args.stats is not None
    return not (args.no_tui or measured) and is_live(sys.stdout) and sys.stdin.isatty()


def _scene(args: argparse.Namespace, choices: Choices) -> _Scene:
    """Return the devices that are asked for, or the demonstration where there are none."""
    if args.demo is not None:
        return _demo(args)
    missing = _missing_devices()
    if not missing:
        return _live(args, choices)
    if args.input or args.output:
        raise RtvcError(missing)
    _say(f"No live sound: {missing}.")
    return _demo(args)


def _demo(args: argparse.Namespace) -> _Scene:
    from rtvc.audio.simulated import SimulatedDevice
    from rtvc.demo import claim_file, load_utterance, write_result

    path = claim_file(Path(args.demo or _DEMO_FILE), force=args.force)
    device = SimulatedDevice(load_utterance(), wall_clock=True)
    _say(f"A bundled utterance plays as the microphone, in real time; the result goes to {path}.")

    def keep() -> str:
        write_result(path, device.played)
        return f"The result is in {path}."

    return _Scene(device, "bundled utterance", str(path), None, lambda: "", keep)


def _live(args: argparse.Namespace, choices: Choices) -> _Scene:
    from rtvc.advice import feedback_advice
    from rtvc.audio.live import LiveEndpoint

    microphone, input_name = _device("input", args.input, choices.input)
    speaker, output_name = _device("output", args.output, choices.output)
    endpoint = LiveEndpoint(microphone or None, speaker or None)
    _say(f"From {input_name!r} to {output_name!r}.")
    advice = feedback_advice(input_name, output_name)
    if advice:
        _say(advice)
    return _Scene(
        endpoint,
        input_name,
        output_name,
        (microphone, speaker),
        lambda: endpoint.hint,
        lambda: "",
        advice,
    )


def _device(direction: Direction, asked: str | None, remembered: str) -> tuple[str, str]:
    """Return what to open ("" for the system's default), and the device's name."""
    from rtvc.audio.devices import find_device

    if asked is not None:
        wanted = "" if asked.lower() == "default" else asked
        return wanted, find_device(wanted or None, direction).name
    if remembered:
        try:
            return remembered, find_device(remembered, direction).name
        except UsageError:
            _say(f"{remembered!r}, the {direction} of last time, is not there; using the default.")
    return "", find_device(None, direction).name


def _missing_devices() -> str:
    """Return why live sound is impossible, "" if it is possible."""
    from rtvc.audio.devices import find_device
    from rtvc.audio.portaudio import AudioError

    try:
        find_device(None, "input")
        find_device(None, "output")
    except AudioError as error:
        return str(error)
    return ""


def _watch(
    session: Session,
    scene: _Scene,
    keyboard: Keyboard,
    display: StatusDisplay,
    *,
    seconds: float | None,
) -> None:
    told = ""
    while not session.wait(0.1):
        stats = session.stats()
        news = stats.reason or scene.hint()
        if news and news != told:
            display.note(news)
        told = news
        display.show(stats)
        if "q" in keyboard.pressed().lower():
            return
        if seconds is not None and display.elapsed_s >= seconds:
            return
    if not scene.endpoint.finished:
        raise RtvcError(session.stats().reason or "The engine has ended; start it again.")


def _finish(args: argparse.Namespace, scene: _Scene, session: Session, elapsed_s: float) -> None:
    from rtvc.report import as_json, run_report
    from rtvc.settings_file import write_atomically
    from rtvc.status import summary

    stats = session.stats()
    # Files first: the terminal or the reader of our lines may be gone.
    lines = [summary(stats, elapsed_s), scene.keep()]
    if args.stats:
        names = {"input": scene.input, "output": scene.output}
        report = run_report(session.settings, stats, elapsed_s, names)
        write_atomically(args.stats, as_json(report))
        lines.append(f"The figures are in {args.stats}.")
    print("\n".join(filter(None, lines)))


def _refuse_existing(args: argparse.Namespace) -> None:
    named = [args.stats, Path(args.demo) if args.demo not in (None, _DEMO_FILE) else None]
    for path in named:
        if path is None or (args.force and not path.is_dir()):
            continue
        if path.exists():
            raise UsageError(f"{path} exists already; name another file, or add --force.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
