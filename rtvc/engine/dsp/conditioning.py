"""Input conditioning: repair of invalid samples, high-pass, gain and noise gate."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from rtvc._types import Float32
from rtvc.settings import Settings

HIGH_PASS_HZ = 48.0
"""Corner of the high-pass, below speech and above rumble; RVC filters its training data alike."""

_CHUNK = 64
"""Samples that the high-pass computes in one matrix product."""
RAMP_S = 0.015
"""Duration of the ramp after a change of a gain, in seconds."""


def repair(block: Float32) -> tuple[Float32, bool]:
    """Set NaN and infinite samples to 0 and clip the others to -4..4.

    4 is 12 dB above full scale; the limit keeps the filters from overflowing.

    Returns
    -------
    block : ndarray
        (samples,) float32.
    repaired : bool
        Whether there were NaN or infinite samples.
    """
    bad = not bool(np.isfinite(block).all())
    if bad:
        block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(block, -4.0, 4.0), bad


class HighPass:
    """Second-order Butterworth high-pass, computed without a loop over samples.

    The filter is a state-space system over chunks of 64 samples. One matrix product gives the
    response of all chunks to their own input; only the two state values are carried from
    chunk to chunk.

    Parameters
    ----------
    rate
        Samples per second.
    corner_hz
        Frequency at -3 dB.
    """

    def __init__(self, rate: int, corner_hz: float = HIGH_PASS_HZ) -> None:
        k = math.tan(math.pi * corner_hz / rate)
        norm = 1.0 / (1.0 + math.sqrt(2.0) * k + k * k)
        b = np.array([1.0, -2.0, 1.0]) * norm
        a1, a2 = 2.0 * (k * k - 1.0) * norm, (1.0 - math.sqrt(2.0) * k + k * k) * norm
        # Transposed direct form II: state' = A state + B x, y = state[0] + b0 x.
        step = np.array([[-a1, 1.0], [-a2, 0.0]])
        drive = np.array([b[1] - a1 * b[0], b[2] - a2 * b[0]])
        powers = [np.eye(2)]
        for _ in range(_CHUNK):
            powers.append(step @ powers[-1])
        impulse = np.array([b[0]] + [(p @ drive)[0] for p in powers[: _CHUNK - 1]])
        lag = np.subtract.outer(np.arange(_CHUNK), np.arange(_CHUNK))
        self._own = np.where(lag >= 0, impulse[np.maximum(lag, 0)], 0.0).T
        self._free = np.array([p[0] for p in powers[:_CHUNK]]).T
        self._drive = np.array([powers[_CHUNK - 1 - i] @ drive for i in range(_CHUNK)])
        self._chunk_step = powers[_CHUNK]
        self._powers = powers
        self._state = np.zeros(2)

    def process(self, block: Float32) -> Float32:
        """Filter the next block, (samples,) float32 of any length."""
        whole = len(block) // _CHUNK * _CHUNK
        out = np.empty(len(block))
        if whole:
            chunks = block[:whole].astype(np.float64).reshape(-1, _CHUNK)
            driven = (chunks @ self._drive).tolist()
            (a, b), (c, d) = self._chunk_step.tolist()
            s0, s1 = self._state.tolist()
            starts = []
            for d0, d1 in driven:
                starts.append((s0, s1))
                s0, s1 = a * s0 + b * s1 + d0, c * s0 + d * s1 + d1
            self._state = np.array([s0, s1])
            out[:whole] = (chunks @ self._own + np.array(starts) @ self._free).ravel()
        rest = len(block) - whole
        if rest:
            tail = block[whole:].astype(np.float64)
            out[whole:] = tail @ self._own[:rest, :rest] + self._state @ self._free[:, :rest]
            forced = tail @ self._drive[_CHUNK - rest :]
            self._state = self._powers[rest] @ self._state + forced
        # A decayed filter outputs exact zeros, not denormal numbers.
        self._state[np.abs(self._state) < 1e-18] = 0.0
        return out.astype(np.float32)


class Ramp:
    """A gain that moves to its target along half a cosine of duration `RAMP_S`.

    Parameters
    ----------
    rate
        Samples per second.
    value
        Initial gain.

    Attributes
    ----------
    value
        Gain of the newest sample.
    """

    def __init__(self, rate: int, value: float) -> None:
        self.value = value
        self._from = self._target = value
        self._length = round(RAMP_S * rate)
        self._at = self._length

    def process(self, target: float, samples: int) -> Float32 | float:
        """Return the gain of the next `samples` samples: an array during a ramp, else a number."""
        if target != self._target:
            self._from, self._target, self._at = self.value, target, 0
        if self._at >= self._length:
            return target
        at = np.minimum(self._at + np.arange(1, samples + 1), self._length)
        part = 0.5 - 0.5 * np.cos(np.pi * at / self._length)
        gain: Float32 = (self._from + (target - self._from) * part).astype(np.float32)
        self._at += samples
        self.value = target if self._at >= self._length else float(gain[-1])
        return gain

    def jump(self, target: float) -> None:
        """Have the gain `target` from the next sample on, which does not continue the last one."""
        self.value = self._from = self._target = target
        self._at = self._length


class SpeechFinder(Protocol):
    """Tells where there is speech."""

    def process(self, block: Float32) -> list[bool]:
        """Return whether there is speech, for each 5 ms of the next block."""


class Gate:
    """Noise gate with attack, hold, release and look-back.

    It measures the input and is applied to the output. The delay of the chain lets it open
    before an onset without added latency. Levels are measured over 5 ms.

    Parameters
    ----------
    rate
        Samples per second.
    delay
        Samples by which the output lags the input.
    speech
        If given, the gate is open only where there is speech too: from `delay` before speech is
        found, since that takes time.

    Attributes
    ----------
    closed_s
        Time since the input was last above the threshold, and speech if that is looked for, in
        seconds.
    """

    HYSTERESIS_DB = 4.0
    """Distance from the threshold to open to the one to close."""

    def __init__(self, rate: int, delay: int, speech: SpeechFinder | None = None) -> None:
        self._frame = rate // 200
        self._frame_s = self._frame / rate
        self._within = np.arange(1, self._frame + 1, dtype=np.float32) / self._frame
        self._settled: dict[bool, Float32] = {
            goal: np.full(self._frame, goal, np.float32) for goal in (False, True)
        }
        self._delay = delay
        self._pending: Float32 = np.zeros(0, np.float32)
        self._open: list[bool] = []
        """Pending decisions, one per 5 ms of input."""
        self._speech = speech
        self._spoken: list[bool] = []
        """With `speech`: pending decisions on it, one per 5 ms of input."""
        self._above = False
        self._hold_left = 0.0
        self._gain = 0.0
        # Gain computed ahead of the output: it exists up to the newest input less the look-back.
        self._line: Float32 = np.zeros(delay, np.float32)
        self.closed_s = 0.0

    @property
    def open(self) -> bool:
        """Whether the newest input is above the threshold."""
        return self.closed_s == 0.0

    def process(self, block: Float32, settings: Settings) -> Float32:
        """Measure the next block of input and return the gain for the next block of output.

        Parameters
        ----------
        block
            (samples,) float32.
        settings
            The gate settings are used.

        Returns
        -------
        ndarray
            (samples,) float32 in 0..1.
        """
        spoken = None if self._speech is None else self._speech.process(block)
        self._decide(block, settings, spoken)
        lookback = round(min(settings.gate_lookback / 1000, self._delay / self._frame / 200) * 200)
        attack = 1000.0 * self._frame_s / settings.gate_attack
        release = 1000.0 * self._frame_s / settings.gate_release
        parts = [self._line]
        reach = lookback if self._speech is None else self._delay // self._frame
        while len(self._open) > reach:
            goal = any(self._open[: lookback + 1])
            self._open.pop(0)
            if self._speech is not None:
                goal = goal and any(self._spoken[: reach + 1])
                self._spoken.pop(0)
            if self._gain == goal:
                parts.append(self._settled[goal])
                continue
            slope = attack if goal else -release
            parts.append(np.clip(self._gain + slope * self._within, 0.0, 1.0).astype(np.float32))
            self._gain = float(parts[-1][-1])
        line = np.concatenate(parts)
        # After the look-back was made longer, too little gain is pending: hold the newest value.
        if len(line) < len(block):
            line = np.concatenate([line, np.full(len(block) - len(line), self._gain, np.float32)])
        self._line = line[len(block) :]
        gain = line[: len(block)]
        # Smoothstep: the corners of a linear ramp are audible on low notes.
        return gain * gain * (3.0 - 2.0 * gain)

    def _decide(self, block: Float32, settings: Settings, spoken: list[bool] | None) -> None:
        joined = np.concatenate([self._pending, block])
        count = len(joined) // self._frame
        self._pending = joined[count * self._frame :]
        frames = joined[: count * self._frame].reshape(count, self._frame)
        power = np.add.reduce(np.square(frames, dtype=np.float64), axis=1) / self._frame
        levels = (10.0 * np.log10(power + 1e-20)).tolist()
        always = settings.gate <= -90.0
        if spoken is None:
            spoken = [True] * len(levels)
        else:
            self._spoken += spoken
        for level, speech in zip(levels, spoken, strict=True):
            threshold = settings.gate - (self.HYSTERESIS_DB if self._above else 0.0)
            self._above = always or level >= threshold
            if self._above:
                self._hold_left = settings.gate_hold / 1000
            else:
                self._hold_left = max(0.0, self._hold_left - self._frame_s)
            self.closed_s = 0.0 if self._above and speech else self.closed_s + self._frame_s
            self._open.append(self._above or self._hold_left > 0.0)
