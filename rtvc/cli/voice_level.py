"""Measure how loud voices are, and let them remember the trim that makes them equally loud."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError, UsageError

if TYPE_CHECKING:
    from rtvc._types import Float32
    from rtvc.cli.terminal import ProgressBar
    from rtvc.library.voices import InstalledVoice
    from rtvc.settings import Settings

_BELOW_DB = 24.0
_PIECE_S = 0.25
"""Seconds of the utterance between two updates of the progress, and until Ctrl-C acts."""


def add_level(action: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``rtvc voices level``."""
    parser = action(
        "level",
        "measure the loudness of voices, and trim them to be equally loud",
        usage="level [NAME ...]",
        epilog="  rtvc voices level                             all voices\n"
        "  rtvc voices level Anna",
    )
    parser.add_argument("voices", metavar="NAME", nargs="*", help="names of voices (default: all)")


def add_no_level(parser: argparse.ArgumentParser) -> None:
    """Add ``--no-level`` to an action that installs a voice."""
    parser.add_argument(
        "--no-level",
        action="store_true",
        help="do not measure the loudness of the new voice; 'rtvc voices level' does it later",
    )


def run_level(args: argparse.Namespace) -> int:
    """Run ``rtvc voices level``, and return the exit code."""
    from rtvc.library import installed_voice, list_voices

    voices = [installed_voice(name).name for name in args.voices]
    voices = voices or [voice.name for voice in list_voices()[0]]
    if not voices:
        raise UsageError("There are no RVC voices. Add one with 'rtvc voices add FILE'.")
    return 1 if _level_all(voices) else 0


def level_new(voices: Sequence[InstalledVoice]) -> None:
    """Measure the loudness of voices that were just installed, and print their trims.

    They stay as they are if they have a trim already, base models are missing, the measurement
    fails, or Ctrl-C ends it; a sentence says so.
    """
    from rtvc.library import missing_models
    from rtvc.library.voice_defaults import find_defaults

    names, waiting = [], []
    for voice in voices:
        values, _ = find_defaults(voice.name)
        if isinstance(trim := values.get("trim"), float):
            print(
                f"{voice.name!r} keeps its trim of {trim:+.1f} dB. Measure it again: "
                f"{_command([voice.name])}"
            )
        elif missing_models(voice.manifest, "swift"):
            waiting.append(voice.name)
        else:
            names.append(voice.name)
    if waiting:
        print(f"With the base models, trim it to the loudness of others: {_command(waiting)}")
    try:
        _level_all(names, " (Ctrl-C skips it)")
    except KeyboardInterrupt:
        print(f"Skipped. Measure the loudness later: {_command(names)}", file=sys.stderr)


def _command(names: list[str]) -> str:
    return f"rtvc voices level {shlex.join(names)}"


def _level_all(names: list[str], hint: str = "") -> int:
    """Measure voices, print the results, and return how many failed."""
    from rtvc.cli.terminal import ProgressBar

    bar = ProgressBar(sys.stderr)
    failed = 0
    for number, name in enumerate(names, 1):
        count = f" ({number} of {len(names)})" if len(names) > 1 else ""
        bar.note(f"Measuring the loudness of {name!r}{count} ...{hint}")
        try:
            _level(name, bar)
        except RtvcError as error:
            failed += 1
            bar.note(f"rtvc: {error}")
        finally:
            bar.clear()
    return failed


def _level(name: str, bar: ProgressBar) -> None:
    import numpy as np

    from rtvc.audio.integrated_loudness import integrated_loudness
    from rtvc.library.voice_defaults import change_defaults, find_defaults, own_settings
    from rtvc.live.demo import load_utterance
    from rtvc.settings import SETTINGS

    if damage := find_defaults(name)[1]:
        raise RtvcError(f"{damage} Correct or remove the file first.")
    utterance = load_utterance()
    # Below the limiter, which would make a loud voice look softer than it is.
    settings = own_settings(name).replace(trim=0.0, output_gain=-_BELOW_DB)
    loudness = integrated_loudness(_converted(utterance, settings, bar)) + _BELOW_DB
    if not np.isfinite(loudness):
        raise RtvcError(f"{name!r} outputs silence for the bundled utterance, so it has no trim.")
    setting = SETTINGS["trim"]
    trim = round(integrated_loudness(utterance) - loudness, 1)
    trim = min(max(trim, setting.low), setting.high)
    change_defaults(name, {"trim": trim})
    limited = " (the largest)" if trim in (setting.low, setting.high) else ""
    bar.clear()
    print(
        f"{name!r}: {loudness:.1f} LUFS, trim {trim:+.1f} dB{limited}. "
        f"Undo: rtvc voices set {shlex.quote(name)} trim="
    )


def _converted(utterance: Float32, settings: Settings, bar: ProgressBar) -> Float32:
    """Return the utterance in a voice, as `rtvc.convert` does, with the progress."""
    import numpy as np

    from rtvc.audio.integrated_loudness import RATE
    from rtvc.conversion import Converter

    began, size = time.monotonic(), round(_PIECE_S * RATE)
    bar.show("Loudness", 0.0, 0.0)
    converter = Converter(settings.voice, settings, sample_rate=RATE)
    pieces = []
    for at in range(0, utterance.size, size):
        pieces.append(converter.process(utterance[at : at + size]))
        bar.show("Loudness", (at + size) / utterance.size, time.monotonic() - began)
    return np.concatenate([*pieces, converter.flush()])
