"""Errors that a person can act on."""


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
