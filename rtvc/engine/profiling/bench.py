"""Benchmark of a voice: step times, times by stage, operation counts and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.chain import Chain
from rtvc.engine.profiling.op_count import Counts
from rtvc.engine.profiling.stage_times import STAGES, count_step, stage_methods, time_stages
from rtvc.engine.voice import Voice
from rtvc.settings import Settings
from rtvc.system.energy import EnergyMeter
from rtvc.system.malloc import trim_memory

_WARM_STEPS = 2
_SOUNDS = 8
"""Number of blocks used in rotation as input: a voiced sound, as the built-in voice computes less
for noise than for speech."""
_F0_HZ = 100
"""Its f0; a block has a whole number of periods."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of a duration, in ms."""

    min: float
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class StageFigures:
    """Measurements of one stage of a step.

    Attributes
    ----------
    ms
        Duration if each stage is evaluated before the next one starts.
    gflop, primitives, weight_mb
        See `rtvc.engine.profiling.op_count.Counts`; 0 for stages that MLX does not compute.
    """

    ms: Spread
    gflop: float
    primitives: int
    weight_mb: float


@dataclass(frozen=True, slots=True)
class VoiceFigures:
    """Measurements of one voice.

    Attributes
    ----------
    name
        Name as given in the settings.
    rate
        Output sample rate in Hz.
    steps
        Number of plain steps timed, that is without timing by stage.
    ms
        Duration of the plain steps.
    real_time
        Median step time divided by the duration of the block; below 1 is faster than real time.
    stages
        Measurements by stage, from other steps.
    gflop, primitives, weight_mb
        Sums over the stages.
    mlx_peak_mb
        Peak of the memory that MLX used during the plain steps, weights included.
    resident_peak_mb
        Peak resident memory of the process; since the start of this benchmark on Linux, if
        permitted.
    joules
        Energy per plain step in J, or None if not known.
    """

    name: str
    rate: int
    steps: int
    ms: Spread
    real_time: float
    stages: dict[str, StageFigures]
    gflop: float
    primitives: int
    weight_mb: float
    mlx_peak_mb: float
    resident_peak_mb: float
    joules: float | None = None


class Bench:
    """Runs and measures consecutive steps of one voice.

    Parameters
    ----------
    voice
        The voice.
    settings
        Sizes and other settings; the gate is always open.
    meter
        Energy meter, or None.
    """

    def __init__(self, voice: Voice, settings: Settings, meter: EnergyMeter | None = None) -> None:
        self._voice = voice
        self._settings = settings.replace(gate=-90.0)
        _reset_peak()
        self._chain = Chain(voice, self._settings)
        self._parts = stage_methods(voice, self._settings)
        self._meter, self._joules = meter, 0.0
        self._totals: list[float] = []
        self._stages: defaultdict[str, list[float]] = defaultdict(list)
        self._counts: dict[str, Counts] = {}
        self._sounds = _voiced(_SOUNDS, self._chain.block)
        self._block = 0
        for _ in range(1 + self._chain.plan.context // self._chain.plan.block):
            self._chain.skip(self._next(), self._settings)
        for _ in range(_WARM_STEPS):
            self._chain.step(self._next(), self._settings)
        mx.reset_peak_memory()
        self._mlx_peak = 0

    @property
    def steps(self) -> int:
        """Number of plain steps timed."""
        return len(self._totals)

    def step(self) -> None:
        """Time one plain step."""
        block = self._next()
        joules = 0.0 if self._meter is None else self._meter.joules()
        began = time.perf_counter()
        self._chain.step(block, self._settings)
        self._totals.append(time.perf_counter() - began)
        if self._meter is not None:
            self._joules += self._meter.joules() - joules
        self._mlx_peak = max(self._mlx_peak, mx.get_peak_memory())

    def step_by_stages(self) -> None:
        """Time the stages of one step."""
        block = self._next()
        with time_stages(self._parts) as seconds:
            self._chain.step(block, self._settings)
        for stage, taken in seconds.items():
            self._stages[stage].append(taken)

    def count(self) -> None:
        """Count the operations of a step."""
        self._counts = count_step(self._voice, self._settings)

    def figures(self) -> VoiceFigures:
        """Return the measurements; at least one plain step must have been timed."""
        total = spread(self._totals)
        whole = sum(self._counts.values(), Counts())
        stages = {
            stage: _stage(self._stages[stage], self._counts.get(stage, Counts()))
            for stage in STAGES
            if self._stages[stage]
        }
        return VoiceFigures(
            name=self._settings.voice,
            rate=self._voice.output_rate,
            steps=self.steps,
            ms=total,
            real_time=total.p50 / self._settings.block,
            stages=stages,
            gflop=whole.flop / 1e9,
            primitives=whole.primitives,
            weight_mb=whole.weight_bytes / 1e6,
            mlx_peak_mb=self._mlx_peak / 1e6,
            resident_peak_mb=_resident_peak() / 1e6,
            joules=None if self._meter is None else self._joules / self.steps,
        )

    def _next(self) -> Float32:
        self._block += 1
        sound: Float32 = self._sounds[self._block % _SOUNDS]
        return sound


def _voiced(blocks: int, samples: int) -> Float32:
    """Return harmonics that fall by 6 dB per octave, and noise 20 dB below: (blocks, samples)."""
    phase = 2 * np.pi * _F0_HZ / ENGINE_RATE * np.arange(samples)
    numbers = np.arange(1, 80)
    tone = np.sin(np.outer(numbers, phase)).T @ (1.0 / numbers)
    noise = np.random.default_rng(0).standard_normal((blocks, samples))
    sound = 0.1 * tone / np.std(tone) + 0.01 * noise
    return sound.astype(np.float32)


def spread(seconds: Sequence[float]) -> Spread:
    """Return the percentiles of durations given in seconds."""
    low, p50, p95, p99, high = np.percentile(seconds, [0, 50, 95, 99, 100]) * 1000
    return Spread(float(low), float(p50), float(p95), float(p99), float(high))


def _stage(seconds: Sequence[float], counts: Counts) -> StageFigures:
    return StageFigures(
        ms=spread(seconds),
        gflop=counts.flop / 1e9,
        primitives=counts.primitives,
        weight_mb=counts.weight_bytes / 1e6,
    )


def _reset_peak() -> None:
    """Reset the peak resident memory of the process, on systems that can."""
    mx.clear_cache()
    trim_memory()
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return  # some containers forbid it; the peak then includes earlier voices


def _resident_peak() -> float:
    """Return the peak resident memory of the process in bytes."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * float(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else 1024 * peak)
