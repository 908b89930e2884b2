"""Acoustic feedback: finds the output in the input, and reduces it before it howls.

What a loudspeaker plays arrives at the microphone some time later, filtered by the room but
otherwise the same, whatever the voice does to it afterwards. The whitened correlation of input
and past output therefore has a sharp peak at that time. Without a loop there is none: the input
is your own voice, the output another one.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple, TypeVar

import numpy as np

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.conditioning import Ramp
from rtvc.engine.dsp.windows import windows

_RATE = 8000
_EVERY_S = 0.1
"""Time between two searches while there is a trace of a loop; otherwise every other is left out. A
search is computed in parts until the next one begins, so that no block waits for all of it."""
_PARTS = 10
"""Parts of a search that finds nothing, of about equal cost; one in each 10 ms."""
_WINDOW_S = 0.6
"""Newest input that is compared with the output."""
_LAGS_S = 0.02, 0.8
"""Shortest and longest time from output to input."""
_SAME_LAG_S = 0.0005
"""Largest difference between the lags of two searches that find the same path."""
_SAME_PATH_DB = 1.5
"""Largest difference between their levels, unless the peak is distinct."""
_PEAK_WIDTH_S = 0.002
"""Lags around the peak that belong to it."""
_PEAK = 0.2
"""Correlation at which the output counts as found: speech without a loop reaches 0.18 where both
signals are quiet and 0.12 elsewhere, loops 0.2 to 0.5 from the first pass."""
_UNIQUE, _DISTINCT = 0.75, 0.55
"""Largest shares of the peak that another lag may reach for the peak to count, and to count
more: a held note repeats itself at all periods, with a share of 0.8 and more; loops reach 0.3 to
0.7."""
_HOWL_DB = -16.0
"""RMS that the output does not fall below for a whole window while it howls. Speech and shouts do.
"""
_HOWL_UNIQUE = 0.92
"""As `_UNIQUE`, for a howl: it may repeat itself nearly as a held note does, but no test tone."""
_EVIDENCE, _DISTINCT_WEIGHT, _HOWL_WEIGHT = 4.0, 2.0, 1.4
"""A loop is two distinct peaks in a row at one lag, four less distinct ones, or three
while it howls."""
_QUIET_DB = -50.0
"""RMS of input or output below which nothing is searched."""
_SMOOTH_HZ = 150.0
"""Bandwidth of the spectra that whiten the signals."""
_CLIPPED = 0.8
_TAPER = np.sin(np.linspace(0.0, np.pi / 2, round(0.05 * _RATE))) ** 2
_FRAME = 512
"""Samples per frame of the coherence, which measures how much of the input is output."""

_HIGHEST_GAIN_DB = -6.0
"""Loop gain above which the output is reduced. Narrow peaks of a room are 5 to 10 dB higher than
the mean that is measured, so a loop howls from about here."""
_WANTED_GAIN_DB = -12.0
"""Loop gain to which it is reduced."""
_SATURATED_DB = 12.0
"""Further reduction of a howl, whose loop gain is measured too low: the ceiling hides it."""
_LOWEST_DB = -40.0
_HOLD_S = 1.0
_RESTORED_DB_PER_S = 3.0
_IGNORED_S = 10.0
"""Time for which nothing is reduced after sound that repeats itself was taken for a loop."""

_Result = TypeVar("_Result")
_Parts = Generator[None, None, _Result]
"""A computation that yields after each of its parts."""


class Path(NamedTuple):
    """The way from output to input, as one search finds it.

    Attributes
    ----------
    lag
        Samples at 8 kHz from output to input.
    path_db
        Level of the output in the input relative to the output.
    loop_db
        Level of the output in the input relative to the input that it was made from.
    distinct
        Whether no other lag is nearly as likely.
    howling
        Whether the output is as loud as a howl throughout.
    clipped
        Whether the input is so loud that it is clipped: the levels are too low then.
    """

    lag: int
    path_db: float
    loop_db: float
    distinct: bool
    howling: bool
    clipped: bool


class FeedbackSuppressor:
    """Reduces the output while the microphone picks it up so loudly that it would howl.

    Until then the output is unchanged, bit for bit, and not delayed. Decisions depend on the
    position in the signal, not on the size of the blocks.

    Parameters
    ----------
    rate
        Samples per second, a multiple of 8000.
    delay
        Samples by which the output lags the input that it was made from.
    """

    def __init__(self, rate: int, delay: int) -> None:
        self._every = round(_EVERY_S * rate)
        self._into = 0
        self._gain = Ramp(rate, 1.0)
        self._gain_db = 0.0
        self._made_from = round(delay * _RATE / rate)
        longest = round((_WINDOW_S + _LAGS_S[1]) * _RATE) + self._made_from
        self._input = _History(rate // _RATE, longest)
        self._output = _History(rate // _RATE, longest)
        self._searched: tuple[Float32, Float32, bool] | None = None
        """What the search that is being computed is of: input, output, and whether it howls."""
        self._in_progress: _Search | None = None
        """The search itself, which begins again where only the rest of the state is known."""
        self._path: Path | None = None
        self._evidence = 0.0
        self._turn = False
        self._wait_s = 0.0
        self._reduced_by: tuple[Path, float] | None = None
        """The path when the output was reduced, and by how many dB."""

    @property
    def active(self) -> bool:
        """Whether the output is reduced."""
        return self._gain_db < 0.0

    def process(self, given: Float32, made: Float32) -> Float32:
        """Return the next block of output, reduced if it feeds back.

        Parameters
        ----------
        given, made
            (samples,) float32: the block of input, and the block of output of the same step.
        """
        parts = []
        at = 0
        while at < len(made):
            end = min(len(made), at + self._every - self._into)
            gain = self._gain.process(10.0 ** (self._gain_db / 20.0), end - at)
            part = made[at:end]
            if isinstance(gain, np.ndarray) or gain != 1.0:
                part = part * np.asarray(gain, np.float32)
            self._input.push(given[at:end])
            self._output.push(part)
            parts.append(part)
            self._into += end - at
            at = end
            if self._into == self._every:
                self._into = 0
                self._decide()
                self._begin()
        if (search := self._running()) is not None:
            search.advance(self._into / self._every)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def skip(self) -> None:
        """Forget the past: the positions of input and output have changed."""
        self._input.clear()
        self._output.clear()
        self._searched = self._in_progress = self._path = self._reduced_by = None

    def follow(self, other: FeedbackSuppressor) -> None:
        """Begin with the reduction of another one, whose place this one takes."""
        self._gain_db = other._gain_db
        self._gain.jump(10.0 ** (self._gain_db / 20.0))

    @property
    def _heard(self) -> bool:
        """Whether the output is as loud as it must be, without the reduction, to be searched."""
        return self._output.level_db > _QUIET_DB + self._gain_db

    def _begin(self) -> None:
        """Begin the next search if it is due."""
        self._turn = not self._turn
        due = self._turn or self._path is not None or self._output.lowest_db > _HOWL_DB
        if due and self._heard and self._input.level_db > _QUIET_DB + self._gain_db:
            howling = self._output.lowest_db > _HOWL_DB
            self._searched = self._input.samples, self._output.samples, howling

    def _running(self) -> _Search | None:
        """Return the search that is being computed, None if none is."""
        if self._in_progress is None and self._searched is not None:
            given, made, howling = self._searched
            self._in_progress = _Search(_find(given, made, self._made_from, howling))
        return self._in_progress

    def _decide(self) -> None:
        """Use the result of the search that began `_EVERY_S` ago."""
        self._wait_s = max(0.0, self._wait_s - _EVERY_S)
        search = self._running()
        path = None if search is None else search.finish()
        self._searched = self._in_progress = None
        found = self._follow(path)
        if self._reduced_by is not None and self._wait_s == 0.0:
            before, reduction = self._reduced_by
            first = Path(*before)  # a state that was restored has plain tuples
            self._reduced_by = None
            grown = path is not None and path.path_db - first.path_db > reduction / 2
            if found and grown and not first.clipped:
                # It did not become quieter with the output: not a loop, but repeated sound.
                self._gain_db, self._wait_s = 0.0, _IGNORED_S
                return
        if found and path is not None and path.loop_db > _HIGHEST_GAIN_DB:
            if self._reduced_by is None and (self.active or self._wait_s == 0.0):
                self._reduce(path)
        elif self.active and self._wait_s == 0.0 and self._heard:
            restored = self._gain_db + _RESTORED_DB_PER_S * _EVERY_S
            louder = 0.0 if path is None else path.loop_db + _RESTORED_DB_PER_S * _EVERY_S
            if path is None or louder < _WANTED_GAIN_DB:
                self._gain_db = min(0.0, restored)

    def _follow(self, path: Path | None) -> bool:
        """Collect evidence from consecutive searches; return whether it is enough for a loop."""
        before = None if self._path is None else Path(*self._path)
        self._path = path
        if path is None:
            self._evidence = 0.0
            return False
        same = before is not None and abs(path.lag - before.lag) <= _SAME_LAG_S * _RATE
        if before is not None and not path.distinct:
            same = same and abs(path.path_db - before.path_db) < _SAME_PATH_DB
        if not (same or path.howling):
            self._evidence = 0.0
        weight = _HOWL_WEIGHT if path.howling else 1.0
        self._evidence += _DISTINCT_WEIGHT if path.distinct else weight
        return self._evidence >= _EVIDENCE

    def _reduce(self, path: Path) -> None:
        """Reduce the loop gain, and wait until the input shows the effect."""
        before = self._gain_db
        reduction = path.loop_db - _WANTED_GAIN_DB
        if path.howling or path.clipped:
            reduction += _SATURATED_DB
        self._gain_db = max(_LOWEST_DB, before - reduction)
        if self._gain_db < before:
            self._reduced_by = path, before - self._gain_db
        self._wait_s = _HOLD_S + path.lag / _RATE


class _Search:
    """A search that is computed in parts; it uses the signals of the time when it began."""

    def __init__(self, parts: _Parts[Path | None]) -> None:
        self._parts = parts
        self._done = 0.0
        self._path: Path | None = None

    def advance(self, share: float) -> None:
        """Compute the parts that are due after a share of the time."""
        while self._done < share * _PARTS:
            self._compute()

    def finish(self) -> Path | None:
        """Compute the rest and return the result."""
        while self._done < math.inf:
            self._compute()
        return self._path

    def _compute(self) -> None:
        self._done += 1
        try:
            next(self._parts)
        except StopIteration as end:
            self._path, self._done = end.value, math.inf


class _History:
    """The newest samples of a signal at 8 kHz."""

    def __init__(self, factor: int, samples: int) -> None:
        self._factor = factor
        taps = np.arange(-5 * factor, 5 * factor + 1) / factor
        filter_ = np.sinc(taps * 0.9) * np.hanning(len(taps) + 2)[1:-1]
        self._taps = (filter_ / filter_.sum()).astype(np.float32)
        self._before: Float32 = np.zeros(len(taps) - 1, np.float32)
        self.samples: Float32 = np.zeros(samples, np.float32)

    @property
    def level_db(self) -> float:
        """RMS of the newest window in dBFS."""
        return _db(_mean_square(self.samples[-round(_WINDOW_S * _RATE) :]))

    @property
    def lowest_db(self) -> float:
        """The lowest RMS over 50 ms in the newest window, in dBFS."""
        window = self.samples[-round(_WINDOW_S * _RATE) :].reshape(-1, _RATE // 20)
        return _db(float(np.min(np.mean(np.square(window, dtype=np.float64), axis=1))))

    def push(self, samples: Float32) -> None:
        """Append samples at the full rate."""
        joined = np.concatenate([self._before, samples])
        self._before = joined[len(samples) :]
        count = -(-len(samples) // self._factor)
        slow = windows(joined, len(self._taps), self._factor, count=count) @ self._taps
        self.samples = np.concatenate([self.samples[len(slow) :], slow])

    def clear(self) -> None:
        """Replace the past by silence."""
        self.samples = np.zeros_like(self.samples)


def _find(given: Float32, made: Float32, made_from: int, howling: bool) -> _Parts[Path | None]:
    """Return the path of the output to the newest input, None if there is none.

    Parameters
    ----------
    given, made
        Input and output at 8 kHz; not changed while this computes.
    made_from
        Samples by which the output lags the input that it was made from.
    howling
        Whether the output is as loud as a howl throughout.
    """
    size = round(_WINDOW_S * _RATE)
    shortest, longest = (round(lag * _RATE) for lag in _LAGS_S)
    newest = given[-size:]
    likeness = np.abs((yield from _likeness(newest, made[-size - longest :])))
    lag = shortest + int(np.argmax(likeness[shortest:]))
    others = likeness[shortest:].copy()
    near = round(_PEAK_WIDTH_S * _RATE)
    others[max(0, lag - shortest - near) : lag - shortest + near + 1] = 0.0
    share = others.max() / max(likeness[lag], _PEAK)
    if likeness[lag] < _PEAK or share > (_HOWL_UNIQUE if howling else _UNIQUE):
        return None
    yield
    end = len(made) - lag
    source = made[end - size : end]
    origin = given[end - size - made_from : end - made_from]
    shared = _shared_power(newest, source)
    return Path(
        lag,
        _db(shared / (_mean_square(source) + 1e-12)),
        _db(shared / (_mean_square(origin) + 1e-12)),
        bool(share < _DISTINCT),
        howling,
        float(np.max(np.abs(newest))) > _CLIPPED,
    )


def _likeness(newest: Float32, past: Float32) -> _Parts[Float64]:
    """Return the correlation of two whitened signals at each lag from 0 to their difference."""
    count = len(past) - len(newest)
    size = 1 << (len(past) + len(newest) - 1).bit_length()
    one = yield from _whitened(newest, size)
    other = yield from _whitened(past, size)
    # These lags need no padding beyond the longer signal.
    spectrum = np.conj(np.fft.rfft(one, len(past)))
    yield
    spectrum *= np.fft.rfft(other, len(past))
    yield
    correlation = np.fft.irfft(spectrum, len(past))[: count + 1]
    yield
    energy = np.cumsum(np.concatenate([[0.0], np.square(other, dtype=np.float64)]))
    local = energy[len(newest) :] - energy[: count + 1]
    scale = np.sqrt(np.sum(np.square(one, dtype=np.float64)) * local + 1e-12)
    flipped: Float64 = (correlation / scale)[::-1]
    return flipped


def _whitened(signal: Float32, size: int) -> _Parts[Float64]:
    """Return the signal with its spectrum divided by its envelope over frequency."""
    # Without a taper the edges of a steady tone would be louder than the tone, once whitened.
    tapered = signal.astype(np.float64)
    tapered[: len(_TAPER)] *= _TAPER
    tapered[-len(_TAPER) :] *= _TAPER[::-1]
    spectrum = np.fft.rfft(tapered, size)
    yield
    power = np.square(np.abs(spectrum))
    half = max(1, round(_SMOOTH_HZ * size / _RATE))
    total = np.zeros(len(power) + 2 * half)
    total[half:-half] = power
    np.cumsum(total, out=total)
    envelope = np.sqrt((total[2 * half :] - total[: -2 * half]) / (2 * half))[: len(power)]
    # NumPy divides a complex number by a real one as by a complex one, which takes longer.
    spectrum *= 1.0 / (envelope + 1e-3 * envelope.max() + 1e-20)
    yield
    flat: Float64 = np.fft.irfft(spectrum, size)[: len(signal)]
    yield
    return flat


def _shared_power(given: Float32, source: Float32) -> float:
    """Return the power of the part of `given` that is a filtered `source`, by their coherence."""
    window = np.hanning(_FRAME)
    frames = [
        np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x, _FRAME)[:: _FRAME // 2] * window)
        for x in (given, source)
    ]
    cross = np.square(np.abs(np.mean(frames[0] * np.conj(frames[1]), axis=0)))
    own, other = (np.mean(np.square(np.abs(frame)), axis=0) for frame in frames)
    coherence = cross / (own * other + 1e-30)
    # Unrelated signals have a coherence of one over the number of independent frames.
    chance = 1.4 / len(frames[0])
    coherence = np.maximum(0.0, (coherence - chance) / (1.0 - chance))
    return float(np.sum(coherence * own) / np.sum(own + 1e-30)) * _mean_square(given)


def _mean_square(samples: Float32) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _db(power: float) -> float:
    return 10.0 * math.log10(power + 1e-12)
