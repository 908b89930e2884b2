"""Measure in the recordings: silence, latency, and how alike output and input are.

The latency is the lag of the highest correlation between the onsets of output and input: the
rises of the level in eight bands, 2.5 ms apart. A change of pitch moves the bands, but not the
onsets. `python -m benchmarks.faults --fault nothing` gives the method's error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import resample_poly, stft

from benchmarks.faults.tape import RATE, RECORD
from rtvc._types import Float32

QUIET_DB = -58.0
"""A frame below this has no speech that the latency could be measured in."""
SILENT_DB = -85.0
"""A frame below this is silence. A voice lowers noise between words to -77 dBFS."""
_HOP = 120
_EDGES_HZ = np.geomspace(90, 7000, 9)
_GAP_S = 0.015
_GROUP_S = 0.25


class Tape:
    """A recording on the monotonic clock, in pieces: none while the sink or the server is away."""

    def __init__(self, pieces: list[tuple[float, Float32]]) -> None:
        self.pieces = pieces

    def between(self, start: float, end: float) -> Float32:
        """Return the samples from `start` to `end`, zeros where nothing was recorded."""
        out = np.zeros(max(0, round((end - start) * RATE)), np.float32)
        for began, samples in self.pieces:
            at = round((began - start) * RATE)
            low, high = max(0, at), min(len(out), at + len(samples))
            if high > low:
                out[low:high] = samples[low - at : high - at]
        return out


@dataclass
class _Run:
    """Consecutive samples of one stream: where they are, and estimates of when it began."""

    stream: int
    first: int
    end: int
    received: int
    """Samples of the stream before the first one."""
    offsets: list[float]

    @property
    def origin(self) -> float:
        return float(np.median(self.offsets))


def read_tape(folder: Path, name: str) -> Tape:
    """Read what `tape` has recorded of a sink.

    A piece arrives at once or late, never early: in each quarter of a second the earliest one
    gives the time. Where that changes, the stream has stood still or started again.
    """
    file = folder / f"{name}.f32"
    samples = np.memmap(file, np.float32, "r") if file.stat().st_size else np.zeros(0, np.float32)
    groups: list[_Run] = []
    stream = at = last = 0
    opened = float("-inf")
    for arrived, received in RECORD.iter_unpack((folder / f"{name}.index").read_bytes()):
        if received <= last or not groups:
            stream, last, opened = stream + 1, 0, float("-inf")
        if arrived - opened > _GROUP_S:
            opened = arrived
            groups.append(_Run(stream, at, at, last, [float("inf")]))
        at += received - last
        last = received
        groups[-1].end = at
        groups[-1].offsets = [min(groups[-1].offsets[0], arrived - received / RATE)]
    runs: list[_Run] = []
    for group in groups:
        run = runs[-1] if runs else None
        if (
            run is not None
            and run.stream == group.stream
            and abs(run.origin - group.offsets[0]) < _GAP_S
        ):
            run.end = group.end
            run.offsets += group.offsets
        else:
            runs.append(group)
    return Tape([(r.origin + r.received / RATE, samples[r.first : r.end]) for r in runs])


def loud(sound: Float32, above: float = QUIET_DB) -> NDArray[np.bool_]:
    """Return for each 10 ms whether the level is above `above`, in dBFS."""
    frame = RATE // 100
    frames = sound[: len(sound) // frame * frame].reshape(-1, frame).astype("f8")
    level = np.sqrt(np.mean(frames**2, axis=1) + 1e-20)
    return np.asarray(20 * np.log10(level) > above)


def level_db(output: Tape, start: float, end: float) -> float:
    """Return the RMS level of the output in dBFS."""
    return float(10 * np.log10(np.mean(output.between(start, end).astype("f8") ** 2) + 1e-20))


def silent_after(output: Tape, began: float, until: float) -> float | None:
    """Return the seconds from `began` to the first 60 ms of silence, None if there is none."""
    sounding = loud(output.between(began, until), SILENT_DB)
    for i in range(len(sounding) - 5):
        if not sounding[i : i + 6].any():
            return i * 0.01
    return None


def sound_after(output: Tape, gone: float, until: float) -> float | None:
    """Return the seconds from `gone` until 70 % of the next 300 ms have sound, None if never."""
    sounding = loud(output.between(gone, until), SILENT_DB)
    for i in range(len(sounding) - 29):
        if sounding[i] and sounding[i : i + 30].mean() > 0.7:
            return i * 0.01
    return None


def silence_s(output: Tape, began: float, until: float) -> float:
    """Return the seconds of silence in runs of at least 60 ms."""
    sounding = loud(output.between(began, until), SILENT_DB)
    total = run = 0
    for sound in [*sounding, True]:
        if sound:
            total += run if run >= 6 else 0
            run = 0
        else:
            run += 1
    return total * 0.01


def lost_s(source: Tape, output: Tape, began: float, until: float, latency: float) -> float:
    """Return the seconds of silence in the output beyond those of the input, heard that late."""
    pauses = silence_s(source, began - latency, until - latency)
    return max(0.0, silence_s(output, began, until) - pauses)


def onsets(sound: Float32) -> NDArray[np.float64]:
    """Return the rises of the level in each band, (bands, frames)."""
    frequency, _, spectrum = stft(sound, RATE, nperseg=960, noverlap=960 - _HOP, boundary=None)
    power = np.abs(spectrum) ** 2
    bands = np.stack(
        [
            power[(frequency >= low) & (frequency < high)].sum(axis=0)
            for low, high in itertools.pairwise(_EDGES_HZ)
        ]
    )
    level = np.log10(bands + 1e-7)
    rise = np.maximum(level[:, 8:] - level[:, :-8], 0.0)
    return np.asarray(rise - rise.mean(axis=1, keepdims=True))


def loudness(sound: Float32) -> NDArray[np.float64]:
    """Return the level of 10 ms in log10 of the power, (1, frames)."""
    power = uniform_filter1d(np.square(sound, dtype="f8"), RATE // 100)[::_HOP]
    level = np.log10(power + 1e-6)
    return np.asarray(level - level.mean())[None]


@dataclass(frozen=True)
class Latency:
    """A measured latency, and how much higher its correlation is than any other's."""

    seconds: float
    correlation: float


