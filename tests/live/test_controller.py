"""The studio: devices exchanged, settings undone, sound recorded, with the real engine."""

import time
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from rtvc.config.remembered import Choices, load_choices
from rtvc.errors import RtvcError
from rtvc.live.controller import Studio
from rtvc.live.devices import Choice
from rtvc.live.undo import History
from rtvc.settings import Settings
from rtvc.stats import State
from tests.support.patience import measured
from tests.support.sound_server import HEADPHONES_SINK, MICROPHONE_SINK, SPEAKER_SINK, SoundServer
from tests.tui.simulated_devices import CABLE, HEADPHONES, USB, SimulatedRig


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


def running(studio, state=State.CONVERTED):
    until(lambda: studio.stats().state is state and studio.stats().blocks > 2)


@pytest.fixture
def studio():
    made = Studio(SimulatedRig(), Choices(settings=Settings(block=40, headroom=40)))
    made.start()
    assert made.stats().state is State.STARTING
    running(made)
    yield made
    made.close()


def test_devices_are_exchanged_and_remembered(studio):
    studio.use(Choice(USB.name, HEADPHONES.name))
    assert studio.stats().state is State.STARTING
    running(studio)
    assert studio.names == Choice(USB.name, HEADPHONES.name)
    first, second = (device for _, device in studio._stage._rig.opened)
    played = len(first.played)
    until(lambda: np.abs(second.played).max(initial=0) > 0.01)
    assert len(first.played) == played, "the old device plays on"
    assert np.abs(first.played[-48:]).max() < 0.01, "it ended without a fade"
    studio.close()
    assert load_choices()[0] == Choices(USB.name, HEADPHONES.name, studio.settings)


def test_a_missing_device_brings_the_old_ones_back(studio):
    before = studio.names
    studio.use(Choice(USB.name, "Nothing"))
    told = []
    until(lambda: told.append(studio.take_news()) or told[-1])
    running(studio)
    assert studio.names == before
    assert told[-1] == "There is no output named 'Nothing'. The devices before are in use."
    assert studio.take_news() == ""


def test_without_any_device_it_says_why_and_can_be_mended():
    rig = SimulatedRig()
    rig.inputs.clear()
    studio = Studio(rig, Choices(), remember=False)
    studio.start()
    until(lambda: studio.stats().state is State.DEVICE_LOST)
    assert studio.stats().reason == "there is no input named ''"
    rig.inputs.append(USB)
    studio.use(Choice(USB.name, CABLE.name))
    running(studio)
    studio.close()
    assert load_choices()[0] == Choices()


def test_without_its_voice_it_is_muted_until_another_one_is_chosen():
    missing = Settings(voice="nobody")
    studio = Studio(SimulatedRig(), Choices(settings=missing), remember=False)
    studio.start()
    until(lambda: studio.stats().state is State.MUTED)
    assert "'nobody'" in studio.stats().reason
    assert studio.stats().reason.endswith("Choose another voice.")
    studio.apply(studio.settings.replace(pitch=3))  # no reason to try again
    studio.apply(studio.settings.replace(voice="world"))
    running(studio)
    assert studio.stats().reason == ""
    assert studio.stats().voice == "world"
    studio.close()


def test_a_stand_in_without_its_voice_plays_once_another_one_is_chosen(tmp_path):
    from rtvc.live.demo import open_line

    rig = SimulatedRig()
    rig.inputs.clear()
    choices = Choices(settings=Settings(voice="nobody"))
    path = tmp_path / "demo.wav"
    studio = Studio(rig, choices, remember=False, stand_in=lambda: open_line(path))
    studio.start()
    until(lambda: studio.stats().state is State.MUTED)
    assert "'nobody'" in studio.stats().reason
    studio.apply(studio.settings.replace(voice="world"))
    until(lambda: studio.stats().state is State.DEVICE_LOST and studio.stats().blocks > 5)
    studio.close()


def test_settings_reach_the_engine_and_go_back(studio):
    studio.apply(studio.settings.replace(pitch=5))
    studio.apply(studio.settings.replace(mode="muted"))
    running(studio, State.MUTED)
    assert studio.undo()
    assert studio.settings.pitch == 0
    assert studio.settings.mode == "muted", "an undo has opened the output"
    assert not studio.undo()
    assert studio.redo()
    assert studio.settings.pitch == 5
    assert not studio.redo()
    assert studio._stage._session.settings == studio.settings


def test_a_new_block_is_loaded_while_the_old_one_plays(studio):
    studio.apply(studio.settings.replace(block=60))
    until(lambda: studio.stats().latency.block == pytest.approx(0.06))
    assert studio.stats().state is State.CONVERTED
    until(lambda: not studio.stats().loading)


