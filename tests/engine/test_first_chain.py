"""The sizes that a run starts with, from the steps of its first chain."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.conditions import conditions
from rtvc.calibration.first_sizes import MOST_STEPS, Point, first_sizes
from rtvc.calibration.profiles import DEFAULT_PROFILE, LONGEST_BLOCK, PROFILES
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import Timing
from rtvc.engine.first_chain import LIMIT_S, measured_chain
from rtvc.session import Session
from rtvc.settings import RESERVE_MS, Settings
from tests.support.voices import PlainStream, PlainVoice, finder

PROFILE = PROFILES[DEFAULT_PROFILE]
BOTH = frozenset({"block", "headroom"})
START = Settings(gate=-90.0)
SLOW = 40.0, 0.3
"""Steps of 100 ms take 70 ms; 160 ms are needed for 55 % of a block."""


class TimedStream(PlainStream):
    voice: TimedVoice

    def render(self, block, settings):
        voice = self.voice
        voice.steps += 1
        milliseconds = voice.line[0] + voice.line[1] * 10 * self.plan.block
        if voice.sleeps:
            time.sleep(1e-3 * milliseconds)
        voice.now += 1e-3 * milliseconds
        return super().render(block, settings)


@dataclasses.dataclass
class TimedVoice(PlainVoice):
    """A voice whose steps take `line[0] + line[1] * block` ms, by its own clock or really."""

    line: tuple[float, float] = SLOW
    sleeps: bool = False
    now: float = 0.0
    steps: int = 0

    def open(self, plan: Any, settings: Any) -> TimedStream:
        return TimedStream(self, plan, self.input_rate)


def measured(voice: TimedVoice, settings: Settings = START, free: frozenset[str] = BOTH):
    return measured_chain(voice, settings, PROFILE, free, clock=lambda: voice.now)


@seed(4)
@hypothesis_settings(max_examples=15, deadline=None, database=None)
@given(constant=st.floats(0.5, 400.0), slope=st.floats(0.0, 1.0))
def test_it_starts_at_a_block_that_it_keeps_if_there_is_one(constant: float, slope: float) -> None:
    voice = TimedVoice(line=(constant, slope))
    found = measured(voice)
    took = constant + slope * found.block
    assert 100.0 <= found.block <= LONGEST_BLOCK
    # One step of each of two chains may be under way when time is up.
    assert voice.now <= LIMIT_S + constant + slope * LONGEST_BLOCK
    if constant + slope * LONGEST_BLOCK <= 0.3 * LONGEST_BLOCK:
        assert took <= PROFILE.max_load * found.block
        assert found.headroom >= min(RESERVE_MS + PROFILE.headroom_factor * took, LONGEST_BLOCK)


def test_a_fast_voice_makes_one_step_and_keeps_the_defaults() -> None:
    voice = TimedVoice(line=(10.0, 0.05))
    found = measured(voice)
    assert (found.block, found.headroom) == (100.0, 80.0)
    assert voice.steps == 1


def test_a_run_that_starts_muted_is_measured_too() -> None:
    assert measured(TimedVoice(), START.replace(mode="muted", gate=0.0)).block > 100.0


def test_what_is_not_free_is_kept() -> None:
    found = measured(TimedVoice(), free=frozenset({"headroom"}))
    assert found.block == 100.0
    assert found.headroom >= 20 + 1.5 * 70
    found = measured(TimedVoice(), free=frozenset({"block"}))
    assert found.block > 100.0
    assert found.headroom == 80.0


def test_few_steps_have_a_larger_margin() -> None:
    few, many = Point(100.0, (50.0,)), Point(100.0, MOST_STEPS * (50.0,))
    least = START.headroom
    assert first_sizes([few], least, PROFILE, BOTH) > first_sizes([many], least, PROFILE, BOTH)


def test_one_step_that_was_held_up_and_the_first_one_do_not_count() -> None:
    point = Point(100.0, (90.0, 12.0, 80.0, 12.0))
    assert first_sizes([point], START.headroom, PROFILE, BOTH) == (100.0, 80.0)


def run(settings: Settings, sizing: Sizing | None = None) -> tuple[float, float, Session]:
    """Start a session in real time; return the sizes that it starts with."""
    voice = TimedVoice(sleeps=True)
    device = SimulatedDevice(0.1 * np.ones(24_000, np.float32), wall_clock=True)
    session = Session(device, settings, finder(world=voice), sizing)
    with session:
        latency = session.stats().latency
    return 1000 * latency.block, 1000 * latency.headroom, session


def test_a_slow_voice_starts_with_a_longer_block_and_says_so() -> None:
    block, headroom, session = run(START)
    assert block >= 160.0
    assert headroom >= RESERVE_MS + 1.5 * (40 + 0.3 * block)
    begin = f"Automatic latency: it starts with block {block:.0f} ms and headroom {headroom:.0f}"
    assert session.take_message().startswith(begin)


@pytest.mark.parametrize(
    ("settings", "sizing", "sizes"),
    [
        (START.replace(latency="constant"), None, (100, 80)),
        (START, Sizing(chosen=BOTH), (100, 80)),
        (START, Sizing(learned={("", "world"): (120.0, 90.0)}), (120, 90)),
        (START, Sizing({"world": Timing(10.0, 0.1, 0.0, 1.1, 1.2, conditions())}), (40, 50)),
    ],
    ids=["constant", "chosen", "learned", "calibrated"],
)
def test_nothing_is_measured_where_the_sizes_are_known(
    settings: Settings, sizing: Sizing | None, sizes: tuple[float, float]
) -> None:
    block, headroom, session = run(settings, sizing)
    assert (block, headroom) == pytest.approx(sizes)
    assert "it starts with" not in session.take_message()
