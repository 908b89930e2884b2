"""Automatic latency in the engine: on a virtual clock, with steps that take time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.conditions import conditions
from rtvc.calibration.settling import Change, StepSeen
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import Timing
from rtvc.engine import auto_sizes
from rtvc.engine.auto_sizes import AutoSizes
from rtvc.errors import UsageError
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from tests.support.voices import PlainStream, PlainVoice, finder

pytestmark = pytest.mark.slow

RATE = 48_000
AUTO = Settings(latency="auto")
SECONDS = 26.0


def talk(seconds: float) -> np.ndarray:
    """A tone with a pause of 0.6 s every 3 s."""
    time = np.arange(round(seconds * RATE)) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 200 * time)
    phase = time % 3.0
    sound: np.ndarray = tone * np.clip(np.minimum(phase, 2.4 - phase) * 100, 0, 1)
    return sound.astype(np.float32)


class TimedStream(PlainStream):
    voice: TimedVoice

    def render(self, block, settings):
        voice = self.voice
        voice.device.pass_time(voice.cost(self.plan.block / 100, voice.device.now()))
        return super().render(block, settings)


@dataclasses.dataclass
class TimedVoice(PlainVoice):
    """A voice whose steps take time by their block, in seconds, and the time of the run."""

    device: Any = None
    cost: Any = None

    def open(self, plan, settings):
        return TimedStream(self, plan, self.input_rate)


@dataclasses.dataclass
class Result:
    stats: Stats
    latencies: list[tuple[float, float]]
    late: list[float]
    played: np.ndarray
    session: Session

    @property
    def sizes(self) -> tuple[float, float]:
        return self.stats.latency.block * 1000, self.stats.latency.headroom * 1000

    def latency_at(self, seconds: float) -> float:
        return [latency for at, latency in self.latencies if at <= seconds][-1]


def run(cost, settings=AUTO, *, seconds=30.0, sizing=None) -> Result:
    device = SimulatedDevice(talk(seconds))
    find = finder(world=TimedVoice(device=device, cost=cost))
    session = Session(device, settings, find, sizing)
    latencies: list[tuple[float, float]] = []
    late: list[float] = []
    read = device.read

    def watched(samples):
        stats = session.stats()
        latencies.append((device.now(), stats.latency.total))
        late.extend([device.now()] * (stats.late_blocks - len(late)))
        return read(samples)

    device.read = watched  # type: ignore[method-assign]
    with session:
        assert session.wait(600)
        stats = session.stats()
    return Result(stats, latencies, late, device.played, session)


def fast(block: float, now: float) -> float:
    return 0.025 + 0.05 * block


@pytest.fixture(scope="module")
def settled() -> Result:
    return run(fast, seconds=SECONDS)


def test_a_fast_machine_settles_within_20_seconds_of_speech(settled: Result) -> None:
    result = settled
    assert result.stats.state is State.CONVERTED
    assert result.sizes == pytest.approx((50, 70), abs=11)
    assert result.latency_at(25.0) == result.stats.latency.total  # 20 s of speech and pauses
    assert 1 <= result.stats.size_changes <= 3
    assert result.stats.sizing == "settled"
    assert "Automatic latency: block " in result.stats.size_reason
    assert result.session.take_message().endswith(result.stats.size_reason)
    assert result.late == []
    assert result.session.learned_sizes() == {("world", "world"): pytest.approx(result.sizes)}


def test_the_stated_latency_stays_the_measured_one(settled: Result) -> None:
    # `played` begins when the first output is queued, which is silence before the first sound.
    onset = np.flatnonzero(np.abs(settled.played) > 0.01)[0]
    begins = [
        np.flatnonzero(np.abs(sound[at:]) > 0.01)[0] + at
        for sound, at in (
            (talk(SECONDS), round(23.7 * RATE)),
            (settled.played, round(23.7 * RATE)),
        )
    ]
    first = round(settled.latencies[0][1] * RATE)
    shift = first - onset
    assert (begins[1] + shift - begins[0]) / RATE == pytest.approx(
        settled.stats.latency.total, abs=0.012
    )


def test_no_change_clicks(settled: Result) -> None:
    assert settled.stats.size_changes
    tone = 0.3 * (2 * np.pi * 200 / RATE) ** 2
    assert np.abs(np.diff(settled.played[RATE // 2 : -RATE], 2)).max() < 4 * tone


@pytest.mark.thorough
def test_late_blocks_raise_it_at_once_and_it_comes_back() -> None:
    def hogged(block, now):
        return fast(block, now) + (0.06 if 31.0 < now < 37.0 else 0.0)

    result = run(hogged, seconds=92.0)
    before, during, after = (result.latency_at(at) for at in (30.0, 36.0, 90.0))
    assert during >= before + 0.04
    assert after <= before + 0.011
    assert 1 <= len(result.late) <= 2
    assert max(result.late) < 33.0


def test_a_slow_machine_gets_a_longer_block() -> None:
    result = run(lambda block, now: 0.06 + 0.25 * block, seconds=40.0)
    assert result.sizes[0] >= 160
    assert not [at for at in result.late if at > 20.0]
    assert result.stats.degraded == ""


@pytest.mark.parametrize(
    ("settings", "sizing", "block", "headroom"),
    [
        (Settings(latency="constant"), None, 100, 80),
        (AUTO.replace(block=60.0, headroom=70.0), None, 60, 70),
        (AUTO, Sizing(chosen=frozenset({"block", "headroom"})), 100, 80),
    ],
    ids=["constant", "other values", "the defaults, chosen"],
)
def test_constant_and_chosen_sizes_are_never_touched(settings, sizing, block, headroom) -> None:
    result = run(fast, settings, seconds=15.0, sizing=sizing)
    assert (result.stats.in_use["block"], result.stats.in_use["headroom"]) == (block, headroom)
    assert (result.stats.size_changes, result.stats.sizing) == (0, "")


def test_a_size_that_does_not_exist_cannot_be_chosen() -> None:
    session = Session(SimulatedDevice(talk(1.0)), AUTO)
    session.choose_sizes(["block", "context"])
    wrong: list[Any] = [["pitch"], "block", 5, None, [1, "block"], [["block"]]]
    for names in wrong:
        with pytest.raises(UsageError, match="Choose 'block', 'headroom' or 'context'"):
            session.choose_sizes(names)


def test_only_what_was_not_chosen_is_moved() -> None:
    result = run(lambda block, now: 0.01, AUTO.replace(block=60.0), seconds=12.0)
    assert result.sizes == pytest.approx((60, 40))


def test_it_starts_with_what_was_calibrated() -> None:
    timing = Timing(25.0, 0.05, 0.0, 1.1, 1.2, conditions())
    result = run(fast, seconds=9.0, sizing=Sizing({"world": timing}))
    assert result.latencies[5][1] < 0.2
    assert result.sizes == pytest.approx((50, 70), abs=11)
    assert result.late == []


@pytest.mark.parametrize("name", ["world", ""], ids=["this voice", "its kind"])
def test_it_starts_with_what_was_learned(name: str) -> None:
    learned = {("", "world"): (90.0, 90.0), (name, "world"): (30.0, 50.0), ("a", "b"): (20.0, 40.0)}
    result = run(fast, seconds=2.0, sizing=Sizing(learned=learned))
    assert result.sizes == pytest.approx((30, 50))
    assert result.latencies[5][1] == result.stats.latency.total


@seed(3)
@hypothesis_settings(max_examples=25, deadline=None, database=None)
@given(
    latency=st.sampled_from(["auto", "auto", "constant"]),
    block=st.sampled_from([40.0, 100.0, 250.0]),
    headroom=st.sampled_from([50.0, 80.0, 200.0]),
    chosen=st.frozensets(st.sampled_from(["block", "headroom"])),
    slowest=st.floats(2.0, 400.0),
    number=st.integers(0, 1000),
)
def test_what_was_chosen_stays_whatever_the_steps_are(
    *, latency, block, headroom, chosen, slowest, number
) -> None:
    """By a value other than the default, or by choosing the default itself."""
    wanted = Settings(latency=latency, block=block, headroom=headroom)
    fixed = {name for name in ("block", "headroom") if name in chosen or latency == "constant"}
    fixed |= {"block"} if block != 100.0 else set()
    fixed |= {"headroom"} if headroom != 80.0 else set()
    auto = AutoSizes(Sizing(chosen=chosen, learned={("", "world"): (30.0, 60.0)}))
    random = np.random.default_rng(number)
    silence = np.zeros(48_000, np.float32)
    now = 0.0
    for _ in range(200):
        used = wanted.replace(**auto.sizes(wanted, "world"))
        for name in fixed:
            assert getattr(used, name) == getattr(wanted, name)
        now += 1e-3 * used.block
        took = float(random.uniform(1.0, slowest))
        late = took > used.headroom - 20.0
        step = StepSeen(now, used.block, used.headroom, took, took, late)
        if auto.observe(step, wanted, "world") or auto.adopt(silence, now, wanted, "world"):
            auto.changed(wanted.replace(**auto.sizes(wanted, "world")), 100.0)
    if fixed == {"block", "headroom"}:
        assert (auto.changes, auto.take_message(), auto.state(wanted, "world")) == (0, "", "")


def test_a_change_that_waits_for_silence_is_not_made_with_another_voice(monkeypatch) -> None:
    change = Change(100.0, 50.0, "it was forced", False)
    monkeypatch.setattr(auto_sizes, "settle", lambda state, step: (state, change))
    auto, silence = AutoSizes(Sizing()), np.zeros(RATE, np.float32)
    anna, other = AUTO.replace(voice="Anna"), AUTO.replace(voice="other")
    before = [auto.sizes(settings, "rvc-48k") for settings in (anna, other)]
    assert before == [{"block": 100.0, "headroom": 80.0}] * 2
    assert not auto.observe(StepSeen(1.0, 100.0, 80.0, 10.0, 10.0), anna, "rvc-48k")
    auto.changed(other.replace(headroom=50.0), 150.0)  # it has these sizes anyway
    assert (auto.changes, auto.take_message()) == (0, "")
    assert not auto.adopt(silence, 2.0, other, "rvc-48k")
    assert auto.sizes(other, "rvc-48k") == before[1]
    assert auto.may_change(1.0)  # nothing waits
