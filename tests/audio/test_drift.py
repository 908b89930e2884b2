from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from rtvc.audio.drift import ClockTrim
from rtvc.audio.resample import EdgeResampler
from tests.audio.signals import distortion_db, sine
from tests.support.material import more

RATE, BLOCK, HZ = 48_000, 480, 997.0
LATE_S = 0.015

Offset = Callable[[float], float]
"""How far a device's count is ahead of its clock at a time, in seconds."""
Random = np.random.Generator
Looks = Callable[[Random, int], np.ndarray]
"""Returns the distances of N looks at the counts, in seconds."""


@dataclass
class Held:
    clocks: ClockTrim
    level_ms: np.ndarray  # audio between the two clocks, once per second
    ppm: np.ndarray


def often(random: Random, count: int) -> np.ndarray:
    return 0.0025 + LATE_S * random.random(count) ** 2


def hold(
    seconds: float,
    output_ppm: float,
    *,
    input_ppm: float = 0.0,
    looks: Looks = often,
    ahead: Offset = lambda now: 0.0,
) -> Held:
    """Follow two devices, whose counts are read at some times, without their audio."""
    clocks = ClockTrim()
    times = np.cumsum(looks(np.random.default_rng(3), round(seconds / 0.0025)))
    times = times[times < seconds]
    slow = (1 + np.array([input_ppm, output_ppm]) * 1e-6)[:, np.newaxis] * times
    moved = np.array([ahead(now) for now in times])
    block = BLOCK / RATE
    captured = np.floor(slow[0] / block) * block
    played = np.floor((slow[1] + moved) / block - 0.37) * block
    added, second, level, ppm = 0.0, 1.0, [], []
    last = 0.0
    for now, c, p, between in zip(
        times.tolist(),
        captured.tolist(),
        played.tolist(),
        (slow[0] - slow[1]).tolist(),
        strict=True,
    ):
        clocks.observe(now, c, p)
        added += clocks.trim * (now - last)
        last = now
        if now >= second:
            second += 1.0
            level.append(1000 * (between + added))
            ppm.append(clocks.drift_ppm)
    return Held(clocks, np.array(level), np.array(ppm))


@pytest.mark.parametrize("ppm", [0.0, 42.0, 150.0, -300.0])
def test_the_level_is_held_for_a_long_time(ppm: float) -> None:
    result = hold(1200, ppm)
    assert np.ptp(result.level_ms) < 2.0
    assert np.ptp(result.level_ms[60:]) < 0.5
    assert np.abs(result.ppm[30:] - ppm).max() < 20
    assert np.abs(result.ppm[180:] - ppm).max() < 3


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("ppm", more([-300.0, 42.0]))
def test_the_level_is_held_for_two_hours(ppm: float) -> None:
    result = hold(7200, ppm)
    assert np.ptp(result.level_ms) < 2.0
    assert np.abs(result.ppm[180:] - ppm).max() < 3


def test_a_clock_that_is_corrected_in_steps_has_its_mean_rate() -> None:
    # As a null sink: it runs 758 ppm too fast and is set back by 10 ms every 12.5 s.
    def ahead(now: float) -> float:
        return 800e-6 * (now % 12.5)

    result = hold(600, -42.0, ahead=ahead)
    assert np.abs(result.ppm[200:] + 42).max() < 20
    assert np.ptp(result.level_ms[200:]) < 2.0


@pytest.mark.parametrize("lost_s", [0.01, -0.01, 0.1, -2.0])
def test_lost_samples_are_not_drift(lost_s: float) -> None:
    # The engine makes up for them at once, so they are no reason to change the ratio.
    result = hold(300, 50.0, ahead=lambda now: lost_s if now > 120 else 0.0)
    assert np.abs(result.ppm[30:] - 50).max() < 20
    assert np.ptp(result.level_ms[60:]) < 1.0


def test_a_device_that_is_late_for_a_moment_is_not_drift() -> None:
    result = hold(300, 0.0, ahead=lambda now: -0.01 if 100 < now < 103 else 0.0)
    assert np.abs(result.ppm[30:]).max() < 20
    assert np.ptp(result.level_ms[30:]) < 0.5


def test_a_drift_that_changes_is_followed() -> None:
    def ahead(now: float) -> float:
        return 60e-6 * max(0.0, now - 300)

    result = hold(900, 20.0, ahead=ahead)
    assert result.ppm[-1] == pytest.approx(80, abs=5)
    seconds = np.arange(1, len(result.level_ms) + 1)
    level = result.level_ms - 1000 * np.array([ahead(float(now)) for now in seconds])
    assert np.ptp(level) < 2.0


