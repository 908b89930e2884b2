"""What ``rtvc run`` refuses before it starts."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli import run_devices
from rtvc.errors import RtvcError, UsageError
from rtvc.system.path_key import path_key
from rtvc.system.target_folder import require_folder_of

if TYPE_CHECKING:
    from rtvc.config.recording_choice import RecordingChoice
    from rtvc.settings import Settings


def refuse_contradictions(args: argparse.Namespace) -> None:
    """Refuse flags that exclude each other."""
    if args.demo is not None and (args.input or args.input_channel or args.output or args.monitor):
        raise UsageError(
            "--demo uses no devices: leave out --input, --input-channel, --output and --monitor."
        )
    if args.plain and (args.demo is not None or args.stats):
        raise UsageError("--plain has no --demo and no --stats: use --no-tui with them.")
    if args.fps and (args.plain or args.no_tui):
        raise UsageError("--fps is for the panel: leave it out, or --plain and --no-tui.")
    if args.cable and (args.demo is not None or args.output):
        raise UsageError("--cable is the output: leave out --output and --demo.")
    if args.save_on_fault and args.no_flight_recorder:
        raise UsageError("--save-on-fault needs the flight recorder: leave one flag out.")


def refuse_dry(args: argparse.Namespace, settings: Settings) -> None:
    """Refuse what outputs your own voice in a run that never does."""
    if args.never_dry and (settings.mode == "dry" or args.fail_open):
        flag = "--fail-open" if args.fail_open else "--mode dry"
        raise UsageError(f"{flag} outputs your own voice: leave it out, or --never-dry.")


def refuse_shared_files(args: argparse.Namespace, recording: RecordingChoice) -> None:
    """Refuse one file for two of ``--demo``, ``--stats`` and ``--record``."""
    if args.stats == Path("-"):
        raise UsageError("--stats writes a file: give its name instead of '-'.")
    named = [Path(args.demo)] if args.demo is not None else []
    named += [args.stats] if args.stats else []
    if args.record is not None:
        named += recording.paths(None if args.record == Path() else args.record).values()
    for number, path in enumerate(named):
        if path_key(path) in map(path_key, named[:number]):
            raise UsageError(f"{path} is named twice: give --demo, --stats and --record own files.")


def refuse_existing(args: argparse.Namespace) -> None:
    """Refuse files that exist, without ``--force``, and those that could not be written."""
    named = [
        args.stats,
        Path(args.demo) if args.demo not in (None, run_devices.DEMO_FILE) else None,
    ]
    for path in named:
        if path is None or not path.exists():
            continue
        if not path.is_file():
            raise UsageError(f"{path} is not a file that can be replaced. Choose another name.")
        if not args.force:
            raise UsageError(f"{path} exists already. Choose another file, or add --force.")
    if args.stats:
        _refuse_unwritable(args.stats)
    if args.demo is not None:
        from rtvc.live.demo import check_file

        check_file(Path(args.demo))


def _refuse_unwritable(path: Path) -> None:
    """Report before the run that its statistics could not be written after it."""
    require_folder_of(path)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RtvcError(
            f"{path} cannot be written: {error.strerror}. Choose another file."
        ) from None
