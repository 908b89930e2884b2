"""Measuring steps: the formula, the sizes that follow, and real voices."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from rtvc.calibration.conditions import Conditions
from rtvc.calibration.profiles import PROFILES
from rtvc.calibration.work import PARTS, work_of
from rtvc.engine.chain import Chain
from rtvc.engine.profiling import step_timing
from rtvc.engine.profiling.step_timing import (
    BLOCKS,
    CONTEXTS,
    Point,
    background_load,
    fit,
    measure,
    measure_processing,
)
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import speech, voice
from tests.support.patience import measured
from tests.support.voices import PlainStream, PlainVoice

CONDITIONS = Conditions("a processor", 2, "0.1", "mains", False, "2026-01-01")


def microphone(seconds=2.0):
    return np.resize(np.repeat(speech(), 3), round(seconds * 48_000)).astype(np.float32)


def points(time_ms, spread, steps=400, seed=0):
    """Steps over the grid whose median is `time_ms(block, context)`."""
    rng = np.random.default_rng(seed)
    return [
        Point(
            Settings(block=block, context=context),
            (1e-3 * time_ms(block, context) * spread(rng, steps)).tolist(),
        )
        for block in (*BLOCKS, 120.0)
        for context in CONTEXTS
    ]


def lognormal(sigma):
    return lambda rng, steps: np.exp(sigma * rng.standard_normal(steps))


@pytest.mark.parametrize("numbers", [(3.0, 0.2, 0.05), (0.0, 0.5, 0.0), (40.0, 0.0, 0.01)])
def test_the_formula_is_found(numbers):
    a, b, c = numbers
    timing = fit(
        points(lambda block, context: a + b * block + c * context, lognormal(0.1)), CONDITIONS
    )
    for block in (60.0, 150.0, 500.0):
        for context in (500.0, 1000.0, 2500.0):
            truth = a + b * block + c * context
            assert timing.p50(block, context) == pytest.approx(truth, rel=0.02)
            # The 99th percentile of a lognormal is exp(2.326 sigma) times its median.
            assert timing.p99(block, context) == pytest.approx(truth * np.exp(0.2326), rel=0.04)


def test_nothing_gets_faster_with_more_sound():
    timing = fit(points(lambda block, context: 10 - 0.001 * context, lognormal(0.02)), CONDITIONS)
    assert timing.per_context == 0.0
    assert timing.p50(500, 2500) >= timing.p50(60, 500) > 8


def test_the_tail_covers_what_the_formula_misses():
    # A step of the cost, as where a network works on windows of 320 ms.
    timing = fit(
        points(lambda block, context: 20 + 15 * (block > 220), lognormal(0.001)), CONDITIONS
    )
    for block in BLOCKS:
        assert timing.p99(block, 500) >= 0.99 * (20 + 15 * (block > 220))


def test_a_step_after_a_rest_counts_as_the_longest_only():
    found = points(lambda block, context: 20.0, lognormal(0.01))
    usual = fit(found, CONDITIONS)
    found[0].rested.append(0.1)
    rested = fit(found, CONDITIONS)
    assert rested.max(500, 500) == pytest.approx(100.0, rel=0.01)
    assert dataclasses.replace(rested, longest=usual.longest) == usual


def test_one_long_step_among_thousands_is_remembered():
    found = points(lambda block, context: 20.0, lognormal(0.01))
    assert fit(found, CONDITIONS).longest == pytest.approx(1.04, abs=0.03)
    found[0].seconds[7] = 0.1
    assert fit(found, CONDITIONS).max(500, 500) == pytest.approx(100.0, rel=0.01)
    assert fit(found, CONDITIONS).p99(500, 500) < 21.0


class SleepyStream(PlainStream):
    def render(self, block, settings):
        frames = 10 * self.plan.block, 10 * self.plan.context
        cost = 6.0 + 0.15 * frames[0] + 0.01 * frames[1]
        cost -= 5.0 * (settings.pitch_method == "dio") + 8.0 * (settings.index_rate == 0)
        time.sleep(cost / 1000)
        return super().render(block, settings)


class SleepyVoice(PlainVoice):
    def open(self, plan, settings):
        return SleepyStream(self, plan, self.input_rate)


@pytest.fixture
def hurried(monkeypatch):
    """No rests between the steps, which are most of the time: for what does not look at it."""
    monkeypatch.setattr(step_timing, "_PAUSE_S", 0.0)


@pytest.mark.thorough
@measured
def test_a_voice_of_known_cost_is_measured():
    shares: list[float] = []
    found = measure(
        SleepyVoice(),
        Settings(voice="sleepy"),
        microphone(),
        CONDITIONS,
        seconds=4.0,
        methods=["dio"],
        report_progress=shares.append,
    )
    timing = found.timing
    for block, context in ((100.0, 1000.0), (300.0, 2000.0)):
        cost = 6.0 + 0.15 * block + 0.01 * context
        # The chain around the voice and the machine add a little.
        assert cost <= timing.p50(block, context) <= 1.3 * cost + 2
    assert timing.methods["dio"] == pytest.approx(5.0, abs=2.5)
    assert timing.without_index == pytest.approx(8.0, abs=2.5)
    assert timing.conditions is CONDITIONS
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert all(len(point.seconds) >= 8 for point in found.points)
    assert not any(point.rested for point in found.points), "a short measurement"
    sizes = {(point.settings.block, point.settings.context) for point in found.points}
    assert {context for _, context in sizes} >= {p.context for p in PROFILES.values()}


@measured
def test_the_parts_around_the_voice_are_measured(monkeypatch):
    monkeypatch.setattr(step_timing, "_RUN", 4)
    monkeypatch.setattr(time, "perf_counter", time.thread_time)  # without other programs
    shares: list[float] = []
    found = measure_processing(microphone(), seconds=0.1, report_progress=shares.append)
    assert found.keys() == PARTS.keys()
    assert max(found, key=lambda part: found[part]) == "noise strong", found
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.thorough
def test_the_parts_cost_what_a_live_step_spends_on_them(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", time.thread_time)  # without other programs
    found = measure_processing(microphone(), seconds=2.0)
    changes = {name: value for part in PARTS.values() for name, value in part.items()}
    off = Settings(gate=-90.0, block=100.0)
    everything = off.replace(**changes)
    parts = work_of(everything).parts
    assert parts == PARTS.keys() - {"noise light"}, "'strong' takes its place"
    shortest = []
    for settings in (everything, off):
        chain = Chain(PlainVoice(), settings)
        steps = [chain.step(microphone(0.1), settings).stages for _ in range(16)]
        shortest.append(min(step["condition"] + step["output"] for step in steps))
    spent = (shortest[0] - shortest[1]) * 10  # ms per ms of block
    assert sum(found[part] for part in parts) == pytest.approx(spent, rel=0.4)


@pytest.mark.thorough
@pytest.mark.slow
def test_the_built_in_voice_is_measured(hurried, monkeypatch):
    monkeypatch.setattr(step_timing, "_RESTS_FROM_S", 0.0)
    monkeypatch.setattr(step_timing, "_REST_S", 0.2)
    settings = Settings(pitch=4.0, index_rate=0.0)
    found = measure(WorldVoice(), settings, microphone(), CONDITIONS, seconds=1.0)
    timing = found.timing
    assert sum(len(point.rested) for point in found.points) == 1
    assert timing.p50(400, 1000) > timing.p50(60, 1000) > 0
    assert timing.tail >= 1
    assert timing.methods == {}
    assert timing.without_index == 0


@pytest.mark.thorough
@pytest.mark.slow
def test_an_rvc_voice_is_measured(hurried):
    settings = Settings(voice="golden")
    found = measure(voice(), settings, microphone(), CONDITIONS, seconds=1.0, methods=["dio"])
    timing = found.timing
    assert timing.p50(400, 2500) > timing.p50(60, 500) > 0
    assert set(timing.methods) == {"dio"}
    # The small voice uses its golden context, so the steps are those of the real chain.
    assert {point.settings.pitch_method for point in found.points} == {"rmvpe"}


def test_it_ends_where_the_display_raises():
    class StopError(Exception):
        pass

    def report_progress(share):
        raise StopError

    began = time.monotonic()
    with pytest.raises(StopError):
        measure(
            PlainVoice(),
            Settings(),
            microphone(),
            CONDITIONS,
            seconds=60.0,
            report_progress=report_progress,
        )
    assert time.monotonic() - began < 20


def load_threads():
    return [thread for thread in threading.enumerate() if thread.name == "rtvc load"]


@pytest.mark.serial
def test_the_load_ends_with_its_context():
    with background_load():
        assert len(load_threads()) == 2
        spent = time.process_time(), time.monotonic()
        time.sleep(0.5)
        assert time.process_time() - spent[0] > 0.1 * (time.monotonic() - spent[1])
    assert not load_threads()


@pytest.mark.slow
def test_settings_of_the_measurement_let_every_block_through(hurried):
    voice_ = PlainVoice()
    silence = np.zeros(48_000, np.float32)
    measure(voice_, Settings(gate=-20.0, mode="muted"), silence, CONDITIONS, seconds=0.2)
    assert all(stream.renders for stream in voice_.streams)
    assert not any(stream.skipped for stream in voice_.streams)


def test_more_work_is_measured_as_more():
    light = dataclasses.replace(CONDITIONS, busy=False)
    timing = fit(points(lambda block, context: 5.0, lognormal(0.01)), light)
    heavy = fit(points(lambda block, context: 5.0, lognormal(0.3)), light)
    assert heavy.tail > 1.5 * timing.tail