def coalesced(random: Random, count: int) -> np.ndarray:
    """As timers on macOS that the system delays, to wake less often."""
    return 0.0025 + random.uniform(0.005, 0.015, count)


def in_bursts(random: Random, count: int) -> np.ndarray:
    """The same, and now and then a pause with several looks after it."""
    distances = coalesced(random, count)
    pauses = random.random(count) < 0.05
    distances[pauses] = random.uniform(0.03, 0.12, int(pauses.sum()))
    for after in (1, 2, 3):
        distances[np.roll(pauses, after)] = 1e-4
    return distances


def wandering(random: Random, count: int) -> np.ndarray:
    """Distances from 5 to 12 ms that are nearly equal for some seconds."""
    walk = np.cumsum(random.normal(0.0, 2e-5, count))
    return 0.005 + 0.007 * np.abs(walk / 0.007 % 2 - 1)


@pytest.mark.thorough
@pytest.mark.parametrize("ppm", [50.0, 200.0])
@pytest.mark.parametrize("looks", more([in_bursts, coalesced, wandering]))
def test_the_level_is_held_with_late_timers_for_an_hour(looks: Looks, ppm: float) -> None:
    result = hold(3600, ppm, looks=looks)
    assert np.ptp(result.level_ms) < 2.0
    assert np.abs(result.ppm[180:] - ppm).max() < 3


@pytest.mark.thorough
@pytest.mark.parametrize("ppm", [50.0, 200.0])
@pytest.mark.parametrize("distance", [0.005, 0.010])
def test_looks_in_step_with_the_blocks_do_not_move_the_level(distance: float, ppm: float) -> None:
    # All of them are late by nearly the same time, until the drift has moved the blocks past them.
    def in_step(random: Random, count: int) -> np.ndarray:
        return distance + np.diff(random.uniform(0.0, 0.001, count + 1))

    result = hold(1800, ppm, looks=in_step)
    assert np.ptp(result.level_ms) < 1000 * distance
    assert np.ptp(result.level_ms[900:]) < 2.0


@dataclass
class Run:
    clocks: ClockTrim
    sound: np.ndarray
    fill_ms: np.ndarray  # audio between the two clocks, once per second


def run(input_ppm: float, output_ppm: float, seconds: int) -> Run:
    """Simulate two devices with 10 ms callbacks, polled at irregular times, and the trim."""
    random = np.random.default_rng(3)
    clocks, resampler = ClockTrim(), EdgeResampler(RATE, RATE)
    next_in, next_out, next_poll = 0.0, 0.0037, 0.0
    captured = played = produced = 0
    sound, fill = [], []
    while next_poll < seconds:
        now = min(next_in, next_out, next_poll)
        if now == next_poll:
            next_poll += 0.0025 + random.uniform(0, 0.002)
            if clocks.observe(now, captured / RATE, played / RATE):
                resampler.trim(clocks.trim)
        elif now == next_in:
            next_in += BLOCK / (RATE * (1 + input_ppm * 1e-6))
            piece = resampler.process(sine(HZ, RATE, BLOCK, start=captured))
            captured += BLOCK
            produced += piece.size
            sound.append(piece)
            if captured % RATE == 0:
                drifted = now * (input_ppm - output_ppm) * 1e-6
                fill.append(1000 * (drifted + (produced - captured) / RATE))
        else:
            next_out += BLOCK / (RATE * (1 + output_ppm * 1e-6))
            played += BLOCK
    return Run(clocks, np.concatenate(sound), np.array(fill))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("input_ppm", "output_ppm"), more([(-100, 100), (0, 200), (0, -200), (200, 0)])
)
def test_drift_is_compensated(input_ppm: float, output_ppm: float) -> None:
    result = run(input_ppm, output_ppm, 180)
    assert result.clocks.drift_ppm == pytest.approx(output_ppm - input_ppm, abs=5)
    assert np.ptp(result.fill_ms) < 2.5  # without the trim it would be 36 ms
    assert np.ptp(result.fill_ms[-60:]) < 0.5
    seconds = result.sound[RATE : -(result.sound.size % RATE)].reshape(-1, RATE)[::4]
    distortion = [distortion_db(second[:4800], HZ, RATE) for second in seconds]
    assert max(distortion) < -70
    assert np.median(distortion) < -85
    steepest = 0.5 * (2 * np.pi * HZ / RATE) ** 2
    assert np.abs(np.diff(result.sound[RATE:].astype(np.float64), 2)).max() < 1.01 * steepest
