from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from rtvc.audio.drift import ClockTrim
from rtvc.audio.resample import EdgeResampler
from tests.audio.signals import distortion_db, sine

pytestmark = pytest.mark.slow

RATE, BLOCK, HZ = 48_000, 480, 997.0


@dataclass
class Run:
    clocks: ClockTrim
    sound: np.ndarray
    fill_ms: np.ndarray  # audio between the two clocks, once per second


def run(input_ppm: float, output_ppm: float, seconds: int, *, lost_at: float = -1.0) -> Run:
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
            lost = lost_at >= 0 and lost_at <= now < lost_at + 0.1
            played += 0 if lost else BLOCK
    return Run(clocks, np.concatenate(sound), np.array(fill))


@pytest.mark.parametrize(("input_ppm", "output_ppm"), [(0, 200), (0, -200), (200, 0), (-100, 100)])
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


def test_equal_clocks_are_left_alone() -> None:
    result = run(0, 0, 60)
    assert abs(result.clocks.drift_ppm) < 3
    assert np.ptp(result.fill_ms) < 0.5


def test_lost_samples_are_not_counted_as_drift() -> None:
    result = run(0, 50, 120, lost_at=60.0)
    assert result.clocks.drift_ppm == pytest.approx(50, abs=5)
