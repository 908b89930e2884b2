"""Errors of the sound system."""

from __future__ import annotations

from rtvc.errors import RtvcError


class AudioError(RtvcError):
    """An error of the sound system.

    Attributes
    ----------
    detail
        What its libraries printed, for ``--debug``; may be empty.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class NoAnswerError(AudioError):
    """A call into the sound system that has not returned within its limit."""

    def __init__(self) -> None:
        super().__init__("The sound server does not answer.")
