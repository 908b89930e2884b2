"""Voices kept ready: heard at once, without a gap, a click or a dry sample, and within memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.audio.endpoint import DeviceLostError
from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.sizing import Sizing
from rtvc.engine import handover
from rtvc.engine import worker as worker_module
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.handover import faded
from rtvc.engine.plan import Plan
from rtvc.engine.thread_pool import all_rest
from rtvc.engine.voice import Rendered
from rtvc.engine.voice_bank import VoiceBank
from rtvc.engine.worker import Worker
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import Stats
from rtvc.system.abandoned import abandoned_threads
from rtvc.system.background import pauses
from tests.support.material import more
from tests.support.voices import PlainVoice, finder

pytestmark = pytest.mark.slow

RATE, LEVEL, BLOCK_S = 48_000, 0.3, 0.060
CROSSFADE_S = 0.020
HZ = {"low": 300.0, "high": 1500.0, "other": 700.0}
POSITIONS = {f"low > high 0.{n}": 300.0 + 120.0 * n for n in range(1, 10)}
BASE = Settings(
    voice="low",
    gate=-90.0,
    block=BLOCK_S * 1000,
    headroom=40.0,
    ready_memory=1000.0,
    latency="constant",
)


class ToneStream:
    """Outputs a sine whatever comes in."""

    def __init__(self, voice: ToneVoice, plan: Plan) -> None:
        self._voice, self._hz, self._at = voice, voice.hz, 0

    def render(self, block: Float32, settings: Settings) -> Rendered:
        self._voice.on_step()
        time = (self._at + np.arange(len(block))) / RATE
        self._at += len(block)
        tone = LEVEL * np.sin(2 * np.pi * self._hz * time)
        return Rendered(tone.astype(np.float32), self._hz, self._hz)

    def skip(self, samples: Float32) -> None:
        self._at += len(samples)

    def renewed(self, plan: Plan, settings: Settings) -> ToneStream:
        return ToneStream(self._voice, plan)


@dataclass
class ToneVoice(PlainVoice):
    hz: float = 0.0
    weights: int = 40_000_000
    opened: list[ToneStream] = field(default_factory=list)
    on_step: Callable[[], object] = bool

    def open(self, plan: Plan, settings: Settings) -> Any:
        self.opened.append(ToneStream(self, plan))
        return self.opened[-1]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the voices for which a chain is built, in order."""
    all_rest(20.0)  # an earlier test may have left voices to be built
    names, open_stream = list[str](), ToneVoice.open

    def noted(voice: ToneVoice, plan: Plan, settings: Settings) -> Any:
        names.append(voice.name)
        return open_stream(voice, plan, settings)

    monkeypatch.setattr(ToneVoice, "open", noted)
    return names


class Device(SimulatedDevice):
    """Calls `on_tick` with the time, every 2.5 ms."""

    on_tick: Callable[[float], object] = staticmethod(lambda seconds: None)

    def start(self, tick: Callable[[], None], delay: int) -> None:
        def both() -> None:
            self.on_tick(self.now())
            tick()

        super().start(both, delay)


def run(
    changes: list[tuple[float, dict[str, Any]]],
    settings: Settings,
    seconds: float,
    keep: tuple[str, ...] = ("high",),
    step_s: float = 0.0,
) -> tuple[Float32, Stats, list[Stats]]:
    """Change settings at given times; return the output, and the stats at the end and before.

    Each step takes `step_s` on the clock of the device. The last stats are those just before the
    end, the first ones those before each change.
    """
    noise = 0.1 * np.random.default_rng(1).standard_normal(round(seconds * RATE))
    device = Device(noise.astype(np.float32))
    voices = {
        name: ToneVoice(name, hz=hz, on_step=lambda: device.pass_time(step_s))
        for name, hz in (HZ | POSITIONS).items()
    }
    session = Session(device, settings, finder(**voices))
    session.keep_ready(keep)
    end: tuple[float, dict[str, Any]] = (seconds - 0.1, {})
    due, seen = [*changes, end], list[Stats]()

    def tick(now: float) -> None:
        if due and now >= due[0][0]:
            seen.append(session.stats())
            session.apply(**due.pop(0)[1])

    device.on_tick = tick
    with session:
        assert session.wait(400)
    assert not due
    return device.played, seen[-1], seen[:-1]


