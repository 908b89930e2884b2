"""The whole engine on a simulated device: its output and its statistics."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtvc.audio.simulated import Fault, SimulatedDevice
from rtvc.engine.world.voice import WorldVoice
from rtvc.errors import RtvcError, UsageError
from rtvc.session import Session
from rtvc.setting import SettingError
from rtvc.settings import SETTINGS, Settings
from rtvc.stats import State
from tests.support.material import more
from tests.support.patience import measured
from tests.support.virtual_clock import PacedDevice, VirtualClock
from tests.support.voices import PlainVoice, SilentVoice, finder

pytestmark = pytest.mark.slow

RATE = 48_000
OPEN: dict[str, Any] = {"gate": -90.0}


def noise(seconds, seed=0, level=0.1):
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * level).astype("f4")


def sine(hz, seconds, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype("f4")


class Device(SimulatedDevice):
    """Calls `on_block` whenever the engine takes a block."""

    on_block = staticmethod(lambda n: None)
    blocks = 0

    def read(self, samples):
        self.on_block(self.blocks)
        self.blocks += 1
        return super().read(samples)


def run(source, settings, find=None, on_block=None, cost=None, **device):
    """Play `source` through a session to its end.

    `on_block(session, n)` is called at each block; the n-th render takes `cost(n)` seconds.
    """
    simulated = Device(source, **device)
    if cost is not None:
        find = finder(world=PlainVoice(on_render=lambda n: simulated.pass_time(cost(n))))
    session = Session(simulated, settings.replace(latency="constant"), find or finder())
    if on_block is not None:
        simulated.on_block = lambda n: on_block(session, n)
    with session:
        assert session.wait(60)
        stats = session.stats()
    return simulated.played, stats, session


def delay_of(played, source):
    """Samples by which `played` lags `source`, by cross-correlation of a stretch in the middle."""
    piece = source[len(source) // 3 : len(source) // 3 + 24_000]
    size = 1 << (len(played) + len(piece)).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(piece, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(played)])) - len(source) // 3


@pytest.mark.parametrize("block", more([20, 100, 500, 60, 200], keep=3))
def test_the_stated_latency_is_the_measured_one(block):
    source = noise(4)
    played, stats, _ = run(source, Settings(block=block, **OPEN))
    # `played` begins with the first sound that was queued; the device was idle before.
    silence_first = np.argmax(np.abs(played) > 0)
    delay = delay_of(played, source)
    assert stats.state is State.CONVERTED
    assert stats.late_blocks == 0
    assert stats.device.underruns == 0
    assert silence_first > 0
    assert delay / RATE == pytest.approx(stats.latency.total, abs=0.011)


@pytest.mark.parametrize("block", more([20, 100, 60, 500], keep=2))
def test_dry_passes_every_bit(block):
    source = noise(4)
    played, stats, _ = run(source, Settings(block=block, mode="dry"))
    delay = delay_of(played, source)
    np.testing.assert_array_equal(played[delay + 9600 : delay + 180_000], source[9600:180_000])
    assert stats.state is State.DRY


def thd_n_db(signal, hz):
    """Everything that is not the fundamental, against it: a least-squares sine is taken away."""
    time_ = np.arange(len(signal)) / RATE
    basis = np.stack([np.sin(2 * np.pi * hz * time_), np.cos(2 * np.pi * hz * time_)], axis=1)
    weights, *_ = np.linalg.lstsq(basis, signal.astype("f8"), rcond=None)
    rest = signal - basis @ weights
    return 10 * np.log10(np.mean(rest**2) / np.mean((basis @ weights) ** 2) + 1e-30)


@pytest.mark.parametrize("hz", more([55.0, 880.0, 110.0, 220.0], keep=2))
@pytest.mark.parametrize("block", more([20, 100, 60, 200, 500]))
@pytest.mark.parametrize(
    "voice",
    [
        PlainVoice(),
        PlainVoice(continuous=False),
        PlainVoice(continuous=False, input_rate=40_000, output_rate=40_000),
    ],
    ids=["continuous", "sola", "sola-40k"],
)
def test_a_sine_stays_a_sine(hz, block, voice):
    settings = Settings(block=block, pitch_floor=50, **OPEN)
    played, stats, _ = run(sine(hz, 3), settings, finder(world=voice))
    middle = played[RATE : RATE + 72_000]
    assert thd_n_db(middle, hz) < -80
    assert stats.late_blocks == 0


def test_muted_is_silent_and_converted_does_not_leak_the_microphone():
    played, stats, _ = run(noise(3), Settings(**OPEN), finder(world=SilentVoice()))
    assert stats.state is State.CONVERTED
    assert not played.any()
    played, stats, _ = run(noise(3), Settings(mode="muted", **OPEN))
    assert stats.state is State.MUTED
    assert not played.any()


def from_then_on(device, at_s, use, monkeypatch):
    """Call `use` whenever the time of a device has passed, from a time on."""
    advance = device._advance

    def advance_and_use(samples, **how):
        advance(samples, **how)
        if device.now() >= at_s:
            use()

    monkeypatch.setattr(device, "_advance", advance_and_use)


@pytest.mark.parametrize(
    "change", [{}, {"voice": "ready"}, {"voice": "other"}, {"block": 100.0}], ids=str
)
def test_a_mode_takes_effect_in_the_block_in_which_it_is_set_together_with_a_shape(
    change, monkeypatch
):
    device, at_s = Device(noise(4)), 3.19  # 10 ms before the end of a block
    voices = {name: PlainVoice(name) for name in ("world", "ready", "other")}
    settings = Settings(latency="constant", block=200.0, ready_memory=100.0, **OPEN)
    session = Session(device, settings, finder(**voices))
    session.keep_ready(["ready"])
    from_then_on(device, at_s, lambda: session.apply(mode="muted", **change), monkeypatch)
    with session:
        assert session.wait(60)
    began = device.now() - len(device.played) / RATE
    last = began + np.flatnonzero(np.abs(device.played) > 1e-4)[-1] / RATE
    assert last < at_s + 0.010 + settings.headroom / 1000 + 0.030


def test_every_mode_change_is_a_ramp():
    modes = ["converted", "dry", "muted", "dry", "converted", "muted", "converted"]

    def change(session, n):
        session.apply(session.settings.replace(mode=modes[n // 5 % len(modes)]))

    dc_free = sine(50, 6)
    played, stats, _ = run(dc_free, Settings(**OPEN), on_block=change)
    step = 0.5 * (2 * np.pi * 50 / RATE) ** 2
    assert np.abs(np.diff(played[RATE // 2 : 6 * RATE], 2)).max() < 8 * step
    assert stats.late_blocks == 0


def test_value_settings_change_without_a_step():
    def change(session, n):
        loud = n % 4 < 2
        session.apply(
            session.settings.replace(
                output_gain=6.0 if loud else -12.0, input_gain=-6.0 if loud else 3.0
            )
        )

    played, _, _ = run(sine(100, 5, 0.2), Settings(**OPEN), on_block=change)
    assert np.abs(np.diff(played[RATE // 2 : 4 * RATE], 2)).max() < 5e-4


def test_silence_rests_the_voice_and_speech_wakes_it_whole():
    voice = PlainVoice()
    source = np.concatenate([noise(1), np.zeros(3 * RATE, np.float32), noise(2, seed=1)])
    settings = Settings(gate=-50, context=500)
    played, _, _ = run(source, settings, finder(world=voice), on_block=None)
    stream = voice.streams[0]
    assert stream.skipped > 1.5 * RATE
    delay = delay_of(played, source[:RATE])
    # From the first sample of the new sound on, and still in time.
    woken = played[delay + 4 * RATE : delay + 5 * RATE]
    reference = source[4 * RATE : 5 * RATE]
    assert np.corrcoef(woken, reference)[0, 1] > 0.99
    assert np.corrcoef(woken[:240], reference[:240])[0, 1] > 0.9
    assert not played[delay + int(1.5 * RATE) : delay + int(3.9 * RATE)].any()


class TestFaults:
    def test_a_stall_is_concealed_and_the_latency_comes_back(self):
        source = noise(8)
        played, stats, _ = run(source, Settings(**OPEN), faults=[Fault(3.0, "stall", 1.0)])
        assert stats.late_blocks >= 1
        assert stats.state is State.CONVERTED
        assert stats.device.underruns == 0
        before = delay_of(played[: 3 * RATE], source[: int(2.5 * RATE)])
        late = source[int(5.5 * RATE) : 7 * RATE]
        assert delay_of(played[int(5.5 * RATE) :], late) == pytest.approx(before, abs=480)

    def test_the_reverberation_from_before_a_long_stall_is_not_output_after_it(self):
        source = np.concatenate([noise(2), np.zeros(4 * RATE, np.float32)])
        settings = Settings(reverb=1.0, reverb_size=1.0, **OPEN)
        played, stats, _ = run(source, settings, cost=lambda n: 1.8 if n == 20 else 0.0)
        assert stats.dropped_s > 1.5
        last = np.flatnonzero(np.abs(played) > 1e-4)[-1]
        assert last < 2.5 * RATE

    @pytest.mark.thorough
    def test_during_a_long_stall_the_state_is_muted(self):
        seen = []

        class Watched(SimulatedDevice):
            def start(self, tick, delay):
                def watched():
                    tick()
                    seen.append(session.stats().state)

                super().start(watched, delay)

        device = Watched(noise(6), faults=[Fault(2.0, "stall", 1.0)])
        session = Session(device, Settings(latency="constant", **OPEN), finder())
        with session:
            session.wait(30)
        assert State.MUTED in seen[800:]
        assert State.DRY not in seen
        assert seen[-1] is State.CONVERTED

    @pytest.mark.parametrize("cost", [0.05, 0.095])
    def test_steps_that_are_always_slow_never_starve_the_device(self, cost):
        played, stats, _ = run(noise(5), Settings(**OPEN), cost=lambda n: cost)
        assert stats.device.underruns == 0
        assert stats.device.overflows == 0
        assert np.isfinite(played).all()

    def test_an_engine_slower_than_time_keeps_its_latency_bounded(self):
        source = noise(8)
        played, stats, _ = run(source, Settings(**OPEN), cost=lambda n: 0.13)
        assert stats.device.underruns == 0
        assert stats.late_blocks > 10
        assert stats.device.input_fill < 0.5
        assert stats.device.output_fill < 0.5
        assert len(played) / RATE < 9.5

    def test_lost_input_is_survived(self):
        source = noise(8)
        played, stats, _ = run(source, Settings(**OPEN), faults=[Fault(3.0, "gap", 0.3)])
        assert stats.device.underruns == 0
        late = source[int(6 * RATE) : 7 * RATE]
        early = delay_of(played[: 3 * RATE], source[: int(2.5 * RATE)])
        assert delay_of(played[6 * RATE :], late) == pytest.approx(early, abs=480)

    def test_two_clocks_never_starve_the_device(self):
        _, stats, _ = run(noise(30), Settings(**OPEN), drift_ppm=500.0)
        assert stats.device.underruns == 0
        assert stats.device.output_fill < 0.4

    def test_a_lost_device_is_stated_and_comes_back(self):
        seen = []
        source = noise(8)
        played, stats, session = run(
            source,
            Settings(**OPEN),
            on_block=lambda s, n: seen.append(s.stats().state),
            faults=[Fault(3.0, "lost", 0.7)],
        )
        assert stats.state is State.CONVERTED
        assert session.stats().state is State.STOPPED
        late = source[6 * RATE : 7 * RATE]
        assert np.abs(played[-RATE:]).max() > 0.1
        assert delay_of(played[-int(2.5 * RATE) :], late) > 0

    @pytest.mark.parametrize("mode", ["converted", "dry"])
    def test_what_came_before_a_lost_device_is_not_output_after_it(self, mode):
        source = np.concatenate([noise(3), np.zeros(4 * RATE, np.float32)])
        played, stats, _ = run(
            source,
            Settings(mode=mode, **OPEN),
            find=finder(world=PlainVoice()),
            faults=[Fault(2.95, "lost", 0.7)],
        )
        assert stats.restart_causes == {"device lost": 1}
        # What was queued fades while the device is away.
        last = np.flatnonzero(np.abs(played) > 1e-4)[-1]
        assert last < 3.1 * RATE

    @pytest.mark.parametrize(
        "effects", [{"reverb": 1.0, "reverb_size": 1.0}, {"low_cut": 10.0, "eq_low": 18.0}]
    )
    def test_effects_output_nothing_of_what_came_before_a_lost_device(self, effects):
        source = np.concatenate([noise(3), np.zeros(4 * RATE, np.float32)])
        played, _, _ = run(
            source,
            Settings(**OPEN, **effects),
            find=finder(world=PlainVoice()),
            faults=[Fault(2.95, "lost", 0.7)],
        )
        assert np.flatnonzero(np.abs(played) > 1e-4)[-1] < 3.1 * RATE

    @pytest.mark.parametrize(
        ("name", "value"), [("voice", "ready"), ("voice", "other"), ("block", 60.0)]
    )
    @pytest.mark.parametrize("at_s", [2.92, 3.3])
    def test_a_chain_that_takes_over_outputs_nothing_from_before_a_lost_device(
        self, name, value, at_s, monkeypatch
    ):
        source = np.concatenate([noise(3), np.zeros(4 * RATE, np.float32)])
        device = Device(source, faults=[Fault(2.95, "lost", 0.7)])
        voices = {name: PlainVoice(name) for name in ("world", "ready", "other")}
        settings = Settings(latency="constant", ready_memory=100.0, **OPEN)
        session = Session(device, settings, finder(**voices))
        session.keep_ready(["ready"])
        from_then_on(device, at_s, lambda: session.apply(**{name: value}), monkeypatch)
        with session:
            assert session.wait(60)
            assert session.stats().in_use[name] == value
        assert np.flatnonzero(np.abs(device.played) > 1e-4)[-1] < 3.1 * RATE

    @pytest.mark.parametrize(
        "bad",
        [
            np.full(RATE, np.nan, "f4"),
            np.full(RATE, np.inf, "f4"),
            np.full(RATE, 1e30, "f4"),
            np.ones(RATE, "f4"),
            np.zeros(RATE, "f4"),
            np.sign(noise(1)),
            noise(1, level=3.0),
            np.clip(sine(300, 1, 20.0), -1, 1),
        ],
        ids=["nan", "inf", "huge", "dc", "silence", "full-scale", "loud", "clipped"],
    )
    @pytest.mark.parametrize("mode", more(["converted", "dry"]))
    def test_whatever_comes_in_sound_goes_out(self, bad, mode):
        source = np.concatenate([noise(1), bad, noise(1)])
        played, stats, _ = run(source, Settings(mode=mode, **OPEN))
        assert np.isfinite(played).all()
        assert np.abs(played).max() <= 10 ** (-1 / 20) + 1e-6
        assert stats.state is State(mode)
        assert stats.failed_steps == 0
        assert (stats.repaired_blocks > 0) == (not np.isfinite(bad).all())
        # The sound after it is unharmed.
        assert delay_of(played[2 * RATE :], source[2 * RATE :]) > 0

    def test_a_voice_that_always_fails_is_muted_with_the_reason(self):
        def fail(n):
            raise RuntimeError("out of memory")

        played, stats, _ = run(noise(3), Settings(**OPEN), finder(world=PlainVoice(on_render=fail)))
        assert stats.state is State.MUTED
        assert "out of memory" in stats.reason
        assert not played.any()

    def test_a_voice_that_gives_back_rubbish_does_no_harm(self):
        class Rubbish(PlainVoice):
            def open(self, plan, settings):
                stream = super().open(plan, settings)
                render = stream.render
                setattr(  # noqa: B010
                    stream,
                    "render",
                    lambda b, s: type(r := render(b, s))(np.full_like(r.audio, np.nan)),
                )
                return stream

        played, stats, _ = run(noise(3), Settings(**OPEN), finder(world=Rubbish()))
        assert np.isfinite(played).all()
        assert stats.state is State.MUTED


class TestShapeChanges:
    @pytest.mark.parametrize(
        "change",
        more(
            [
                {"block": 60.0},
                {"block": 500.0},
                {"headroom": 150.0},
                {"lookahead": 50.0},
                {"voice": "other"},
                {"block": 200.0},
                {"headroom": 30.0},
            ],
            keep=3,
        ),
        ids=str,
    )
    def test_a_new_chain_takes_over_without_a_gap_or_a_click(self, change):
        voices = finder(other=PlainVoice(lookahead=7))
        hz = 200.0

        def apply(session, n):
            if n == 20:
                session.apply(session.settings.replace(**change))

        played, stats, _ = run(sine(hz, 7), Settings(**OPEN), voices, on_block=apply)
        assert stats.late_blocks == 0
        assert stats.device.underruns == 0
        sounding = played[RATE // 2 : -RATE]
        assert np.abs(np.diff(sounding, 2)).max() < 4 * 0.5 * (2 * np.pi * hz / RATE) ** 2
        assert (
            np.abs(sounding)
            .reshape(-1, 1)[: len(sounding) // 480 * 480]
            .reshape(-1, 480)
            .max(axis=1)
            .min()
            > 0.05
            or change.get("block") == 500.0
        )

    @pytest.mark.thorough
    def test_the_automatic_pitch_is_kept(self):
        seen = []

        def apply(session, n):
            if n == 40:
                session.apply(session.settings.replace(block=200.0))
            stats = session.stats()
            seen.append((stats.in_use.get("block"), stats.auto_pitch))

        source = sum(sine(120 * k, 6, 0.2 / k) for k in range(1, 10))
        settings = Settings(auto_pitch="on", auto_pitch_target=150.0, **OPEN)
        run(source, settings, finder(world=WorldVoice()), on_block=apply)
        assert seen[10][1] is None
        after = [semitones for block, semitones in seen if block == 200.0]
        assert after
        assert after == pytest.approx([12 * np.log2(150 / 120)] * len(after), abs=0.2)

    @pytest.mark.parametrize(
        "change", more([{"block": 20.0}, {"block": 200.0}, {"lookahead": 40.0}]), ids=str
    )
    def test_the_stated_latency_stays_true(self, change):
        source = noise(10)

        def apply(session, n):
            if n == 20:
                session.apply(session.settings.replace(**change))

        played, stats, _ = run(source, Settings(**OPEN), on_block=apply)
        late = slice(6 * RATE, 8 * RATE)
        assert delay_of(played[6 * RATE :], source[late]) / RATE == pytest.approx(
            stats.latency.total, abs=0.012
        )

    def test_a_voice_that_does_not_exist_leaves_the_old_one_playing(self):
        def apply(session, n):
            if n == 10:
                session.apply(session.settings.replace(voice="nobody"))

        voice = PlainVoice(features=frozenset({"speakers", "f0"}), speakers=3)
        find = finder(world=voice)
        played, stats, _ = run(noise(4), Settings(**OPEN), find, on_block=apply)
        assert stats.state is State.CONVERTED
        assert "nobody" in stats.reason
        assert np.abs(played[-RATE:]).max() > 0.1
        assert stats.in_use["voice"] == stats.voice == "world"
        assert set(stats.in_use) == {name for name, s in SETTINGS.items() if s.shape}
        assert (stats.features, stats.speakers) == (("f0", "speakers"), 3)

    @pytest.mark.parametrize("other", ["nobody", "world"])
    def test_a_voice_that_was_not_there_can_be_chosen_again(self, other):
        there: dict[str, PlainVoice] = {}

        def find(name):
            return finder(**there)(name)

        def apply(session, n):
            if n == 10:
                session.apply(session.settings.replace(voice="nobody"))
            if n == 15:
                assert "nobody" in session.stats().reason
                there["nobody"] = PlainVoice(lookahead=7)
                session.apply(session.settings.replace(voice=other))
            if n == 20:
                session.apply(session.settings.replace(voice="nobody"))

        _, stats, _ = run(noise(4), Settings(**OPEN), find, on_block=apply)
        assert stats.latency.lookahead == pytest.approx(0.07)
        assert stats.reason == ""

    @measured
    def test_the_old_voice_plays_until_a_slow_one_is_ready(self):
        class Slow(PlainVoice):
            def open(self, plan, settings):
                time.sleep(0.7)
                return super().open(plan, settings)

        device = SimulatedDevice(sine(200, 30), wall_clock=True)
        session = Session(device, Settings(**OPEN), finder(slow=Slow(lookahead=6)))
        with session:
            time.sleep(0.5)
            before = session.stats().latency.lookahead
            session.apply(session.settings.replace(voice="slow"))
            time.sleep(0.4)
            assert session.stats().latency.lookahead == before
            deadline = time.monotonic() + 5
            while session.stats().latency.lookahead == before and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.3)
            stats = session.stats()
        assert stats.latency.lookahead == pytest.approx(0.06)
        assert stats.late_blocks == 0
        assert stats.device.underruns == 0

    @pytest.mark.thorough
    def test_many_changes_end_with_the_last(self):
        def apply(session, n):
            session.apply(session.settings.replace(block=float(20 + 10 * (n % 9))))
            if n == 60:
                session.apply(session.settings.replace(block=70.0))
            if n > 60:
                session.apply(session.settings.replace(block=70.0))

        _, stats, _ = run(noise(12), Settings(**OPEN), on_block=apply)
        assert stats.latency.block == pytest.approx(0.07)


def test_starting_with_an_unknown_voice_is_an_error_at_once():
    session = Session(SimulatedDevice(noise(1)), Settings(voice="nobody"), finder())
    with pytest.raises(UsageError, match="nobody"):
        session.start()
    session.stop()


def test_a_device_that_cannot_be_opened_is_an_error_at_once():
    class Busy(SimulatedDevice):
        def start(self, tick, delay):
            raise RtvcError("The device is busy.")

    session = Session(Busy(noise(1)), Settings(), finder())
    with pytest.raises(RtvcError, match="busy"):
        session.start()
    session.stop()


def test_stopping_fades_out():
    clock = VirtualClock()
    device = PacedDevice(sine(100, 30), clock)
    session = Session(device, Settings(latency="constant", **OPEN), finder())
    session.start()
    clock.pass_time(0.8)
    with clock.passing():
        session.stop()
        session.stop()
    played = device.played
    assert np.abs(played[:-9600]).max() > 0.4
    assert not played[-240:].any()
    assert np.abs(np.diff(played[24_000:], 2)).max() < 8 * 0.5 * (2 * np.pi * 100 / RATE) ** 2
    assert session.stats().state is State.STOPPED


@pytest.mark.parametrize("while_", ["the voice loads", "the devices open"])
def test_a_session_that_is_stopped_while_it_starts_does_not_run(while_):
    """As by the window of a program that is closed, while another thread starts the session."""
    began, go_on = threading.Event(), threading.Event()
    voices, opened, errors = finder(), [], []

    def pause(what):
        if what == while_:
            began.set()
            assert go_on.wait(20)

    def find(name):
        pause("the voice loads")
        return voices(name)

    class Opening(SimulatedDevice):
        def start(self, tick, delay):
            opened.append(True)
            pause("the devices open")
            super().start(tick, delay)

        def stop(self):
            opened.clear()
            super().stop()

    session = Session(Opening(noise(60), wall_clock=True), Settings(**OPEN), find)

    def start():
        try:
            session.start()
        except RtvcError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    try:
        assert began.wait(20)
        session.stop()
    finally:
        go_on.set()
        thread.join(20)
    running, state = session._engine.running, session.stats().state
    session.stop()
    assert errors == ["The session was stopped while it started."]
    assert not running
    assert not opened
    assert state is State.STOPPED


def test_a_session_starts_only_once():
    device = SimulatedDevice(noise(1), wall_clock=True)
    session = Session(device, Settings(latency="constant", **OPEN), finder())
    session.start()
    for _ in range(2):
        with pytest.raises(RtvcError, match=r"^A session starts only once\. Make another one\.$"):
            session.start()
        session.stop()
    failed = Session(SimulatedDevice(noise(1)), Settings(voice="nobody"), finder())
    with pytest.raises(UsageError, match="nobody"):
        failed.start()
    with pytest.raises(RtvcError, match="only once"):
        failed.start()


FORGOTTEN = """
import gc, sys, numpy as np
from rtvc.audio.simulated import SimulatedDevice
from rtvc.session import Session

