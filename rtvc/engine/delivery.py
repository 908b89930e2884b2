"""Keeping the output fed: deadlines, concealment, and a latency that does not creep."""

from __future__ import annotations

import statistics
import threading
from typing import Protocol

import numpy as np

from rtvc._types import Float32
from rtvc.engine.dsp.sola import best_offset, fade_in

GUARD_S = 0.020
"""When less than this is left at the output, what is missing is concealed."""
FADE_S = 0.060
"""A concealed sound is silent after this."""
JOIN_S = 0.010
"""Crossfade where the output jumps."""
TOLERANCE_S = 0.008
"""Deviation of the latency that is left alone: the device's own jitter."""
_MEASURED_BLOCKS = 10


class Concealment:
    """Goes on with a sound whose future is not there: its last period, repeated and faded.

    Parameters
    ----------
    past
        (samples,) what was heard last, at least 40 ms of it.
    rate
        Samples per second.
    """

    def __init__(self, past: Float32, rate: int) -> None:
        width, longest, shortest = rate // 50, rate // 50, rate // 400
        tail = past[-width:]
        search = longest - shortest
        before = past[-(width + longest) : len(past) - shortest]
        period = longest - best_offset(before, tail, search, search)
        cycle = past[-period:].astype(np.float64)
        # Tilted so that its end meets its start: the repetition has no step.
        step = float(past[-1]) - float(past[-period - 1])
        self._cycle = cycle + step * (1.0 - np.arange(period) / period)
        self._fade = 1.0 - fade_in(round(FADE_S * rate))
        self._at = 0

    @property
    def silent(self) -> bool:
        """Whether the fade has ended."""
        return self._at >= len(self._fade)

    def read(self, samples: int) -> Float32:
        """Return the next samples."""
        at = self._at + np.arange(samples)
        self._at += samples
        gain = np.where(at < len(self._fade), self._fade[np.minimum(at, len(self._fade) - 1)], 0.0)
        return (self._cycle[at % len(self._cycle)] * gain).astype(np.float32)


class Sink(Protocol):
    """The output side of an endpoint."""

    def queued(self) -> int:
        """Return how many samples wait."""

    def write(self, samples: Float32) -> None:
        """Queue samples."""


class Delivery:
    """Everything that is written to the output goes through here.

    The engine delivers blocks; the watchdog, called every few milliseconds,
    conceals what is due and not there. Concealed time is owed: the same amount
    is dropped from what comes late, so that the latency stays at its nominal
    value instead of growing with each delay.

    Parameters
    ----------
    sink
        Where the sound goes.
    rate
        Samples per second.
    """

    def __init__(self, sink: Sink, rate: int) -> None:
        self._sink, self._rate = sink, rate
        self._lock = threading.Lock()
        self._guard = round(GUARD_S * rate)
        self._join = round(JOIN_S * rate)
        self._tolerance = round(TOLERANCE_S * rate)
        self._recent: Float32 = np.zeros(round(0.1 * rate), np.float32)
        self._extension: Concealment | None = None
        self._started = False
        self._pending_drop = 0
        self._late = False
        self._errors: list[int] = []
        self.late_blocks = 0
        self.concealed = 0
        """Samples that were invented since the start."""
        self.dropped = 0
        """Samples that were made or heard, and thrown away to keep the latency."""

    @property
    def pending_drop(self) -> int:
        """Samples to drop from what is delivered next."""
        return self._pending_drop

    @property
    def silent(self) -> bool:
        """Whether nothing has come for so long that the concealment has faded to silence."""
        extension = self._extension
        return not self._started or (extension is not None and extension.silent)

    def restart(self) -> None:
        """Begin afresh, on an output that has been emptied."""
        with self._lock:
            self._started = self._late = False
            self._pending_drop = 0
            self._errors.clear()
            self._extension = None

    def tick(self) -> None:
        """Conceal what is due: the watchdog's one duty. May be called from any thread."""
        with self._lock:
            missing = self._guard - self._sink.queued()
            if missing > 0:
                if self._started:
                    self._pending_drop += missing
                    self._late = True
                self._conceal(missing)

    def hold_latency(self, surplus: int, headroom: int) -> None:
        """Hold the latency: to be called when the engine takes a block.

        Parameters
        ----------
        surplus
            Input samples that have come since the block was complete.
        headroom
            Samples that should have been queued at the moment when it was complete.
        """
        with self._lock:
            error = self._sink.queued() + surplus - self._pending_drop - headroom
            if not self._started or self.silent:
                self._correct(error)
                self._started = True
                return
            self._errors.append(error)
            if len(self._errors) == _MEASURED_BLOCKS:
                middle = int(statistics.median(self._errors))
                self._errors.clear()
                if abs(middle) > self._tolerance:
                    self._correct(middle)

    def deliver(self, block: Float32) -> bool:
        """Queue a block, less what is owed, joined without a click to what was heard last.

        Returns whether it was late.
        """
        with self._lock:
            late, self._late = self._late, False
            self.late_blocks += late
            self._write_joined(block)
        return late

    def skip(self, samples: int) -> None:
        """Count a block that nobody would hear, because all of it is owed."""
        with self._lock:
            self.late_blocks += 1
            self._late = False
            self._pending_drop -= samples
            self.dropped += samples

    def change_latency(self, samples: int, rendered: Float32) -> None:
        """Change the nominal latency by `samples`.

        Parameters
        ----------
        samples
            How much more (or, negative, less) sound is to be on its way.
        rendered
            Sound of the new chain up to now; its end fills the gap that a longer
            latency opens.
        """
        with self._lock:
            # Whatever comes next is from another chain: join it.
            self._extension = self._extension or Concealment(self._recent, self._rate)
            self._errors.clear()
            if samples <= 0:
                self._pending_drop -= samples
                return
            beyond = samples - len(rendered)
            if beyond > 0:
                self._conceal(beyond)
            self._write_joined(rendered[max(0, len(rendered) - samples) :])
            self._extension = None

    def _correct(self, error: int) -> None:
        self._errors.clear()
        if error > 0:
            self._pending_drop += error
        elif error < 0:
            self._conceal(-error)

    def _conceal(self, samples: int) -> None:
        if self._extension is None:
            self._extension = Concealment(self._recent, self._rate)
        self._write(self._extension.read(samples))
        if self._started:
            self.concealed += samples

    def _write_joined(self, block: Float32) -> None:
        dropped = min(self._pending_drop, len(block))
        self._pending_drop -= dropped
        self.dropped += dropped
        rest = block[dropped:]
        if dropped and self._extension is None:
            self._extension = Concealment(self._recent, self._rate)
        if not len(rest):
            return
        if self._extension is not None:
            width = min(self._join, len(rest))
            rise = fade_in(width)
            rest = rest.copy()
            rest[:width] = rest[:width] * rise + self._extension.read(width) * (1.0 - rise)
            self._extension = None
        self._write(rest)

    def _write(self, samples: Float32) -> None:
        self._sink.write(samples)
        self._recent = np.concatenate([self._recent, samples])[-len(self._recent) :]
