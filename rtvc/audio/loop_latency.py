"""Measures the latency of an endpoint whose output is connected to its input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.audio.loop_signal import (
    CHIRPS,
    MAX_LAG_S,
    LoopAnalysis,
    analyse,
    loop_chirps,
)
from rtvc.errors import RtvcError

QUEUE_S = 0.1
"""Output kept queued, so that a busy machine causes no underrun."""
SETTLE_S = 0.3
"""Silence before the signal: a sound server needs it to settle."""
SHORT_TAIL_S = 0.6
"""Time after the signal in which it has come back from all but a few devices."""
_STEP = ENGINE_RATE // 100
_NOT_FOUND = (
    "The chirps did not come back. Connect the output to the input, turn the speaker up, or "
    "choose one virtual cable as both devices."
)
_FEW_CLICKS = 2
"""Clicks that are listed one by one."""
_COVERED_DB = -25.0
"""Residual from which short gaps and clicks cannot be seen."""


@dataclass(frozen=True, slots=True)
class LoopLatency:
    """The latency from an endpoint's output through a loop to its input.

    Attributes
    ----------
    measured
        The measured latency of output and input together, in seconds. The endpoint's queues
        are not part of it.
    reported
        The sum of the latencies that the endpoint reports, in seconds.
    queued, queue_spread
        What waited in the endpoint's queues, in seconds: the median when input was read, and
        the range of nine tenths of all values. With two devices whose callbacks coincide it is a
        whole block, and the latency is not more certain than that.
    analysis
        What the recording tells.
    underruns, overflows
        Those that the endpoint counted during the measurement.
    """

    measured: float
    reported: float
    queued: float
    queue_spread: float
    analysis: LoopAnalysis
    underruns: int = 0
    overflows: int = 0

    @property
    def reliable(self) -> bool:
        """Whether the latency was the same throughout the measurement."""
        return self.analysis.agree and not (self.underruns or self.overflows)

    @property
    def jitter(self) -> float:
        """How much the latency varied, in seconds."""
        return max(self.analysis.jitter_s, self.queue_spread)

    @property
    def lags(self) -> tuple[float, ...]:
        """The latency by each chirp, in seconds."""
        return tuple(lag - self.queued for lag in self.analysis.lags_s)

    @property
    def paths(self) -> tuple[tuple[float, float], ...]:
        """Latency in seconds and relative level in dB of each path, the strongest first."""
        return tuple((path.lag_s - self.queued, path.level_db) for path in self.analysis.paths)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the loop, in whole sentences."""
        found = self.analysis
        clicks = [event.at_s for event in found.events if event.kind == "click"]
        warnings = [
            _event_sentence(event.kind, event.at_s, event.seconds)
            for event in found.events
            if event.kind != "click" or len(clicks) <= _FEW_CLICKS
        ]
        if len(clicks) > _FEW_CLICKS:
            warnings.append(
                f"There are {len(clicks)} clicks, the first at {min(clicks):.2f} s. Keep silent "
                "while it measures."
            )
        if len(found.lags_s) < CHIRPS:
            warnings.append(
                f"{CHIRPS - len(found.lags_s)} of {CHIRPS} chirps did not come back: the loop "
                "does not carry all frequencies, or something suppresses noise. Switch off noise "
                "suppression and echo cancellation."
            )
        if not found.agree:
            warnings.append(
                f"The chirps disagree by {1000 * (max(found.lags_s) - min(found.lags_s)):.1f} ms, "
                "so the latency is not reliable. Close other programs and measure again."
            )
        if self.underruns or self.overflows:
            warnings.append(
                f"{self.underruns} underruns and {self.overflows} overflows occurred. Close other "
                "programs and measure again."
            )
        for lag, level in self.paths[1:]:
            way = "later" if lag > self.measured else "earlier"
            warnings.append(
                f"There is a second path, {abs(lag - self.measured) * 1000:.0f} ms {way} at "
                f"{level:.0f} dB: an echo, or direct monitoring of the microphone."
            )
        if found.clipped:
            warnings.append("The input clips. Turn the speaker or the microphone down.")
        if found.too_quiet:
            warnings.append("The input is too quiet for its noise. Turn the speaker up.")
        elif found.residual_db > _COVERED_DB:
            warnings.append(
                "Noise or the echo of the room covers short gaps and clicks; only a cable shows "
                "them."
            )
        return tuple(warnings)


