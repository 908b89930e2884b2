"""Automatic sizes on simulated machines, against what the whole trace allows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from rtvc.calibration.profiles import LONGEST_BLOCK, PROFILES
from rtvc.calibration.settling import (
    GRID,
    LEAST,
    Settling,
    StepSeen,
    high_quantile,
    needed_headroom,
    settle,
)
from tests.calibration.simulated_machine import PROFILE, Hog, Machine, Trace, run


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


def test_steps_too_short_for_the_clock_get_the_least_sizes() -> None:
    state = Settling(100.0, 80.0)
    for number in range(600):
        step = StepSeen(0.1 * number, state.block, state.headroom, 0.0, 0.0)
        state, _ = settle(state, step)
    assert (state.block, state.headroom) == (LEAST, needed_headroom(0.0, PROFILE))


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


def test_the_first_late_block_raises_it_by_far_and_the_second_further() -> None:
    state = Settling(40.0, 40.0)
    for number in range(20):
        state, _ = settle(state, StepSeen(0.04 * number, 40.0, 40.0, 8.0, 8.0))
    state, first = settle(state, StepSeen(0.8, 40.0, 40.0, 8.0, 34.0, late=True))
    assert first is not None
    assert first.at_once
    assert (first.block, first.headroom) == (40.0, needed_headroom(2 * 34.0, PROFILE))
    step = StepSeen(0.84, 40.0, first.headroom, 8.0, first.headroom - 15.0, late=True)
    state, second = settle(state, step)
    assert second is not None
    assert second.headroom >= min(20.0 + 3.0 * step.used, LONGEST_BLOCK)


def test_a_hog_that_came_before_is_known() -> None:
    """The first late block of its next arrival raises the headroom by what it needed."""
    hogs = tuple(Hog(at, at + 10.0, share=1.5, waits=4, arrival=60.0) for at in (30.0, 90.0))
    it = run(Machine(constant=3.0, hogs=hogs).trace(110.0))
    first, second = (
        [change for at, change in it.changes if hog.begin < at < hog.end and change.at_once]
        for hog in hogs
    )
    assert first
    assert len(second) == 1
    assert second[0].headroom >= min(change.headroom for change in first)


def settled_state(machine: Machine) -> Settling:
    """Return the state that a machine without hogs settles on."""
    calm = Machine(machine.constant, machine.slope, machine.jitter, seed=machine.seed).trace(5.0)
    for block in range(LEAST, LONGEST_BLOCK + 1, GRID):
        ends = range(block // 10, calm.frames, block // 10)
        if high_quantile(calm.took(block, end) for end in ends) <= PROFILE.max_load * block:
            break
    headroom = needed_headroom(max(calm.used(block, end) for end in ends), PROFILE)
    line = machine.constant, machine.slope
    return Settling(float(block), headroom, line=line, speech_s=30.0)


def check_arrival(machine: Machine) -> None:
    (hog,) = machine.hogs
    state = settled_state(machine)
    steps = (machine.constant + machine.slope * state.block) * hog.share
    if steps + 0.5 * hog.waits * hog.slice > 1.15 * state.block:
        return  # No headroom is long enough until a longer block is ready.
    it = run(machine.trace(hog.end), state)
    assert len(it.late) <= 2, (it.late, it.changes)


hogs = st.builds(
    Hog,
    st.just(3.0),
    st.just(9.0),
    share=st.floats(1.1, 2.5),
    waits=st.integers(1, 10),
    slice=st.floats(0.5, 5.0),
    arrival=st.floats(0.0, 80.0),
)
hogged = st.builds(
    Machine,
    constant=st.floats(0.5, 20.0),
    slope=st.floats(0.0, 0.2),
    jitter=st.floats(0.0, 6.0),
    seed=st.integers(0, 1000),
    hogs=st.tuples(hogs),
)


@seed(2)
@settings(max_examples=15, deadline=None, database=None)
@given(hogged)
def test_a_hog_makes_two_blocks_late_at_most(machine: Machine) -> None:
    check_arrival(machine)


@pytest.mark.thorough
@settings(max_examples=100, deadline=None, derandomize=True)
@given(hogged)
def test_any_hog_makes_two_blocks_late_at_most(machine: Machine) -> None:
    check_arrival(machine)


def test_a_longer_block_is_bridged_by_headroom() -> None:
    """With the hog a step takes longer than the block, until the chain of a longer one is built."""
    hog = Hog(3.0, 12.0, share=2.0, waits=4, slice=3.0)
    machine = Machine(constant=5.0, slope=0.15, hogs=(hog,))
    it = run(machine.trace(12.0), Settling(20.0, 40.0, line=(5.0, 0.15), speech_s=30.0))
    assert it.block > 20.0
    assert len(it.late) <= 2


# With these machines each arrival makes a block late.
@pytest.mark.parametrize("machine_seed", [3, 17])
def test_it_comes_back_within_60_seconds_of_each_leaving(machine_seed: int) -> None:
    hogs = tuple(Hog(at, at + 15.0, waits=3, arrival=60.0) for at in (30.0, 105.0, 180.0))
    it = run(Machine(constant=4.0, hogs=hogs, seed=machine_seed).trace(256.0))
    for hog in hogs:
        late = [at for at in it.late if hog.begin <= at < hog.end]
        assert 1 <= len(late) <= 2
        assert it.sum_at(hog.end) >= it.sum_at(hog.begin) + 40
        assert it.sum_at(hog.end + 60.0) <= it.sum_at(hog.begin) + 10
    assert all(any(hog.begin <= at < hog.end for hog in hogs) for at in it.late if at > 26.0)
    # Two decreases at first, and three for each leaving at most.
    sums = [change.block + change.headroom for _, change in it.changes]
    assert sum(after < before for before, after in pairwise([180.0, *sums])) <= 11


@pytest.mark.thorough
def test_repeated_disturbance_makes_it_come_back_more_slowly() -> None:
    class Hogged(Trace):
        """A load of 10 s in each minute."""

        def used(self, block: float, end: int) -> float:
            return super().used(block, end) + (40.0 if end % 6000 > 5000 else 0.0)

    plain = Machine(bursts=1e6).trace(900.0)
    it = run(Hogged(plain.machine, plain.factor, plain.delay, plain.extra))
    raises = [at for at, change in it.changes if change.at_once]
    assert len([at for at in raises if at < 300.0]) >= 3
    assert len([at for at in raises if at > 450.0]) <= 3