def level_of(sound: Float32, hz: float) -> float:
    """Amplitude of a sine in a sound."""
    turns = np.exp(-2j * np.pi * hz * np.arange(len(sound)) / RATE)
    return float(2 * np.abs(np.mean(sound * turns)))


def check_whole(sounding: Float32) -> None:
    """Check that a sound of tones has no click, no dry sample and no gap."""
    # The input is noise, whose steps are far larger.
    step = LEVEL * (2 * np.pi * HZ["high"] / RATE) ** 2
    assert np.abs(np.diff(sounding, 2)).max() < 1.5 * step
    power = np.convolve(sounding.astype(np.float64) ** 2, np.ones(960) / 960, "valid")
    assert power.min() > 0.6 * LEVEL**2 / 2


def check_switches(count: int, monkeypatch: pytest.MonkeyPatch, step_s: float = 0.0) -> None:
    fades: list[Float32 | None] = []

    def noted(*given: Any) -> Float32 | None:
        fades.append(faded(*given))
        return fades[-1]

    monkeypatch.setattr("rtvc.engine.handover.faded", noted)
    rng = np.random.default_rng(count)
    times = 4.0 + np.cumsum(rng.uniform(0.2, 0.5, count))
    names = ["high", "low"] * count
    changes = [(float(at), {"voice": name}) for at, name in zip(times, names, strict=False)]
    played, stats, seen = run(changes, BASE, times[-1] + 0.6, step_s=step_s)
    assert len(fades) == count
    assert all(one is not None for one in fades)
    assert stats.late_blocks == stats.device.underruns == stats.restarts == 0
    assert stats.voice == names[count - 1]
    assert [list(before.ready_voices) for before in seen] == [[name] for name in names[:count]]
    sounding = played[3 * RATE : round((times[-1] + 0.5) * RATE)]
    check_whole(sounding)
    for at, name in zip(times, names, strict=False):
        begin = round((at + stats.latency.total + BLOCK_S + CROSSFADE_S) * RATE)
        heard = played[begin : begin + 960]
        assert level_of(heard, HZ[name]) > 0.98 * LEVEL, at
        other = "low" if name == "high" else "high"
        assert level_of(heard, HZ[other]) < 0.02 * LEVEL, at


