"""Which chain is built for changed settings, and what becomes of one that is not needed."""

import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.sizing import Sizing
from rtvc.engine import chain_switch
from rtvc.engine import worker as worker_module
from rtvc.engine.chain import Chain
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.chain_switch import ChainSwitch
from rtvc.engine.input_history import InputHistory
from rtvc.engine.voice import Rendered, Voice
from rtvc.engine.voice_bank import VoiceBank
from rtvc.settings import Settings
from rtvc.system.abandoned import abandoned_threads
from tests.support.voices import PlainStream, PlainVoice, SilentVoice, finder

SETTINGS = Settings(gate=-90.0, latency="constant")


def test_a_chain_that_is_not_asked_for_any_more_is_released_once_it_is_built():
    voices, let = finder(), threading.Event()

    def find(name: str) -> Voice:
        assert let.wait(20)
        return voices(name)

    device = SimulatedDevice(np.zeros(0, np.float32))
    builder = ChainBuilder(device, SETTINGS, find, Sizing())
    bank = VoiceBank(builder, lambda settings, voice: settings, synchronous=False)
    switch = ChainSwitch(builder, bank, InputHistory(1), synchronous=False)
    chain = Chain(PlainVoice(), SETTINGS)
    builder.requested = SETTINGS.replace(block=200.0)
    assert switch.poll(chain, builder.effective()) is None
    worker = switch._next
    assert worker is not None
    builder.requested = SETTINGS
    assert switch.poll(chain, builder.effective()) is None
    assert switch.loading  # the voice could not be loaded faster by another thread
    let.set()
    assert worker.ready.wait(20)
    assert switch.poll(chain, builder.effective()) is None
    assert not switch.loading
    deadline = time.monotonic() + 20
    while not worker.dead:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_a_new_chain_renders_before_it_takes_over_has_the_automatic_pitch():
    """Its end is output where the latency becomes longer."""
    pitches = []

    class Stream(PlainStream):
        def render(self, block: Float32, settings: Settings) -> Rendered:
            pitches.append(settings.pitch)
            return super().render(block, settings)

    voice = PlainVoice()
    voice.open = lambda plan, settings: Stream(voice, plan, 48_000)  # type: ignore[method-assign]
    settings = SETTINGS.replace(auto_pitch="on", auto_pitch_target=150.0)
    builder = ChainBuilder(
        SimulatedDevice(np.zeros(0, np.float32)), settings, finder(world=voice), Sizing()
    )
    bank = VoiceBank(builder, lambda settings, voice: settings, synchronous=False)
    history = InputHistory(48_000)
    switch = ChainSwitch(builder, bank, history, synchronous=False)
    chain, block = Chain(PlainVoice(), settings), np.full(4800, 0.1, np.float32)
    for _ in range(50):
        chain.step(block, settings)
    history.push(np.tile(block, 20))
    builder.requested = settings.replace(lookahead=50.0)
    deadline = time.monotonic() + 20
    while (worker := switch.poll(chain, builder.effective())) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    worker.close()
    assert pitches == [pytest.approx(12 * np.log2(150 / 100), abs=0.1)]


@pytest.mark.parametrize("where", ["build", "feed"])
@pytest.mark.parametrize("asked_for", ["the same", "the one in use", "another"])
def test_a_chain_that_hangs_is_abandoned_and_only_its_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, where: str, asked_for: str
) -> None:
    monkeypatch.setattr(worker_module, "LOAD_LIMIT_S", 0.2)
    let, hung = threading.Event(), threading.Event()

    def hang(place: str, name: str) -> None:
        if place == where and name == "a":
            hung.set()
            let.wait(30)

    def render(name: str, _renders: int) -> None:
        new = switch._next
        if new is not None and new.ready.is_set():  # not while it is warmed up
            hang("feed", name)

    find = finder(**{n: PlainVoice(n, on_render=partial(render, n)) for n in "abw"})
    device = SimulatedDevice(np.zeros(0, np.float32))
    in_use = SETTINGS.replace(voice="w")

    def found(name: str) -> Voice:
        hang("build", name)
        return find(name)

    builder = ChainBuilder(device, in_use, found, Sizing())
    bank = VoiceBank(builder, lambda settings, voice: settings, synchronous=False)
    history = InputHistory(48_000)
    history.push(np.full(48_000, 0.1, np.float32))
    switch = ChainSwitch(builder, bank, history, synchronous=False)
    chain = Chain(PlainVoice("w"), in_use)

    def poll_until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            switch.poll(chain, builder.effective())
            time.sleep(0.002)

    try:
        builder.requested = in_use.replace(voice="a")
        poll_until(hung.is_set)
        hanging = switch._next
        if asked_for == "the same":
            poll_until(lambda: switch.refusal)
            assert "did not load" in switch.refusal
        elif asked_for == "the one in use":
            builder.requested = in_use
            poll_until(lambda: not switch.loading)
            assert not switch.refusal
        else:
            builder.requested = in_use.replace(voice="b")
            poll_until(lambda: switch._next not in (None, hanging))
            assert not switch.refusal
        assert hanging is not None
        if where == "build" or asked_for == "the same":  # else it is closed once it was built
            assert hanging._job is not None
            assert hanging._job.thread in abandoned_threads()
    finally:
        let.set()
        switch.cancel()


