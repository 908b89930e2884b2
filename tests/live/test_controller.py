"""The controller: changes of devices, undo, recording, with the real engine."""

import contextlib
import itertools
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.simulated import SimulatedDevice
from rtvc.config.presets import save_preset, user_path
from rtvc.config.remembered import RememberedRun, load_remembered
from rtvc.errors import RtvcError, UsageError
from rtvc.library import computing
from rtvc.live.controller import Controller
from rtvc.live.device_session import DeviceSession
from rtvc.live.devices import DeviceNames, DeviceSelection, OpenDevices
from rtvc.live.undo import Moment, UndoHistory
from rtvc.settings import Settings
from rtvc.stats import State
from tests.support.patience import measured
from tests.support.sound_server import HEADPHONES_SINK, MICROPHONE_SINK, SPEAKER_SINK, SoundServer
from tests.support.voices import PlainVoice
from tests.tui.simulated_devices import CABLE, HEADPHONES, USB, SimulatedDevices, identity

pytestmark = pytest.mark.slow

CHANGED = Settings(formant=2)
"""Settings that do not leave the voice unchanged."""


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def running(controller, state=State.CONVERTED):
    until(lambda: controller.stats().state is state and controller.stats().blocks > 2)


def heard(controller, told: list[str]) -> str:
    """Take the news, keep them, and return them."""
    told.append(controller.take_message())
    return told[-1]


@pytest.fixture
def controller():
    made = Controller(
        SimulatedDevices(), RememberedRun(settings=Settings(formant=2, block=40, headroom=40))
    )
    try:
        made.start()
        assert made.stats().state is State.STARTING
        running(made)
        yield made
    finally:
        made.close()


def test_the_self_test_at_the_start_is_told():
    made = Controller(SimulatedDevices(), RememberedRun(settings=Settings(formant=2)))
    try:
        computing._under_test.set()
        made.start()
        assert made.stats().reason == computing.self_test_notice() != ""
        computing._under_test.clear()
        running(made)
        assert made.stats().reason != "Starting."
    finally:
        computing._under_test.clear()
        made.close()


def test_a_mute_while_a_session_starts_is_in_time(monkeypatch):
    loads, muted = threading.Event(), threading.Event()
    start = DeviceSession.start

    def find_voice(name: str) -> PlainVoice:
        loads.set()
        muted.wait(10)
        return PlainVoice()

    def start_slowly(session: DeviceSession) -> None:
        start(session)
        time.sleep(1.0)  # as while the file of measured latencies is read

    monkeypatch.setattr(DeviceSession, "start", start_slowly)
    provider = SimulatedDevices()
    settings = Settings(block=40, headroom=40)
    made = Controller(provider, RememberedRun(settings=settings), find_voice=find_voice)
    try:
        made.start()
        assert loads.wait(10)
        made.apply(made.settings.replace(mode="muted"))
        muted.set()
        until(lambda: made.stats().state is State.MUTED)
        played = len(provider.device.played)
        until(lambda: len(provider.device.played) > played + 14_400)
        assert not provider.device.played.any()
    finally:
        made.close()


