"""Play a known sound, find it again: the true delay, and what was lost on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.errors import RtvcError

MIN_PEAK_RATIO = 3.0
"""A peak so many times above any other is the sound and not chance."""
_PEAK_SAMPLES = 48
"""Correlation this near a peak belongs to it."""
_FIT_TAPS = 12


@dataclass(frozen=True, slots=True)
class Match:
    """Where a sound lies in a recording.

    Attributes
    ----------
    delay
        Samples from the recording's start to the sound's, to a fraction of one.
    peak_ratio
        Height of the correlation's peak over its next highest; from `MIN_PEAK_RATIO` on
        the sound is surely there.
    gain
        Amplitude in the recording over that of the sound.
    """

    delay: float
    peak_ratio: float
    gain: float

    @property
    def is_match(self) -> bool:
        """Whether the sound was found."""
        return self.peak_ratio >= MIN_PEAK_RATIO


def chirp(seconds: float = 0.3, low_hz: float = 300.0, high_hz: float = 6000.0) -> Float32:
    """Return a linear sweep at `ENGINE_RATE` that fades in and out, peak 0.5.

    Its flat spectrum gives the correlation one narrow peak.
    """
    time = np.arange(round(seconds * ENGINE_RATE)) / ENGINE_RATE
    phase = 2 * np.pi * (low_hz + (high_hz - low_hz) / (2 * seconds) * time) * time
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
    fade = np.sin(np.pi / 2 * edge) ** 2
    sweep: Float32 = (0.5 * fade * np.sin(phase)).astype(np.float32)
    return sweep


def find_signal(recording: Float32, sound: Float32) -> Match:
    """Find a sound in a recording by cross-correlation.

    Parameters
    ----------
    recording
        (samples,) float32, longer than `sound`.
    sound
        (samples,) float32, such as a `chirp`.
    """
    if recording.size < sound.size:
        return Match(0.0, 0.0, 0.0)
    size = 1 << (recording.size + sound.size - 1).bit_length()
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(sound, size))
    likeness = np.fft.irfft(spectrum, size)[: recording.size - sound.size + 1]
    height = np.abs(likeness)
    at = int(np.argmax(height))
    energy = float(np.sum(sound.astype(np.float64) ** 2))
    if not height[at] or not energy:
        return Match(0.0, 0.0, 0.0)
    far = np.ones(height.size, bool)
    far[max(0, at - _PEAK_SAMPLES) : at + _PEAK_SAMPLES + 1] = False
    next_highest = float(height[far].max(initial=1e-12))
    return Match(
        at + _vertex(height, at), float(height[at]) / next_highest, float(likeness[at]) / energy
    )


def _vertex(values: Float64, at: int) -> float:
    """Return where a parabola through a peak and its neighbours is highest, relative to it."""
    if not 0 < at < values.size - 1:
        return 0.0
    left, middle, right = values[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return float((left - right) / (2 * bend)) if bend else 0.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a recording follows what was sent, block by block.

    Attributes
    ----------
    block
        Samples per block.
    offsets
        (blocks,) where each block lies in the recording, relative to where it was sent.
    errors_db
        (blocks,) what of a block is not the one that was sent, over its power: -inf
        is bit-exact; a fraction of a sample or a gain does not count.
    """

    block: int
    offsets: NDArray[np.int64]
    errors_db: Float64

    @property
    def delay(self) -> int:
        """The offset of most blocks, in samples."""
        values, counts = np.unique(self.offsets, return_counts=True)
        return int(values[np.argmax(counts)])

    @property
    def exact(self) -> int:
        """How many blocks arrived bit for bit, wherever."""
        return int(np.sum(np.isneginf(self.errors_db)))

    def broken(self, limit_db: float = -60.0) -> int:
        """Return how many blocks differ by more than `limit_db`: clicks, gaps."""
        return int(np.sum(self.errors_db > limit_db))

    def slips(self, most: int = 0) -> int:
        """Return how many times the offset changed by more than `most` samples.

        Samples were lost or invented there. Two clocks that are held together
        drift by one sample now and then, which is no slip.
        """
        return int(np.count_nonzero(np.abs(np.diff(self.offsets)) > most))


