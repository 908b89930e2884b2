"""Output delivery: conceals late blocks and holds the latency at its nominal value."""

from __future__ import annotations

import statistics
import threading
from typing import Protocol

import numpy as np

from rtvc._types import Float32
from rtvc.engine.dsp.sola import best_offset, fade_in
from rtvc.settings import RESERVE_MS

FADE_S = 0.060
"""Duration of the fade of concealment to silence, in seconds."""
JOIN_S = 0.010
"""Length of the crossfade at a discontinuity of the output, in seconds."""
END_S = 0.050
"""Silence after the last fade, in seconds: a device that is stopped may drop its newest buffers."""
TOLERANCE_S = 0.004
"""Deviation of the latency that is not corrected, in seconds: the jitter of the device."""
FIRST_TOLERANCE_S = 0.002
"""The same when the output has just started, when a single deviation has set the latency."""
JUMP_S = 0.050
"""Deviation that is corrected at once: more than jitter, because threads or the device stood still.
A late engine is none: its input waits for as long as its output is missing."""
_DECAY = 1 / 8
"""Decay per sample of what the first sample of concealment is off by."""
_MEASURED_BLOCKS = 10
"""Blocks whose median deviation decides whether to correct the latency."""


class Concealment:
    """Extends a signal by repeating its last period with a fade to silence.

    Parameters
    ----------
    past
        (samples,) float32, the newest output, at least 40 ms.
    rate
        Samples per second.
    """

    def __init__(self, past: Float32, rate: int) -> None:
        width, longest, shortest = rate // 50, rate // 50, rate // 400
        tail = past[-width:]
        search = longest - shortest
        before = past[-(width + longest) : len(past) - shortest]
        period = longest - best_offset(before, tail, search, search)
        self._cycle = past[-period:].astype(np.float64)
        # The end of the period turns into what precedes its start, so repeating it has no step.
        blend = period // 4
        preceding = past[-period - blend : -period]
        self._cycle[-blend:] += (preceding - self._cycle[-blend:]) * fade_in(blend)
        # The past differs from the period before: value and slope go over within some samples.
        last, last_but_one = (past[-2:] - past[-period - 2 : -period])[::-1].astype(np.float64)
        slope = last - last_but_one + _DECAY * last
        after = np.arange(1, round(16 / _DECAY))
        self._bridge = (last + slope * after) * np.exp(-_DECAY * after)
        self._fade = 1.0 - fade_in(round(FADE_S * rate))
        self._peak = float(np.abs(past).max())
        self._at = 0

    @property
    def silent(self) -> bool:
        """Whether the fade has ended."""
        return self._at >= len(self._fade)

    def read(self, samples: int) -> Float32:
        """Return the next `samples` samples, float32."""
        output = self.peek(samples)
        self._at += samples
        return output

    def peek(self, samples: int) -> Float32:
        """Return the next `samples` samples, float32, which `read` returns again."""
        cycle = np.roll(self._cycle, -self._at) if self._at else self._cycle
        output = np.resize(cycle, samples)
        bridge = self._bridge[self._at : self._at + samples]
        output[: len(bridge)] += bridge
        np.clip(output, -self._peak, self._peak, out=output)  # the limiter has gone before
        gain = self._fade[self._at : self._at + samples]
        output[: len(gain)] *= gain
        output[len(gain) :] = 0.0
        return output.astype(np.float32)


class Sink(Protocol):
    """The output side of an endpoint."""

    def queued(self) -> int:
        """Return the number of queued samples."""

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue samples, and what is played after them if there is nothing else by then."""

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while none was queued."""

    def excess_latency(self) -> int:
        """Return by how many samples the device is later than at first."""


