"""Echo cancellation: its delay, its effect, its reference, and that it is not there while off."""

import subprocess
import sys

import numpy as np
import pytest

from rtvc.audio.drift import ClockTrim
from rtvc.audio.echo_canceller import ECHO_DELAY, make_canceller
from rtvc.audio.echo_endpoint import MARGIN_S, EchoEndpoint, find_echo
from rtvc.audio.endpoint import DeviceLostError
from rtvc.audio.live import LiveEndpoint
from rtvc.audio.resample import EdgeResampler
from rtvc.audio.simulated import SimulatedDevice
from rtvc.audio.tee import TeeEndpoint
from rtvc.cli import doctor, main
from rtvc.config.measured_latency import MeasuredLatency, save_latency
from rtvc.config.remembered import RememberedRun, save_remembered
from rtvc.device_choice import DeviceIdentity
from rtvc.engine.voice import Rendered
from rtvc.errors import MissingPackageError
from rtvc.live.device_session import DeviceSession
from rtvc.live.devices import DeviceNames, OpenDevices
from rtvc.session import Session
from rtvc.settings import Settings
from tests.engine.speech_measures import RATE, speech
from tests.engine.test_session import Device
from tests.support.echo_room import EchoRoom, impulse_response
from tests.support.patience import measured
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK
from tests.support.voices import PlainStream, PlainVoice, finder

FRAME = RATE // 100
MARGIN = round(MARGIN_S * RATE)
NAME = "652-129742-0000"
NOTHING, SILENCE = np.zeros(0, np.float32), np.zeros(8 * RATE, np.float32)
DIRECT = np.ones(1, np.float32)
TALK = 0.3 * speech(NAME)


def power_db(sound):
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-20)


def hiss(samples, level=1e-4, seed=1):
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture
def canceller():
    pytest.importorskip("livekit")
    return make_canceller("cancel")


class Recorder:
    """In place of a canceller: keeps what it gets."""

    def __init__(self):
        self.given = []

    def process(self, microphone, played):
        self.given.append((microphone, played))
        return np.zeros_like(microphone)

    @property
    def signals(self):
        return tuple(map(np.concatenate, zip(*self.given, strict=True)))


