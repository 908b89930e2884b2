"""``rtvc run``: live conversion, from the microphone to the speaker."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import threading
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING

from rtvc.cli import options, run_checks, run_devices, run_recording, run_status_line
from rtvc.cli.guarded import GuardLink
from rtvc.cli.run_devices import RunDevices, print_note
from rtvc.errors import MissingPackageError, RtvcError

if TYPE_CHECKING:
    from rtvc.calibration.sizing import Sizing
    from rtvc.config.remembered import RememberedRun
    from rtvc.live.controller import Controller
    from rtvc.settings import Settings

SUMMARY = "change your voice live (the default command)"
USAGE = "rtvc run [FLAGS]"
DESCRIPTION = """\
Converts the microphone to another voice and plays it on the speaker until you press q
or Ctrl-C. In a terminal it opens the panel, where ? lists all keys. Settings and devices
are remembered for the next run.

Unless you set them, block and headroom settle within 20 s of speech on the least that this
machine keeps, beginning with what an earlier run or 'rtvc calibrate' has found; --latency
constant leaves them as they are at the start. If steps are late repeatedly, rtvc reduces
the work (shorter context, no retrieval, cheaper pitch estimator, longer block), reports it,
and returns to your settings when there is headroom.

Wear headphones. Otherwise the microphone picks up the speaker. To use the voice in a
call, select a virtual cable such as BlackHole as the output and your headphones as the
monitor, and select the cable as the microphone of the call.

