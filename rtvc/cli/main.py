"""The command line: parses the command, runs it, and prints errors."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from rtvc._version import __version__
from rtvc.cli.leaving import leave_if_hung
from rtvc.errors import RtvcError, UsageError, close_matches, did_you_mean, escaped
from rtvc.system.library_output import separate_library_output

COMMANDS = (
    "run",
    "convert",
    "devices",
    "cable",
    "presets",
    "voices",
    "setup",
    "bench",
    "calibrate",
    "latency",
    "doctor",
    "report",
    "replay",
)
_LIVE = ("run", "latency", "doctor", "report")
"""Commands that open devices, whose threads run in real time."""
_DESCRIPTION = """\
A live voice changer: from the microphone to the speaker, in this terminal.

'run' is the default command: 'rtvc --preset deep' means 'rtvc run --preset deep'.
Wear headphones. Otherwise the microphone picks up the speaker and the sound howls."""
_EPILOG = """\
examples:
  rtvc                             live, with the settings of the last run
  rtvc --preset robot              live, with the preset 'robot'
  rtvc convert talk.wav out.wav --preset deep
  rtvc setup                       once, before the first RVC voice
  rtvc voices add Anna.zip         then: rtvc --voice Anna
  rtvc calibrate                   once, for the sizes that a run starts with
  rtvc doctor                      report what is installed and what is wrong

'rtvc COMMAND --help' explains a command and all its flags.
Add --debug to any command for the traceback of an error."""

# What argparse says, and the same as a sentence. What is not here gets a capital and a full stop.
_REWORDED = (
    (r"argument (\S+): expected (?:one|at least one) argument", r"\1 needs a value."),
    (r"argument (\S+): ignored explicit argument (.+)", r"\1 takes no value, but has \2."),
    (r"argument (\S+): not allowed with argument (\S+)", r"\1 and \2 exclude each other."),
    (r"the following arguments are required: (\S+)", r"\1 is missing."),
    (r"the following arguments are required: (.+), (\S+)", r"\1 and \2 are missing."),
)
_FILE_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")
_REPEAT_S = 1.0
_FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO


class _ArgumentsError(UsageError):
    """argparse cannot assign the words of a command line to its arguments."""


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` with whole sentences."""

    def __init__(self, **facts: Any) -> None:
        # An abbreviation would become another flag, or an error, with the next new flag.
        super().__init__(**{"allow_abbrev": False, **facts})

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # The hook of argparse for choices, whose own message depends on Python's version.
        known = [str(choice) for choice in action.choices or ()]
        if not known or value in known:
            return
        if isinstance(action, argparse._SubParsersAction):
            what = f"'{self.prog}' has no action {value!r}."
            listed = f"Actions: {', '.join(known)}."
        else:
            name = "/".join(action.option_strings) or action.metavar or action.dest
            what = f"{name} is {value!r}, but must be one of {', '.join(known)}."
            listed = ""
        raise UsageError(f"{what} {did_you_mean(str(value), known, listed)}".rstrip())

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse ignores a full disk, and Python reports it only when it ends.
        if message:
            file = file or sys.stderr
            file.write(message)
            file.flush()

    def error(self, message: str) -> NoReturn:
        # argparse writes clauses: "argument --pitch: expected one argument".
        sentence = f"{message[:1].upper()}{message[1:]}."
        for pattern, wording in _REWORDED:
            if found := re.fullmatch(pattern, message):
                sentence = found.expand(wording)
        raise _ArgumentsError(f"{sentence} Run '{self.prog} --help' for usage.")


def command(name: str) -> Any:
    """Import the module of a command; importing all of them would slow the start."""
    return import_module(f"rtvc.cli.{name}")


