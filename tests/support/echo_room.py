"""A simulated device whose microphone picks up its speaker."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtvc._types import Float32
from rtvc.audio.simulated import SimulatedDevice

RATE = 48_000


def impulse_response(seconds: float = 0.05) -> Float32:
    """A direct path and noise that decays by 60 dB in `seconds`, with a sum of squares of 1.25."""
    random = np.random.default_rng(3)
    time = np.arange(round(seconds * RATE)) / RATE
    tail = random.standard_normal(time.size) * 10 ** (-3 * time / seconds)
    tail *= 0.5 / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail.astype(np.float32)


class EchoRoom(SimulatedDevice):
    """Adds what it plays to its input, `lag` samples later.

    Parameters
    ----------
    source
        (samples,) float32, the input without the echo.
    lag
        Latency from output to input in samples.
    path
        (taps,) float32, the impulse response from speaker to microphone.
    stated
        Latency that the device states, in samples, of output and input together.
    """

    def __init__(
        self, source: Float32, lag: int, path: Float32, stated: int | None = None, **device: Any
    ) -> None:
        super().__init__(source, **device)
        self._lag, self._path = lag, path
        self._stated = lag if stated is None else stated
        self._source = np.pad(self._source, (0, self._end - len(source) + lag + len(path)))

    @property
    def latency(self) -> tuple[float, float]:
        return self._stated / 2 / RATE, self._stated / 2 / RATE

    def _run_callback(self) -> None:
        pieces = len(self._played)
        super()._run_callback()
        for piece in self._played[pieces:]:
            echo = np.convolve(piece, self._path).astype(np.float32)
            at = self._now - len(piece) + self._lag
            room = self._source[at : at + len(echo)]
            room += echo[: len(room)]