def test_a_change_to_a_voice_that_is_ready_is_heard_with_the_next_block(
    monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    check_switches(8, monkeypatch)
    assert opened == ["low", "low", "high"]


def test_no_block_is_late_where_two_steps_take_longer_than_the_headroom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The chain before renders its end in the time that its last step leaves over."""
    check_switches(8, monkeypatch, step_s=0.4 * BLOCK_S)


@pytest.mark.thorough
@pytest.mark.parametrize("step_s", [0.0, 0.4 * BLOCK_S])
def test_a_hundred_changes_at_random_moments(
    monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    check_switches(100, monkeypatch, step_s)


def test_a_change_that_has_begun_is_completed_before_the_next_one():
    changes: list[tuple[float, dict[str, Any]]] = [
        (at + wait, {"voice": name})
        for at in (4.0, 4.5)
        for wait, name in ((0.0, "high"), (0.015, "other"), (0.25, "low"))
    ]
    played, stats, _ = run(changes, BASE, 5.5, keep=("high", "other"))
    assert stats.late_blocks == stats.restarts == 0
    check_whole(played[3 * RATE : 5 * RATE])
    for at in (4.2, 4.7):
        heard = played[round((at + 0.02) * RATE) :][:960]
        assert level_of(heard, HZ["other"]) > 0.98 * LEVEL
    assert level_of(played[-RATE // 4 : -RATE // 8], HZ["low"]) > 0.98 * LEVEL


def test_a_voice_that_was_replaced_waits_without_being_built_again(opened: list[str]):
    changes = [(3.0 + 0.3 * n, {"voice": ("other", "low")[n % 2]}) for n in range(4)]
    played, stats, seen = run(changes, BASE, 4.5, keep=())
    assert stats.voice == "low"
    assert [list(before.ready_voices) for before in seen] == [[], ["low"], ["other"], ["low"]]
    # The first one has a spare.
    assert opened == ["low", "low", "other"]
    tail = played[round(4.2 * RATE) : round(4.4 * RATE)]
    assert level_of(tail, HZ["low"]) > 0.98 * LEVEL


def test_a_spare_waits_with_its_voice(opened: list[str]):
    changes = [(4.0 + 2.4 * n, {"voice": ("high", "low")[n % 2]}) for n in range(3)]
    _, stats, _ = run(changes, BASE, 11.5)
    assert stats.voice == "high"
    # Each has one chain, and one spare after it has been in use for 2 s.
    assert opened == ["low", "low", "high", "high"]


def test_the_voice_used_longest_ago_is_released_first():
    keep = ("high", "other")
    changes: list[tuple[float, dict[str, Any]]] = [
        (3.0, {"voice": "other"}),
        (4.0, {"ready_memory": 50.0}),
        (4.5, {"ready_memory": 30.0}),
        (5.0, {"ready_memory": 1000.0}),
        (5.5, {"ready_memory": 0.0}),
    ]
    _, stats, seen = run(changes, BASE, 6.0, keep)
    ready = [list(before.ready_voices) for before in (*seen, stats)]
    assert [set(names) for names in ready] == [
        {"high", "other"},
        {"low", "high"},
        {"low"},
        set(),
        {"low", "high"},
        set(),
    ]


def test_chains_follow_the_sizes_in_use():
    changes: list[tuple[float, dict[str, Any]]] = [
        (3.0, {"block": 40.0}),
        (5.0, {"voice": "high"}),
        (5.01, {"voice": "low"}),
    ]
    played, stats, seen = run(changes, BASE, 6.0)
    assert seen[1].ready_voices == {"high": 40_000_000}
    assert stats.voice == "low"
    assert stats.late_blocks == 0
    tail = played[round(5.5 * RATE) : round(5.9 * RATE)]
    assert level_of(tail, HZ["low"]) > 0.98 * LEVEL


@pytest.mark.parametrize("memory", more([0.0, 1000.0]))
def test_a_morph_is_swept_without_a_gap_or_a_click(memory: float):
    settings = BASE.replace(morph_to="high", ready_memory=memory)
    positions = [round(0.1 * n, 1) for n in (*range(1, 11), *range(9, -1, -1))]
    times = [5.0 + 0.25 * n for n in range(len(positions))]
    changes = [(at, {"morph": position}) for at, position in zip(times, positions, strict=True)]
    played, stats, seen = run(changes, settings, times[-1] + 1.0, keep=())
    assert stats.late_blocks == stats.device.underruns == stats.restarts == 0
    assert set(seen[0].ready_voices) == ({*POSITIONS, "high"} if memory else set())
    sounding = played[3 * RATE : round((times[-1] + 0.9) * RATE)]
    check_whole(sounding)
    for at, position in zip(times, positions, strict=True):
        begin = round((at + stats.latency.total + BLOCK_S + CROSSFADE_S) * RATE)
        heard = level_of(played[begin : begin + 960], 300.0 + 1200.0 * position)
        assert heard > 0.98 * LEVEL or not memory, at
    assert level_of(played[-RATE // 4 : -RATE // 8], HZ["low"]) > 0.98 * LEVEL


def test_the_nearest_positions_are_prepared_first():
    settings = BASE.replace(morph_to="high", morph=0.5, ready_memory=160.0)
    _, stats, _ = run([], settings, 6.0)
    assert set(stats.ready_voices) == {f"low > high 0.{n}" for n in (3, 4, 6, 7)}


def test_a_slow_disk_does_not_hold_up_the_engine_thread():
    """What a voice remembers is in a file, which is read on another thread."""
    voices = {name: ToneVoice(name, hz=hz) for name, hz in HZ.items()}
    device = SimulatedDevice(np.zeros(RATE, np.float32))
    builder = ChainBuilder(device, BASE, finder(**voices), Sizing())
    read, asked = threading.Event(), list[int]()

    def follow(settings: Settings, voice: str) -> Settings:
        asked.append(threading.get_ident())
        assert pauses()
        assert read.wait(20)
        return settings.replace(voice=voice)

    bank = VoiceBank(builder, follow, synchronous=False)
    bank.keep(("high", "other"))
    now = 0.0

    def tend_until(ready: set[str]) -> None:
        nonlocal now
        deadline = time.monotonic() + 20
        while set(bank.memory) != ready and time.monotonic() < deadline:
            bank.tend(BASE, now := now + BLOCK_S)
            time.sleep(0.002)
        assert set(bank.memory) == ready

    for _ in range(100):
        bank.tend(BASE, now := now + BLOCK_S)
    assert not bank.memory
    read.set()
    tend_until({"high", "other"})
    assert threading.get_ident() not in asked
    bank.close()


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_chain_whose_thread_has_ended_does_not_come_back(synchronous: bool):
    voices = {name: ToneVoice(name, hz=hz) for name, hz in HZ.items()}
    builder = ChainBuilder(
        SimulatedDevice(np.zeros(RATE, np.float32)), BASE, finder(**voices), Sizing()
    )
    bank = VoiceBank(
        builder, lambda settings, voice: settings.replace(voice=voice), synchronous=synchronous
    )
    in_use, ended = BASE.replace(voice="low"), BASE.replace(voice="high")
    lasting, ending = builder.start(in_use), builder.start(ended)
    for worker in (lasting, ending):
        assert worker.ready.wait(20)
    ending.close()
    bank.give_back(ending, ended)
    bank.give_back(lasting, in_use)
    deadline = time.monotonic() + 20
    while bank.take(in_use) is not lasting:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    while bank.shapes:
        assert bank.take(ended) is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    lasting.close()
    bank.close()


class Kept:
    """A bank that keeps the voice "high" ready while "low" is in use.

    Parameters
    ----------
    on_open
        Called whenever a chain of it is built.
    """

    def __init__(self, on_open: Callable[[], object] = bool) -> None:
        self.low, self.high = BASE.replace(voice="low"), BASE.replace(voice="high")
        voices = {name: ToneVoice(name, hz=hz) for name, hz in HZ.items()}
        find = finder(**voices)

        def found(name: str) -> Any:
            if name == "high":
                on_open()
            return find(name)

        device = SimulatedDevice(np.zeros(RATE, np.float32))
        self.builder = ChainBuilder(device, self.low, found, Sizing())
        self.bank = VoiceBank(
            self.builder,
            lambda settings, voice: settings.replace(voice=voice),
            synchronous=False,
        )
        self.bank.keep(("high",))
        self._now = 0.0

    @property
    def message(self) -> str:
        return self.builder.degradation.message(self._now)

    def tend_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            self.bank.tend(self.low, self._now)
            self._now += BLOCK_S
            assert time.monotonic() < deadline
            time.sleep(0.002)


def test_wrong_output_outdates_a_voice_that_waits_and_it_is_built_again():
    kept = Kept()
    kept.tend_until(lambda: kept.bank.memory)
    kept.builder._guard.alarms += 1
    kept.bank.tend(kept.low, 100.0)
    assert not kept.bank.memory
    kept.tend_until(lambda: kept.bank.memory)
    worker = kept.bank.take(kept.high)
    assert worker is not None
    worker.close()
    kept.bank.close()


def test_a_voice_that_comes_back_while_it_is_built_waits_once():
    let, renew = threading.Event(), threading.Event()
    kept = Kept(lambda: let.wait(20))
    kept.tend_until(lambda: kept.bank._building)
    assert kept.bank._building is not None
    built = kept.bank._building[1]
    back = kept.builder.start(kept.high)
    let.set()
    assert back.ready.wait(20)
    back.submit(lambda chain: renew.wait(20))
    kept.bank.give_back(back, kept.high)
    assert built.ready.wait(20)
    kept.tend_until(lambda: not kept.bank._building)
    renew.set()
    kept.tend_until(lambda: kept.bank.memory)
    kept.tend_until(lambda: built.dead)
    assert kept.bank.take(kept.high) is back
    back.close()
    kept.bank.close()


def test_a_voice_that_hangs_while_it_is_built_is_given_up_told_and_built_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "LOAD_LIMIT_S", 0.05)
    let, builds = threading.Event(), list[int]()

    def hang() -> None:
        builds.append(len(builds))
        if len(builds) == 1:
            let.wait(60)

    kept = Kept(hang)
    kept.builder.effective()
    try:
        kept.tend_until(lambda: builds)
        kept.tend_until(lambda: "'high' is not kept ready" in kept.message)
        kept.tend_until(lambda: kept.bank.memory)
        assert builds == [0, 1]
    finally:
        let.set()
        kept.bank.close()


def test_a_voice_that_hangs_when_it_comes_back_is_built_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "LOAD_LIMIT_S", 0.05)
    kept, let = Kept(), threading.Event()
    kept.builder.requested = kept.low
    back = kept.builder.start(kept.high)
    assert back.ready.wait(20)
    back.submit(lambda chain: let.wait(60))
    kept.bank.give_back(back, kept.high)
    try:
        kept.tend_until(lambda: kept.bank.memory)
        new = kept.bank.take(kept.high)
        assert new is not None
        assert new is not back
        new.close()
    finally:
        let.set()
        kept.bank.close()


@pytest.mark.parametrize("change", [{"ready_memory": 30.0}, {"block": 100.0}], ids=str)
def test_a_chain_that_comes_back_late_is_kept_only_if_it_fits(change: dict[str, float]):
    """It is set back at low priority, and what is wanted has been decided by then."""
    kept, renew = Kept(), threading.Event()
    memory = change.get("ready_memory", 1000.0)
    kept.builder.requested = kept.low = kept.low.replace(ready_memory=memory)
    back = kept.builder.start(kept.high.replace(**change))
    assert back.ready.wait(20)
    back.submit(lambda chain: renew.wait(20))
    kept.bank.give_back(back, kept.high)
    kept.tend_until(lambda: kept.bank._wanted)
    renew.set()
    kept.tend_until(lambda: not kept.bank._returning)
    if "block" in change:
        kept.tend_until(lambda: kept.bank.shapes == [kept.high.shape])
    else:
        kept.bank.tend(kept.low, 100.0)
        assert sum(kept.bank.memory.values()) <= memory * 1e6
    kept.bank.close()


def test_a_voice_that_is_replaced_while_the_device_is_lost_is_released():
    """The echo canceller looks for input once more when a block is read."""
    lost = list[Worker]()

    class Losing(Device):
        def read(self, samples: int) -> Float32:
            replaced = session._engine._loop._handover._old
            if session._engine._loop._handover.joins and replaced and not lost:
                lost.append(replaced)
                raise DeviceLostError("gone")
            return super().read(samples)

    device = Losing(np.zeros(6 * RATE, np.float32))
    voices = {name: ToneVoice(name, hz=hz) for name, hz in HZ.items()}
    session = Session(device, BASE, finder(**voices))
    session.keep_ready(("high",))
    due = [lambda: session.apply(voice="high")]
    device.on_tick = lambda now: due.pop()() if due and now > 4.0 else None
    with session:
        assert session.wait(60)
        assert session.stats().voice == "high"
    assert lost[0]._job is not None
    assert lost[0]._job.wait(20)


def test_another_voice_does_not_morph_on():
    settings = BASE.replace(morph_to="high", morph=0.5)
    played, stats, _ = run([(3.0, {"voice": "other", "morph_to": "off"})], settings, 5.0)
    assert stats.voice == "other"
    assert level_of(played[-RATE // 4 : -RATE // 8], HZ["other"]) > 0.98 * LEVEL


def test_a_voice_whose_thread_hangs_when_it_is_to_take_over_is_built_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let, hung, ended, calls = *(threading.Event() for _ in range(3)), list[int]()
    skip = ToneStream.skip

    def hang(stream: ToneStream, samples: Float32) -> None:
        if armed.is_set() and stream in voices["high"].opened[:1]:
            hung.set()
            let.wait(60)
            ended.set()
        skip(stream, samples)

    def until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            if (worker := session._engine._loop._handover._new) is not None:
                calls.append(worker._calls.qsize())
            time.sleep(0.01)

    armed = threading.Event()
    monkeypatch.setattr(ToneStream, "skip", hang)
    monkeypatch.setattr(handover, "FEED_LIMIT_S", 1.0)
    voices = {name: ToneVoice(name, hz=hz) for name, hz in HZ.items()}
    noise = 0.1 * np.random.default_rng(1).standard_normal(120 * RATE)
    device = SimulatedDevice(noise.astype(np.float32), wall_clock=True)
    session = Session(device, BASE, finder(**voices))
    session.keep_ready(("high",))
    session.start()
    try:
        until(lambda: "high" in session.stats().ready_voices)
        armed.set()
        session.apply(voice="high")
        until(hung.is_set)
        until(lambda: session.stats().voice == "high")
        assert max(calls) < 1.0 / BLOCK_S + 5
        assert abandoned_threads()
        session.stop()
        assert not ended.is_set()
    finally:
        let.set()
        session.stop()
