"""Keeps the newest input and output of a session, to find the delay between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtvc._types import Float32
from rtvc.audio.delay_estimate import DelayEstimate, estimate_delay
from rtvc.audio.endpoint import ENGINE_RATE

WINDOW_S = 10.0
REACH_S = 1.0
"""Largest deviation from the stated latency that is found, in seconds."""
_KEPT_S = 16.0
_BLOCKS = 1024
_STEADY_S = 0.003
"""Change of the queues within a window from which it says nothing about the latency."""


class _Ring:
    """The newest samples of a stream, by their number since its start; one thread writes."""

    def __init__(self) -> None:
        self._samples = np.zeros(round(_KEPT_S * ENGINE_RATE), np.float32)
        self.count = 0

    def push(self, samples: Float32) -> None:
        size = len(self._samples)
        samples = samples[-size:]
        at = self.count % size
        first = min(len(samples), size - at)
        self._samples[at : at + first] = samples[:first]
        self._samples[: len(samples) - first] = samples[first:]
        self.count += len(samples)

    def read(self, start: int, samples: int) -> Float32 | None:
        """Return samples from number `start` on, None if they are not or no longer there."""
        size = len(self._samples)
        if start < 0 or start + samples > self.count:
            return None
        at = start % size
        copied = np.concatenate([self._samples[at : at + samples], self._samples])[:samples]
        return copied if self.count - size <= start else None


@dataclass(frozen=True, slots=True)
class Window:
    """Ten seconds of input and the output that should be its conversion.

    Attributes
    ----------
    input, output
        (samples,) float32, aligned as the stated latency demands.
    stated
        That latency, from the input's arrival to the output's departure, in seconds.
    """

    input: Float32
    output: Float32
    stated: float

    def estimate(self) -> DelayEstimate:
        """Return by how much the latency differs from the stated one."""
        return estimate_delay(self.input, self.output, reach_s=REACH_S)


class DelayMonitor:
    """Copies input and output into rings of fixed size.

    The engine's thread and its watchdog call `push_input` and `push_output`, which only copy.
    Another thread calls `take_window`.
    """

    def __init__(self) -> None:
        self._input, self._output = _Ring(), _Ring()
        self._positions = np.zeros((_BLOCKS, 2), np.int64)
        """Input samples read, and the offset of the output's clock from the input's, by block."""
        self._blocks = 0
        self._begin = 0
        self._stated = 0.0

    def push_input(self, samples: Float32, surplus: int, queued: int) -> None:
        """Keep an input block.

        Parameters
        ----------
        samples
            The block.
        surplus
            Input samples that wait behind it.
        queued
            Output samples that wait for the device.
        """
        self._input.push(samples)
        read = self._input.count
        offset = read - self._output.count + surplus + queued
        self._positions[self._blocks % _BLOCKS] = read, offset
        self._blocks += 1

    def push_output(self, samples: Float32) -> None:
        """Keep output."""
        self._output.push(samples)

    def restart(self) -> None:
        """Use only what comes from now on: the streams were interrupted."""
        self._begin = self._input.count

    def take_window(self, stated: float) -> Window | None:
        """Return the next window once it is complete and was undisturbed, else None.

        Parameters
        ----------
        stated
            The stated latency without the devices, in seconds. If it has changed since the
            last call, a new window begins.
        """
        if stated != self._stated:
            self._stated = stated
            self.restart()
        size = round(WINDOW_S * ENGINE_RATE)
        begin = self._begin
        # The output of the newest input is not there yet.
        if self._input.count < begin + size + round((stated + 0.5) * ENGINE_RATE):
            return None
        self._begin = self._input.count
        offset = self._offset(begin, begin + size)
        if offset is None:
            return None
        first = self._input.read(begin, size)
        second = self._output.read(begin + round(stated * ENGINE_RATE) - offset, size)
        if first is None or second is None:
            return None
        return Window(first, second, stated)

    def _offset(self, begin: int, end: int) -> int | None:
        """Return the typical offset in a range of input samples, None if it has changed."""
        known = self._positions[: min(self._blocks, _BLOCKS)]
        known = known[np.argsort(known[:, 0])]
        offsets = known[(known[:, 0] > begin) & (known[:, 0] <= end), 1]
        if offsets.size < 4:
            return None
        half = offsets.size // 2
        early, late = np.median(offsets[:half]), np.median(offsets[half:])
        if abs(late - early) > _STEADY_S * ENGINE_RATE:
            return None
        return round(float(np.median(offsets)))
