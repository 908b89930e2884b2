"""An endpoint that removes what the speaker plays from what the microphone records."""

from __future__ import annotations

import statistics
import threading
from collections import deque

import numpy as np

from rtvc._types import Float32
from rtvc.audio.echo_canceller import ECHO_DELAY, EchoCanceller, make_canceller
from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.audio.forwarding import ForwardingEndpoint
from rtvc.errors import RtvcError

MARGIN_S = 0.020
"""Time by which the reference is early: an echo that comes before it cannot be cancelled, and
the latency of a device is not always the stated one."""
_KEPT_S = 8.0
"""Newest output to keep: more than the input rings and the latency of any device together."""
_FADE = ENGINE_RATE // 50
"""Samples over which the output changes to that of the canceller, and back."""
_SETTLE = ENGINE_RATE // 25
"""Samples that a new canceller processes before the fade."""
_SILENCE = ENGINE_RATE // 10
"""Samples of silence after which a canceller outputs nothing of what came before."""
_OFFSETS = 5
_TOLERANCE_S = 0.012
"""Deviation of the position that is not followed: input and output are counted in blocks of
10 ms, and their callbacks may come in any order."""


class EchoEndpoint(ForwardingEndpoint):
    """An `Endpoint` that forwards to another one, and cancels the echo in its input if asked.

    The reference is what the main output plays: all that is written, after limiter, gain and mute,
    and what the device plays where nothing was written in time. It is taken before the drift
    between two devices is compensated. The compensation keeps the time from there to the speaker
    constant in the microphone's clock, which is the one that matters here. A monitor plays the same
    30 ms later, which a canceller that expects the main output reaches too.

    While it is off, nothing is copied or imported.

    Parameters
    ----------
    inner
        The endpoint to forward to. Input is read in whole frames of 10 ms.

    Attributes
    ----------
    measured_s
        Measured latency from output to input in seconds; None for the one that `inner` states.
    delay_s
        Delay of the input by the cancellation in seconds, 0 while it is off. After the end it is
        still that of the streams that were open.
    problem
        Why nothing is cancelled although it should be, "" if nothing is wrong.
    """

    def __init__(self, inner: Endpoint) -> None:
        super().__init__(inner)
        self.measured_s: float | None = None
        self.delay_s = 0.0
        self.problem = ""
        self._wanted = "off"
        self._stopped = False
        self._next: EchoCanceller | None = None
        self._in_use: _Cancellation | None = None
        self._lock = threading.Lock()
        """Held while output is written or its position is read, and to change what is wanted."""

    def use(self, echo: str) -> None:
        """Switch the cancellation on or off, with a short fade; any thread may call this.

        A canceller takes some tenths of a second to load, in the background.

        Parameters
        ----------
        echo
            Value of ``Settings.echo``.
        """
        with self._lock:
            if echo == self._wanted or self._stopped:
                return
            self._wanted, self.problem = echo, ""
            if echo == "off" or self._in_use is not None or self._next is not None:
                return
        if self.wall_clock:
            threading.Thread(target=self._load, args=(echo,), name="rtvc echo", daemon=True).start()
        else:
            self._load(echo)

    def _load(self, echo: str) -> None:
        try:
            self._next = make_canceller(echo)
        except RtvcError as error:
            self.problem = str(error)
        except Exception as error:  # of the package, which is not ours
            self.problem = _unexpected(error)

    def reconnect(self) -> bool:
        """Try to reopen a lost device; return whether it succeeded."""
        connected = self.inner.reconnect()
        if connected and self._in_use is not None:
            try:
                with self._lock:
                    self._in_use.restart()
            except Exception as error:
                self._fail(error)
        return connected

    def stop(self) -> None:
        """Play the queued output, then close."""
        self.inner.stop()
        self._stopped = True
        self._in_use = self._next = None

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples."""
        if self._in_use is None and self._wanted != "off" and self._next is not None:
            self._in_use, self._next = _Cancellation(self._next), None
            self.delay_s = ECHO_DELAY / ENGINE_RATE
        in_use = self._in_use
        if in_use is None:
            return self.inner.read(samples)
        latency_s = sum(self.inner.latency) if self.measured_s is None else self.measured_s
        with self._lock:
            available, queued = self.inner.wait(0, 0.0), self.inner.queued()
            played = in_use.take_played(
                samples, available, queued, round((latency_s - MARGIN_S) * ENGINE_RATE)
            )
        block = self.inner.read(samples)
        try:
            block = in_use.process(block, played, on=self._wanted != "off")
        except Exception as error:
            self._fail(error)
            return block
        if in_use.faded_out:
            with self._lock:
                if self._wanted == "off":  # still
                    self._in_use, self.delay_s = None, 0.0
        return block

    def _fail(self, error: Exception) -> None:
        """Continue without a canceller whose package has failed."""
        self.problem = _unexpected(error)
        self._in_use, self.delay_s = None, 0.0

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue output, and keep it as the reference."""
        in_use = self._in_use
        if in_use is None:
            self.inner.write(samples, tail)
            return
        with self._lock:
            self.inner.write(samples, tail)
            in_use.add_output(samples, tail)

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while no output was queued."""
        in_use, missed = self._in_use, self.inner.take_missed()
        if missed and in_use is not None:
            with self._lock:
                in_use.add_missed(missed)
        return missed


def find_echo(endpoint: Endpoint) -> EchoEndpoint | None:
    """Return the `EchoEndpoint` among endpoints that forward to one another, None if none is."""
    while isinstance(endpoint, ForwardingEndpoint):
        if isinstance(endpoint, EchoEndpoint):
            return endpoint
        endpoint = endpoint.inner
    return None


class _Cancellation:
    """A canceller from its start to its end, with the signal that was played.

    Positions are samples since the start: of what was played, and of the input.
    """

    def __init__(self, canceller: EchoCanceller) -> None:
        self._canceller = canceller
        self._at = -_SETTLE
        """Position in the fade: 0 is the input, `_FADE` the canceller's output."""
        self._on = True
        self._begin()

    @property
    def faded_out(self) -> bool:
        """Whether it was switched off and has ended."""
        return not self._on and self._at <= 0

    def restart(self) -> None:
        """Begin again with other streams of the same room, without the sound from before."""
        silence = np.zeros(_SILENCE, np.float32)
        self._canceller.process(silence, silence)
        self._begin()

    def _begin(self) -> None:
        self._played = np.zeros(round(_KEPT_S * ENGINE_RATE), np.float32)
        self._tail = np.zeros(0, np.float32)
        self._end = self._read = self._offset = 0
        self._offsets: deque[int] = deque(maxlen=_OFFSETS)

    def add_output(self, samples: Float32, tail: Float32 | None) -> None:
        """Append output, and what the device plays after it if there is nothing else by then."""
        self._push(samples)
        self._tail = np.zeros(0, np.float32) if tail is None else tail

    def add_missed(self, samples: int) -> None:
        """Append what the device has played without output."""
        tail, self._tail = self._tail[:samples], self._tail[samples:]
        self._push(np.pad(tail, (0, samples - len(tail))))

    def take_played(self, samples: int, available: int, queued: int, lag: int) -> Float32:
        """Return what was played `lag` samples before the next `samples` samples of input.

        Parameters
        ----------
        samples, lag
            Number of samples.
        available
            Input samples that can be read.
        queued
            Output samples that wait for the device.
        """
        self._follow(self._end - queued - (self._read + available))
        start = self._read + self._offset - lag
        self._read += samples
        size = len(self._played)
        first, last = max(start, self._end - size, 0), min(start + samples, self._end)
        result = np.zeros(samples, np.float32)
        if first < last:
            result[first - start : last - start] = self._played[np.arange(first, last) % size]
        return result

    def process(self, block: Float32, played: Float32, *, on: bool) -> Float32:
        """Return the next block of input, with the canceller's share in it."""
        self._on = on
        clean = self._canceller.process(block, played)
        if on and self._at == _FADE:
            return clean
        at = self._at + (1 if on else -1) * np.arange(1, len(block) + 1)
        self._at = min(max(int(at[-1]), min(self._at, 0)), _FADE)
        share = np.sin(np.pi / 2 / _FADE * np.clip(at, 0, _FADE)).astype(np.float32) ** 2
        mixed: Float32 = block + share * (clean - block)
        return mixed

    def _follow(self, offset: int) -> None:
        """Follow the position of what is played relative to that of the input."""
        known = len(self._offsets)
        self._offsets.append(offset)
        middle = statistics.median_low(self._offsets)
        if known < _OFFSETS or abs(middle - self._offset) > _TOLERANCE_S * ENGINE_RATE:
            self._offset = middle

    def _push(self, samples: Float32) -> None:
        size = len(self._played)
        samples = samples[-size:]
        self._played[np.arange(self._end, self._end + len(samples)) % size] = samples
        self._end += len(samples)


def _unexpected(error: Exception) -> str:
    return f"Echo cancellation failed with an unexpected {type(error).__name__}: {error}."
