"""``rtvc convert``: converts sound files with the engine of a live run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli import options
from rtvc.errors import RtvcError, UsageError
from rtvc.settings import Settings

if TYPE_CHECKING:
    from rtvc.engine.voice import Voice

_LOWEST_RATE = 1000  # below it the number is in kHz, or mistyped
SUMMARY = "change the voice in sound files"
USAGE = "rtvc convert IN... OUT [FLAGS]"
DESCRIPTION = """\
Changes the voice in sound files of any format and sample rate that libsndfile reads.
One input file is written to the file OUT. Several files, or folders with everything in
them, are written to the folder OUT under their own names. The output is mono and has the
length of the input. Only the defaults, the preset and the flags apply, not the remembered
settings of a live run: the same command always gives the same result."""
EPILOG = """\
examples:
  rtvc convert talk.wav deep.flac --preset deep
  rtvc convert talk.wav out.wav --pitch 5 --formant 2 --rate 44100
  rtvc convert a.wav b.ogg recordings/ converted/ --preset robot
  rtvc convert talk.wav out.wav --preset whisper --seed 7 --force
  rtvc convert song.wav out.wav --voice anna --quality offline"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "inputs", metavar="IN", nargs="+", type=Path, help="input files and folders"
    )
    parser.add_argument("target", metavar="OUT", type=Path, help="output file or folder")
    parser.add_argument("--rate", type=_rate, metavar="HZ", help="sample rate of the output")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument(
        "--quality",
        choices=("live", "offline"),
        default="live",
        help="live: the result of a live run; offline: an RVC voice converts whole phrases, which "
        "sounds better and takes more memory (default live)",
    )
    options.add_settings(parser)


def _rate(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < _LOWEST_RATE:
        raise UsageError(
            f"--rate is {text!r}, but must be a whole number of Hz from {_LOWEST_RATE}, "
            "such as 44100."
        )
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.cli.convert_jobs import plan
    from rtvc.cli.terminal import ProgressBar
    from rtvc.library.open_voice import find_voice

    settings = options.chosen(args, Settings()).settings
    options.require_voice(settings)
    jobs = plan(args.inputs, args.target)
    voice = find_voice(settings.voice)
    failed = 0
    bar = ProgressBar(sys.stderr)
    for number, (source, target) in enumerate(jobs, start=1):
        title = f"{number}/{len(jobs)} {source.name}" if len(jobs) > 1 else source.name
        try:
            job = _Job(source, target, settings, args)
            speed = _convert(job, voice, partial(bar.show, title))
            bar.note(f"{source} -> {target}, {speed:.1f} x real time")
        except RtvcError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            bar.note(f"rtvc: {error}")
        finally:
            bar.clear()
    if len(jobs) > 1:
        print(f"{len(jobs) - failed} of {len(jobs)} files converted.", file=sys.stderr)
    return 1 if failed else 0


@dataclass(frozen=True, slots=True)
class _Job:
    """One conversion: files, settings and the other arguments."""

    source: Path
    target: Path
    settings: Settings
    args: argparse.Namespace


def _convert(job: _Job, voice: Voice, show: Callable[[float, float], None]) -> float:
    """Convert one file and return the speed as a multiple of real time.

    Raises
    ------
    RtvcError
        If it cannot be read, converted or written.
    """
    from rtvc.audio.file_endpoint import FileEndpoint
    from rtvc.session import Session

    job.target.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    prepared = _prepared(job, voice, lambda share: show(share, time.monotonic() - began))
    endpoint = FileEndpoint(job.source, job.target, rate=job.args.rate, overwrite=job.args.force)
    session = Session(endpoint, job.settings, lambda name: prepared)
    try:
        session.start()
        while not session.wait(0.1):
            if prepared is voice:
                show(endpoint.progress, time.monotonic() - began)
        failure = session.stats().reason
    finally:
        session.stop()
        # After an interrupt during start() the files are open but the session is not started.
        endpoint.stop()
    if not endpoint.complete:
        raise RtvcError(f"{job.source} was not converted. {failure}")
    return endpoint.now() / (time.monotonic() - began)


def _prepared(job: _Job, voice: Voice, show: Callable[[float], None]) -> Voice:
    """Return the voice or, for offline quality, the whole file converted by it.

    A continuous voice is returned as it is: whole phrases would not improve it.
    """
    if job.args.quality == "live" or voice.continuous:
        return voice
    from rtvc.audio.endpoint import ENGINE_RATE
    from rtvc.audio.sound_file import SoundSink, read_whole
    from rtvc.engine.rvc import offline
    from rtvc.engine.rvc.voice import RvcVoice

    assert isinstance(voice, RvcVoice)
    # An output that cannot be written is reported before the work, not after it.
    SoundSink(job.target, job.args.rate or ENGINE_RATE, overwrite=job.args.force).discard()
    return offline.convert(voice, read_whole(job.source, voice.input_rate), job.settings, show)