def begin():
    Session(SimulatedDevice(np.zeros(48_000 * 600, np.float32), wall_clock=True)).start()

begin()
print(gc.isenabled())
"""


def test_a_session_that_is_not_stopped_runs_until_the_program_ends():
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=100, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode, done.stderr) == ("False\n", 0, "")


def test_settings_are_applied_as_an_object_or_one_by_one():
    session = Session(SimulatedDevice(noise(1)), Settings(pitch=4), finder())
    session.apply(formant=2)
    assert session.settings == Settings(pitch=4, formant=2)
    session.apply(Settings(pitch=-1))
    assert session.settings == Settings(pitch=-1)
    session.apply(Settings(pitch=-1), formant=3)
    assert session.settings == Settings(pitch=-1, formant=3)
    with pytest.raises(SettingError, match="'pitch' is given twice"):
        session.apply(Settings(pitch=-1), pitch=3)
    with pytest.raises(SettingError, match="pich"):
        session.apply(pich=3)
    assert session.settings == Settings(pitch=-1, formant=3)
    with pytest.raises(UsageError, match="type dict"):
        Session(SimulatedDevice(noise(1)), {"pitch": 4})  # type: ignore[arg-type]


def test_changes_from_two_threads_at_once_are_both_kept():
    session = Session(SimulatedDevice(noise(1)), None, finder())
    begun, released = threading.Event(), threading.Event()

    class Slow(float):
        def __float__(self) -> float:
            begun.set()
            released.wait(10)
            return super().__float__()

    first = threading.Thread(target=session.apply, kwargs={"pitch": Slow(4)})
    second = threading.Thread(target=session.apply, kwargs={"mode": "muted"})
    first.start()
    begun.wait(10)
    second.start()
    second.join(0.2)
    released.set()
    for thread in (first, second):
        thread.join()
    assert session.settings == Settings(pitch=4, mode="muted")


def test_what_is_wrong_with_the_devices_follows_the_reason_of_the_engine():
    session = Session(SimulatedDevice(noise(1)), None, finder(), hint=lambda: "It is muted.")
    with session:
        assert session.stats().reason == "It is muted."

    def missing(name):
        raise UsageError("It has gone.")

    session = Session(
        SimulatedDevice(noise(1)), None, missing, hint=lambda: "It is muted.", wait_for_voice=True
    )
    with session:
        reason = session.stats().reason
    assert reason.startswith("No voice: It has gone.")
    assert reason.endswith(" It is muted.")


def test_a_session_says_what_it_is_and_refuses_voices_that_are_no_names():
    session = Session(SimulatedDevice(noise(1)), Settings(pitch=4), finder())
    assert repr(session) == "<Session, voice 'world', starting>"
    for wrong in ("world", 3, [3], None):
        with pytest.raises(UsageError, match=r"^The voices are .* Give a list of names"):
            session.keep_ready(wrong)  # type: ignore[arg-type]
    session.keep_ready(name for name in ("world",))
    with session:
        session.stop()
    assert repr(session) == "<Session, voice 'world', stopped>"
