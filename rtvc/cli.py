"""The command line: which command is meant, and how its errors are told."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from rtvc import __version__
from rtvc.commands import (
    bench,
    calibrate,
    convert,
    devices,
    doctor,
    presets,
    run,
    setup,
    voices,
)
from rtvc.errors import RtvcError, UsageError

COMMANDS = {
    "run": run,
    "convert": convert,
    "devices": devices,
    "presets": presets,
    "voices": voices,
    "setup": setup,
    "bench": bench,
    "calibrate": calibrate,
    "doctor": doctor,
}
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


def _build_parser() -> tuple[_Parser, dict[str, _Parser]]:
    """Return the parser of the whole command line, and those of the commands by name."""
    parser = _Parser(
        prog="rtvc",
        usage="rtvc [COMMAND] [FLAGS]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rtvc {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands = {}
    for name, module in COMMANDS.items():
        commands[name] = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            usage=module.USAGE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(commands[name])
    return parser, commands


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
    parser, commands = _build_parser()
    if not words[0].startswith("-") and words[0] not in commands:
        near = difflib.get_close_matches(words[0], commands, n=1, cutoff=0.0)[0]
        raise UsageError(f"There is no command {words[0]!r}; nearest: {near}. Try 'rtvc --help'.")
    args, unknown = parser.parse_known_args(words)
    if unknown:
        flags = _flags(commands[words[0]])
        word = unknown[0].split("=")[0]
        hint = ""
        if word.startswith("-"):
            hint = f"; nearest: {difflib.get_close_matches(word, flags, n=1, cutoff=0.0)[0]}"
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
        code: int = COMMANDS[args.command].run(args)
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
            traceback.print_exc()
        print(f"rtvc: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        kind = type(error).__name__
        print(
            f"rtvc: an unexpected {kind}: {error}. This is a defect of rtvc; "
            "the same command with --debug shows where.",
            file=sys.stderr,
        )
        return 1


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