def test_a_start_that_fails_at_its_end_leaves_no_session_running(monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no file")

    monkeypatch.setattr("rtvc.live.device_session.find_latency", fail)
    pair = identity(USB), identity(CABLE)
    devices = OpenDevices(
        SimulatedDevice(np.zeros(48_000, np.float32), wall_clock=True),
        DeviceNames(),
        streams=lambda: "48000 Hz",
        identities=lambda: pair,
    )
    session = DeviceSession(devices, Settings(), lambda name: PlainVoice())
    with pytest.raises(OSError, match="no file"):
        session.start()
    assert session.session.stats().state is State.STOPPED


def test_devices_are_exchanged_and_remembered(controller):
    controller.select_devices(DeviceSelection(USB.name, HEADPHONES.name))
    assert controller.stats().state is State.STARTING
    running(controller)
    assert controller.names == DeviceNames(USB.name, HEADPHONES.name)
    first, second = (device for _, device in controller._provider.opened)
    played = len(first.played)
    until(lambda: np.abs(second.played).max(initial=0) > 0.01)
    assert len(first.played) == played, "the old device keeps playing"
    assert np.abs(first.played[-48:]).max() < 0.01, "it ended without a fade"
    controller.close()
    assert load_remembered()[0] == RememberedRun(
        identity(USB), identity(HEADPHONES), controller.settings
    )


def test_a_missing_device_brings_the_old_ones_back(controller):
    before = controller.names
    controller.select_devices(DeviceSelection(USB.name, "Nothing"))
    told: list[str] = []
    until(lambda: heard(controller, told))
    running(controller)
    assert controller.names == before
    assert told[-1] == "There is no output named 'Nothing'. The previous devices are in use again."
    assert controller.take_message() == ""


def test_without_any_device_it_says_why_and_can_be_mended():
    provider = SimulatedDevices()
    provider.inputs.clear()
    controller = Controller(provider, RememberedRun(settings=CHANGED), remember=False)
    controller.start()
    until(lambda: controller.stats().state is State.DEVICE_LOST)
    assert controller.stats().reason == "There is no input named ''."
    provider.inputs.append(USB)
    controller.select_devices(DeviceSelection(USB.name, CABLE.name))
    running(controller)
    controller.close()
    assert load_remembered()[0] == RememberedRun()


def test_without_its_voice_it_is_muted_until_another_one_is_chosen():
    missing = Settings(voice="nobody", formant=2)
    provider = SimulatedDevices()
    controller = Controller(provider, RememberedRun(settings=missing), remember=False)
    controller.start()
    until(lambda: controller.stats().state is State.MUTED)
    assert "'nobody'" in controller.stats().reason
    assert controller.stats().reason.startswith("No voice: ")
    assert controller.stats().restarts == 1
    device = provider.device
    until(lambda: len(device.played) > 48_000, 3)
    assert not device.played.any(), "the devices run, but nothing is output"
    controller.apply(controller.settings.replace(voice="world"))
    running(controller)
    assert controller.stats().reason == ""
    assert controller.stats().voice == "world"
    controller.close()


def test_settings_reach_the_engine_and_go_back(controller):
    controller.apply(controller.settings.replace(pitch=5))
    controller.apply(controller.settings.replace(mode="muted"))
    running(controller, State.MUTED)
    assert controller.undo()
    assert controller.settings.pitch == 0
    assert controller.settings.mode == "muted", "an undo has opened the output"
    assert not controller.undo()
    assert controller.redo()
    assert controller.settings.pitch == 5
    assert not controller.redo()
    assert controller._session.session.settings == controller.settings


def test_an_undo_to_a_preset_that_has_gone_is_refused_and_forgotten(controller):
    start = controller.settings
    for name in ("mine", "yours"):
        save_preset(user_path(name), Settings(pitch=5.0))
        controller.apply(controller.settings.replace(morph_to=name, morph=0.5))
    controller.apply(controller.settings.replace(morph_to="deep"))
    user_path("yours").unlink()
    controller.apply(controller.settings.replace(morph=1.0))
    assert controller.undo()
    now = controller.settings
    with pytest.raises(UsageError, match="There is no preset 'yours'"):
        controller.undo()
    assert controller.settings is now
    assert controller._session.session.settings == now
    controller.apply(now.replace(mode="muted"))
    running(controller, State.MUTED)
    assert controller.undo()
    assert controller.settings == start.replace(morph_to="mine", morph=0.5, mode="muted")
    assert controller.redo()
    assert controller.settings == now.replace(mode="muted")


def test_settings_that_a_session_refuses_are_not_in_use(controller):
    save_preset(user_path("mine"), Settings(pitch=5.0))
    controller.apply(controller.settings.replace(morph_to="mine", morph=0.5))
    user_path("mine").unlink()
    session = controller._session
    controller.select_devices(controller.wanted._replace(output=identity(CABLE)))
    until(lambda: controller._session not in (None, session), 30)
    before = controller.settings
    with pytest.raises(UsageError, match="There is no preset 'mine'"):
        controller.apply(before.replace(morph=0.6))
    assert controller.settings is before
    controller.apply(before.replace(mode="muted"))
    assert controller._session.session.settings.mode == "muted"


def test_a_new_block_is_loaded_while_the_old_one_plays(controller):
    controller.apply(controller.settings.replace(block=60))
    until(lambda: controller.stats().latency.block == pytest.approx(0.06))
    assert controller.stats().state is State.CONVERTED
    until(lambda: not controller.stats().loading)


@pytest.mark.thorough
def test_the_recording_is_what_was_played_across_devices(controller, tmp_path):
    from scipy.signal import correlate  # 1.5 s to import

    path = tmp_path / "rtvc-recording.wav"
    assert controller.recorder.start() == str(path)
    with pytest.raises(RtvcError, match="already"):
        controller.recorder.start()
    first = controller._provider.device
    start = len(first.played)
    time.sleep(0.6)
    controller.select_devices(DeviceSelection(USB.name, HEADPHONES.name))
    running(controller)
    until(lambda: len(controller._provider.device.played) > 24_000)
    assert controller.recorder.seconds > 0.5
    assert controller.recorder.stop() == f"Saved the recording to {path}."
    assert controller.recorder.seconds is None
    recorded, rate = soundfile.read(path, dtype="float32")
    assert rate == 48_000
    # What was queued when it began was not written any more, and is heard first.
    played = first.played[start:]
    piece = recorded[:9600]
    at = int(np.argmax(correlate(played, piece, "valid")))
    np.testing.assert_allclose(played[at : at + 9600], piece, atol=1e-6)
    second = controller._provider.device.played
    assert np.isin(np.round(second[9600:9700], 5), np.round(recorded, 5)).mean() > 0.9
    with pytest.raises(RtvcError, match="No recording"):
        controller.recorder.stop()


def test_a_recording_that_cannot_be_made_says_so(controller, tmp_path):
    with pytest.raises(RtvcError, match="There is no folder"):
        controller.recorder.start(tmp_path / "nowhere" / "x.wav")
    assert controller.recorder.seconds is None


def test_closing_keeps_the_recording_and_is_safe_to_repeat(tmp_path):
    provider = SimulatedDevices()
    controller = Controller(provider, RememberedRun(settings=CHANGED), remember=False)
    controller.start()
    running(controller)
    before = len(provider.device.played)
    controller.recorder.start()
    until(lambda: len(provider.device.played) > before + 14_400)
    controller.close()
    assert soundfile.info(tmp_path / "rtvc-recording.wav").frames > 9600


def test_closing_does_not_wait_for_a_voice_that_is_loaded(tmp_path):
    loading, let = threading.Event(), threading.Event()

    def find(name):
        loading.set()
        let.wait(30)
        raise RtvcError("There is no voice.")

    controller = Controller(SimulatedDevices(), RememberedRun(settings=CHANGED), find_voice=find)
    controller.start()
    try:
        assert loading.wait(20)
        controller.apply(CHANGED.replace(pitch=3))
        began = time.monotonic()
        controller.close()
        assert time.monotonic() - began < 2.0
    finally:
        let.set()
    assert load_remembered()[0].settings.pitch == 3


def test_one_message_does_not_replace_another(tmp_path):
    (tmp_path / "config").write_text("This is no folder.")
    controller = Controller(SimulatedDevices(), RememberedRun())
    controller.recorder.start(tmp_path / "talk.wav")
    recording = controller._recording
    assert recording is not None
    recording.push("output", np.zeros(4800, np.float32))
    controller.close()
    message = controller.take_message()
    assert message.startswith("The settings are not saved.")
    assert message.endswith(f" Saved the recording to {tmp_path / 'talk.wav'}.")


def test_devices_are_looked_for_in_the_background(controller):
    assert controller.scanner.devices.inputs == ()
    controller.scanner.scan_devices()
    until(lambda: controller.scanner.devices.inputs)
    controller._provider.inputs.append(CABLE)
    controller.scanner.scan_devices()
    until(lambda: CABLE in controller.scanner.devices.inputs)


def test_a_held_key_is_one_step_back():
    now = [0.0]
    history = UndoHistory(lambda: now[0])
    settings = Settings()
    for pitch in range(1, 11):
        after = settings.replace(pitch=pitch)
        history.note(Moment(settings), Moment(after))
        settings = after
        now[0] += 0.05
    now[0] += 2
    history.note(Moment(settings), Moment(settings.replace(pitch=11)))
    back = history.undo(Moment(settings.replace(pitch=11)))
    assert back == Moment(Settings(pitch=10))
    assert history.undo(back) == Moment(Settings())


def test_voices_chosen_in_quick_succession_are_a_step_each():
    history = UndoHistory(lambda: 1.0)
    anna, bruno = Moment(Settings(voice="Anna")), Moment(Settings(voice="Bruno"))
    history.note(Moment(Settings()), anna)
    history.note(anna, bruno)
    assert history.undo(bruno) == anna
    assert history.undo(anna) == Moment(Settings())


def test_a_preset_loaded_while_a_key_is_held_is_a_step_with_its_name():
    history = UndoHistory(lambda: 1.0)
    steps = [Moment(Settings(pitch=n), preset) for n, preset in ((0, ""), (1, ""), (5, "high"))]
    for before, after in itertools.pairwise(steps):
        history.note(before, after)
    muted = steps[2]._replace(settings=Settings(pitch=5, mode="muted"))
    back = history.undo(muted)
    assert back == Moment(Settings(pitch=1, mode="muted"), "")
    history.rename_preset("high", "higher")
    assert history.redo(back) == Moment(Settings(pitch=5, mode="muted"), "higher")


def test_the_devices_of_this_machine(sound_server: SoundServer, tmp_path):
    from rtvc.live.demo import load_utterance
    from rtvc.live.devices import SystemDevices

    controller = Controller(
        SystemDevices(),
        RememberedRun(settings=Settings(pitch=3)),
        selection=DeviceSelection("fake_mic", "fake_speaker"),
    )
    controller.scanner.scan_devices()
    with sound_server.speaking(np.tile(load_utterance(), 2)):
        controller.start()
        running(controller)
        until(lambda: controller.scanner.devices.inputs)
        assert "fake_mic" in [device.name for device in controller.scanner.devices.inputs]
        assert any(device.is_default("output") for device in controller.scanner.devices.outputs)
        assert controller.names == DeviceNames("fake_mic", "fake_speaker")
        controller.select_devices(DeviceSelection("fake_mic", "default"))
        running(controller)
        assert controller.names == DeviceNames("fake_mic", "default")
        controller.select_devices(DeviceSelection("fake_mic", "no such thing"))
        until(lambda: "no output named 'no such thing'" in controller.take_message())
        running(controller)
        controller.close()
    assert MICROPHONE_SINK


@pytest.mark.thorough
def test_devices_changed_while_the_server_hangs_play_when_it_is_back(sound_server: SoundServer):
    from rtvc.live.devices import SystemDevices

    controller = Controller(
        SystemDevices(),
        RememberedRun(settings=CHANGED),
        selection=DeviceSelection("fake_mic", "fake_speaker"),
        remember=False,
    )
    with contextlib.closing(controller):
        controller.start()
        running(controller)
        os.kill(sound_server.pid, signal.SIGSTOP)
        try:
            controller.select_devices(DeviceSelection("fake_mic", "fake_ears"))
            until(lambda: controller.stats().state is State.DEVICE_LOST)
            assert controller.stats().reason == "The sound server does not answer."
        finally:
            os.kill(sound_server.pid, signal.SIGCONT)
        running(controller)
        assert controller.names.output == "fake_ears"


def lag(heard: np.ndarray, reference: np.ndarray) -> int:
    """Return by how many samples one sound is later than another."""
    from scipy.signal import correlate  # 1.5 s to import

    likeness = correlate(heard, reference, "full", "fft")
    return int(np.argmax(np.abs(likeness))) - len(reference) + 1


@pytest.mark.thorough
def test_the_monitor_says_the_same_and_its_loss_harms_nothing(controller):
    controller.select_devices(DeviceSelection(USB.name, CABLE.name, HEADPHONES.name))
    running(controller)
    assert controller.names == DeviceNames(USB.name, CABLE.name, HEADPHONES.name)
    provider = controller._provider
    until(lambda: provider.monitors and len(provider.monitors[0].played) > 96_000)
    main, monitor = (
        provider.device.played[-72_000:-24_000],
        provider.monitors[0].played[-72_000:-24_000],
    )
    assert np.abs(monitor).max() > 0.02
    late = lag(monitor, main)
    assert abs(late) < 9600
    controller.apply(controller.settings.replace(monitor_gain=-60))
    until(lambda: np.abs(provider.monitors[0].played[-4800:]).max() < 1e-6)
    since = len(provider.monitors[0].played)
    until(lambda: len(provider.monitors[0].played) > since + 24_000)
    assert np.abs(provider.monitors[0].played[since:]).max() < 1e-6
    assert np.abs(provider.device.played[-24_000:]).max() > 0
    controller.apply(controller.settings.replace(monitor_gain=0))
    provider.monitors[0].unplug()
    told: list[str] = []
    until(lambda: heard(controller, told))
    assert told[-1].startswith("The monitor is silent. 'External Headphones' was lost")
    since = len(provider.device.played)
    until(lambda: heard(controller, told))
    assert told[-1] == "The monitor plays again."
    until(lambda: np.abs(provider.monitors[1].played[-24_000:]).max(initial=0) > 0.02)
    assert controller.take_message() == "", "it is told once"
    time.sleep(1)
    assert controller.stats().state is State.CONVERTED
    assert np.abs(provider.device.played[since:]).max() > 0.02
    assert provider.device.health().underruns == 0
    controller.close()
    assert load_remembered()[0].monitor == identity(HEADPHONES)


def test_the_spectrum_is_that_of_what_is_heard(controller):
    until(lambda: max(controller.spectrum()) > -50)
    controller.apply(controller.settings.replace(mode="muted"))
    until(lambda: max(controller.spectrum()) < -100)


@pytest.mark.thorough
def test_a_delay_that_cannot_be_measured_is_told_and_the_sound_comes_back(controller):
    controller.measure_latency()
    assert controller.stats().reason == "Measuring the latency with chirps."
    told: list[str] = []
    until(lambda: heard(controller, told), 20)
    assert told[-1].startswith("The chirps did not come back")
    assert controller.measured is None
    running(controller)
    controller.apply(controller.settings.replace(mode="muted"))
    with pytest.raises(RtvcError, match="muted"):
        controller.measure_latency()


def is_measuring(controller: Controller) -> bool:
    """Return whether the chirps play on the device that was opened after the first one."""
    provider = controller._provider
    assert isinstance(provider, SimulatedDevices)
    return len(provider.opened) > 1 and np.abs(provider.device.played).max(initial=0) > 0.05


def test_muting_silences_the_chirps(controller):
    controller.measure_latency()
    until(lambda: is_measuring(controller))
    device = controller._provider.opened[1][1]
    controller.apply(controller.settings.replace(mode="muted"))
    muted = device.played.size
    told: list[str] = []
    until(lambda: heard(controller, told))
    assert told[-1] == "The latency was not measured, because you muted the output."
    until(lambda: controller.stats().state is State.MUTED)
    assert np.abs(device.played[muted + 24_000 :]).max(initial=0) == 0.0


def test_a_run_that_ends_while_it_measures_plays_no_more_chirps(controller):
    controller.measure_latency()
    until(lambda: is_measuring(controller))
    began = time.monotonic()
    controller.close()
    assert time.monotonic() - began < 2.0
    assert len(controller._provider.opened) == 2, "no other devices are opened"


@pytest.mark.thorough
def test_the_delay_of_a_cable_is_measured(sound_server: SoundServer):
    from rtvc.live.devices import SystemDevices

    controller = Controller(
        SystemDevices(),
        RememberedRun(settings=CHANGED),
        selection=DeviceSelection("fake_cable", "fake_cable"),
        remember=False,
    )
    controller.start()
    running(controller)
    controller.measure_latency()
    until(lambda: controller.measured is not None, 20)
    running(controller)
    assert controller.measured is not None
    assert 0.005 < controller.measured.seconds < 0.2
    assert "The devices have a latency of" in controller.take_message()
    controller.select_devices(DeviceSelection("fake_mic", "fake_speaker"))
    running(controller)
    assert controller.measured is None, "other devices have another delay"
    controller.close()


@pytest.mark.thorough
@measured
def test_a_monitor_of_this_machine(sound_server: SoundServer):
    from rtvc.live.demo import load_utterance
    from rtvc.live.devices import SystemDevices

    controller = Controller(
        SystemDevices(),
        RememberedRun(settings=Settings(pitch=3)),
        selection=DeviceSelection("fake_mic", "fake_speaker", "fake_ears"),
        remember=False,
    )
    with (
        sound_server.speaking(np.tile(load_utterance(), 2)),
        sound_server.recording(SPEAKER_SINK, HEADPHONES_SINK) as finish,
        contextlib.closing(controller),
    ):
        controller.start()
        running(controller)
        time.sleep(5)
        sound_server.pactl("suspend-sink", HEADPHONES_SINK, "1")
        told: list[str] = []
        until(lambda: heard(controller, told))
        sound_server.pactl("suspend-sink", HEADPHONES_SINK, "0")
        assert "The monitor is silent. 'fake_ears' was lost" in told[-1]
        time.sleep(1)
        stats = controller.stats()
        assert stats.state is State.CONVERTED
        controller.select_devices(DeviceSelection("fake_mic", "fake_speaker", "fake_speaker"))
        until(lambda: "is already the output" in controller.take_message())
        running(controller)
        controller.close()
        main, monitor = finish()
    begin = max(main.began, monitor.began) + 2.5
    at_output, at_monitor = (
        r.samples[round((begin - r.began) * 48_000) :][: 2 * 48_000] for r in (main, monitor)
    )
    assert np.abs(at_monitor).max() > 0.05
    late = lag(at_monitor, at_output)
    assert abs(late) < 0.15 * 48_000
    if late >= 0:
        at_monitor, at_output = at_monitor[late:], at_output[: len(at_output) - late]
    else:
        at_monitor, at_output = at_monitor[:late], at_output[-late:]
    likeness = np.corrcoef(at_monitor, at_output)[0, 1]
    assert likeness > 0.95, "the monitor says something else, or slips"