def test_the_recording_is_what_was_played_across_devices(studio, tmp_path):
    path = studio.recorder.begin()
    assert path == tmp_path / "rtvc-recording.wav"
    with pytest.raises(RtvcError, match="already"):
        studio.recorder.begin()
    first = studio._stage._rig.device
    start = len(first.played)
    time.sleep(0.6)
    studio.use(Choice(USB.name, HEADPHONES.name))
    running(studio)
    until(lambda: len(studio._stage._rig.device.played) > 24_000)
    assert studio.recorder.seconds > 0.5
    assert studio.recorder.finish() == path
    assert studio.recorder.seconds is None
    recorded, rate = soundfile.read(path, dtype="float32")
    assert rate == 48_000
    # What was queued when it began was not written any more, and is heard first.
    played = first.played[start:]
    piece = recorded[:9600]
    at = int(np.argmax(scipy.signal.correlate(played, piece, "valid")))
    np.testing.assert_allclose(played[at : at + 9600], piece, atol=1e-6)
    second = studio._stage._rig.device.played
    assert np.isin(np.round(second[9600:9700], 5), np.round(recorded, 5)).mean() > 0.9
    with pytest.raises(RtvcError, match="Nothing"):
        studio.recorder.finish()


def test_a_recording_that_cannot_be_made_says_so(studio, tmp_path):
    with pytest.raises(RtvcError, match="there is no folder"):
        studio.recorder.begin(tmp_path / "nowhere" / "x.wav")
    assert studio.recorder.seconds is None


def test_closing_keeps_the_recording_and_is_safe_to_repeat(tmp_path):
    studio = Studio(SimulatedRig(), Choices(), remember=False)
    studio.start()
    running(studio)
    studio.recorder.begin()
    time.sleep(0.3)
    studio.close()
    assert soundfile.info(tmp_path / "rtvc-recording.wav").frames > 9600


def test_devices_are_looked_for_in_the_background(studio):
    assert studio.lookout.devices.inputs == ()
    studio.lookout.look_for_devices()
    until(lambda: studio.lookout.devices.inputs)
    studio._stage._rig.inputs.append(CABLE)
    studio.lookout.look_for_devices()
    until(lambda: CABLE in studio.lookout.devices.inputs)


def test_a_held_key_is_one_step_back():
    now = [0.0]
    history = History(lambda: now[0])
    settings = Settings()
    for pitch in range(1, 11):
        after = settings.replace(pitch=pitch)
        history.note(settings, after)
        settings = after
        now[0] += 0.05
    now[0] += 2
    history.note(settings, settings.replace(pitch=11))
    back = history.undo(settings.replace(pitch=11))
    assert back.pitch == 10
    assert history.undo(back).pitch == 0


def test_voices_chosen_in_quick_succession_are_a_step_each():
    history = History(lambda: 1.0)
    anna, bruno = Settings(voice="Anna"), Settings(voice="Bruno")
    history.note(Settings(), anna)
    history.note(anna, bruno)
    assert history.undo(bruno).voice == "Anna"
    assert history.undo(anna).voice == "world"


def test_the_devices_of_this_machine(sound_server: SoundServer, tmp_path):
    from rtvc.live.demo import load_utterance
    from rtvc.live.devices import LiveRig

    studio = Studio(LiveRig(), Choices("fake_mic", "fake_speaker", Settings(pitch=3)))
    studio.lookout.look_for_devices()
    with sound_server.speaking(np.tile(load_utterance(), 2)):
        studio.start()
        running(studio)
        until(lambda: studio.lookout.devices.inputs)
        assert "fake_mic" in [device.name for device in studio.lookout.devices.inputs]
        assert any(device.default for device in studio.lookout.devices.outputs)
        assert studio.names == Choice("fake_mic", "fake_speaker")
        studio.use(Choice("fake_mic", "default"))
        running(studio)
        assert studio.names == Choice("fake_mic", "default")
        studio.use(Choice("fake_mic", "no such thing"))
        until(lambda: "no output named 'no such thing'" in studio.take_news())
        running(studio)
        studio.close()
    assert MICROPHONE_SINK


def lag(heard: np.ndarray, reference: np.ndarray) -> int:
    """Return by how many samples one sound is later than another."""
    likeness = scipy.signal.correlate(heard, reference, "full", "fft")
    return int(np.argmax(np.abs(likeness))) - len(reference) + 1