def latency(
    source: Tape,
    output: Tape,
    start: float,
    seconds: float,
    *,
    most: float = 1.0,
    features: Callable[[Float32], NDArray[np.float64]] = onsets,
) -> Latency | None:
    """Return the latency of the output from `start` on; None where it cannot be measured.

    `features` maps a sound to what is compared, (bands, frames), 2.5 ms apart.
    """
    played = output.between(start, start + seconds)
    heard = source.between(start - most, start + seconds)
    if loud(played).mean() < 0.6 or loud(heard).mean() < 0.6:
        return None
    a, b = features(played), features(heard)
    size = 1 << (b.shape[1] + a.shape[1]).bit_length()
    cross = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    lags = b.shape[1] - a.shape[1] + 1
    energy = np.sqrt((a**2).sum())
    squares = np.cumsum(np.pad((b**2).sum(axis=0), (1, 0)))
    local = np.sqrt(squares[a.shape[1] :][:lags] - squares[:lags]) + 1e-9
    score = cross[:, :lags].sum(axis=0) / local / energy
    best = int(np.argmax(score))
    shift = 0.0
    if 0 < best < lags - 1:
        left, middle, right = score[best - 1 : best + 2]
        shift = 0.5 * (left - right) / (left - 2 * middle + right)
    return Latency(float(most - (best + shift) * _HOP / RATE), float(score[best]))


def likeness(
    source: Tape, output: Tape, start: float, end: float, most: float, *, piece_s: float = 0.2
) -> float:
    """Return the highest correlation of a piece of output with any part of the input before it."""
    rate, size = 16_000, round(16_000 * piece_s)
    played = resample_poly(output.between(start, end), 1, 3)
    heard = resample_poly(source.between(start - most, end + 0.05), 1, 3)
    worst = 0.0
    for at in range(0, len(played) - size + 1, size):
        piece = played[at : at + size].astype("f8")
        if np.sqrt(np.mean(piece**2)) < 10 ** (-50 / 20):
            continue
        field = heard[at : at + size + round((most + 0.05) * rate)].astype("f8")
        length = 1 << (len(field) + size).bit_length()
        cross = np.fft.irfft(
            np.fft.rfft(field, length) * np.conj(np.fft.rfft(piece, length)), length
        )[: len(field) - size + 1]
        squares = np.cumsum(np.pad(field**2, (1, 0)))
        local = np.sqrt(np.maximum(squares[size:] - squares[:-size], 1e-12))
        quiet = local < 0.01 * np.sqrt(size) * 10 ** (-20 / 20)
        score = np.where(quiet, 0.0, np.abs(cross) / local / np.sqrt((piece**2).sum()))
        worst = max(worst, float(score.max()))
    return worst
