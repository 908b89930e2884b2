"""Errors that a person can act on."""

import difflib
from collections.abc import Iterable


class RtvcError(Exception):
    """Something that the person can mend.

    The message is one sentence or two: what is wrong, where, and what to do.
    The command line prints it as it is and exits with 1; a traceback is shown
    only with ``--debug``.
    """


class VoiceError(RtvcError):
    """There is a microphone and a speaker, but no voice: another one has to be chosen."""


class UsageError(RtvcError):
    """The request itself was wrong (an unknown name, a value out of range): exit code 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like another one, for a message; "" where none is known.

    Even a word that is like none gets one: it shows what such words look like.
    """
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.0)), "")