def test_the_monitor_says_the_same_and_its_loss_harms_nothing(studio):
    studio.use(Choice(USB.name, CABLE.name, HEADPHONES.name))
    running(studio)
    assert studio.names == Choice(USB.name, CABLE.name, HEADPHONES.name)
    rig = studio._stage._rig
    until(lambda: rig.monitors and len(rig.monitors[0].played) > 96_000)
    main, monitor = rig.device.played[-72_000:-24_000], rig.monitors[0].played[-72_000:-24_000]
    assert np.abs(monitor).max() > 0.02
    late = lag(monitor, main)
    assert abs(late) < 9600
    studio.apply(studio.settings.replace(monitor_gain=-60))
    time.sleep(0.5)
    since = len(rig.monitors[0].played)
    time.sleep(0.5)
    assert np.abs(rig.monitors[0].played[since:]).max(initial=0) < 1e-6
    assert np.abs(rig.device.played[-24_000:]).max() > 0
    rig.monitors[0].unplug()
    told = []
    until(lambda: told.append(studio.take_news()) or told[-1])
    assert told[-1].startswith("The monitor is silent: 'External Headphones' was lost")
    assert studio.take_news() == "", "it is told once"
    since = len(rig.device.played)
    time.sleep(1)
    assert studio.stats().state is State.CONVERTED
    assert np.abs(rig.device.played[since:]).max() > 0.02
    assert rig.device.health().underflows == 0
    studio.close()
    assert load_choices()[0].monitor == HEADPHONES.name


def test_the_spectrum_is_that_of_what_is_heard(studio):
    until(lambda: max(studio.spectrum()) > -50)
    studio.apply(studio.settings.replace(mode="muted"))
    until(lambda: max(studio.spectrum()) < -100)


def test_a_delay_that_cannot_be_measured_is_told_and_the_sound_comes_back(studio):
    studio.measure()
    assert studio.stats().reason == "Measuring: three chirps are played."
    told = []
    until(lambda: told.append(studio.take_news()) or told[-1], 20)
    assert told[-1].startswith("The chirp did not come back")
    assert studio.measured_s is None
    running(studio)
    studio.apply(studio.settings.replace(mode="muted"))
    with pytest.raises(RtvcError, match="muted"):
        studio.measure()


def test_a_stand_in_plays_to_its_end_while_there_is_no_device(tmp_path):
    from rtvc.live.demo import open_line

    rig = SimulatedRig()
    rig.inputs.clear()
    path = tmp_path / "demo.wav"
    studio = Studio(rig, Choices(), remember=False, stand_in=lambda: open_line(path))
    studio.start()
    until(lambda: studio.stats().state is State.DEVICE_LOST and studio.stats().blocks > 5)
    assert studio.names.output == str(path)
    rig.inputs.append(USB)
    studio.use(Choice(USB.name))
    until(lambda: f"The result is in {path}." in studio.take_news())
    running(studio)
    studio.close()
    assert soundfile.info(path).frames > 9600


def test_the_delay_of_a_cable_is_measured(sound_server: SoundServer):
    from rtvc.live.devices import LiveRig

    studio = Studio(LiveRig(), Choices("fake_cable", "fake_cable"), remember=False)
    studio.start()
    running(studio)
    studio.measure()
    until(lambda: studio.measured_s is not None, 20)
    running(studio)
    assert 0.005 < studio.measured_s < 0.2
    assert "The devices take" in studio.take_news()
    studio.use(Choice("fake_mic", "fake_speaker"))
    running(studio)
    assert studio.measured_s is None, "other devices have another delay"
    studio.close()


@measured
def test_a_monitor_of_this_machine(sound_server: SoundServer):
    from rtvc.live.demo import load_utterance
    from rtvc.live.devices import LiveRig

    choices = Choices("fake_mic", "fake_speaker", Settings(pitch=3), "fake_ears")
    studio = Studio(LiveRig(), choices, remember=False)
    with (
        sound_server.speaking(np.tile(load_utterance(), 2)),
        sound_server.recording(SPEAKER_SINK, HEADPHONES_SINK) as finish,
    ):
        studio.start()
        running(studio)
        time.sleep(6)
        sound_server.pactl("suspend-sink", HEADPHONES_SINK, "1")
        told = []
        until(lambda: told.append(studio.take_news()) or told[-1])
        sound_server.pactl("suspend-sink", HEADPHONES_SINK, "0")
        assert "The monitor is silent: 'fake_ears' was lost" in told[-1]
        time.sleep(1)
        stats = studio.stats()
        assert stats.state is State.CONVERTED
        studio.use(Choice("fake_mic", "fake_speaker", "fake_speaker"))
        until(lambda: "is the output already" in studio.take_news())
        running(studio)
        studio.close()
        main, monitor = finish()
    begin = max(main.began, monitor.began) + 2.5
    said, heard = (
        r.samples[round((begin - r.began) * 48_000) :][: 3 * 48_000] for r in (main, monitor)
    )
    assert np.abs(heard).max() > 0.05
    late = lag(heard, said)
    assert abs(late) < 0.15 * 48_000
    if late >= 0:
        heard, said = heard[late:], said[: len(said) - late]
    else:
        heard, said = heard[:late], said[-late:]
    likeness = np.corrcoef(heard, said)[0, 1]
    assert likeness > 0.95, "the monitor says something else, or slips"
