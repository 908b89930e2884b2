"""``rtvc voices set``: what a voice remembers."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rtvc.cli.options import described
from rtvc.errors import UsageError
from rtvc.setting import Value


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
