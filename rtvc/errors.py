"""Errors that the user can act on."""

import difflib
from collections.abc import Iterable


class RtvcError(Exception):
    """An error that the user can fix.

    The message is one or two whole sentences: what is wrong, where, and what to do.
    The command line prints it as it is and exits with 1; it prints a traceback
    only with ``--debug``.
    """

    @property
    def lines(self) -> list[str]:
        """The message as lines; names in them can contain line breaks."""
        return [str(self)]


class UsageError(RtvcError):
    """The request is wrong: an unknown name, or a value out of range; exit code 2."""


class MissingPackageError(RtvcError):
    """A setting needs a Python package that is not installed."""


def escaped(text: str) -> str:
    """Return a name for a terminal, with escapes for characters that are not printable."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def close_matches(word: str, known: Iterable[str], n: int = 1) -> list[str]:
    """Return up to `n` known words similar to `word`, the most similar first.

    The comparison is case-insensitive, with difflib's cutoff of 0.6.
    """
    by_folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=n, cutoff=0.6)
    return [by_folded[folded] for folded in found]


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "Did you mean ...?" for an unknown word, or another hint.

    Parameters
    ----------
    word
        The unknown word.
    known
        The known words.
    otherwise
        Returned if no known word is similar: a sentence that lists the known words, or names
        the command that lists them.
    """
    near = close_matches(word, known)
    return f"Did you mean {near[0]!r}?" if near else otherwise
