"""``rtvc convert``: converts sound files with the engine of a live run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli import options
from rtvc.device_choice import MIX
from rtvc.errors import RtvcError, UsageError, escaped
from rtvc.settings import BUILT_IN, Settings

if TYPE_CHECKING:
    from rtvc.cli.convert_file import Options, Outcome
    from rtvc.cli.convert_jobs import Plan
    from rtvc.engine.voice import Voice

_LOWEST_RATE = 1000  # below it the number is in kHz, or mistyped
_NAMED = 20
"""Files of one kind that the summary names; --json names all."""
SUMMARY = "change the voice in sound files"
USAGE = "rtvc convert IN... OUT [FLAGS]"
DESCRIPTION = """\
Changes the voice in sound files of any format and sample rate that libsndfile reads, and
of others, such as m4a, mp4 and webm, if ffmpeg is installed (on a Mac, m4a needs nothing).
One input file is written to the file OUT. Several files, or folders with everything in
them, are written to the folder OUT under their own names, and so is one file if OUT has no
extension. OUT is made if it does not exist. '-' is standard input or output.
The output is mono and has the length of the input. Only the defaults, the preset and the
flags apply, not the remembered settings of a live run: the same command always gives the
same result. Unless you set --gate, it is lowered for quiet recordings.

The exit code is 1 if a file fails, is cut short or damaged, or if the result lacks most of
the sound. What can be read of such a file is written to NAME.incomplete.SUFFIX."""
EPILOG = """\
examples:
  rtvc convert talk.wav deep.flac --preset deep
  rtvc convert talk.wav out.wav --pitch 5 --formant 2 --rate 44100
  rtvc convert a.wav b.ogg recordings/ converted/ --preset robot
  rtvc convert talk.wav out.wav --preset whisper --seed 7 --force
  rtvc convert song.wav out.wav --voice anna --quality offline
  rtvc convert interview.wav out.wav --input-channel 2 --preset deep
  rtvc convert - out.wav --preset deep"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "inputs", metavar="IN", nargs="+", type=_path, help="input files and folders"
    )
    parser.add_argument("target", metavar="OUT", type=_path, help="output file or folder")
    parser.add_argument(
        "--rate",
        type=_rate,
        metavar="HZ",
        help="sample rate of the output (default that of the input)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument(
        "--quality",
        choices=("live", "offline"),
        default="live",
        help="live: the result of a live run; offline: an RVC voice converts whole phrases, with "
        "what follows each moment, and takes more memory (default live)",
    )
    options.add_input_channel(parser, "of all channels that have sound (default mix)", MIX)
    parser.add_argument(
        "--raw",
        action="store_true",
        help="'-' is raw float32 samples (mono, little-endian) at --rate, 48000 by default, "
        "instead of a sound file",
    )
    parser.add_argument(
        "--json", action="store_true", help="print what became of each file as JSON"
    )
    options.add_settings(parser)


def _path(text: str) -> Path:
    """Return a path; './-' is a file, unlike '-', which would be the same path."""
    path = options.file_path(text)
    return path.absolute() if str(path) == "-" != text else path


