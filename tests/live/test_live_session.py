"""The whole program live, through a real sound server: fake microphone to fake speaker."""

import ctypes
import threading
import time

import numpy as np
import pytest
import soundfile

from rtvc.audio.live import LiveEndpoint
from rtvc.audio.loopback import align
from rtvc.audio.resample import BlockResampler
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State
from tests.audio.signals import noise_below
from tests.engine.speech_measures import harmonic_pitch
from tests.support.patience import measured
from tests.support.sound_server import MICROPHONE_SINK, RATE, SPEAKER_SINK
from tests.support.speech import UTTERANCES


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
    seconds = 8.0
    noise = noise_below(12_000, RATE, round((seconds + 3) * RATE))
    with (
        sound_server.speaking(noise),
        sound_server.recording(MICROPHONE_SINK, SPEAKER_SINK) as finish,
    ):
        with Session(LiveEndpoint(), Settings(mode="dry", gate=-90)) as session:
            time.sleep(seconds)
            stats = session.stats()
        said, heard = finish()
    begin = 2 * RATE
    follow = align(said.samples[begin : begin + round((seconds - 3) * RATE)], heard.samples)
    delay = heard.began - said.began + (follow.delay - begin) / RATE
    assert stats.state is State.DRY
    assert (stats.late_blocks, stats.device.underflows, stats.device.overflows) == (0, 0, 0)
    slips_allowed = 0 if sound_server.realtime else 2
    assert follow.slips() <= slips_allowed
    assert follow.exact >= len(follow.offsets) - slips_allowed
    assert delay == pytest.approx(stats.latency.total, abs=0.015)


@measured
def test_the_built_in_voice_speaks_in_time_beside_a_busy_thread(sound_server, busy_interpreter):
    sound = np.concatenate([utterance(path) for path in UTTERANCES])[: 12 * RATE]
    low, high = 70.0, 400.0
    with (
        sound_server.speaking(sound),
        sound_server.recording(MICROPHONE_SINK, SPEAKER_SINK) as finish,
    ):
        with Session(LiveEndpoint(), Settings(pitch=7.0)) as session:
            time.sleep(10.0)
            stats = session.stats()
        said, heard = (recording.samples for recording in finish())
    assert stats.state is State.CONVERTED
    assert stats.blocks > 90
    assert (stats.late_blocks, stats.device.underflows, stats.device.overflows) == (0, 0, 0)
    assert stats.step.p99 < 0.040
    before, after = harmonic_pitch(said, low, high), harmonic_pitch(heard, low * 1.5, high * 1.5)
    raised = np.median(after[after > 0]) / np.median(before[before > 0])
    assert 12 * np.log2(raised) == pytest.approx(7.0, abs=1.0)


def test_killing_the_engine_is_heard_as_silence(sound_server):
    sound = np.tile(utterance(UTTERANCES[0]), 3)[: 8 * RATE]
    with sound_server.speaking(sound), sound_server.recording(SPEAKER_SINK) as finish:
        with Session(LiveEndpoint(), Settings()) as session:
            time.sleep(2.0)
            thread = session._engine._worker
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
            )
            thread.join(5)
            killed = time.monotonic()
            time.sleep(1.5)
            stats = session.stats()
        heard = finish()[0]
    assert stats.state is State.MUTED
    assert "SystemExit" in stats.reason
    silent = round((killed + 0.6 - heard.began) * RATE)
    assert np.abs(heard.samples[:silent]).max() > 0.05
    assert not heard.samples[silent : silent + RATE // 2].any()


def test_a_server_that_dies_and_returns_is_survived(sound_server):
    sound = np.tile(utterance(UTTERANCES[0]), 3)[: 6 * RATE]
    with Session(LiveEndpoint(), Settings()) as session:
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