def being_fed(
    voice: Voice, settings: Settings
) -> tuple[ChainSwitch, ChainBuilder, InputHistory, Chain]:
    """Return a switch that feeds a second of noise to a new chain, and the chain in use."""
    device = SimulatedDevice(np.zeros(0, np.float32))
    builder = ChainBuilder(device, settings, finder(world=voice), Sizing())
    bank = VoiceBank(builder, lambda settings, voice: settings, synchronous=False)
    history = InputHistory(48_000)
    switch = ChainSwitch(builder, bank, history, synchronous=False)
    chain, noise = Chain(voice, settings), np.random.default_rng(0).standard_normal(48_000)
    history.push((0.1 * noise).astype(np.float32))
    builder.requested = settings.replace(lookahead=50.0)
    deadline = time.monotonic() + 20
    while switch._fed is None:
        assert time.monotonic() < deadline
        assert switch.poll(chain, builder.effective()) is None
        time.sleep(0.002)
    return switch, builder, history, chain


def test_a_chain_that_is_fed_in_another_mode_takes_over_in_the_present_one():
    """What it has rendered in the mode dry, or ramps from it, would be your own voice."""
    dry = SETTINGS.replace(mode="dry")
    switch, builder, history, chain = being_fed(SilentVoice(), dry)
    assert switch._fed is not None
    switch._fed.result(20)
    deadline = time.monotonic() + 20
    settings = builder.requested = builder.requested.replace(mode="converted")
    while (worker := switch.poll(chain, settings)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert not switch.rendered.any()
    step = worker.submit(lambda chain: chain.step(history.newest(4800, 4800)[0], settings))
    worker.close()
    assert not step.result(20).output.any()


@pytest.mark.parametrize("latency", ["auto", "constant"])
def test_automatic_sizes_that_could_not_be_had_are_tried_again(
    monkeypatch: pytest.MonkeyPatch, latency: str
) -> None:
    """Nobody requests them again, and without a longer block each one may be late for good."""
    monkeypatch.setattr(chain_switch, "_AUTOMATIC_RETRY_S", 0.1)
    find, tries = finder(), list[str]()

    def found(name: str) -> Voice:
        tries.append(name)
        if len(tries) == 1:
            raise MemoryError
        return find(name)

    settings = SETTINGS.replace(latency=latency)
    builder = ChainBuilder(SimulatedDevice(np.zeros(0, np.float32)), settings, found, Sizing())
    bank = VoiceBank(builder, lambda settings, voice: settings, synchronous=False)
    switch = ChainSwitch(builder, bank, InputHistory(1), synchronous=False)
    chain = Chain(PlainVoice(), settings)
    longer = settings.replace(block=200.0)
    builder.requested, took_over, until = longer, None, time.monotonic() + 1.0
    while took_over is None and time.monotonic() < until:
        if tries and latency == "auto":
            until = time.monotonic() + 20
        took_over = switch.poll(chain, longer)
        time.sleep(0.002)
    if latency == "auto":
        assert took_over is not None
        took_over.close()
        assert not switch.refusal
    else:
        assert took_over is None
        assert len(tries) == 1
        assert "MemoryError" in switch.refusal


@pytest.mark.parametrize("long", [False, True])
def test_a_chain_that_is_fed_outputs_nothing_from_before_a_lost_device(long: bool) -> None:
    switch, builder, history, chain = being_fed(PlainVoice(), SETTINGS)
    assert switch._fed is not None
    deadline = time.monotonic() + 20
    if long and switch._next is not None:
        switch._fed.result(20)
        switch._next.submit(lambda chain: time.sleep(0.1))
    history.forget()
    switch.forget()
    while (worker := switch.poll(chain, builder.effective())) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert len(switch.rendered) == 0
    settings = builder.effective()
    step = worker.submit(lambda chain: chain.step(np.zeros(4800, np.float32), settings)).result(20)
    worker.close()
    assert np.abs(step.output).max() < 1e-3
