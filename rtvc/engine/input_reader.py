"""Reads the input of an endpoint, and keeps the newest of it."""

from __future__ import annotations

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError, Endpoint
from rtvc.engine.input_history import InputHistory
from rtvc.engine.supervisor import sentence

_FRAME = ENGINE_RATE // 100


class AudioThreadError(DeviceLostError):
    """The endpoint has failed for another reason than a lost device; it must be reopened too."""


class InputReader:
    """The input side of an endpoint, for the engine thread.

    Parameters
    ----------
    endpoint
        The endpoint.
    history
        Receives all input that is read.
    """

    def __init__(self, endpoint: Endpoint, history: InputHistory) -> None:
        self._endpoint, self._history = endpoint, history

    def wait(self, samples: int, timeout: float) -> int:
        """Wait until `samples` samples are available; return how many are.

        Raises
        ------
        DeviceLostError
            If the endpoint must be reopened.
        """
        try:
            return self._endpoint.wait(samples, timeout)
        except DeviceLostError:
            raise
        except Exception as error:
            if not self._endpoint.realtime:
                raise
            raise AudioThreadError(f"The audio thread failed: {sentence(error)}") from error

    def read(self, samples: int) -> Float32:
        """Return the next `samples` samples; they must be available."""
        block = self._endpoint.read(samples)
        self._history.push(block)
        return block

    def read_all(self) -> int:
        """Read all input that waits, in whole frames; return the number of samples."""
        total = 0
        while (available := self.wait(0, 0.0)) >= _FRAME:
            samples = min(available - available % _FRAME, ENGINE_RATE)
            self.read(samples)
            total += samples
        return total
