"""What the engine does after failures, on a virtual clock: it always comes back."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtvc.engine.voice_bank
import rtvc.engine.worker
from rtvc.audio.endpoint import DeviceLostError
from rtvc.audio.simulated import Fault, SimulatedDevice
from rtvc.engine.chain import Chain
from rtvc.engine.plan import Plan
from rtvc.engine.spare import AFTER_S
from rtvc.engine.supervisor import TRANSITIONS, Event, Phase
from rtvc.engine.thread_pool import Job, run_in_pool
from rtvc.engine.watchdog import STEP_LIMIT_S, NoResponseError, Watchdog
from rtvc.engine.worker import Worker
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from rtvc.system.abandoned import abandoned_threads
from tests.support.material import more
from tests.support.voices import PlainStream, PlainVoice, SilentVoice, finder

pytestmark = pytest.mark.slow

RATE = 48_000
BLOCK = 0.1
OPEN = Settings(gate=-90.0, latency="constant")
ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


def noise(seconds: float) -> Any:
    return (np.random.default_rng(0).standard_normal(int(seconds * RATE)) * 0.1).astype("f4")


@dataclass
class Run:
    """A session on a simulated device that plays noise, with failures at set times.

    `at` maps times of the device to actions that run in the first step from then on.
    """

    seconds: float
    at: dict[float, Any] = field(default_factory=dict)
    settings: Settings = OPEN
    faults: tuple[Fault, ...] = ()
    fail_open: bool = False
    find: Any = None
    seen: list[tuple[float, Stats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = noise(self.seconds)
        run = self

        class Device(SimulatedDevice):
            def start(self, tick, delay):
                def watched():
                    tick()
                    if round(400 * self.now()) % 20 == 0:
                        run.seen.append((self.now(), run.session.stats()))

                super().start(watched, delay)

        self.device = Device(self.source, faults=self.faults)
        voice = PlainVoice(on_render=lambda n: self._act())
        self.session = Session(
            self.device,
            self.settings,
            self.find(voice) if self.find else finder(world=voice),
            fail_open=self.fail_open,
        )

    def _act(self) -> None:
        for due in [due for due in self.at if due <= self.device.now()]:
            self.at.pop(due)()

    def play(self) -> Stats:
        with self.session:
            assert self.session.wait(60)
            self.stats = self.session.stats()
        self.played = self.device.played
        self.began = self.device.now() - len(self.played) / RATE
        lost = any(fault.kind == "lost" for fault in self.faults)
        assert lost or self.stats.device.underruns == 0
        return self.stats

    def lag(self, start: float, seconds: float = 0.5) -> float:
        """Return by how much the output lags the input at the time `start`, 0 for silence."""
        at = round((start - self.began) * RATE)
        piece = self.played[at : at + round(seconds * RATE)]
        if not np.abs(piece).max() > 0.01:
            return 0.0
        first = max(round((start - 1.0) * RATE), 0)
        around = self.source[first : round((start + seconds) * RATE)]
        size = 1 << (len(around) + len(piece)).bit_length()
        product = np.fft.rfft(around, size) * np.conj(np.fft.rfft(piece, size))
        found = int(np.argmax(np.fft.irfft(product, size)[: len(around)]))
        return start - first / RATE - found / RATE

    def sounds_again(self, after: float) -> float:
        """Return the time from `after` until the output is converted sound for 50 ms."""
        at = round((after - self.began) * RATE)
        loud = np.abs(self.played[at:]).reshape(-1)[: len(self.played[at:]) // 480 * 480]
        active = loud.reshape(-1, 480).max(axis=1) > 0.05
        runs = np.convolve(active, np.ones(5), "valid") == 5
        assert runs.any(), "it stays silent"
        return float(np.argmax(runs)) / 100

    def states(self, start: float, end: float) -> set[State]:
        return {stats.state for time, stats in self.seen if start <= time < end}


def fail(error: BaseException = RuntimeError("out of memory")) -> Any:  # noqa: B008
    def act() -> None:
        raise error

    return act


def test_every_phase_leads_back_to_running_and_can_be_stopped():
    for phase in set(Phase) - {Phase.STOPPED}:
        assert TRANSITIONS[phase, Event.STOP] is Phase.STOPPED
        reached = {phase}
        while True:
            more = {to for (at, _), to in TRANSITIONS.items() if at in reached} - reached
            if not more:
                break
            reached |= more
        assert Phase.RUNNING in reached
    assert {at for at, _ in TRANSITIONS} == set(Phase) - {Phase.STOPPED}
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_the_table_in_the_documentation_is_the_one_in_the_code():
    lines = ARCHITECTURE.read_text(encoding="utf-8").splitlines()
    at = lines.index("| phase | event | next phase |")
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        phase, event, following = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append(((Phase(phase), Event(event)), Phase(following)))
    assert dict(rows) == TRANSITIONS
    assert len(rows) == len(TRANSITIONS)


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), MemoryError(), SystemExit("gone")], ids=repr
)
def test_one_failure_costs_at_most_two_blocks(error):
    run = Run(8, {5.0: fail(error)})
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert stats.concealed_s <= 2 * BLOCK
    assert stats.late_blocks <= 2
    assert (stats.failed_steps, stats.restarts) == (1, 1)
    assert stats.restart_causes == {"failed step": 1}
    assert type(error).__name__ in stats.last_cause
    assert run.lag(5.5) == pytest.approx(stats.latency.total, abs=0.005)
    assert run.states(3.0, 8.0) == {State.CONVERTED}


def test_a_failure_before_the_spare_is_ready_costs_little_more():
    run = Run(5, {AFTER_S / 2: fail()})
    stats = run.play()
    assert stats.restarts == 1
    assert run.sounds_again(AFTER_S / 2 + 0.1) < 0.5
    assert run.lag(AFTER_S / 2 + 1.0) == pytest.approx(stats.latency.total, abs=0.005)


def test_the_automatic_pitch_survives_a_failure():
    """With hold it would never be measured again."""
    run = Run(7, {5.0: fail()}, OPEN.replace(auto_pitch="on", auto_pitch_target=150.0))
    run.at[4.0] = lambda: run.session.apply(auto_pitch="hold")
    stats = run.play()
    assert stats.restarts == 1
    assert stats.auto_pitch == pytest.approx(12 * np.log2(150 / 100), abs=0.1)


def failing_finder(times: list[int]) -> Any:
    """A `find_voice` that fails, after the first call, as often as `times` says."""

    def make(voice: PlainVoice) -> Any:
        calls = [0]

        def find(name: str) -> PlainVoice:
            calls[0] += 1
            if calls[0] > 1 and times[0]:
                times[0] -= 1
                raise RuntimeError("no file")
            return voice

        return find

    return make


def test_tries_go_on_with_pauses_until_one_succeeds():
    run = Run(20, {1.0: fail()}, find=failing_finder([5]))
    stats = run.play()
    assert stats.state is State.CONVERTED
    waits = [s.reason for _, s in run.seen if "next try" in s.reason]
    told = [w for w, before in zip(waits, ["", *waits], strict=False) if w != before]
    assert [w.rsplit(" in ", 1)[1] for w in told] == ["0.5 s.", "1 s.", "2 s.", "5 s."]
    assert all("RuntimeError: no file." in w for w in told)
    # 0.5 + 1 + 2 + 5 + 5 s.
    assert 13.0 < run.sounds_again(1.3) < 14.0
    assert stats.restart_causes == {"failed step": 1, "failed build": 5}
    assert {s.state for _, s in run.seen if s.restarting} == {State.MUTED}
    assert run.lag(18.0) == pytest.approx(stats.latency.total, abs=0.005)


def test_a_changed_setting_tries_at_once():
    times = [100]
    run = Run(14, {1.0: fail()}, find=failing_finder(times))
    changed: list[float] = []

    def watch() -> None:
        if run.device.now() > 10.0 and not changed:
            changed.append(run.device.now())
            times[0] = 0
            run.session.apply(pitch=1.0)

    run.device.health = lambda inner=run.device.health: (watch(), inner())[1]  # type: ignore
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert run.sounds_again(changed[0]) < 0.5


@pytest.mark.parametrize("failures", [1, 4])
def test_the_previous_voice_stays_after_a_refused_one_and_failures(failures):
    heard: list[tuple[str, float]] = []

    def find(voice: PlainVoice) -> Any:
        class Stream(PlainStream):
            def render(self, block, settings):
                heard.append((settings.voice, settings.pitch))
                return super().render(block, settings)

        voice.open = lambda plan, settings: Stream(voice, plan, 48_000)  # type: ignore[method-assign]
        return finder(world=voice)

    # A pitch of 0 belongs to the missing voice: it would make the present one your own.
    run = Run(14, settings=OPEN.replace(pitch=5.0), find=find)
    run.at = {3.0: lambda: run.session.apply(run.session.settings.replace(voice="gone", pitch=0.0))}
    run.at |= {5.0 + n / 1000: fail() for n in range(failures)}
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert "The previous voice stays in use." in stats.reason
    assert run.sounds_again(5.3) < 3.0
    assert stats.failed_steps == failures
    assert {pitch for _, pitch in heard} == {5.0}


def test_a_voice_that_is_chosen_while_none_runs_and_is_missing_gives_the_previous_one():
    times = [4]
    run = Run(14, {1.0: fail()}, find=failing_finder(times))
    changed: list[float] = []

    def watch() -> None:
        if run.device.now() > 3.0 and not changed:
            changed.append(run.device.now())
            run.session.apply(voice="gone")

    run.device.health = lambda inner=run.device.health: (watch(), inner())[1]  # type: ignore
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert run.sounds_again(changed[0]) < 6.0  # after the pauses that three failures bring


def test_many_failures_in_a_row_are_survived():
    run = Run(8)
    for n in range(4):
        run.at[1.0 + n / 1000] = fail()
    stats = run.play()
    assert stats.failed_steps == 4
    assert stats.state is State.CONVERTED
    assert run.sounds_again(1.3) < 3.0


@pytest.mark.parametrize("how", ["waits", "spins"])
def test_a_step_that_hangs_is_abandoned_and_another_engine_sounds(how):
    let, ended = threading.Event(), threading.Event()

    def hang() -> None:
        try:
            while not run.session._engine._loop.watchdog._expired:
                run.device.pass_time(0.0025)
            while not let.wait(20 if how == "waits" else 0):
                pass
        finally:
            ended.set()

    run = Run(12, {5.0: hang})
    try:
        stats = run.play()
    finally:
        let.set()
    assert stats.state is State.CONVERTED
    assert stats.restart_causes == {"no response": 1}
    assert stats.last_cause == "The engine did not respond for 2 s."
    assert State.MUTED in run.states(5.5, 6.9)
    assert run.sounds_again(5.3) < 4.0
    assert run.lag(10.0) == pytest.approx(stats.latency.total, abs=0.005)
    assert ended.wait(5)


@pytest.mark.parametrize("seconds", more([0.2, 3.0, 1.0, 10.0, 60.0], keep=2))
def test_a_stall_is_silent_and_heals_within_a_second(seconds):
    run = Run(4.0 + seconds + 4.0, faults=(Fault(4.0, "stall", seconds),))
    stats = run.play()
    before = run.lag(2.0)
    assert before == pytest.approx(stats.latency.total, abs=0.005)
    assert run.lag(4.0 + seconds + 1.0) == pytest.approx(before, abs=0.005)
    assert run.sounds_again(4.0 + seconds) < 0.6
    assert seconds - 0.2 < stats.concealed_s < seconds + 0.2
    assert stats.dropped_s < min(seconds, 4.0) + 0.4
    assert stats.degraded == ""
    # Faded within 0.2 s, and nothing until the stall ends.
    at = round((4.3 - run.began) * RATE), round((4.0 + seconds - run.began) * RATE)
    assert not run.played[slice(*at)].any()


def test_a_heartbeat_that_raises_is_counted_and_continues(monkeypatch):
    run = Run(5)
    tick, spoilt = run.session._engine._loop.delivery.tick, [3]

    def raise_sometimes() -> None:
        if run.device.now() > 2.0 and spoilt[0]:
            spoilt[0] -= 1
            raise ZeroDivisionError("division by zero")
        tick()

    monkeypatch.setattr(run.session._engine._loop.delivery, "tick", raise_sometimes)
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert stats.restart_causes == {"heartbeat": 1}
    assert stats.last_cause == "The heartbeat failed: ZeroDivisionError: division by zero."
    assert run.lag(4.0) == pytest.approx(stats.latency.total, abs=0.005)


def test_an_audio_thread_that_fails_is_reopened():
    run = Run(6)
    wait, spoilt = run.device.wait, [True]

    def fail_once(samples: int, timeout: float) -> int:
        if run.device.now() > 2.0 and spoilt:
            spoilt.clear()
            raise OSError("no such stream")
        return wait(samples, timeout)

    run.device.wait = fail_once  # type: ignore[method-assign]
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert stats.restart_causes == {"audio thread": 1}
    assert run.lag(4.0) == pytest.approx(stats.latency.total, abs=0.005)


def test_a_device_that_is_lost_while_a_try_is_due_comes_back():
    run = Run(10, {1.0: fail()}, find=failing_finder([3]), faults=(Fault(2.0, "lost", 1.0),))
    stats = run.play()
    assert State.DEVICE_LOST in run.states(2.0, 3.0)
    assert stats.state is State.CONVERTED
    assert stats.restart_causes["device lost"] == 1


def test_a_lost_device_is_not_asked_without_pause(monkeypatch):
    asked: list[str | float] = []
    enough = threading.Event()

    class Gone(SimulatedDevice):
        def reconnect(self) -> bool:
            asked.append("a try")
            if len(asked) > 10:
                enough.set()
            return False

        def wait(self, samples: int, timeout: float) -> int:
            raise DeviceLostError("gone")

    session = Session(Gone(noise(60), wall_clock=True), OPEN, finder())
    watchdog = session._engine._loop.watchdog
    pause = watchdog.wait

    def noted_pause(seconds: float) -> None:
        asked.append(seconds)
        pause(seconds)

    monkeypatch.setattr(watchdog, "wait", noted_pause)
    with session:
        assert enough.wait(20)
        assert session.stats().state is State.DEVICE_LOST
    # The pauses between two tries are the endpoint's: `test_reopen_schedule`.
    assert asked[:10] == 5 * ["a try", 0.05]


@pytest.mark.parametrize("mode", ["converted", "muted"])
def test_fail_open_outputs_the_input_and_says_so(mode):
    settings = OPEN.replace(mode=mode)
    run = Run(10, {1.0: fail()}, settings, find=failing_finder([3]), fail_open=True)
    stats = run.play()
    open_ = [s for _, s in run.seen if s.state is State.DRY]
    if mode == "muted":
        assert not open_
        assert not run.played.any()
        return
    assert stats.state is State.CONVERTED
    assert open_
    assert all("RuntimeError" in s.reason for s in open_)
    assert all("Your own voice is output." in s.reason for s in open_)
    middle = round((2.5 - run.began) * RATE)
    piece = run.played[middle : middle + 4800]
    found = np.correlate(run.source[: 4 * RATE], piece, "valid")
    best = int(np.argmax(found))
    np.testing.assert_array_equal(run.source[best : best + 4800], piece)
    assert run.lag(8.0) == pytest.approx(stats.latency.total, abs=0.005)


def test_fail_open_does_not_say_so_while_the_devices_are_lost():
    faults = (Fault(2.0, "lost", 1.0),)
    run = Run(12, {1.0: fail()}, find=failing_finder([4]), faults=faults, fail_open=True)
    stats = run.play()
    assert State.DRY in run.states(1.5, 2.0)
    assert run.states(2.05, 2.95) == {State.DEVICE_LOST}
    assert State.DRY in run.states(3.2, 12.0)
    assert stats.state is State.CONVERTED


def test_without_fail_open_the_input_is_never_output():
    def find(voice: PlainVoice) -> Any:
        return failing_finder([3])(SilentVoice(on_render=voice.on_render))

    run = Run(12, {1.0: fail(), 6.0: fail()}, find=find, faults=(Fault(9.0, "stall", 1.0),))
    stats = run.play()
    assert stats.restarts >= 4
    assert not run.played.any()


class Clock:
    """An endpoint that has only a time."""

    realtime = True

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


def test_the_watchdog_counts_only_time_in_which_the_program_runs():
    clock, let = Clock(), threading.Event()
    results: list[Any] = []
    watchdog = Watchdog(clock)  # type: ignore[arg-type]
    worker = Worker(lambda: Chain(PlainVoice(), OPEN))

    def ask() -> None:
        try:
            results.append(watchdog.ask(worker, lambda chain: let.wait(30)))
        except NoResponseError as error:
            results.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(3):  # asleep for an hour, three times
            clock.time += 3600.0
            time.sleep(0.12)
        assert not results
        # Each jump that it saw has counted as 0.05 s.
        awake = clock.time
        while clock.time < awake + STEP_LIMIT_S + 0.05:
            clock.time += 0.01
            watchdog.tick()
            assert not results or clock.time > awake + STEP_LIMIT_S - 0.25
        thread.join(10)
        assert isinstance(results[0], NoResponseError)
    finally:
        let.set()
        worker.close()


def test_stopping_does_not_wait_for_a_step_that_hangs():
    let, hanging, ended = threading.Event(), threading.Event(), threading.Event()

    def hang(n: int) -> None:
        if n == 3:
            hanging.set()
            let.wait(30)
            ended.set()

    device = SimulatedDevice(noise(20), wall_clock=True)
    session = Session(device, OPEN, finder(world=PlainVoice(on_render=hang)))
    session.start()
    try:
        assert hanging.wait(10)
        session.stop()
        assert not ended.is_set()
        assert abandoned_threads()
    finally:
        let.set()
    assert session.stats().state is State.STOPPED


@pytest.mark.thorough
def test_changes_of_voice_leave_no_threads_behind():
    voices = {name: PlainVoice(name, lookahead=look) for look, name in enumerate("abc", 3)}
    counts: list[int] = []

    def change(n: int) -> None:
        if n % 2:
            session.apply(voice="abc"[n // 2 % 3])
            counts.append(threading.active_count())

    class Device(SimulatedDevice):
        blocks = 0

        def read(self, samples):
            change(self.blocks)
            self.blocks += 1
            return super().read(samples)

    session = Session(Device(noise(12)), OPEN.replace(voice="a"), finder(**voices))
    with session:
        assert session.wait(60)
        stats = session.stats()
    assert len(counts) > 50
    assert max(counts) <= counts[3] + 1
    assert stats.late_blocks == 0


@pytest.mark.parametrize("where", ["build", "step"])
def test_failures_keep_no_voice_in_memory(where: str) -> None:
    """The automatic garbage collection is off in a live run, which may fail for hours."""
    made: list[weakref.ref[PlainVoice]] = []

    def fail_late(_: int) -> None:
        if where == "step" or run.device.now() > 1.0:
            raise RuntimeError("out of memory")

    class Failing(PlainVoice):
        def open(self, plan: Plan, settings: Settings) -> PlainStream:
            if where == "build" and made[1:]:
                raise RuntimeError("out of memory")
            return PlainStream(self, plan, 48_000)  # a list of them would be a cycle

    def find(_: PlainVoice) -> Any:
        def found(name: str) -> PlainVoice:
            made.append(weakref.ref(voice := Failing(on_render=fail_late)))
            return voice

        return found

    run = Run(20, find=find)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        run.play()
        assert len(made) > 5
        deadline = time.monotonic() + 20  # their threads release them
        while alive := [ref for ref in made if ref() is not None]:
            assert time.monotonic() < deadline, f"{len(alive)} of {len(made)}"
            time.sleep(0.01)
    finally:
        if collecting:
            gc.enable()


def test_an_error_while_another_chain_is_found_ends_no_run(monkeypatch):
    run, spoilt = Run(8, {5.0: fail()}), [3]
    spare = run.session._engine._loop._spare
    take = spare.take

    def raise_sometimes(settings: Settings) -> Worker | None:
        if spoilt[0]:
            spoilt[0] -= 1
            raise ZeroDivisionError("division by zero")
        return take(settings)

    monkeypatch.setattr(spare, "take", raise_sometimes)
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert stats.restart_causes == {"failed step": 1, "engine error": 3}
    assert run.states(5.2, 5.4) == {State.MUTED}
    assert run.sounds_again(5.3) < 2.0


@pytest.mark.parametrize("at", [1.0, AFTER_S])
def test_a_system_that_starts_no_thread_for_a_while_ends_no_run(monkeypatch, at):
    """As at its limit for threads. What cannot be built in the background disturbs nothing."""
    settings = OPEN if at == 1.0 else OPEN.replace(ready_memory=100.0)
    run, tries = Run(8, {1.0: fail()} if at == 1.0 else {}, settings), [0]

    def start_later(work: Any, name: str) -> Job:
        if run.device.now() > at - 0.05:
            tries[0] += 1
            if tries[0] < 3:
                raise RuntimeError("can't start new thread")
        return run_in_pool(work, name)

    for module in (rtvc.engine.worker, rtvc.engine.voice_bank):
        monkeypatch.setattr(module, "run_in_pool", start_later)
    stats = run.play()
    assert stats.state is State.CONVERTED
    assert tries[0] >= 2
    if at == 1.0:
        assert stats.restart_causes == {"failed step": 1, "failed build": 2}
        assert "RuntimeError: can't start new thread." in stats.last_cause
        assert run.sounds_again(1.3) < 3.0
    else:
        assert not stats.restarts


def test_a_run_whose_last_fade_fails_releases_its_voice(monkeypatch):
    session = Session(SimulatedDevice(noise(60), wall_clock=True), OPEN, finder())
    loop = session._engine._loop

    def broken() -> None:
        raise OSError("no such stream")

    monkeypatch.setattr(loop.delivery, "fade_out", broken)
    session.start()
    worker = loop.chain.worker
    assert worker is not None
    assert worker._job is not None
    session.stop()
    assert not session._engine.running
    assert worker._job.wait(20)
