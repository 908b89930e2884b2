"""What the flight recorder keeps: audio, the calls of the chains, and events."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.settings import Settings


class ChainLog:
    """A chain of the run.

    Attributes
    ----------
    number
        Counts the chains of a run from 0.
    built_for
        The settings that it was built for.
    calls
        Number of blocks that it has processed.
    """

    def __init__(self, number: int, built_for: Settings) -> None:
        self.number, self.built_for = number, built_for
        self.calls = 0
        self.since_state = 0
        """Samples processed since its state was kept last."""


class Call(NamedTuple):
    """One block that a chain has processed.

    Attributes
    ----------
    chain, block
        The chain, and which of its blocks this is, from 0.
    position, size
        First sample of the block in the input since the start, -1 if it is not known, and the
        number of samples.
    settings
        Settings of the block.
    input_crc, output_crc
        CRC-32 of input and output as float32; the latter is -1 if nothing was rendered.
    ended, stages
        Time at which it ended, and the seconds that its parts took: condition, voice, output.
    """

    chain: ChainLog
    block: int
    position: int
    size: int
    settings: Settings
    input_crc: int
    output_crc: int
    ended: float
    stages: tuple[float, ...]


class Write(NamedTuple):
    """Output that was queued for the device: position since the start, size, CRC-32, by whom."""

    position: int
    size: int
    crc: int
    at: float
    thread: int


class Event(NamedTuple):
    """Something that happened: its time, what kind of event, and a sentence."""

    at: float
    kind: str
    text: str


class Fill(NamedTuple):
    """Audio in the rings of the device in seconds, and the drift of the output in ppm."""

    at: float
    input_s: float
    output_s: float
    drift_ppm: float


class FlightLog(NamedTuple):
    """The last minute, as it is saved.

    Attributes
    ----------
    input, output
        (samples,) float32 at the engine's sample rate.
    input_start, output_start
        Position of their first sample since the start.
    calls, writes, events, fills
        In order of time.
    states
        Chain, number of blocks that it had processed, and its state then.
    learned
        The same, with the part of the state that it then had from another chain.
    history
        Samples of input before a block that a chain which begins there may need.
    now, clock
        The time of saving by the clock of the log, and by the calendar (s since 1970).
    """

    input: Float32
    input_start: int
    output: Float32
    output_start: int
    calls: list[Call]
    writes: list[Write]
    events: list[Event]
    fills: list[Fill]
    states: list[tuple[ChainLog, int, dict[str, Any]]]
    learned: list[tuple[ChainLog, int, dict[str, Any]]]
    history: int
    now: float
    clock: float


_MARGIN = ENGINE_RATE
"""Samples that may be overwritten while the others are copied."""


class AudioRing:
    """The newest samples of a signal, in memory that is allocated once.

    One thread at a time calls `push`, and any thread `read`.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        # Filled, so that the memory of the program does not grow later.
        self._ring = np.full(samples + _MARGIN, 0.0, np.float32)
        self.pushed = 0

    def push(self, samples: Float32) -> None:
        """Append (n,) float32, at most a second."""
        at = self.pushed % self._ring.size
        first = min(samples.size, self._ring.size - at)
        self._ring[at : at + first] = samples[:first]
        self._ring[: samples.size - first] = samples[first:]
        self.pushed += samples.size

    def read(self) -> tuple[Float32, int]:
        """Return a copy of the samples, and the position of the first since the start."""
        end = self.pushed
        copy = np.roll(self._ring, -(end % self._ring.size))
        # What was overwritten meanwhile, or is being overwritten, is left out.
        start = max(0, end - self._samples, self.pushed - self._samples)
        return copy[copy.size - (end - start) :], start
