"""The test signal of a loop measurement, and what a recording of it tells about the loop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.loopback import vertex

LEVEL_DBFS = -20.0
"""Peak level of the test signal."""
CHIRP_S = 0.25
_BANDS = (
    (300.0, 3150.0),
    (3150.0, 6000.0),
    (6000.0, 3500.0),
    (3500.0, 300.0),
    (300.0, 1650.0),
    (1650.0, 3000.0),
    (3000.0, 2000.0),
    (2000.0, 300.0),
    (300.0, 2600.0),
    (2600.0, 5600.0),
    (5600.0, 2800.0),
    (2800.0, 300.0),
)
"""First and last frequency of each chirp in Hz: no two have the same rate and range."""
CHIRPS = len(_BANDS)
MAX_LAG_S = 2.0
"""Longest latency that is found, in seconds."""

_FOUND_RATIO = 6.0
"""Peak of a correlation over its RMS from which a chirp counts as found; noise reaches 4."""
_MIN_FOUND = 3
_SAME_BAND = 0.25
"""Height of a peak, over that of the others, from which the chirp counts as found."""
_SAME_PATH = 0.5
"""Height of a peak, over the highest, from which it is the path of the chirp before."""
_STEP_S = 0.001
"""Change of the latency between two chirps that is a shift and not jitter, in seconds."""
_PATH_FLOOR = 0.1
"""Amplitude of the weakest path that is reported, relative to the strongest: -20 dB."""
_PATH_DISTANCE_S = 0.003
_MAX_PATHS = 4
_WINDOW = 480
"""Samples of a window that is compared with the signal."""
_TAPS = 8
"""Half the length of the filter that is fitted per path, in samples."""
_BROKEN_DB, _ABOVE_MEDIAN_DB = -45.0, 15.0
_QUIET_DB = 10.0
_GAP_S = 0.002


@dataclass(frozen=True, slots=True)
class LoopPath:
    """A way from output to input: its lag in seconds, and its level relative to the strongest."""

    lag_s: float
    level_db: float


@dataclass(frozen=True, slots=True)
class LoopEvent:
    """A disturbance of the recorded signal.

    Attributes
    ----------
    kind
        ``"gap"``: silence in the signal; ``"click"``: sound that is not in the signal;
        ``"shift"``: from here on the signal is later (samples were inserted) or earlier
        (samples were lost).
    at_s
        Seconds since the start of the signal.
    seconds
        Length of a gap; change of the latency at a shift, negative for earlier.
    """

    kind: Literal["gap", "click", "shift"]
    at_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class LoopAnalysis:
    """What a recording of the test signal tells.

    Attributes
    ----------
    lags_s
        Lag of each chirp that was found, in order, in seconds.
    paths
        All paths, the strongest first; its lag is the median of most of `lags_s`.
    events
        Disturbances in chronological order.
    gain_db
        Level of the strongest path relative to the signal.
    noise_db
        Level of the noise before the signal relative to the recorded signal.
    residual_db
        Level of what is no filtered copy of the signal, relative to the recorded signal:
        noise, reverberation, distortion.
    clipped
        Samples at full scale.
    """

    lags_s: tuple[float, ...]
    paths: tuple[LoopPath, ...]
    events: tuple[LoopEvent, ...]
    gain_db: float
    noise_db: float
    residual_db: float
    clipped: int

    @property
    def found(self) -> bool:
        """Whether enough chirps were found for a latency."""
        return bool(self.lags_s)

    @property
    def jitter_s(self) -> float:
        """Range of the chirps' lags in seconds; without those that differ by a shift."""
        near = _largest_group(np.array(self.lags_s) * ENGINE_RATE) / ENGINE_RATE
        return float(near[-1] - near[0])

    @property
    def agree(self) -> bool:
        """Whether all chirps that were found have one lag."""
        return self.found and max(self.lags_s) - min(self.lags_s) <= 2 * _STEP_S

    @property
    def too_quiet(self) -> bool:
        """Whether noise covers the signal so that disturbances cannot be seen."""
        return self.noise_db > -_QUIET_DB