def _build_parser(names: Iterable[str]) -> _Parser:
    """Return the parser of the command line with the commands `names`."""
    parser = _Parser(
        prog="rtvc",
        usage="rtvc [COMMAND] [FLAGS]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rtvc {__version__}")
    # Without `prog`, argparse prefixes each command with the whole usage line.
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", prog=parser.prog
    )
    for name in names:
        module = command(name)
        subparser = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            usage=module.USAGE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line.

    Raises
    ------
    UsageError
        For an unknown command, flag or value; a similar word is suggested.
    """
    words = list(argv)
    if "" in words:
        raise UsageError("An argument is empty. A variable in your command may not be set.")
    implied = not words or (words[0][0] == "-" and words[0] not in ("-h", "--help", "--version"))
    if implied:
        words.insert(0, "run")
    named = not words[0].startswith("-")
    if named and words[0] not in COMMANDS:
        from rtvc.cli.hints import instead_of_command

        hint = instead_of_command(words[0]) or _similar_command(words[0])
        raise UsageError(f"There is no command {words[0]!r}. {hint}")
    parser = _build_parser(words[:1] if named else COMMANDS)
    try:
        args, unknown = parser.parse_known_args(words)
    except _ArgumentsError as error:
        raise UsageError(f"{error} {_dashed_file(words)}".rstrip()) from None
    unknown = [word for word in unknown if word != "--"]
    if unknown:
        word = unknown[0].split("=")[0]
        meant = _meant(parser, args)
        from rtvc.cli.hints import flag_elsewhere, needless_value

        hint = (
            _dashed_file(unknown[:1])
            or flag_elsewhere(_build_parser(COMMANDS), meant, word)
            or _similar_flag(meant, word, implied)
            or needless_value(meant, words, unknown[0])
            or f"Run '{meant.prog} --help' for usage."
        )
        raise UsageError(f"Unknown argument {word!r} of '{meant.prog}'. {hint}")
    return args


def _similar_command(word: str) -> str:
    """Return a sentence with the command that was meant, or where all are listed."""
    meant = {name: name for name in COMMANDS} | {"help": "--help", "version": "--version"}
    found = close_matches(word, meant)
    return f"Did you mean {meant[found[0]]!r}?" if found else "'rtvc --help' lists all commands."


def _dashed_file(words: Sequence[str]) -> str:
    """Return how to write a file whose name was taken for a flag, "" if there is none."""
    flags = words[: words.index("--")] if "--" in words else words
    for word in flags:
        if word[:1] == "-" and word != "-" and "=" not in word:  # noqa: SIM102
            if _FILE_SUFFIX.search(word) or os.path.lexists(word):
                return f"If {word!r} is a file, write './{word}'."
    return ""


def _similar_flag(parser: argparse.ArgumentParser, word: str, implied: bool) -> str:
    """Return a sentence with the flag that was meant, or "" if none is similar.

    Where the command is `implied`, the flag can be that of rtvc.
    """
    if not word.startswith("-"):
        return ""
    if word in parser._option_string_actions:
        return "Flags are read before '--' only."
    # Without their dashes: these are the same in all flags, and would make any two similar.
    flags = {flag.lstrip("-"): flag for flag in parser._option_string_actions}
    if implied:
        flags["version"] = "--version"
    bare = word.lstrip("-")
    begun = [name for name in flags if bare and name.startswith(bare)]
    found = begun if len(begun) == 1 else close_matches(bare, flags)
    return f"Did you mean {flags[found[0]]!r}?" if found else ""


def _meant(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.ArgumentParser:
    """Return the parser of the command or sub-command that was given."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            name = getattr(args, action.dest, None)
            if name is not None:
                return _meant(action.choices[name], args)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, and return the exit code.

    0 is success, 1 a failure, 2 a usage error, 130 an interrupt. SIGTERM and SIGHUP
    unwind the program first, so that the terminal and the devices are released.
    """
    _open_closed_streams()
    _encode_all_names()
    separate_library_output()
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as end:  # --help, --version, and signals
        code = end.code if isinstance(end.code, int) else 0
    leave_if_hung(code)
    return code


def _main(words: list[str]) -> int:
    debug = "--debug" in words
    if debug:
        words.remove("--debug")
    end = _ending()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A shell's background job ignores Ctrl-C.
        usual = signal.default_int_handler, signal.SIG_DFL
        if number != signal.SIGINT or signal.getsignal(number) in usual:
            signal.signal(number, end)
    try:
        args = parse(words)
        for note in getattr(args, "notes", ()):
            print(note, file=sys.stderr)
        if args.command in _LIVE:
            from rtvc.system.audio_priority import limit_realtime_threads

            limit_realtime_threads()
        code: int = command(args.command).run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of the output has closed the pipe. Without this, Python reports the
        # error a second time when it closes standard output.
        _discard_output()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except RtvcError as error:
        if debug:
            _show_where()
        print("rtvc: " + "\n".join(map(escaped, error.lines)), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if debug:
            _show_where()
        _print_unexpected(error)
        return 1


def _print_unexpected(error: Exception) -> None:
    """Print an error that no other part of rtvc has explained."""
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _FULL):
        _print_system_error(error)
        return
    kind = type(error).__name__
    text = (
        f"Unexpected {kind}: {error}. This is a bug in rtvc. "
        "Run again with --debug for a traceback."
    )
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        text = (
            "The current folder does not exist any more. Change to another folder and run the "
            "command again."
        )
    print(f"rtvc: {text}", file=sys.stderr)


def _print_system_error(error: OSError) -> None:
    """Print what the system refused; a full disk without a name is that of standard output."""
    if error.filename is None:
        print(f"rtvc: Cannot write the output: {error.strerror}.", file=sys.stderr)
        _discard_output()
    else:
        name = escaped(os.fsdecode(error.filename))
        print(f"rtvc: Cannot use {name}: {error.strerror}.", file=sys.stderr)


def _has_current_folder() -> bool:
    """Return whether relative paths have a meaning: the folder can be deleted meanwhile."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _discard_output() -> None:
    """Discard what waits in standard output: Python tries to write it again when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Let standard streams that are closed lead nowhere: files must not get their descriptors."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _encode_all_names() -> None:
    """Let names be printed with escapes where the terminal's encoding does not have them."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _show_where() -> None:
    import traceback

    traceback.print_exc()


def _ending() -> Callable[[int, FrameType | None], None]:
    """Return a signal handler that ends the program by an exception, so that it cleans up.

    The same request often comes twice, as from the terminal and from the guard. For a second
    it does not disturb the cleaning up.
    """
    requested = -_REPEAT_S

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        now = time.monotonic()
        if now - requested < _REPEAT_S:
            return
        requested = now
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    return end
