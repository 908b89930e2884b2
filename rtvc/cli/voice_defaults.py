"""``rtvc voices set`` and ``rtvc voices level``: what a voice remembers, and its loudness."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable

from rtvc.cli.options import described
from rtvc.errors import RtvcError, UsageError
from rtvc.setting import Value

_BELOW_DB = 24.0


def add_set(action: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``rtvc voices set``."""
    parser = action(
        "set",
        "set what a voice starts with, such as its pitch",
        usage="set NAME [SETTING=VALUE ...]",
        epilog=(
            "  rtvc voices set Anna pitch=12 protect=0.2\n"
            "  rtvc voices set Anna pitch=                   forget the pitch\n"
            "  rtvc voices set Anna                          print what it remembers"
        ),
    )
    parser.add_argument("voice", metavar="NAME", help="name of a voice")
    parser.add_argument(
        "assignments",
        metavar="SETTING=VALUE",
        nargs="*",
        help="a setting of the voice, by the name of its flag without the dashes; an empty value "
        "forgets it",
    )


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


def run_set(args: argparse.Namespace) -> int:
    """Run ``rtvc voices set``, and return the exit code."""
    from rtvc.library import installed_voice
    from rtvc.library.voice_defaults import change_defaults, read_defaults
    from rtvc.settings import find_setting

    changes: dict[str, Value | None] = {}
    for text in args.assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} sets nothing. Write SETTING=VALUE, such as pitch=12.")
        setting = find_setting(name.strip().removeprefix("--").replace("-", "_"))
        changes[setting.name] = setting.parse(value.strip()) if value.strip() else None
    voice = installed_voice(args.voice)
    values = change_defaults(voice.name, changes) if changes else read_defaults(voice.folder)
    print(f"{voice.name!r} remembers {described(values) or 'nothing'}.")
    return 0


def run_level(args: argparse.Namespace) -> int:
    """Run ``rtvc voices level``, and return the exit code."""
    from rtvc.library import installed_voice, list_voices

    voices = [installed_voice(name).name for name in args.voices]
    voices = voices or [voice.name for voice in list_voices()[0]]
    if not voices:
        raise UsageError("There are no RVC voices. Add one with 'rtvc voices add FILE'.")
    failed = 0
    for number, name in enumerate(voices, 1):
        print(f"Measuring {name!r} ({number} of {len(voices)}) ...", file=sys.stderr, flush=True)
        try:
            _level(name)
        except RtvcError as error:
            failed += 1
            print(f"rtvc: {error}", file=sys.stderr)
    return 1 if failed else 0


def _level(name: str) -> None:
    import numpy as np

    from rtvc.audio.integrated_loudness import RATE, integrated_loudness
    from rtvc.conversion import convert
    from rtvc.library.voice_defaults import change_defaults, find_defaults, own_settings
    from rtvc.live.demo import load_utterance
    from rtvc.settings import SETTINGS

    if damage := find_defaults(name)[1]:
        raise RtvcError(f"{damage} Correct or remove the file first.")
    utterance = load_utterance()
    # Below the limiter, which would make a loud voice look softer than it is.
    settings = own_settings(name).replace(trim=0.0, output_gain=-_BELOW_DB)
    converted = convert(utterance, sample_rate=RATE, settings=settings)
    target = integrated_loudness(utterance)
    loudness = integrated_loudness(converted) + _BELOW_DB
    if not np.isfinite(loudness):
        raise RtvcError(f"{name!r} outputs silence for the bundled utterance, so it has no trim.")
    setting = SETTINGS["trim"]
    trim = min(max(round(target - loudness, 1), setting.low), setting.high)
    change_defaults(name, {"trim": trim})
    limited = " (the largest)" if trim in (setting.low, setting.high) else ""
    print(
        f"{name!r}: {loudness:.1f} LUFS, trim {trim:+.1f} dB{limited}. "
        f"Undo: rtvc voices set {shlex.quote(name)} trim="
    )