@cache
def loop_chirps() -> Float32:
    """Return the test signal at `ENGINE_RATE`: `CHIRPS` different chirps without a pause.

    It is never silent between its fades, so that a gap or click is seen anywhere in it.
    """
    size = round(CHIRP_S * ENGINE_RATE)
    low, high = (np.repeat([band[i] for band in _BANDS], size) for i in (0, 1))
    share = np.tile(np.arange(size) / size, CHIRPS)
    sweep = np.sin(2 * np.pi * np.cumsum(low + (high - low) * share) / ENGINE_RATE)
    edge = round(0.01 * ENGINE_RATE)
    fade = np.sin(np.pi / 2 * np.arange(edge) / edge) ** 2
    sweep[:edge] *= fade
    sweep[-edge:] *= fade[::-1]
    signal: Float32 = (10 ** (LEVEL_DBFS / 20) * sweep).astype(np.float32)
    signal.flags.writeable = False
    return signal


def analyse(recording: Float32) -> LoopAnalysis:
    """Compare a recording with the test signal.

    Parameters
    ----------
    recording
        (samples,) float32 at `ENGINE_RATE`, from the time when `loop_chirps` began.
    """
    signal = loop_chirps()
    size = round(CHIRP_S * ENGINE_RATE)
    reach = round(MAX_LAG_S * ENGINE_RATE)
    recording = np.pad(recording, (0, max(0, signal.size + reach - recording.size)))
    envelopes: dict[int, Float64] = {}
    carriers: dict[int, Float64] = {}
    for number in range(CHIRPS):
        start = number * size
        analytic = _correlation(
            recording[start : start + size + reach], signal[start : start + size]
        )
        envelope = np.abs(analytic)
        rms = float(np.sqrt(np.mean(envelope**2)))
        if rms and envelope.max() >= _FOUND_RATIO * rms:
            envelopes[number], carriers[number] = envelope, np.abs(analytic.real)
    clipped = int(np.count_nonzero(np.abs(recording) >= 0.999))
    heights = {number: float(envelope.max()) for number, envelope in envelopes.items()}
    for number, height in heights.items():
        # A loop without high frequencies has only remains of some chirps.
        if height < _SAME_BAND * float(np.median(list(heights.values()))):
            del envelopes[number]
    if len(envelopes) < _MIN_FOUND:
        return LoopAnalysis((), (), (), -np.inf, np.inf, 0.0, clipped)
    lags = _lags(envelopes, carriers)
    every = np.array(list(lags.values()))
    same = _largest_group(every)
    if same.size < _MIN_FOUND:  # other sound, such as speech, has peaks too, but anywhere
        return LoopAnalysis((), (), (), -np.inf, np.inf, 0.0, clipped)
    middle = float(np.median(same))
    paths = _paths(middle, every, list(envelopes.values()))
    gain = float(np.median([heights[number] for number in envelopes]))
    level = gain * float(np.sqrt(np.mean(signal.astype(np.float64) ** 2)))
    before = recording[: max(0, round(every.min()) - _WINDOW)].astype(np.float64)
    noise = float(np.sqrt(np.mean(before**2))) if before.size else 0.0
    breaks, residual_db = _breaks(recording, lags, paths)
    return LoopAnalysis(
        lags_s=tuple((every / ENGINE_RATE).tolist()),
        paths=paths,
        events=_events(_shifts(lags), breaks),
        gain_db=float(20 * np.log10(gain)),
        noise_db=float(20 * np.log10(max(noise, 1e-9) / level)),
        residual_db=residual_db,
        clipped=clipped,
    )


