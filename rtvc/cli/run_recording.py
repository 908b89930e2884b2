"""The flags of ``rtvc run`` for recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli import options
from rtvc.errors import RtvcError
from rtvc.system.target_folder import require_folder_of

if TYPE_CHECKING:
    from rtvc.config.recording_choice import RecordingChoice
    from rtvc.live.flight_recorder import FlightRecorder
    from rtvc.live.recorder import Recorder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    group = parser.add_argument_group("recording (nothing is recorded unless you ask for it)")
    group.add_argument(
        "--record",
        nargs="?",
        const=Path(),
        type=options.file_path,
        metavar="FILE",
        help="record from the start, to FILE (.wav, .flac, .ogg, .opus, .mp3 or .aiff), or to the "
        "folder and name below; a number is added to the name of a file that exists",
    )
    group.add_argument(
        "--record-what",
        choices=("output", "input", "both"),
        metavar="WHAT",
        help="output, input (your own voice), or both, in a file each; the file of the input ends "
        "in '-input'; remembered (default output)",
    )
    group.add_argument(
        "--record-folder",
        metavar="FOLDER",
        help="folder of recordings, '.' for the current one; remembered (default the current one)",
    )
    group.add_argument(
        "--record-name",
        metavar="NAME",
        help="name of recordings, which may contain codes of strftime such as %%Y-%%m-%%d; "
        "remembered (default rtvc-recording.wav)",
    )
    group = parser.add_argument_group("the last minute (in memory only, until it is saved)")
    group.add_argument(
        "--save-on-fault",
        action="store_true",
        help="write the last minute of input, output, settings and times to a folder next to the "
        "recordings after a late block, a failed step, an underrun or a lost device; w in the "
        "panel writes it at any time, and 'rtvc replay FOLDER' renders it again",
    )
    group.add_argument(
        "--no-flight-recorder", action="store_true", help="do not keep the last minute in memory"
    )


def recording_choice(args: argparse.Namespace, remembered: RecordingChoice) -> RecordingChoice:
    """Return what to record and where: the flags, and what is remembered.

    Raises
    ------
    UsageError
        If the name is no name of a sound file, or its folder does not exist.
    """
    import dataclasses

    changes = {
        "what": args.record_what,
        "folder": _folder(args.record_folder),
        "name": args.record_name,
    }
    choice = dataclasses.replace(
        remembered, **{name: value for name, value in changes.items() if value is not None}
    )
    named = [Path(choice.name)] if args.record_name is not None else []
    if args.record is not None and args.record != Path():
        named.append(args.record)
        require_folder_of(args.record)
    if named:
        from rtvc.audio.endpoint import ENGINE_RATE
        from rtvc.audio.sound_file import require_rate

        for path in named:
            require_rate(path, ENGINE_RATE)
    return choice


def start_recording(args: argparse.Namespace, recorder: Recorder) -> None:
    """Start recording if ``--record`` is given, and print where.

    Raises
    ------
    RtvcError
        If the file cannot be written.
    """
    if args.record is not None:
        files = recorder.start(None if args.record == Path() else args.record)
        print(f"Recording to {files}.", file=sys.stderr, flush=True)


def stop_recording(recorder: Recorder, flight: FlightRecorder | None) -> str:
    """Stop the recording, if there is one, and return messages about what was saved, or ""."""
    saved = flight.take_message() if flight is not None else ""
    try:
        recorded = recorder.stop() if recorder.files else ""
    except RtvcError as error:
        recorded = str(error)
    return "\n".join(filter(None, (recorded, saved)))


def flight_recorder(args: argparse.Namespace, choice: RecordingChoice) -> FlightRecorder | None:
    """Return what keeps the last minute, None if nothing is to."""
    if args.no_flight_recorder:
        return None
    from rtvc.live.flight_recorder import FlightRecorder

    return FlightRecorder(choice.directory, save_on_fault=args.save_on_fault)


def _folder(text: str | None) -> str | None:
    if text is None:
        return None
    return "" if text == "." else str(options.file_path(text).absolute())