def _rate(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < _LOWEST_RATE:
        raise UsageError(
            f"--rate is {text!r}, but must be a whole number of Hz from {_LOWEST_RATE}, "
            "such as 44100."
        )
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.cli.convert_file import Options, as_dict
    from rtvc.cli.convert_jobs import make_plan
    from rtvc.cli.terminal import discard_library_messages
    from rtvc.library.preset_morph import resolve_morph

    chosen = options.chosen(args, Settings())
    options.require_voice(chosen.settings)
    _check_standard_streams(args)
    with discard_library_messages():
        plan = make_plan(args.inputs, args.target)
        settings = resolve_morph(chosen.settings)
        voice = _load(settings.voice_to_load)
        if ignored := options.without_effect(chosen, voice.features):
            print(f"{ignored} no effect on files with this voice.", file=sys.stderr)
        if args.quality == "offline" and chosen.settings.voice == BUILT_IN:
            print(
                "The built-in voice has no offline quality: its result is that of a live run.",
                file=sys.stderr,
            )
        outcomes, failure = _convert_all(
            plan,
            Options(
                settings,
                "gate" in chosen.stated,
                args.rate,
                args.force,
                args.quality == "offline",
                args.input_channel,
                args.raw,
            ),
            voice,
        )
    if args.json:
        print(json.dumps([as_dict(outcome) for outcome in outcomes], indent=2))
    if failure is not None:
        raise failure
    if len(plan.jobs) > 1 or plan.skipped:
        _print_summary(outcomes)
    return int(any(outcome.status in ("incomplete", "failed") for outcome in outcomes))


def _load(name: str) -> Voice:
    """Load a voice, and report what the self-test of the device has found."""
    from rtvc.library.open_voice import find_voice

    voice = find_voice(name)
    if notice := getattr(voice, "notice", ""):
        print(notice, file=sys.stderr)
    return voice


def _check_standard_streams(args: argparse.Namespace) -> None:
    standard = Path("-")
    if args.raw and standard not in (*args.inputs, args.target):
        raise UsageError("--raw is for standard input and output: give '-' as IN or OUT.")
    if args.target == standard and args.json:
        raise UsageError("--json and '-' as OUT both use standard output. Leave one out.")
    if args.target == standard and sys.__stdout__ is None:
        raise UsageError("Standard output is closed. Give a file as OUT, or open it.")
    if args.target == standard and sys.stdout.isatty():
        raise UsageError(
            "Standard output is a terminal. Send it to a file or a program: 'rtvc convert "
            "talk.wav - > out.wav'."
        )


def _convert_all(
    plan: Plan, wanted: Options, voice: Voice
) -> tuple[list[Outcome], Exception | None]:
    """Convert all files, print a line about each, and return the outcomes.

    The error of the only file is returned instead of printed, for the exit code.
    """
    from rtvc.cli.convert_file import Outcome, convert_file
    from rtvc.cli.terminal import ProgressBar

    outcomes: list[Outcome] = []
    failure: Exception | None = None
    bar = ProgressBar(sys.stderr)
    count = len(plan.jobs)
    for number, job in enumerate(plan.jobs, start=1):
        name = escaped(job.source.name)
        title = f"{number}/{count} {name}" if count > 1 else name

        def show(share: float, elapsed_s: float, doing: str, title: str = title) -> None:
            bar.show(f"{title} {doing}".rstrip(), share, elapsed_s)

        try:
            outcome = convert_file(job, wanted, voice, show)
            bar.note(f"{outcome.source} -> {outcome.target}, {outcome.speed:.1f} x real time")
            for note in outcome.notes:
                bar.note(note)
        except BrokenPipeError:
            raise
        except Exception as error:
            outcome = Outcome(str(job.source), "", "failed", _reason(error))
            failure = error if count == 1 else None
        finally:
            bar.clear()
        if outcome.reason and failure is None:
            bar.note(f"rtvc: {outcome.reason}")
        outcomes.append(outcome)
    skipped = (Outcome(str(one.source), "", "skipped", one.reason) for one in plan.skipped)
    return [*outcomes, *skipped], failure


def _reason(error: Exception) -> str:
    if isinstance(error, RtvcError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"Unexpected {type(error).__name__}: {error}. This is a bug in rtvc."


def _print_summary(outcomes: Sequence[Outcome]) -> None:
    """Print what became of all files, as a table."""
    by_status: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_status.setdefault(outcome.status, []).append(outcome)
    lines = []
    for status in ("incomplete", "failed"):
        lines += [f"{status:10}  {escaped(one.source)}" for one in by_status.get(status, ())]
    skipped: dict[str, list[str]] = {}
    for one in by_status.get("skipped", ()):
        skipped.setdefault(one.reason, []).append(escaped(Path(one.source).name))
    for reason, names in skipped.items():
        more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"{'skipped':10}  {', '.join(names[:_NAMED])}{more}: {reason}")
    tried = sum(outcome.status != "skipped" for outcome in outcomes)
    counts = [f"{len(by_status.get('converted', ()))} of {tried} files converted"]
    counts += [
        f"{len(by_status[status])} {status}"
        for status in ("incomplete", "failed", "skipped")
        if status in by_status
    ]
    print("\n".join([*lines, f"{', '.join(counts)}."]), file=sys.stderr)