Without a sound device, rtvc waits for one. On a machine without any sound system, and
without the panel and --plain, it plays a bundled utterance and writes the result to a file."""
EPILOG = """\
examples:
  rtvc run --preset deep
  rtvc run --pitch 4 --formant 2 --input "USB" --output "BlackHole"
  rtvc run --input "Scarlett" --input-channel 3       the third input of an interface
  rtvc run --output "BlackHole" --monitor "Headphones"
  rtvc run --preset robot --block 60 --headroom 40    lower latency, more CPU load
  rtvc run --voice Anna --profile fast                lower latency, as calibrated
  rtvc run --record talk.flac --record-what both      the voice, and your own, in two files
  rtvc run --seconds 60 --stats stats.json            measure a run of one minute
  rtvc run --plain                                    lines of text, for a screen reader
  rtvc run --demo                                     convert the bundled utterance"""
_FIRST_PRESET = "deep"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    devices = parser.add_argument_group("devices ('rtvc devices' lists them)")
    devices.add_argument("--input", metavar="NAME", help="microphone: name, part of it, or number")
    options.add_live_input_channel(devices)
    devices.add_argument("--output", metavar="NAME", help="speaker: name, part of it, or number")
    devices.add_argument(
        "--monitor",
        metavar="NAME",
        help="second speaker on which you hear yourself, next to a virtual cable; 'default': the "
        "system's; 'off': none",
    )
    devices.add_argument(
        "--cable",
        action="store_true",
        help="play into the virtual cable of 'rtvc cable' (Linux), and make its end the default "
        "microphone of the system while rtvc runs",
    )
    devices.add_argument(
        "--demo",
        nargs="?",
        const=run_devices.DEMO_FILE,
        type=os.path.expanduser,
        metavar="FILE",
        help="use no devices: convert a bundled utterance to FILE "
        f"(default {run_devices.DEMO_FILE})",
    )
    course = parser.add_argument_group("run")
    course.add_argument("--seconds", type=options.seconds, metavar="N", help="stop after N seconds")
    course.add_argument(
        "--no-tui",
        action="store_true",
        help="a status line instead of the panel; also the default when the output is not a "
        "terminal, and with --seconds, --stats or --demo",
    )
    course.add_argument(
        "--plain",
        action="store_true",
        help="print only what changes, a line each, for screen readers and pipes; m mutes, space "
        "is your own voice, 1 to 9 load presets, r records, q quits, and :help lists commands. If "
        "the input is no terminal, each line is a command, and the run ends when a pipe closes",
    )
    course.add_argument(
        "--fps",
        type=options.frames_per_second,
        metavar="N",
        help="most frames per second of the panel, 1 to 60 (default 15); on a slow line there are "
        "fewer by themselves",
    )
    course.add_argument(
        "--stats",
        type=options.file_path,
        metavar="FILE",
        help="write statistics, health and advice to FILE as JSON, every 5 s and at the end",
    )
    course.add_argument(
        "--force", action="store_true", help="overwrite the files of --stats and --demo"
    )
    course.add_argument(
        "--reset",
        action="store_true",
        help="ignore the remembered devices and settings; start as on the first run",
    )
    course.add_argument(
        "--no-save",
        action="store_true",
        help="do not remember the devices and settings of this run",
    )
    course.add_argument(
        "--fail-open",
        action="store_true",
        help="output your own voice instead of silence while a failure keeps rtvc from converting; "
        "never remembered",
    )
    course.add_argument(
        "--confirm-dry",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="ask in the panel and with --plain before your own voice is output for the first time "
        "in a run (default: yes); never remembered",
    )
    course.add_argument(
        "--never-dry",
        action="store_true",
        help="never output your own voice in this run: no key, setting or failure does",
    )
    run_recording.add_arguments(parser)
    options.add_profile(parser)
    options.add_compute(parser)
    options.add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    run_checks.refuse_contradictions(args)
    with run_devices.cable(args), ExitStack() as until_the_end:
        return _run(args, until_the_end)


def _preset_note() -> str:
    """Return which preset is used where no setting is given or remembered."""
    from rtvc.config.remembered import remembered_path

    begin = "Starting with" if remembered_path().exists() else "First run: using"
    return f"{begin} preset {_FIRST_PRESET!r}. 'rtvc presets' lists all presets."


def _run(args: argparse.Namespace, until_the_end: ExitStack) -> int:
    link = GuardLink()
    if link.saved and not args.no_save:
        # After a crash: the settings of that moment are newer than the flags.
        options.forget_flags(args)
    on_panel = _on_panel(args)
    if on_panel:
        # In parallel with the search for devices: each takes 0.1 s or more.
        threading.Thread(target=import_module, args=("rtvc.tui.app",), daemon=True).start()
    from rtvc.calibration.sizing import sizes_at_default
    from rtvc.config.presets import find_preset
    from rtvc.library.voice_defaults import turned_names
    from rtvc.live.devices import device_label
    from rtvc.live.other_runs import claim_output
    from rtvc.live.recorder import unfinished_recordings
    from rtvc.live.startup_sizing import startup_sizing

    options.choose_device(args, remember=not args.no_save)
    remembered = _last_run(args)
    chosen = options.chosen(args, remembered.settings, remembered.preset)
    recording = run_recording.recording_choice(args, remembered.recording)
    settings, preset = chosen.settings, chosen.preset
    run_checks.refuse_dry(args, settings)
    _check_voice(settings, args)
    run_checks.refuse_shared_files(args, recording)
    run_checks.refuse_existing(args)
    if not (link.saved or remembered.settings.changed() or options.shape_voice(args)):
        # Without settings that change it you would hear your own voice.
        settings, preset = find_preset(_FIRST_PRESET).apply_to(settings), _FIRST_PRESET
        print_note(_preset_note())
    waiting = on_panel or args.plain
    devices = run_devices.find_devices(args, remembered, echo=settings.echo, waiting=waiting)
    if remembered.settings.changed() and settings == remembered.settings:
        print_note(f"Restored: {options.described(settings.changed())} (--reset starts fresh).")
    twice = ""
    if devices.live:
        output = "the virtual cable" if args.cable else device_label(devices.choice.output)
        twice = until_the_end.enter_context(claim_output(output))
    if link.muted:
        settings = settings.replace(mode="muted")
    link.report(settings.mode)
    stated = (remembered.chosen | chosen.stated) & sizes_at_default(settings)
    sizing, sizes = startup_sizing(settings, args.profile or remembered.profile, stated)
    unfinished = unfinished_recordings()
    for sentence in filter(None, (twice, sizes.notes, sizes.warnings, unfinished)):
        print_note(sentence)
    remembered = dataclasses.replace(
        devices.choice.remembered(remembered),
        settings=settings,
        preset=preset,
        turned=turned_names(settings),
        profile=sizing.profile.name,
        chosen=sizing.chosen,
        recording=recording,
    )
    if not (on_panel or args.plain):
        return run_status_line.run(args, devices, remembered, sizing, link)
    controller = _controller(args, devices, remembered, sizing, link)
    run_recording.start_recording(args, controller.recorder)
    if args.plain:
        from rtvc.cli import plain

        # The other notes are printed already.
        check_voice = options.require_voice
        return plain.run(
            controller,
            link.message,
            seconds=args.seconds,
            check_voice=check_voice,
            confirm_dry=args.confirm_dry,
        )
    from rtvc.cli import panel

    notes = (devices.advice, link.message, twice, sizes.warnings, unfinished)
    message = " ".join(filter(None, notes))
    return panel.run(controller, message, fps=args.fps, confirm_dry=args.confirm_dry)


def _last_run(args: argparse.Namespace) -> RememberedRun:
    """Return the remembered run, with what its voice remembers now, and print what is wrong."""
    from rtvc.config.remembered import RememberedRun, load_remembered
    from rtvc.library.voice_defaults import find_defaults, updated_run

    remembered, sentence = (RememberedRun(), "") if args.reset else load_remembered()
    damage = "" if options.shape_voice(args) else find_defaults(remembered.settings.voice)[1]
    for note in filter(None, (sentence, damage)):
        print_note(note)
    return updated_run(remembered)


def _controller(
    args: argparse.Namespace,
    devices: RunDevices,
    remembered: RememberedRun,
    sizing: Sizing,
    link: GuardLink,
) -> Controller:
    from rtvc.live.controller import Controller
    from rtvc.live.devices import SystemDevices

    return Controller(
        SystemDevices(),
        remembered,
        selection=devices.choice,
        sizing=sizing,
        remember=not args.no_save,
        flight=run_recording.flight_recorder(args, remembered.recording),
        report=link.report,
        fail_open=args.fail_open,
        never_dry=args.never_dry,
    )


def _check_voice(settings: Settings, args: argparse.Namespace) -> None:
    """Report a missing voice; with a remembered one, the run starts muted and waits for it."""
    from rtvc.audio.echo_canceller import require_canceller

    if args.demo is None:
        require_canceller(settings.echo)
    try:
        options.require_voice(settings)
    except MissingPackageError:
        raise
    except RtvcError as error:
        if options.shape_voice(args):
            raise
        print_note(
            f"No voice: {error} The output is muted until it is back, or you choose another one "
            "(--voice NAME)."
        )


def _on_panel(args: argparse.Namespace) -> bool:
    """Return whether to open the panel: the terminal is interactive and no flag is against it."""
    from rtvc.cli.terminal import is_live

    plain = args.no_tui or args.plain or args.demo is not None
    measured = args.seconds is not None or args.stats is not None
    return not (plain or measured) and is_live(sys.stdout) and sys.stdin.isatty()
