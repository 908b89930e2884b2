"""Machines that only exist as step times, and the run of a speaker on one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rtvc.calibration.profiles import DEFAULT_PROFILE, LONGEST_BLOCK, PROFILES
from rtvc.calibration.settling import (
    GRID,
    LEAST,
    Change,
    Settling,
    StepSeen,
    high_quantile,
    needed_headroom,
    settle,
)
from rtvc.settings import RESERVE_MS

PROFILE = PROFILES[DEFAULT_PROFILE]
PAUSE_EVERY_S, PAUSE_S = 3.0, 0.4
BUILD_S = 0.4
"""Time from a decision about the block until its chain is ready, on an idle machine."""


@dataclass(frozen=True)
class Hog:
    """A program that computes on all cores from `begin` to `end`, in seconds.

    Steps take `share` times as long, since they share the cores, and each of their `waits` times
    that a thread wakes up it waits for up to `slice` ms. Programs that start also read files and
    allocate memory: in the first half second one step waits for up to `arrival` ms more.
    """

    begin: float
    end: float
    share: float = 1.8
    waits: int = 6
    slice: float = 4.0
    arrival: float = 30.0


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
    hogs: tuple[Hog, ...] = ()

    def trace(self, seconds: float) -> Trace:
        frames = round(100 * seconds)
        random = np.random.default_rng(self.seed)
        factor = np.exp(self.spread * np.minimum(random.standard_normal(frames), 2.5))
        factor *= np.where(np.arange(frames) >= 100 * self.slower_at, self.slower, 1.0)
        delay = random.uniform(0.0, self.jitter, frames)
        at = np.arange(round(50 * self.bursts), frames, round(100 * self.bursts))
        delay[at] += self.burst
        extra = np.zeros(frames)
        for hog in self.hogs:
            begin, end = round(100 * hog.begin), round(100 * hog.end)
            factor[begin:end] *= hog.share
            extra[begin:end] = random.uniform(0.0, hog.slice, (end - begin, hog.waits)).sum(axis=1)
            extra[begin + random.integers(50)] += random.uniform(0.0, hog.arrival)
        return Trace(self, factor, delay, extra)


@dataclass(frozen=True)
class Trace:
    """What a machine does in each 10 ms."""

    machine: Machine
    factor: np.ndarray
    delay: np.ndarray
    extra: np.ndarray
    """ms that a step waits for other programs."""

    @property
    def frames(self) -> int:
        return len(self.factor)

    def took(self, block: float, end: int) -> float:
        time = (self.machine.constant + self.machine.slope * block) * float(self.factor[end - 1])
        return time + float(self.extra[end - 1])

    def used(self, block: float, end: int) -> float:
        size = round(block / 10)
        return self.took(block, end) + float(self.delay[max(end - size, 0) : end].max())

    def build_s(self, end: int) -> float:
        """Time that it takes to build a chain, with what the steps leave."""
        hogged = any(100 * hog.begin <= end < 100 * hog.end for hog in self.machine.hogs)
        return BUILD_S * (2.5 if hogged else 1.0)

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
    """Time of each late block, and of each one that was dropped for being too late."""

    @property
    def sum(self) -> float:
        return self.block + self.headroom

    def sum_at(self, seconds: float, first: float = 180.0) -> float:
        sums = [change.block + change.headroom for at, change in self.changes if at <= seconds]
        return sums[-1] if sums else first


def run(trace: Trace, state: Settling | None = None) -> Run:
    """Speak into a machine, with pauses, in which changes are applied.

    As in the engine, a late block leaves a gap of concealment, out of which a raised headroom
    keeps what it needs. The rest is dropped from the blocks that follow, some of them whole.
    Another block comes into use once its chain is built.
    """
    state = state or Settling(100.0, 80.0)
    it = Run(state, state.block, state.headroom, [], [])
    waiting: Change | None = None
    built_at = 0.0
    end, busy_until, owed = 0, 0.0, 0.0
    while True:
        end += round(it.block / 10)
        if end > trace.frames:
            return it
        now = end / 100
        pause = now % PAUSE_EVERY_S > PAUSE_EVERY_S - PAUSE_S
        if owed >= it.block:
            owed -= it.block
            it.late.append(now)
            continue
        took = trace.took(it.block, end)
        # A step begins after the one before, and once its thread is woken up.
        woken = 1000 * now + trace.used(it.block, end) - took
        ready = max(woken, busy_until) + took
        used, busy_until = ready - 1000 * now, ready
        late_ms = max(used - (it.headroom - RESERVE_MS), 0.0)
        if late_ms:
            it.late.append(now)
        step = StepSeen(now, it.block, it.headroom, took, used, late_ms > 0, not pause)
        it.state, change = settle(it.state, step)
        if change is not None:
            if waiting is None or waiting.block != change.block:
                built_at = now + trace.build_s(end) if change.block != it.block else now
            waiting = change
            if (change.block, change.headroom) == (it.block, it.headroom):
                waiting = None
        before = it.headroom
        if waiting is not None and (pause or waiting.at_once):
            if now >= built_at:
                it.block, it.headroom = waiting.block, waiting.headroom
                it.changes.append((now, waiting))
                waiting = None
            elif waiting.headroom > it.headroom:
                it.headroom = waiting.headroom  # that needs no other chain
        owed = max(owed + late_ms - max(it.headroom - before, 0.0) - step.block, 0.0)
