"""The whole program live, through a real sound server: fake microphone to fake speaker."""

import ctypes
import os
import subprocess
import threading
import time

import numpy as np
import pytest
import soundfile

from rtvc.audio.live import LiveEndpoint
from rtvc.audio.loopback import align
from rtvc.audio.monitor import Monitor
from rtvc.audio.resample import BlockResampler
from rtvc.audio.tee import TeeEndpoint
from rtvc.calibration.conditions import conditions
from rtvc.calibration.timing import Timing
from rtvc.config.calibration_yaml import save_calibration
from rtvc.errors import RtvcError, UsageError
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State
from tests.audio.signals import noise_below
from tests.engine.speech_measures import harmonic_pitch
from tests.support.patience import measured
from tests.support.simulated_stream import SimulatedSpeaker
from tests.support.sound_server import HEADPHONES_SINK, MICROPHONE_SINK, RATE, SPEAKER_SINK
from tests.support.speech import UTTERANCES
from tests.tui.listening import vowel


@pytest.fixture
def busy_interpreter():
    """A thread that computes in Python without pause, while the test runs."""
    stop = threading.Event()

    def compute():
        value = 1
        while not stop.is_set():
            for _ in range(1000):
                value = (value * 1103515245 + 12345) % 2147483648

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def utterance(path):
    samples, rate = soundfile.read(path, dtype="float32")
    return BlockResampler(rate, RATE).process(samples[: len(samples) // 160 * 160])


@measured
def test_dry_is_bit_exact_and_as_late_as_stated(sound_server, busy_interpreter):
    seconds = 6.0
    noise = noise_below(12_000, RATE, round((seconds + 3) * RATE))
    with (
        sound_server.speaking(noise),
        sound_server.recording(MICROPHONE_SINK, SPEAKER_SINK) as finish,
    ):
        with Session(LiveEndpoint(), Settings(mode="dry", gate=-90, latency="constant")) as session:
            time.sleep(seconds)
            stats = session.stats()
        said, heard = finish()
    begin = 2 * RATE
    follow = align(said.samples[begin : begin + round((seconds - 3) * RATE)], heard.samples)
    delay = heard.began - said.began + (follow.delay - begin) / RATE
    assert stats.state is State.DRY
    assert (stats.late_blocks, stats.device.underruns, stats.device.overflows) == (0, 0, 0)
    slips_allowed = 0 if sound_server.realtime else 2
    assert follow.slips() <= slips_allowed
    assert follow.exact >= len(follow.offsets) - slips_allowed
    assert delay == pytest.approx(stats.latency.total, abs=0.015)


@measured
def test_the_built_in_voice_is_in_time_next_to_a_busy_thread(sound_server, busy_interpreter):
    sound = np.concatenate([utterance(path) for path in UTTERANCES])[: 10 * RATE]
    low, high = 70.0, 400.0
    with (
        sound_server.speaking(sound),
        sound_server.recording(MICROPHONE_SINK, SPEAKER_SINK) as finish,
    ):
        with Session(LiveEndpoint(), Settings(pitch=7.0, latency="constant")) as session:
            time.sleep(8.0)
            stats = session.stats()
        said, heard = (recording.samples for recording in finish())
    assert stats.state is State.CONVERTED
    assert stats.blocks > 70
    # Each time that the other thread gets the interpreter, it keeps it for a switch interval.
    assert stats.late_blocks <= 2
    assert (stats.device.underruns, stats.device.overflows) == (0, 0)
    assert stats.step.p99 < 0.060
    before, after = harmonic_pitch(said, low, high), harmonic_pitch(heard, low * 1.5, high * 1.5)
    raised = np.median(after[after > 0]) / np.median(before[before > 0])
    assert 12 * np.log2(raised) == pytest.approx(7.0, abs=1.0)


def test_an_engine_thread_that_is_killed_starts_again(sound_server):
    with sound_server.speaking(vowel(8)), sound_server.recording(SPEAKER_SINK) as finish:
        with Session(LiveEndpoint(), Settings(pitch=7, latency="constant")) as session:
            time.sleep(2.0)
            thread = session._engine._thread
            assert thread is not None
            assert thread.ident is not None
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
            )
            killed = time.monotonic()
            time.sleep(2.0)
            stats = session.stats()
        heard = finish()[0]
    assert stats.state is State.CONVERTED
    assert stats.restarts == 1
    assert "SystemExit" in stats.last_cause
    again = round((killed + 1.0 - heard.began) * RATE)
    assert np.abs(heard.samples[again : again + RATE // 2]).max() > 0.05


def test_a_server_that_dies_and_returns_is_survived(sound_server):
    sound = np.tile(utterance(UTTERANCES[0]), 3)[: 6 * RATE]
    with Session(LiveEndpoint(), Settings(pitch=7, latency="constant")) as session:
        time.sleep(0.7)
        assert session.stats().state is State.CONVERTED
        sound_server.kill()
        deadline = time.monotonic() + 5
        while session.stats().state is not State.DEVICE_LOST and time.monotonic() < deadline:
            time.sleep(0.02)
        assert session.stats().state is State.DEVICE_LOST
        assert session.stats().reason
        sound_server.start()
        with sound_server.speaking(sound), sound_server.recording(SPEAKER_SINK) as finish:
            deadline = time.monotonic() + 15
            while session.stats().state is not State.CONVERTED and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(2.0)
            assert session.stats().state is State.CONVERTED
            assert np.abs(finish()[0].samples).max() > 0.05


def streams(server):
    """What plays and records at the server now."""
    return [
        line
        for kind in ("sink-inputs", "source-outputs")
        for line in subprocess.run(
            ["pactl", "list", "short", kind],
            env=os.environ | server.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    ]


def test_a_session_on_devices_by_name(sound_server):
    sound = np.tile(utterance(UTTERANCES[0]), 3)[: 6 * RATE]
    session = Session.live(
        input="fake_mic",
        output="speaker",
        monitor="fake_ears",
        settings=Settings(pitch=4, monitor_gain=-6, latency="constant"),
    )
    assert streams(sound_server) == [], "nothing is opened before the start"
    with sound_server.speaking(sound), sound_server.recording(HEADPHONES_SINK) as finish:
        with session:
            assert isinstance(session.endpoint, TeeEndpoint)
            assert session.endpoint.monitor is not None
            assert session.endpoint.monitor.gain_db == -6
            time.sleep(1.5)
            session.apply(pitch=-4, monitor_gain=0)
            assert session.endpoint.monitor.gain_db == 0
            time.sleep(1.0)
            deadline = time.monotonic() + 10
            while session.stats().state is not State.CONVERTED and time.monotonic() < deadline:
                time.sleep(0.02)
            stats = session.stats()
        heard = finish()[0]
    assert stats.state is State.CONVERTED
    assert stats.blocks > 15
    assert np.abs(heard.samples).max() > 0.05
    assert session.stats().state is State.STOPPED
    assert streams(sound_server) == []


def test_devices_and_profiles_that_do_not_exist_are_refused(sound_server):
    for words, message in (
        ({"input": "nobody"}, "nobody"),
        ({"output": "nobody"}, "nobody"),
        ({"monitor": "nobody"}, "nobody"),
        ({"output": "fake_speaker", "monitor": "fake_speaker"}, "already the output"),
        ({"profile": "best"}, "'best'. Choose 'quality', 'balanced' or 'fast'"),
        ({"settings": {"pitch": 4}}, "type dict"),
    ):
        with pytest.raises(UsageError, match=message):
            Session.live(**words)


def test_a_start_that_fails_leaves_no_device_open(sound_server):
    class Hoarse(Monitor):
        def start(self, progress):
            assert streams(sound_server), "the devices are open by now"
            raise RtvcError("The monitor is hoarse.")

    nobody = Session.live(settings=Settings(voice="nobody"))
    monitor = Hoarse("hoarse", SimulatedSpeaker)
    late = Session(TeeEndpoint(LiveEndpoint(), monitor), Settings())
    for session, message in ((nobody, "nobody"), (late, "hoarse")):
        with pytest.raises(RtvcError, match=message), session:
            pytest.fail("it started")
        assert streams(sound_server) == []
        assert session.wait(0)
        with pytest.raises(RtvcError, match="only once"):
            session.start()


def test_sizes_come_from_the_measurement_of_this_machine(sound_server, tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    timing = Timing(5.0, 0.05, 0.0, tail=1.1, longest=1.2, conditions=conditions())
    save_calibration({"world": timing})
    with Session.live(profile="fast") as session:
        fast = session.stats().latency
    with Session.live(settings=Settings(block=150, latency="constant"), profile="fast") as session:
        chosen = session.stats().latency
    assert fast.block < 0.1
    assert chosen.block == pytest.approx(0.15)