def align(sent: Float32, recording: Float32, *, block: int = 4800, reach: int = 9600) -> Alignment:
    """Follow a sent signal through a recording of it, block by block.

    The signal must be unlike itself elsewhere, as noise or speech is. Blocks
    that lie beyond the recording's end are left out.

    Parameters
    ----------
    sent, recording
        (samples,) float32 at one rate.
    block
        Samples per block.
    reach
        How far a block is looked for first, in samples, from where the one before
        was; if it is not there, 20 times as far.

    Raises
    ------
    RtvcError
        If nothing of `sent` is in the recording.
    """
    first = find_signal(recording, sent[: 4 * block])
    if not first.is_match:
        raise RtvcError("what was sent is nowhere in the recording: is anything connected?")
    offset = round(first.delay)
    offsets, errors = [], []
    for start in range(0, sent.size - block + 1, block):
        piece = sent[start : start + block]
        at = start + offset
        if at + block + reach > recording.size:
            break
        error = _error_db(recording, at, piece)
        for far in (reach, 20 * reach):
            if error < -60.0:
                break
            begin = max(0, at - far)
            found = find_signal(recording[begin : at + block + far], piece)
            if found.is_match:
                at = begin + round(found.delay)
                offset = at - start
                error = _error_db(recording, at, piece)
                break
        offsets.append(offset)
        errors.append(error)
    return Alignment(block, np.array(offsets, np.int64), np.array(errors))


def _error_db(recording: Float32, at: int, wanted: Float32) -> float:
    """Return what no short filter of `wanted` explains of a recording's block."""
    got = recording[at : at + wanted.size]
    if np.array_equal(got, wanted):
        return -np.inf
    # A resampler on the way shifts by a fraction of a sample, which a few taps make good.
    shifts = [np.roll(wanted, k)[_FIT_TAPS:-_FIT_TAPS] for k in range(-_FIT_TAPS, _FIT_TAPS + 1)]
    basis, target = (
        np.stack(shifts, 1).astype(np.float64),
        got[_FIT_TAPS:-_FIT_TAPS].astype(np.float64),
    )
    rest = target - basis @ np.linalg.lstsq(basis, target, rcond=None)[0]
    power = float(np.sum(wanted.astype(np.float64) ** 2)) + 1e-20
    return float(10 * np.log10(np.sum(rest**2) / power + 1e-20))


@dataclass(frozen=True, slots=True)
class LoopLatency:
    """Delay of a loop from an endpoint's output to its own input, in seconds."""

    measured: float
    reported: float
    peak_ratio: float


def measure_loop_latency(
    endpoint: Endpoint, *, repeats: int = 3, queue_s: float = 0.1
) -> LoopLatency:
    """Play chirps through an endpoint whose output its own input hears, and time them.

    Parameters
    ----------
    endpoint
        Not started; a cable, a virtual cable, or a speaker before a microphone
        must close the loop.
    repeats
        Chirps to play, one each second; the clearest counts, for a sound server
        that converts rates may need a second to settle.
    queue_s
        Seconds of output kept waiting, so that a busy machine does no harm.

    Returns
    -------
    LoopLatency
        The delay of the device's two sides, without what waited in the queue.

    Raises
    ------
    RtvcError
        If the chirp does not come back.
    """
    step = ENGINE_RATE // 100
    sound = chirp()
    played = np.tile(np.pad(sound, (0, ENGINE_RATE - sound.size)), repeats)
    heard: list[Float32] = []
    ahead: list[int] = []
    endpoint.start(lambda: None, 0)
    try:
        endpoint.wait(step, 2.0)
        endpoint.write(np.zeros(round(queue_s * ENGINE_RATE), np.float32))
        for start in range(0, played.size, step):
            there = endpoint.wait(step, 2.0)
            ahead.append(endpoint.queued() + there)
            endpoint.write(played[start : start + step])
            heard.append(endpoint.read(step))
        reported = sum(endpoint.latency)
    finally:
        endpoint.stop()
    recording = np.concatenate(heard)
    best, delay = Match(0.0, 0.0, 0.0), 0.0
    for begin in range(0, recording.size, ENGINE_RATE):
        found = find_signal(recording[begin : begin + ENGINE_RATE], sound)
        if found.peak_ratio > best.peak_ratio:
            # What was queued before the chirp, and input that waited, is not the device's.
            best, delay = found, found.delay - ahead[begin // step]
    if not best.is_match:
        raise RtvcError(
            "the chirp did not come back: connect the output to the input, or turn the speaker up"
        )
    return LoopLatency(delay / ENGINE_RATE, reported, best.peak_ratio)
