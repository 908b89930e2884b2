"""Hints for what is typed in the place of something else: a preset, a voice, a file, a value."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence

from rtvc.errors import RtvcError
from rtvc.settings import BUILT_IN

_OFF = ("off", "no", "false", "0")
_NAMED = 4
"""Most commands that are named for a flag: what more of them have is no hint."""


def instead_of_command(word: str) -> str:
    """Return what to type for the name of a preset, voice or file, "" for another word."""
    quoted = shlex.quote(word)
    if is_preset(word):
        return f"It is a preset: use --preset {quoted}."
    if is_voice(word):
        return f"It is a voice: use --voice {quoted}."
    if os.path.isfile(word):
        return "It is a file: use 'rtvc convert IN OUT'."
    return ""


def needless_value(parser: argparse.ArgumentParser, words: Sequence[str], word: str) -> str:
    """Return how to write a flag that takes no value, "" if `word` does not follow such a flag."""
    flags = parser._option_string_actions
    flag = words[words.index(word) - 1] if word in words[1:] else ""
    if word.startswith("--") or flag not in flags or flags[flag].nargs != 0:
        return ""
    off = flag.replace("--", "--no-", 1)
    if word.lower() in _OFF and off in flags:
        return f"{flag} takes no value: write {off} to turn it off."
    return f"{flag} takes no value: leave {word!r} out."


def flag_elsewhere(
    parser: argparse.ArgumentParser, meant: argparse.ArgumentParser, flag: str
) -> str:
    """Return a sentence with the commands that have a flag, "" if there are none, or many.

    Parameters
    ----------
    parser
        The parser of all commands.
    meant
        The parser of the command that was given, which knows the flag only before ``--``.
    flag
        The flag.
    """
    found = [f"'{one.prog}'" for one in _all_parsers(parser) if flag in one._option_string_actions]
    if flag in meant._option_string_actions or not 1 <= len(found) <= _NAMED:
        return ""
    listed = " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
    return f"It is a flag of {listed}."


def _all_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _all_parsers(one)


def is_preset(name: str) -> bool:
    """Return whether a preset has this name."""
    from rtvc.config.presets import list_presets

    return any(file.name == name for file in list_presets())


def is_voice(name: str) -> bool:
    """Return whether a voice that can be used has this name."""
    from rtvc.library import installed_voice

    with contextlib.suppress(RtvcError):
        return name == BUILT_IN or bool(installed_voice(name))
    return False
