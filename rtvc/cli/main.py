"""The command line: which command is meant, and how its errors are told."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from rtvc._version import __version__
from rtvc.errors import RtvcError, UsageError, nearest

COMMANDS = (
    "run",
    "convert",
    "devices",
    "presets",
    "voices",
    "setup",
    "bench",
    "calibrate",
    "doctor",
)
_DESCRIPTION = """\
Changes your voice live, from the microphone to the speaker, in this terminal.

Without a command, rtvc starts live: 'rtvc --preset deep' is 'rtvc run --preset deep'.
Wear headphones, or the microphone hears the speaker and howls."""
_EPILOG = """\
examples:
  rtvc                             live, with the settings of last time
  rtvc --preset robot              live, as a robot
  rtvc convert talk.wav out.wav --preset deep
  rtvc setup                       once, before the first RVC voice
  rtvc voices add Anna.zip         then: rtvc --voice Anna
  rtvc calibrate                   once, for the least latency that this machine can keep
  rtvc doctor                      what is installed, and what is wrong

'rtvc COMMAND --help' explains a command and all its flags.
Add --debug to any command to see where an error comes from."""


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are one sentence, told like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.rstrip('.')}. '{self.prog} --help' shows what can be given.")


def command(name: str) -> Any:
    """Import the module of a command; the others would cost the start their time."""
    return import_module(f"rtvc.cli.{name}")


def _build_parser(names: Iterable[str]) -> tuple[_Parser, dict[str, _Parser]]:
    """Return the parser of the whole command line, and those of these commands by name."""
    parser = _Parser(
        prog="rtvc",
        usage="rtvc [COMMAND] [FLAGS]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rtvc {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    parsers = {}
    for name in names:
        module = command(name)
        parsers[name] = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            usage=module.USAGE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(parsers[name])
    return parser, parsers


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what a command line asks for.

    Raises
    ------
    UsageError
        For anything unknown; the nearest known word is given.
    """
    words = list(argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "run")
    named = not words[0].startswith("-")
    if named and words[0] not in COMMANDS:
        near = nearest(words[0], COMMANDS)
        raise UsageError(f"There is no command {words[0]!r}; nearest: {near}. Try 'rtvc --help'.")
    parser, parsers = _build_parser(words[:1] if named else COMMANDS)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        word = unknown[0].split("=")[0]
        hint = ""
        if word.startswith("-"):
            hint = f"; nearest: {nearest(word, _flags(parsers[words[0]]))}"
        raise UsageError(
            f"'rtvc {words[0]}' does not know {word!r}{hint}. "
            f"'rtvc {words[0]} --help' shows what can be given."
        )
    return args


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name in action.choices:
                found += _flags(action.choices[name])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, and return the exit code.

    0 is success, 1 a failure, 2 a wrong request, 130 an interrupt; a signal
    that ends the program unwinds it first, so that the terminal and the devices
    are given back.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if debug:
        words.remove("--debug")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        args = parse(words)
        code: int = command(args.command).run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has gone, which is its right. Python would
        # complain once more while it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except RtvcError as error:
        if debug:
            _show_where()
        print(f"rtvc: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if debug:
            _show_where()
        kind = type(error).__name__
        print(
            f"rtvc: an unexpected {kind}: {error}. This is a defect of rtvc; "
            "the same command with --debug shows where.",
            file=sys.stderr,
        )
        return 1


def _show_where() -> None:
    import traceback

    traceback.print_exc()


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