def recorder_in_use(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr("rtvc.audio.echo_endpoint.make_canceller", lambda echo: recorder)
    return recorder


def carry(endpoint, output):
    """Play `output` in blocks, and read as much input."""
    for at in range(0, len(output), 10 * FRAME):
        assert endpoint.wait(10 * FRAME, 1.0) >= 10 * FRAME
        endpoint.read(10 * FRAME)
        endpoint.write(output[at : at + 10 * FRAME])


def test_the_stated_delay_is_the_measured_one_to_the_sample(canceller):
    sound = speech(NAME, 1.0) + hiss(RATE)
    output = canceller.process(sound, np.zeros_like(sound))
    size = 2 * len(sound)
    spectrum = np.fft.rfft(output, size) * np.conj(np.fft.rfft(sound, size))
    assert int(np.argmax(np.fft.irfft(spectrum, size)[:RATE])) == ECHO_DELAY == FRAME


def test_an_echo_falls_by_15_db_whatever_the_blocks(canceller):
    played = TALK[: 4 * RATE]
    echo = np.convolve(played, impulse_response())[: len(played)].astype(np.float32)
    near = np.pad(echo, (MARGIN, 0))[: len(echo)] + hiss(len(echo))
    whole = canceller.process(near, played)
    assert power_db(near[2 * RATE :]) - power_db(whole[2 * RATE :]) > 15
    again = make_canceller("cancel")
    for at in range(0, RATE, 960):
        part = again.process(near[at : at + 960], played[at : at + 960])
        np.testing.assert_array_equal(part, whole[at : at + 960])


@pytest.mark.parametrize("measured_s", [None, 0.080])
def test_the_reference_comes_20_ms_before_the_echo(monkeypatch, measured_s):
    recorder, lag = recorder_in_use(monkeypatch), 3840
    room = EchoRoom(SILENCE, lag, DIRECT, lag if measured_s is None else 99)
    endpoint = EchoEndpoint(room)
    endpoint.measured_s = measured_s
    endpoint.start(lambda: None, 0)
    endpoint.use("cancel")
    output = hiss(2 * RATE, 0.1)
    endpoint.write(output[:7200])  # it is queued
    carry(endpoint, output[7200:])
    microphone, played = recorder.signals
    assert np.array_equal(played[RATE : -2 * MARGIN], microphone[RATE + MARGIN : -MARGIN])


def test_it_follows_input_that_is_lost_and_output_that_is_missing(monkeypatch):
    recorder, lag = recorder_in_use(monkeypatch), 3840
    room = EchoRoom(SILENCE, lag, DIRECT)
    endpoint = EchoEndpoint(room)
    endpoint.start(lambda: None, 0)
    endpoint.use("cancel")
    output = hiss(4 * RATE, 0.1)
    tail = hiss(RATE, 0.1, seed=2)
    endpoint.write(output[:7200])
    carry(endpoint, output[7200:RATE])
    # Output is missing for 0.1 s beyond what is queued, and the tail is played.
    endpoint.write(NOTHING, tail)
    room.pass_time(0.25)
    assert endpoint.take_missed() > 2 * FRAME
    endpoint.write(output[RATE : RATE + 9600])
    carry(endpoint, output[RATE + 9600 : 2 * RATE])
    room.pass_time(0.05)
    room._input = room._input[5 * FRAME :]  # lost
    carry(endpoint, output[2 * RATE :])
    microphone, played = recorder.signals
    for at in (RATE, len(played) - RATE):
        assert np.array_equal(
            played[at : at + RATE // 2], microphone[at + MARGIN : at + MARGIN + RATE // 2]
        )


def test_what_is_played_after_a_loss_of_the_device_is_found_again(monkeypatch):
    recorder = recorder_in_use(monkeypatch)
    room = EchoRoom(SILENCE, 3840, DIRECT)
    endpoint = EchoEndpoint(room)
    endpoint.start(lambda: None, 0)
    endpoint.use("cancel")
    output = hiss(2 * RATE, 0.1)
    carry(endpoint, output[:RATE])
    assert endpoint.reconnect()
    endpoint.write(output[RATE : RATE + 4800])
    carry(endpoint, output[RATE + 4800 :])
    microphone, played = recorder.signals
    assert np.array_equal(played[-2 * MARGIN : -MARGIN], microphone[-MARGIN:])


def test_no_input_from_before_a_loss_of_the_device_is_output_after_it():
    pytest.importorskip("livekit")
    sound = np.pad(hiss(RATE, 0.1), (0, RATE))
    device = SimulatedDevice(sound)
    endpoint = EchoEndpoint(device)
    endpoint.start(lambda: None, 0)
    endpoint.use("cancel")
    for _ in range(10):
        endpoint.wait(10 * FRAME, 1.0)
        block = endpoint.read(10 * FRAME)
    assert np.abs(block).max() > 0.1
    device.pass_time(0.1)
    device.read(10 * FRAME)  # what the other streams bring is silence
    assert endpoint.reconnect()
    endpoint.wait(10 * FRAME, 1.0)
    assert np.abs(endpoint.read(10 * FRAME)).max() < 1e-3


def test_a_canceller_that_fails_after_a_loss_of_the_device_is_left_out(monkeypatch):
    recorder = recorder_in_use(monkeypatch)
    sound = hiss(RATE, 0.1)
    endpoint = EchoEndpoint(SimulatedDevice(sound))
    endpoint.start(lambda: None, 0)
    endpoint.use("cancel")
    endpoint.wait(FRAME, 1.0)
    endpoint.read(FRAME)
    recorder.process = lambda microphone, played: 1 / 0
    assert endpoint.reconnect()
    assert "unexpected ZeroDivisionError" in endpoint.problem
    assert endpoint.delay_s == 0
    endpoint.wait(FRAME, 1.0)
    assert endpoint.read(FRAME).any()


def test_a_canceller_that_fails_is_left_out_and_loaded_again(monkeypatch):
    recorder = recorder_in_use(monkeypatch)
    sound = hiss(RATE, 0.1)
    endpoint = EchoEndpoint(SimulatedDevice(sound))
    endpoint.start(lambda: None, 0)
    endpoint.use("cancel")
    recorder.process = lambda microphone, played: 1 / 0
    endpoint.wait(FRAME, 1.0)
    np.testing.assert_array_equal(endpoint.read(FRAME), sound[:FRAME])
    assert "unexpected ZeroDivisionError" in endpoint.problem
    assert endpoint.delay_s == 0
    endpoint.use("off")
    assert endpoint.problem == ""
    del recorder.process
    endpoint.use("cancel")
    endpoint.wait(FRAME, 1.0)
    endpoint.read(FRAME)
    assert endpoint.delay_s > 0
    assert recorder.given


def test_off_is_exact_and_imports_nothing():
    program = (
        "import sys, numpy as np\n"
        "from rtvc.audio.echo_endpoint import EchoEndpoint\n"
        "from rtvc.audio.simulated import SimulatedDevice\n"
        "sound = np.random.default_rng(0).standard_normal(9600).astype(np.float32)\n"
        "endpoint = EchoEndpoint(SimulatedDevice(sound))\n"
        "endpoint.start(lambda: None, 0)\n"
        "endpoint.use('off')\n"
        "endpoint.wait(9600, 1.0)\n"
        "assert np.array_equal(endpoint.read(9600), sound) and not endpoint.delay_s\n"
        "print(sorted({'livekit', 'google.protobuf', 'rtvc.audio.webrtc_echo'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_it_is_switched_without_a_click(canceller):
    time = np.arange(4 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(140 * 2 ** (np.sin(2 * np.pi * 3 * time) / 12)) / RATE
    vowel = np.sum([np.sin(n * phase) / n for n in range(1, 12)], axis=0)
    source = (0.1 * vowel).astype(np.float32)
    endpoint = EchoEndpoint(SimulatedDevice(source))
    endpoint.start(lambda: None, 0)
    heard = []
    for number in range(38):
        if number in (8, 20, 21, 22):
            endpoint.use("cancel" if number in (8, 21) else "off")
        endpoint.wait(10 * FRAME, 1.0)
        heard.append(endpoint.read(10 * FRAME))
        assert bool(endpoint.delay_s) == (8 <= number < 20 or number == 21)
        endpoint.write(np.zeros(10 * FRAME, np.float32))
    joined = np.concatenate(heard)
    np.testing.assert_array_equal(joined[: 8 * 4800], source[: 8 * 4800])
    np.testing.assert_array_equal(joined[24 * 4800 :], source[24 * 4800 : len(joined)])
    assert np.abs(np.diff(joined, 2)).max() < 1.5 * np.abs(np.diff(source, 2)).max()


class TalkingStream(PlainStream):
    def render(self, block, settings):
        rendered = super().render(block, settings)
        at = len(rendered.audio) * self.renders + np.arange(len(rendered.audio))
        return Rendered(TALK[at % len(TALK)], 100.0, 100.0)


class TalkingVoice(PlainVoice):
    """A voice that talks by itself."""

    def open(self, plan, settings):
        return TalkingStream(self, plan, self.input_rate)


def echo_db(settings):
    """The level of the input relative to the output in a room where you are silent."""
    device = EchoRoom(hiss(5 * RATE), 2880, 0.5 * impulse_response(0.02))
    endpoint = TeeEndpoint(EchoEndpoint(device))
    session = Session(endpoint, settings, finder(world=TalkingVoice()))
    with session:
        assert session.wait(60)
        stats = session.stats()
    assert session.stats().latency == stats.latency
    taken, played = endpoint.delay_monitor._input, endpoint.delay_monitor._output
    levels = [power_db(one.read(3 * RATE, 2 * RATE)) for one in (taken, played)]
    return levels[0] - levels[1], stats


def test_a_session_cancels_its_own_output_and_states_the_delay():
    pytest.importorskip("livekit")
    settings = Settings(gate=-90.0, latency="constant")
    before, stats = echo_db(settings)
    after, later = echo_db(settings.replace(echo="cancel"))
    assert before - after > 15
    assert stats.latency.echo == 0
    assert later.latency.echo == ECHO_DELAY / RATE
    assert later.latency.total - stats.latency.total == pytest.approx(ECHO_DELAY / RATE)
    assert later.late_blocks == 0


def test_the_latency_by_the_sound_contains_the_cancellation():
    echo = EchoEndpoint(SimulatedDevice(NOTHING))
    session = Session(TeeEndpoint(echo), Settings(), finder())
    assert session.stats().estimated_latency is None
    watch = session._watch
    assert watch is not None
    watch._stated = 0.2
    watch._deviations.append(0.001)
    assert session.stats().estimated_latency == pytest.approx(0.201)
    echo.delay_s = ECHO_DELAY / RATE
    assert session.stats().estimated_latency == pytest.approx(0.201 + ECHO_DELAY / RATE)


def test_a_missing_package_is_a_sentence_with_the_command(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "livekit", None)
    with pytest.raises(MissingPackageError, match=r"'pip install livekit', or choose"):
        make_canceller("cancel")
    assert main.main(["run", "--no-tui", "--echo", "cancel", "--seconds", "1"]) == 1
    told = capfd.readouterr().err
    assert "Echo cancellation needs the package livekit" in told
    assert "Traceback" not in told


def test_a_live_run_without_the_package_keeps_the_sound_it_has(monkeypatch):
    monkeypatch.setitem(sys.modules, "livekit", None)
    device = Device(speech(NAME, 1.5))
    session = Session(
        TeeEndpoint(EchoEndpoint(device)), Settings(gate=-90.0, latency="constant"), finder()
    )

    def change(number):
        if number == 3:
            session.apply(echo="cancel")

    device.on_block = change
    with session:
        assert session.wait(60)
        stats = session.stats()
    assert "pip install livekit" in stats.reason
    assert stats.latency.echo == 0
    assert stats.late_blocks == 0
    with pytest.raises(MissingPackageError):
        Session(EchoEndpoint(SimulatedDevice(NOTHING)), Settings(echo="cancel"), finder()).start()


def test_the_doctor_says_which_package_the_next_run_lacks(monkeypatch, tmp_path):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    save_remembered(RememberedRun(settings=Settings(echo="cancel")))
    monkeypatch.setitem(sys.modules, "livekit", None)
    (check,) = doctor._extras()
    assert check.verdict == "warning"
    assert "'pip install livekit'" in check.found
    save_remembered(RememberedRun())
    assert doctor._extras() == []


def test_the_measured_latency_of_the_devices_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    pair, streams = (DeviceIdentity("mic"), DeviceIdentity("speaker")), "48000 Hz, 10 ms"
    save_latency(MeasuredLatency(*pair, streams, 0.123, 0.1, 0.0, 1e9))
    echo, format_now = EchoEndpoint(SimulatedDevice(SILENCE)), [streams]
    devices = OpenDevices(
        echo, DeviceNames(), streams=lambda: format_now[0], identities=lambda: pair
    )
    session = DeviceSession(devices, Settings(), finder())
    assert session.measured is not None
    assert echo.measured_s == 0.123
    format_now[0] = "44100 Hz, 10 ms"
    session.take_message()  # which all front ends call all the time
    assert echo.measured_s is None
    assert session.measured is None


def test_files_have_no_echo():
    assert find_echo(SimulatedDevice(NOTHING)) is None
    assert find_echo(TeeEndpoint(SimulatedDevice(NOTHING))) is None


def heard_on_another_clock(sound, ppm):
    """What a microphone hears of a sound that a speaker with a faster clock plays 0.1 s later.

    The sound is resampled as rtvc does where input and output are two devices.
    """
    from scipy.interpolate import CubicSpline  # 0.3 s to import

    clocks, resampler = ClockTrim(), EdgeResampler(RATE, RATE)
    random, speed, parts = np.random.default_rng(0), 1 + ppm * 1e-6, []
    for block in range(len(sound) // FRAME):
        parts.append(resampler.process(sound[block * FRAME : (block + 1) * FRAME]))
        for look in range(8):
            now = 0.01 * (block + 1) + 0.00125 * (look + random.random())
            if clocks.observe(now, int(now * 100) / 100, int(now * speed * 100) / 100):
                resampler.trim(clocks.trim)
    device = np.concatenate(parts)
    at = np.clip((np.arange(len(sound)) - RATE // 10) * speed, 0, len(device) - 1)
    return CubicSpline(np.arange(len(device)), device)(at), resampler.delay_s


@pytest.mark.thorough
@pytest.mark.parametrize("ppm", [-50.0, 100.0])
def test_the_drift_of_two_devices_is_not_between_reference_and_echo(canceller, ppm):
    sound = np.resize(TALK, 20 * RATE)
    heard, resampler_s = heard_on_another_clock(sound, ppm)
    echo = np.convolve(heard, impulse_response(0.02))[: len(sound)]
    microphone = echo.astype(np.float32) + hiss(len(sound))
    lag = round((0.1 + resampler_s - MARGIN_S) * RATE)
    left = canceller.process(microphone, np.pad(sound, (lag, 0))[: len(sound)])
    late = slice(8 * RATE, None)
    assert power_db(microphone[late]) - power_db(left[late]) > 40


@measured
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "other", "rate"),
    [
        ("fake_cable", "fake_cable", None),  # one stream
        ("fake_mic", "fake_speaker", None),  # two
        ("fake_cable", "fake_cable", 44_100),
    ],
)
def test_an_echo_through_real_streams_falls_by_15_db(sound_server, name, other, rate):
    pytest.importorskip("livekit")
    talk = np.resize(TALK, 12 * RATE)
    with sound_server.connected(SPEAKER_SINK, MICROPHONE_SINK):
        endpoint = EchoEndpoint(LiveEndpoint(name, other, rate=rate))
        endpoint.start(lambda: None, 0)
        try:
            endpoint.wait(10 * FRAME, 2.0)
            endpoint.write(talk[: 20 * FRAME])
            heard = []
            for at in range(20 * FRAME, len(talk) - 10 * FRAME, 10 * FRAME):
                if at == 4 * RATE:
                    endpoint.use("cancel")
                endpoint.wait(10 * FRAME, 2.0)
                heard.append(endpoint.read(10 * FRAME))
                endpoint.write(talk[at : at + 10 * FRAME])
        except DeviceLostError as loss:  # of a busy machine, whose streams stand still
            raise AssertionError(str(loss)) from loss
        finally:
            endpoint.stop()
    sound = np.concatenate(heard)
    assert endpoint.problem == ""
    assert power_db(sound[RATE : 4 * RATE]) - power_db(sound[-4 * RATE :]) > 15
