"""Echo cancellation: the canceller of one stream, and the package that it needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from rtvc._types import Float32
from rtvc.errors import MissingPackageError

ECHO_DELAY = 480
"""Delay of a canceller in samples at the engine's rate."""


class EchoCanceller(Protocol):
    """An echo canceller for one stream at the engine's rate."""

    def process(self, microphone: Float32, played: Float32) -> Float32:
        """Return the next block of the microphone without echo, late by `ECHO_DELAY`.

        Parameters
        ----------
        microphone, played
            (samples,) float32, whole frames of 10 ms. What was played comes back in the
            microphone at the same position or up to 0.1 s later, not earlier. How they are
            divided into blocks changes nothing.
        """


def require_canceller(echo: str) -> None:
    """Check that the package of the echo cancellation is installed; imports nothing.

    Parameters
    ----------
    echo
        Value of ``Settings.echo``.

    Raises
    ------
    MissingPackageError
        If it is not. The message has the command that installs it.
    """
    if echo != "off" and find_spec("livekit") is None:
        raise MissingPackageError(
            "Echo cancellation needs the package livekit, which is not installed. Install it with "
            "'pip install livekit', or choose --echo off and wear headphones."
        )


def make_canceller(echo: str) -> EchoCanceller:
    """Return a canceller at the start of a stream.

    Parameters
    ----------
    echo
        Value of ``Settings.echo``, except ``off``.

    Raises
    ------
    MissingPackageError
        If its package is not installed.
    """
    require_canceller(echo)
    from rtvc.audio.webrtc_echo import WebRtcEchoCanceller

    return WebRtcEchoCanceller(ECHO_DELAY)
