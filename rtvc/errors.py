"""Errors that the user can act on."""

import difflib
from collections.abc import Iterable


class RtvcError(Exception):
    """An error that the user can fix.

    The message is one or two whole sentences: what is wrong, where, and what to do.
    The command line prints it as it is and exits with 1; it prints a traceback
    only with ``--debug``.
    """


class VoiceError(RtvcError):
    """The voice cannot be used, but the devices work: choose another voice."""


class UsageError(RtvcError):
    """The request is wrong: an unknown name, or a value out of range; exit code 2."""


def close_matches(word: str, known: Iterable[str], n: int = 1) -> list[str]:
    """Return up to `n` known words that are like `word`, the most similar first.

    Upper and lower case count as the same; what is not similar is left out.
    """
    by_folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=n, cutoff=0.6)
    return [by_folded[folded] for folded in found]


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the sentence that follows one about an unknown word.

    Parameters
    ----------
    word
        What was given.
    known
        What could have been meant.
    otherwise
        What to return where no known word is similar: a sentence with what there is, or with
        the command that lists it.
    """
    near = close_matches(word, known)
    return f"Did you mean {near[0]!r}?" if near else otherwise