class Delivery:
    """Writes all output of the engine.

    The engine delivers blocks. A watchdog calls `tick` every few milliseconds, which fills
    the output with concealment if a block is late. As many samples as were concealed are
    then dropped from the late block, so the latency stays at its nominal value. Input that the
    device has lost meanwhile need not be dropped: no more is dropped than waits in the rings.

    Parameters
    ----------
    sink
        The output side of an endpoint.
    rate
        Samples per second.

    Attributes
    ----------
    late_blocks
        Blocks that arrived after concealment had begun.
    concealed
        Samples of concealment written since the start.
    dropped
        Samples of rendered output or of input dropped to hold the latency.
    """

    def __init__(self, sink: Sink, rate: int) -> None:
        self._sink, self._rate = sink, rate
        self._lock = threading.Lock()
        self._reserve = round(1e-3 * RESERVE_MS * rate)
        self._join = round(JOIN_S * rate)
        self._tolerance = round(TOLERANCE_S * rate)
        self._jump = round(JUMP_S * rate)
        self._first_tolerance = round(FIRST_TOLERANCE_S * rate)
        self._recent: Float32 = np.zeros(round(0.1 * rate), np.float32)
        self._concealment: Concealment | None = None
        self._joined = 0
        """Samples of the crossfade out of the concealment that have been output."""
        self._started = False
        self._pending_drop = 0
        self._drop_on_time = 0
        """Samples of `_pending_drop` although no block was late: the device did not play, or a
        shorter latency was asked for."""
        self._late = False
        self._errors: list[int] = []
        self._first_errors = True
        self.late_blocks = 0
        self.concealed = 0
        self.dropped = 0

    @property
    def pending_drop(self) -> int:
        """Samples to drop from the next blocks."""
        return self._pending_drop

    @property
    def late(self) -> bool:
        """Whether the next block is late: concealment is output in its place."""
        return self._late

    @property
    def silent(self) -> bool:
        """Whether the output is silent: before the first block, or after concealment has faded."""
        concealment = None if self._joined else self._concealment
        return not self._started or (concealment is not None and concealment.silent)

    def restart(self) -> None:
        """Start again with an empty output queue."""
        with self._lock:
            self._pause()
            self._concealment, self._joined = None, 0
            self._recent = np.zeros_like(self._recent)  # what was output before is old

    def pause(self) -> None:
        """Fade to silence until the next block, and restore the nominal latency there."""
        with self._lock:
            self._extend()
            self._pause()

    def fade_out(self) -> None:
        """Queue a fade to silence, the end of the output."""
        with self._lock:
            if self._started:
                self._conceal(round((FADE_S + END_S) * self._rate))
            self._pause()

    def tick(self) -> None:
        """Fill the output up to the reserve with concealment. May be called from any thread."""
        with self._lock:
            self._take_missed()
            missing = self._reserve - self._sink.queued()
            if missing > 0:
                if self._started:
                    self._pending_drop += missing
                    self._late = True
                self._conceal(missing)

    def hold_latency(self, surplus: int, headroom: int) -> None:
        """Correct deviations of the latency. Call when the engine reads a block.

        Parameters
        ----------
        surplus
            Input samples that arrived after the block was complete.
        headroom
            Samples that should have been queued when the block was complete.
        """
        with self._lock:
            self._take_missed()
            output = self._sink.queued() + self._sink.excess_latency()
            error = output + surplus - self._pending_drop - headroom
            if not self._started or self.silent:
                self._correct(error)
                self._started = self._first_errors = True
                return
            if abs(error) > self._jump:
                self._correct(error)
                return
            self._errors.append(error)
            if len(self._errors) == _MEASURED_BLOCKS:
                middle = int(statistics.median(self._errors))
                tolerance = self._first_tolerance if self._first_errors else self._tolerance
                self._first_errors = False
                self._errors.clear()
                if abs(middle) > tolerance:
                    self._correct(middle)

    def deliver(self, block: Float32) -> bool:
        """Queue a block without its pending drop, crossfaded at a discontinuity.

        Returns
        -------
        bool
            Whether the block was late.
        """
        with self._lock:
            late, self._late = self._late, False
            self.late_blocks += late
            self._write_joined(block)
        return late

    def skip(self, samples: int) -> None:
        """Drop a block whole, unrendered: it is late, or the latency must become shorter."""
        with self._lock:
            self._extend()  # the next block does not continue the last one
            if self._drop_on_time >= samples:
                self._drop_on_time -= samples
            else:
                self.late_blocks += 1
                self._late = False
            self._pending_drop -= samples
            self.dropped += samples

    def lose(self, samples: int) -> None:
        """Conceal a block of `samples` samples that will never be delivered."""
        with self._lock:
            self.late_blocks += 1
            self._late = False
            # Concealment that was written while the block was late stands in for it.
            concealed = min(self._pending_drop, samples)
            self._pending_drop -= concealed
            self._conceal(samples - concealed)

    def discard(self, samples: int) -> None:
        """Count input that is too old to be converted, and pause until the next block."""
        with self._lock:
            self.late_blocks += 1
            self.dropped += samples
            self._extend()
            self._pause()

    def break_off(self) -> None:
        """Crossfade to the next block, which does not continue the last one."""
        with self._lock:
            self._extend()

    def change_latency(self, samples: int, rendered: Float32) -> None:
        """Change the nominal latency, because of another chain or another headroom.

        Parameters
        ----------
        samples
            Change of the latency in samples; negative shortens it.
        rendered
            Output of the new chain up to now. Its end fills the gap that a longer latency
            opens; where it is not long enough, concealment does.
        """
        with self._lock:
            self._extend()  # the next block does not continue the last one
            self._errors.clear()
            if samples <= 0:
                self._pending_drop -= samples
                self._drop_on_time -= samples
                return
            # What came too late for the latency before is played after all.
            kept = min(samples, self._pending_drop)
            self._pending_drop -= kept
            self._drop_on_time = min(self._drop_on_time, self._pending_drop)
            samples -= kept
            if not samples:
                return
            beyond = samples - len(rendered)
            if beyond > 0:
                self._conceal(beyond)
            if len(rendered):
                self._write_joined(rendered[max(0, len(rendered) - samples) :])

    def _pause(self) -> None:
        self._started = self._late = False
        self._pending_drop = self._drop_on_time = 0
        self._errors.clear()

    def _correct(self, error: int) -> None:
        self._errors.clear()
        if error < 0 < self._pending_drop:
            # Some of what was to be dropped is gone: the device has lost it.
            lost = min(-error, self._pending_drop)
            self._pending_drop -= lost
            error += lost
        if error > 0:
            self._pending_drop += error
            self._drop_on_time += error
        elif error < 0:
            self._conceal(-error)

    def _extend(self) -> Concealment:
        """Return the concealment that follows the output, and begin it if there is none."""
        if self._concealment is None or self._joined:
            self._concealment, self._joined = Concealment(self._recent, self._rate), 0
        return self._concealment

    def _conceal(self, samples: int) -> None:
        concealment = self._extend()
        self._write(concealment.read(samples), concealment)
        if self._started:
            self.concealed += samples

    def _write_joined(self, block: Float32) -> None:
        dropped = min(self._pending_drop, len(block))
        self._pending_drop -= dropped
        self._drop_on_time = min(self._drop_on_time, self._pending_drop)
        self.dropped += dropped
        rest = block[dropped:]
        if dropped:
            self._extend()
        if not len(rest):
            return
        if self._concealment is not None:
            # If the rest of the block is shorter than the crossfade, the next block continues it.
            rise = fade_in(self._join)[self._joined : self._joined + len(rest)]
            width = len(rise)
            rest = rest.copy()
            rest[:width] = rest[:width] * rise + self._concealment.read(width) * (1.0 - rise)
            self._joined += width
            if self._joined == self._join:
                self._concealment, self._joined = None, 0
        self._write(rest)

    def _write(self, samples: Float32, following: Concealment | None = None) -> None:
        self._recent = np.concatenate([self._recent, samples])[-len(self._recent) :]
        # Should no thread of this program run, the device plays the concealment itself.
        following = following or Concealment(self._recent, self._rate)
        self._sink.write(samples, following.peek(round(FADE_S * self._rate)))

    def _take_missed(self) -> None:
        """Continue where the device is, which has played the tail of the last samples."""
        missed = self._sink.take_missed()
        if missed and self._started:
            self._extend().read(missed)
            self._pending_drop += missed
            self._late = True
            self.concealed += missed