def _correlation(recording: Float32, chirp: Float32) -> NDArray[np.complex128]:
    """Return the analytic correlation by lag; its absolute value is the gain of the path."""
    template = chirp.astype(np.float64) * np.hanning(chirp.size)
    size = 1 << (recording.size + chirp.size - 1).bit_length()
    spectrum = np.fft.fft(recording, size) * np.conj(np.fft.fft(template, size))
    spectrum[size // 2 :] = 0.0
    lags = recording.size - chirp.size + 1
    return 2 * np.fft.ifft(spectrum)[:lags] / float(template @ chirp)


def _lags(envelopes: dict[int, Float64], carriers: dict[int, Float64]) -> dict[int, float]:
    """Return the lag of each chirp in samples."""
    highest = [int(np.argmax(envelope)) for envelope in envelopes.values()]
    previous = sorted(highest)[len(highest) // 2]
    near = round(_STEP_S * ENGINE_RATE)
    lags = {}
    for number, envelope in envelopes.items():
        at = int(np.argmax(envelope))
        # Echoes in a room are nearly as high as the direct sound, and not in all bands less.
        begin = max(0, previous - near)
        close = begin + int(np.argmax(envelope[begin : previous + near + 1]))
        if envelope[close] >= _SAME_PATH * envelope[at]:
            at = close
        previous = at
        # The carrier's maximum next to that of the envelope is sharper.
        begin, carrier = max(0, at - 4), carriers[number]
        at = begin + int(np.argmax(carrier[begin : at + 5]))
        lags[number] = at + vertex(carrier, at)
    return lags


def _largest_group(lags: Float64) -> Float64:
    """Return the most lags that differ by no more than a shift."""
    ordered = np.sort(lags)
    ends = np.searchsorted(ordered, ordered + 2 * _STEP_S * ENGINE_RATE, side="right")
    first = int(np.argmax(ends - np.arange(ordered.size)))
    return ordered[first : ends[first]]


def _paths(middle: float, lags: Float64, envelopes: list[Float64]) -> tuple[LoopPath, ...]:
    """Return the paths that most chirps have, at their distance from each chirp's own lag."""
    earliest, latest = round(lags.min()), round(lags.max())
    span = min(envelope.size for envelope in envelopes) - (latest - earliest) - 1
    # Position `earliest` of an aligned envelope is the chirp's own lag.
    aligned = [
        envelope[round(lag) - earliest : round(lag) - earliest + span] / envelope[round(lag)]
        for lag, envelope in zip(lags, envelopes, strict=True)
    ]
    typical = np.median(aligned, axis=0)
    floor = max(_PATH_FLOOR, 4 * float(np.median(typical)))
    apart = round(_PATH_DISTANCE_S * ENGINE_RATE)
    paths = [LoopPath(middle / ENGINE_RATE, 0.0)]
    typical[max(0, earliest - apart) : earliest + apart + 1] = 0.0
    while len(paths) < _MAX_PATHS:
        at = int(np.argmax(typical))
        if typical[at] < floor:
            break
        # The edge of what a stronger path has cleared is no path.
        adjacent = typical[max(0, at - 1) : at + 2]
        if adjacent.size == 3 and adjacent[0] and adjacent[2]:
            lag = middle + at - earliest
            paths.append(LoopPath(lag / ENGINE_RATE, float(20 * np.log10(typical[at]))))
        typical[max(0, at - apart) : at + apart + 1] = 0.0
    return tuple(paths)


def _shifts(lags: dict[int, float]) -> list[LoopEvent]:
    """Return the changes of the latency, each at the start of the first chirp that has it."""
    shifts = []
    for before, after in pairwise(sorted(lags)):
        change = (lags[after] - lags[before]) / ENGINE_RATE
        if abs(change) > _STEP_S:
            shifts.append(LoopEvent("shift", after * CHIRP_S, change))
    return shifts


def _events(shifts: list[LoopEvent], breaks: list[LoopEvent]) -> tuple[LoopEvent, ...]:
    """Return all events in order, without the clicks that are the seams of shifts."""
    kept = [
        event
        for event in breaks
        if event.kind == "gap"
        or all(abs(event.at_s - shift.at_s) > 1.1 * CHIRP_S for shift in shifts)
    ]
    return tuple(sorted([*shifts, *kept], key=lambda event: event.at_s))


def _breaks(
    recording: Float32, lags: dict[int, float], paths: tuple[LoopPath, ...]
) -> tuple[list[LoopEvent], float]:
    """Return gaps and clicks, and the level of what is no filtered copy of the signal in dB."""
    signal = loop_chirps().astype(np.float64)
    margin = round((MAX_LAG_S + 0.1) * ENGINE_RATE)
    padded = np.pad(signal, margin)
    echoes = [round((path.lag_s - paths[0].lag_s) * ENGINE_RATE) for path in paths]
    starts = range(2 * _WINDOW, signal.size - 2 * _WINDOW, _WINDOW)
    residuals, power = [], []
    for start in starts:
        # The last _TAPS samples before the window are part of its filter's input.
        columns = np.concatenate(
            [
                sliding_window_view(padded[at - _TAPS : at + _WINDOW + _TAPS], _WINDOW)
                for at in (margin + start - echo for echo in echoes)
            ]
        )
        inverse = np.linalg.inv(columns @ columns.T + 1e-9 * np.eye(len(columns)))
        fits = []
        for lag in _lags_near(start // round(CHIRP_S * ENGINE_RATE), lags):
            target = recording[start + lag : start + lag + _WINDOW].astype(np.float64)
            model = (inverse @ (columns @ target)) @ columns
            fits.append((float(np.sum((target - model) ** 2)), target - model, model))
        _, residual, model = min(fits, key=lambda fit: fit[0])
        residuals.append(residual)
        power.append(float(model @ model))
    typical = max(float(np.median(power)), 1e-20)
    errors_db = 10 * np.log10(np.sum(np.square(residuals), 1) / typical + 1e-20)
    middle_db = float(np.median(errors_db))
    broken = np.flatnonzero(errors_db > max(_BROKEN_DB, middle_db + _ABOVE_MEDIAN_DB))
    events: list[LoopEvent] = []
    for group in np.split(broken, np.flatnonzero(np.diff(broken) > 1) + 1):
        if not group.size:
            continue
        begin, end = starts[int(group[0])], starts[int(group[-1])] + _WINDOW
        lag = _lags_near(begin // round(CHIRP_S * ENGINE_RATE), lags)[0]
        received = recording[begin + lag - _WINDOW : end + lag + _WINDOW]
        gap = _longest_silence(received, float(np.sqrt(typical / _WINDOW)))
        if gap >= _GAP_S:
            events.append(LoopEvent("gap", begin / ENGINE_RATE, gap))
        else:
            peak = int(np.argmax(np.abs(np.concatenate([residuals[i] for i in group]))))
            events.append(LoopEvent("click", (begin + peak) / ENGINE_RATE, 0.0))
    return events, middle_db


def _lags_near(number: int, lags: dict[int, float]) -> list[int]:
    """Return the lags that a window in a chirp can have: a shift may lie in the chirp."""
    known = sorted(lags, key=lambda other: abs(other - number))[:3]
    chosen: list[int] = []
    for lag in (round(lags[other]) for other in known):
        if all(abs(lag - other) > _TAPS // 2 for other in chosen):
            chosen.append(lag)
    return chosen


def _longest_silence(samples: Float32, level: float) -> float:
    """Return the length of the longest run far below `level`, in seconds."""
    # The chirps pass through zero at least every 1.7 ms; shorter runs are no silence.
    quiet = np.concatenate([[False], np.abs(samples) < 0.1 * level, [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8)))
    return float(np.max(edges[1::2] - edges[::2], initial=0)) / ENGINE_RATE
