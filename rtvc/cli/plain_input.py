"""The input of plain mode: single keys and commands from a terminal, or lines from a pipe."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from rtvc.cli.columns import columns_of
from rtvc.cli.terminal import Keyboard

ESCAPE = "\x1b"
MUTE_TYPING = "\x07"
"""Ctrl+g: mutes while a command is typed, where m is a letter."""
_PASTE = 3
"""Different keys at once, beyond which nobody has typed them. A held key is one."""
_COMMAND = re.compile(r":[^\r\n]*")


class Typed(NamedTuple):
    """A key, or a whole line."""

    text: str
    is_line: bool = False


class Input(Protocol):
    """Where keys and lines come from.

    Attributes
    ----------
    ended
        Whether nothing more will come, and the run is to end.
    unfinished
        What has been typed of a command.
    """

    ended: bool
    unfinished: str

    def read(self, seconds: float) -> list[Typed]:
        """Return what has come, after at most `seconds`."""


@contextmanager
def open_input(echo: Callable[[str], None]) -> Iterator[Input]:
    """Read standard input inside a ``with`` block: keys if it is a terminal, else lines.

    Parameters
    ----------
    echo
        Shows what is typed of a command.
    """
    if not sys.stdin.isatty():
        yield LineInput(sys.stdin.fileno())
        return
    with Keyboard() as keyboard:
        yield KeyInput(keyboard.pressed, echo)


class KeyInput:
    """Keys, of which ":" begins a command that Enter ends and Escape abandons.

    Keys with escape sequences, such as arrows, are ignored. So is pasted text, except for its
    commands.

    Parameters
    ----------
    pressed
        Returns the keys pressed since the last call; waits for at most the seconds given.
    echo
        Shows what is typed of a command.
    """

    def __init__(self, pressed: Callable[[float], str], echo: Callable[[str], None]) -> None:
        self._pressed = pressed
        self._echo = echo
        self._sequence = ""
        self.unfinished = ""
        self.ended = False

    def read(self, seconds: float) -> list[Typed]:
        """Return the keys and commands that have come, after at most `seconds`."""
        return list(self._parse(self._pressed(seconds)))

    def _parse(self, text: str) -> Iterator[Typed]:
        if not text:  # nothing followed, so it was the key itself, or Alt with "[" or "O"
            sequence, self._sequence = self._sequence, ""
            if sequence == ESCAPE:
                yield from self._escape()
        keys = [character for character in text if not self._in_sequence(character)]
        pasted, line_start = self._is_paste("".join(keys)), True
        for character in keys:
            if self.unfinished:
                yield from self._edit(character)
                line_start = not self.unfinished
            elif character == ":" and (line_start or not pasted):
                self.unfinished = ":"
                self._echo(":")
            elif pasted:
                line_start = character in "\r\n"
            else:
                yield Typed(character)

    def _is_paste(self, keys: str) -> bool:
        """Return whether nobody has typed what is outside of commands."""
        begun = ":" if self.unfinished else ""
        return len(set(_COMMAND.sub("", f"{begun}{keys}")) - {"\r", "\n"}) > _PASTE

    def _in_sequence(self, character: str) -> bool:
        """Return whether a character is part of an escape sequence."""
        if character == ESCAPE:
            self._sequence = ESCAPE
        elif self._sequence == ESCAPE and character in "[O":
            self._sequence += character
        elif len(self._sequence) > 1:
            # The last one is a letter or "~"; after "O" it is the only one.
            ends = self._sequence[1] == "O" or "@" <= character <= "~"
            self._sequence = "" if ends else self._sequence
        else:  # with Alt, or soon after Escape
            self._sequence = ""
            return False
        return True

    def _escape(self) -> Iterator[Typed]:
        if self.unfinished:
            self._echo("\n")
            self.unfinished = ""
        else:
            yield Typed(ESCAPE)

    def _edit(self, character: str) -> Iterator[Typed]:
        if character == MUTE_TYPING:
            yield Typed("m")
        elif character in "\r\n":
            line, self.unfinished = self.unfinished, ""
            self._echo("\n")
            yield Typed(line, is_line=True)
        elif character in "\x7f\b":
            self._erase(self.unfinished[-1])
            self.unfinished = self.unfinished[:-1]
        elif character == "\x15":  # ctrl+u, as in a shell
            for erased in reversed(self.unfinished[1:]):
                self._erase(erased)
            self.unfinished = ":"
        elif character.isprintable():
            self.unfinished += character
            self._echo(character)

    def _erase(self, character: str) -> None:
        self._echo("\b \b" * columns_of(character))


class LineInput:
    """Lines of a pipe or a file.

    Parameters
    ----------
    descriptor
        Where to read. The end of a pipe ends the run; the end of a file or of ``/dev/null``
        does not.
    """

    unfinished = ""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self._ends_run = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._decode = getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""
        self._at_end = False
        self.ended = False

    def read(self, seconds: float) -> list[Typed]:
        """Return the lines that have come, after at most `seconds`."""
        if self._at_end:
            time.sleep(seconds)
            return []
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        data = os.read(self._descriptor, 1 << 12)
        lines = (self._rest + self._decode(data, not data)).split("\n")
        self._rest = lines.pop()
        if not data:
            self._at_end, self.ended = True, self._ends_run
            lines += [self._rest] * bool(self._rest)
        return [Typed(line.removesuffix("\r"), is_line=True) for line in lines]
