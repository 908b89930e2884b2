"""Automatic sizes on simulated machines, against what the whole trace allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from rtvc.calibration.profiles import DEFAULT_PROFILE, LONGEST_BLOCK, PROFILES
from rtvc.calibration.settling import (
    GRID,
    GUARD_MS,
    LEAST,
    Change,
    Settling,
    StepSeen,
    high_quantile,
    needed_headroom,
    settle,
)

PROFILE = PROFILES[DEFAULT_PROFILE]
PAUSE_EVERY_S, PAUSE_S = 3.0, 0.4


@dataclass(frozen=True)
class Machine:
    """Step times of a machine: `constant + slope * block`, and what disturbs them.

    `bursts` is the number of seconds between two delays of `burst` ms, and from `slower_at` on
    everything takes `slower` times as long.
    """

    constant: float = 2.0
    slope: float = 0.1
    jitter: float = 1.0
    spread: float = 0.1
    burst: float = 0.0
    bursts: float = 5.0
    slower_at: float = 1e9
    slower: float = 1.0
    seed: int = 0

    def trace(self, seconds: float) -> Trace:
        frames = round(100 * seconds)
        random = np.random.default_rng(self.seed)
        factor = np.exp(self.spread * np.minimum(random.standard_normal(frames), 2.5))
        factor *= np.where(np.arange(frames) >= 100 * self.slower_at, self.slower, 1.0)
        delay = random.uniform(0.0, self.jitter, frames)
        at = np.arange(round(50 * self.bursts), frames, round(100 * self.bursts))
        delay[at] += self.burst
        return Trace(self, factor, delay)


@dataclass(frozen=True)
class Trace:
    """What a machine does in each 10 ms."""

    machine: Machine
    factor: np.ndarray
    delay: np.ndarray

    @property
    def frames(self) -> int:
        return len(self.factor)

    def took(self, block: float, end: int) -> float:
        return (self.machine.constant + self.machine.slope * block) * float(self.factor[end - 1])

    def used(self, block: float, end: int) -> float:
        size = round(block / 10)
        return self.took(block, end) + float(self.delay[max(end - size, 0) : end].max())

    def least(self, begin: int) -> float:
        """The least block and headroom in ms with the margin of the profile, from a time on.

        Infinite if no block is long enough.
        """
        for block in range(LEAST, LONGEST_BLOCK + 1, GRID):
            ends = range(begin + block // 10, self.frames, block // 10)
            if high_quantile(self.took(block, end) for end in ends) <= PROFILE.max_load * block:
                peak = max(self.used(block, end) for end in ends)
                return block + needed_headroom(peak, PROFILE)
        return math.inf


@dataclass
class Run:
    """What became of a run."""

    state: Settling
    block: float
    headroom: float
    changes: list[tuple[float, Change]]
    late: list[float]

    @property
    def sum(self) -> float:
        return self.block + self.headroom


def run(trace: Trace, state: Settling | None = None) -> Run:
    """Speak into a machine, with pauses, in which changes are applied."""
    state = state or Settling(100.0, 80.0)
    it = Run(state, state.block, state.headroom, [], [])
    waiting: Change | None = None
    end, busy_until = 0, 0.0
    while True:
        end += round(it.block / 10)
        if end > trace.frames:
            return it
        now = end / 100
        pause = now % PAUSE_EVERY_S > PAUSE_EVERY_S - PAUSE_S
        took = trace.took(it.block, end)
        # A step begins after the one before.
        ready = max(1000 * now, busy_until) + trace.used(it.block, end)
        used = ready - 1000 * now
        late = used > it.headroom - GUARD_MS
        # As the engine does, a block that is much too late is dropped.
        busy_until = ready if used < it.headroom + it.block else 0.0
        if late:
            it.late.append(now)
        step = StepSeen(now, it.block, it.headroom, took, used, late, not pause)
        it.state, change = settle(it.state, step)
        waiting = change or waiting
        if waiting is not None and (pause or waiting.at_once):
            it.block, it.headroom = waiting.block, waiting.headroom
            it.changes.append((now, waiting))
            waiting = None


def machines(**fixed: float) -> st.SearchStrategy[Machine]:
    parts = {
        "constant": st.floats(0.5, 40.0),
        "slope": st.floats(0.0, 0.25),
        "jitter": st.floats(0.0, 8.0),
        "spread": st.floats(0.0, 0.15),
        "burst": st.just(0.0) | st.floats(5.0, 60.0),
        "bursts": st.floats(0.5, 40.0),
        "slower_at": st.just(1e9) | st.floats(20.0, 60.0),
        "slower": st.floats(0.5, 1.8),
        "seed": st.integers(0, 1000),
    }
    return st.builds(Machine, **{**parts, **{name: st.just(v) for name, v in fixed.items()}})


def check(machine: Machine, seconds: float) -> None:
    trace = machine.trace(seconds)
    it = run(trace)
    # Settled sizes stay as they are on a machine that becomes faster.
    slower = machine.slower_at < seconds and machine.slower > 1.0
    begin = round(100 * machine.slower_at) if slower else 0
    assert it.sum <= trace.least(begin) + 20, (it.changes, it.late)
    assert len(it.changes) <= 12, it.changes
    settled = [at for at in it.late if at > begin / 100 + 25.0]
    assert len(settled) <= 3, (it.changes, it.late)


@seed(1)
@settings(max_examples=6, deadline=None, database=None)
@given(machines(slower_at=1e9))
def test_a_machine_reaches_what_its_whole_trace_allows(machine: Machine) -> None:
    check(machine, 60.0)


@pytest.mark.thorough
@settings(max_examples=30, deadline=None, derandomize=True)
@given(machines())
def test_any_machine_reaches_what_its_whole_trace_allows(machine: Machine) -> None:
    check(machine, 240.0)


def test_it_is_constant_after_20_seconds_of_speech() -> None:
    it = run(Machine(spread=0.15, jitter=4.0).trace(120.0))
    assert it.changes
    assert it.changes[-1][0] < 30.0
    assert it.state.settled
    assert it.late == []


def test_the_profile_decides_the_margin() -> None:
    trace = Machine(constant=12.0, slope=0.15).trace(60.0)
    sums = [
        run(trace, Settling(100.0, 80.0, PROFILES[name])).sum
        for name in ("fast", "balanced", "quality")
    ]
    assert sums[0] < sums[1] < sums[2]


def test_a_calibrated_line_needs_fewer_changes() -> None:
    machine = Machine(constant=14.0, slope=0.2)
    trace = machine.trace(60.0)
    known = Settling(100.0, 80.0, line=(machine.constant, machine.slope))
    assert len(run(trace, known).changes) <= len(run(trace).changes)
    assert run(trace, known).sum <= trace.least(0) + 20


def test_what_is_not_free_is_not_moved() -> None:
    trace = Machine().trace(60.0)
    it = run(trace, Settling(60.0, 80.0, free=frozenset({"headroom"})))
    assert it.block == 60.0
    assert it.headroom < 80.0
    it = run(trace, Settling(100.0, 80.0, free=frozenset({"block"})))
    assert it.headroom == 80.0
    assert it.block < 100.0


def test_an_interruption_raises_nothing() -> None:
    """The program was stopped for a while, as by a laptop that slept."""
    state = Settling(40.0, 40.0)
    for number in range(100):
        used = 3000.0 if number == 50 else 8.0
        step = StepSeen(0.04 * number, 40.0, 40.0, 8.0, used, used > 20.0)
        state, change = settle(state, step)
        assert change is None or not change.at_once


def test_each_late_block_raises_it_by_what_it_needed() -> None:
    state = Settling(40.0, 40.0)
    for number in range(20):
        state, _ = settle(state, StepSeen(0.04 * number, 40.0, 40.0, 8.0, 8.0))
    _, change = settle(state, StepSeen(0.8, 40.0, 40.0, 8.0, 34.0, late=True))
    assert change is not None
    assert change.at_once
    assert (change.block, change.headroom) == (40.0, needed_headroom(34.0, PROFILE))


@pytest.mark.thorough
def test_repeated_disturbance_makes_it_come_back_more_slowly() -> None:
    class Hogged(Trace):
        """A load of 10 s in each minute."""

        def used(self, block: float, end: int) -> float:
            return super().used(block, end) + (40.0 if end % 6000 > 5000 else 0.0)

    plain = Machine(bursts=1e6).trace(900.0)
    it = run(Hogged(plain.machine, plain.factor, plain.delay))
    raises = [at for at, change in it.changes if change.at_once]
    assert len([at for at in raises if at < 300.0]) >= 3
    assert len([at for at in raises if at > 450.0]) <= 3