def measure_loop_latency(
    endpoint: Endpoint,
    *,
    running: Callable[[], object] = lambda: None,
    ended: Callable[[], str] = lambda: "",
) -> LoopLatency:
    """Play chirps through an endpoint whose output is connected to its input.

    Takes four to six seconds. The chirps are audible, at -20 dBFS.

    Parameters
    ----------
    endpoint
        An endpoint that has not been started. A cable, a virtual cable, or a speaker
        next to a microphone must connect the output to the input.
    running
        Called while the streams run.
    ended
        Called every 10 ms. Returns why nothing more may be played, "" to continue.

    Raises
    ------
    RtvcError
        If the chirps are not found in the input, a device fails, or `ended` returns a reason.
    """
    endpoint.start(lambda: None, 0)
    try:
        endpoint.wait(_STEP, 2.0)
        endpoint.write(np.zeros(round(QUEUE_S * ENGINE_RATE), np.float32))
        before = endpoint.health()
        _play(endpoint, np.zeros(round(SETTLE_S * ENGINE_RATE), np.float32), ended)
        captured, queued, spread = _play(
            endpoint, np.pad(loop_chirps(), (0, _seconds(SHORT_TAIL_S))), ended
        )
        after = endpoint.health()
        analysis = analyse(captured)
        if len(analysis.lags_s) < CHIRPS:
            # The last chirps may still be on their way.
            rest = np.zeros(_seconds(MAX_LAG_S + QUEUE_S - SHORT_TAIL_S), np.float32)
            analysis = analyse(np.concatenate([captured, _play(endpoint, rest, ended)[0]]))
        reported = sum(endpoint.latency)
        running()
    finally:
        endpoint.stop()
    if not analysis.found:
        raise RtvcError(_NOT_FOUND)
    return LoopLatency(
        measured=analysis.paths[0].lag_s - queued,
        reported=reported,
        queued=queued,
        queue_spread=spread,
        analysis=analysis,
        underruns=after.underruns - before.underruns,
        overflows=after.overflows - before.overflows,
    )


def _play(
    endpoint: Endpoint, samples: Float32, ended: Callable[[], str]
) -> tuple[Float32, float, float]:
    """Play samples; return what is captured, and median and spread of the queues in seconds."""
    captured, queued = [], []
    for start in range(0, samples.size - _STEP + 1, _STEP):
        available = endpoint.wait(_STEP, 2.0)
        if available < _STEP:
            raise RtvcError("The input has stopped. Check the devices and measure again.")
        if reason := ended():
            fade = np.linspace(1.0, 0.0, _STEP, dtype=np.float32)
            endpoint.write(fade * samples[start : start + _STEP])
            raise RtvcError(reason)
        queued.append(endpoint.queued() + available)
        endpoint.write(samples[start : start + _STEP])
        captured.append(endpoint.read(_STEP))
    low, middle, high = np.percentile(queued, (5, 50, 95)) / ENGINE_RATE
    return np.concatenate(captured), float(middle), float(high - low)


def _seconds(seconds: float) -> int:
    """Return whole steps of at least `seconds`, in samples."""
    return math.ceil(seconds * ENGINE_RATE / _STEP) * _STEP


def _event_sentence(kind: str, at_s: float, seconds: float) -> str:
    at = f"At {at_s:.2f} s"
    if kind == "gap":
        return f"{at} there is a gap of {seconds * 1000:.1f} ms."
    if kind == "click":
        return f"{at} there is a click."
    way = "later: samples were inserted" if seconds > 0 else "earlier: samples were lost"
    return f"From {at_s:.2f} s on the signal is {abs(seconds) * 1000:.1f} ms {way}."
