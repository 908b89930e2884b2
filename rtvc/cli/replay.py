"""``rtvc replay``: renders the last minute that a live run has saved, again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli import options
from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.live.replay import Replay
    from rtvc.setting import Value

SUMMARY = "render the last minute of a live run again"
USAGE = "rtvc replay FOLDER [FLAGS]"
DESCRIPTION = """\
Renders the input of a folder that the flight recorder has saved: the same blocks with the
same changes of settings, so that the output is that of the run, bit for bit, as far as voice,
version and machine are the same. Press w in the panel to save the last minute, or start with
'rtvc run --save-on-fault'.

With settings or a preset, they replace those of the run for its whole length."""
EPILOG = """\
examples:
  rtvc replay rtvc-minute-2026-11-30-201500
  rtvc replay rtvc-minute-2026-11-30-201500 --output again.wav
  rtvc replay rtvc-minute-2026-11-30-201500 --gate -50 --output gate.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "folder", metavar="FOLDER", type=options.file_path, help="a folder that was saved"
    )
    parser.add_argument(
        "--output",
        type=options.file_path,
        metavar="FILE",
        help="sound file to write; by default none",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file of --output")
    options.add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.audio.endpoint import ENGINE_RATE
    from rtvc.audio.sound_file import require_new, require_rate
    from rtvc.config.presets import applied_names
    from rtvc.library.open_voice import find_voice
    from rtvc.live.replay import load, replay
    from rtvc.settings import Settings

    chosen = options.chosen(args, Settings())
    names = chosen.stated if args.preset is None else chosen.stated | applied_names(chosen.stated)
    changes: dict[str, Value] = {name: getattr(chosen.settings, name) for name in names}
    if "voice" in changes:
        options.require_voice(chosen.settings)
    if args.output is not None:
        require_rate(args.output, ENGINE_RATE)
        require_new(args.output, overwrite=args.force)
    rendered = replay(load(args.folder), find_voice, changes)
    if args.output is not None:
        _write(args.output, rendered, force=args.force)
    print(_summary(rendered, changed=bool(changes)))
    if args.output is not None:
        print(f"Wrote {args.output}.", file=sys.stderr)
    return 0


def _write(path: Path, rendered: Replay, *, force: bool) -> None:
    from rtvc.audio.endpoint import ENGINE_RATE
    from rtvc.audio.sound_file import SoundSink

    sink = SoundSink(path, ENGINE_RATE, overwrite=force)
    try:
        sink.write(rendered.output)
    except RtvcError:
        sink.discard()
        raise
    sink.finish()


def _summary(rendered: Replay, *, changed: bool) -> str:
    if changed:
        return f"{rendered.rendered} blocks rendered with other settings."
    lines = [
        f"{rendered.rendered} blocks rendered; {rendered.identical} are identical to the run, "
        "bit for bit."
    ]
    if rendered.identical < rendered.rendered:
        lines.append(
            "The noise suppression adapts again, so the first seconds differ."
            if rendered.approximate
            else "Voice, version of rtvc or machine are not those of the run."
        )
    if rendered.unknown:
        lines.append(f"Blocks that depend on audio no longer in memory: {rendered.unknown}.")
    if rendered.changed:
        lines.append(
            "Blocks of the run that were not played whole and in time (dropped, shortened, or "
            f"joined to concealment): {rendered.changed}."
        )
    return "\n".join(lines)
