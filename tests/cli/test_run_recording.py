"""``rtvc run --record``, without a device: the demonstration is recorded."""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rtvc.audio.recording import Recording
from rtvc.audio.simulated import Fault, SimulatedDevice
from rtvc.calibration.sizing import Sizing
from rtvc.cli import run_status_line
from rtvc.cli.guarded import GuardLink
from rtvc.cli.main import parse
from rtvc.cli.run_devices import RunDevices
from rtvc.config.recording_choice import RecordingChoice
from rtvc.config.remembered import RememberedRun, load_remembered, save_remembered
from rtvc.errors import UsageError, escaped
from rtvc.live.demo import load_utterance
from rtvc.live.devices import DeviceNames, DeviceSelection, OpenDevices
from rtvc.live.recorder import Recorder, unfinished_recordings
from tests.cli.test_main import refused, rtvc_command
from tests.support.processes import started

pytestmark = pytest.mark.slow

DEMO = ("run", "--demo", "demo.wav", "--pitch", "3")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


def test_a_kill_leaves_both_recordings_and_the_next_start_says_where(tmp_path: Path):
    words = ("--record", "talk.wav", "--record-what", "both")
    with started([sys.executable, "-m", "rtvc", *DEMO, *words], stdout=-1, stderr=-1) as process:
        output, own = tmp_path / "talk.wav", tmp_path / "talk-input.wav"
        # Each file is written at its own times.
        while not all(file.exists() and file.stat().st_size > 60_000 for file in (output, own)):
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    heard, _ = soundfile.read("talk-input.wav", dtype="float32")
    utterance = load_utterance()
    assert len(heard) > 4800
    np.testing.assert_allclose(heard, np.clip(utterance[: len(heard)], -1, 1), atol=2e-7)
    played, _ = soundfile.read(output)
    assert len(played) > 4800
    sentence = unfinished_recordings()
    assert f"the recording can be played and is in {output} and {tmp_path}/talk-input" in sentence
    assert not unfinished_recordings(), "said twice"


def test_a_finished_recording_is_said_once_and_is_what_was_played(tmp_path: Path):
    words = ("--record", "--record-name", "a-%Y.wav", "--record-folder", "new/sounds")
    done = rtvc_command(*DEMO, *words, "--seconds", "0.6", "--force")
    path = tmp_path / "new" / "sounds" / f"a-{time.strftime('%Y')}.wav"
    assert f"Recording to {path}." in done.stderr
    assert f"Saved the recording to {path}." in done.stdout
    played, _ = soundfile.read("demo.wav")
    recorded, _ = soundfile.read(path)
    assert len(recorded) > 9600
    np.testing.assert_allclose(recorded[: len(played)][:9600], played[:9600], atol=2e-7)
    assert not unfinished_recordings()


def test_what_cannot_be_recorded_is_refused_before_the_run():
    assert "names no sound format" in refused(*DEMO, "--record", "talk.txt")
    assert "without a folder" in refused(*DEMO, "--record-name", "a/talk.wav")
    assert "There is no folder" in refused(*DEMO, "--record", "nowhere/talk.wav")


def test_the_choice_is_remembered(tmp_path: Path):
    choice = RecordingChoice("both", str(tmp_path), "talk-%H.ogg")
    save_remembered(RememberedRun(recording=choice))
    assert load_remembered()[0].recording == choice
    save_remembered(RememberedRun())
    assert "record" not in (tmp_path / "config" / "remembered.yaml").read_text()
    assert load_remembered()[0].recording == RecordingChoice()
    with pytest.raises(UsageError, match="Choose output, input or both"):
        RecordingChoice("everything")
    for name in ("a\nb.wav", "a%nb.wav", "\x1b[31m.wav"):
        with pytest.raises(UsageError, match="The name of recordings is"):
            RecordingChoice(name=name)


def test_a_recording_that_ends_by_itself_is_said_once_and_another_can_begin(tmp_path: Path):
    attached: list[Recording | None] = []
    recorder = Recorder(attached.append, RecordingChoice(folder=str(tmp_path)))
    assert recorder.start() == str(tmp_path / "rtvc-recording.wav")
    recording = attached[-1]
    assert recording is not None
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        while not (message := recorder.take_message()):
            recording.push("output", np.zeros(4800, np.float32))
            time.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "because the disk is full; what was recorded is in" in message
    assert not recorder.take_message()
    assert (attached[-1], recorder.seconds, recorder.files) == (None, None, "")
    assert not unfinished_recordings()
    assert recorder.start() == str(tmp_path / "rtvc-recording-2.wav")
    recorder.stop()


def test_only_the_input_is_recorded_if_that_is_asked(tmp_path: Path):
    recorder = Recorder(lambda recording: None, RecordingChoice("input"))
    assert recorder.start() == str(tmp_path / "rtvc-recording-input.wav")
    assert "before there was any sound" in recorder.stop()
    assert not list(tmp_path.glob("*.wav"))


def test_a_side_without_sound_is_not_said_to_be_saved(tmp_path: Path):
    attached: list[Recording | None] = []
    recorder = Recorder(attached.append, RecordingChoice("both", str(tmp_path)))
    recorder.start()
    recording = attached[-1]
    assert recording is not None
    recording.push("input", np.zeros(4800, np.float32))
    assert recorder.stop() == f"Saved the recording to {tmp_path / 'rtvc-recording-input.wav'}."


def test_the_newest_seconds_of_a_killed_recording_are_named_too(tmp_path: Path):
    recorder = Recorder(lambda recording: None)
    recorder.start(tmp_path / "talk.ogg")
    sentence = unfinished_recordings()  # as after a kill: what this process has noted
    assert sentence.endswith(f" is in {tmp_path / 'talk.ogg'} and {tmp_path / 'talk-end.wav'}.")
    recorder.stop()


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines"])
def test_any_name_of_a_folder_can_have_recordings(tmp_path: Path, name: bytes):
    folder = tmp_path / os.fsdecode(name)
    recorder = Recorder(lambda recording: None, RecordingChoice(folder=str(folder)))
    recorder.start()
    assert unfinished_recordings().endswith(f" is in {escaped(str(folder))}/rtvc-recording.wav.")
    recorder.stop()


def test_a_file_that_cannot_be_written_hides_no_other(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    words = ("--record", "talk.wav", "--stats", str(folder / "s.json"), "--seconds", "1.5")
    with started([sys.executable, "-m", "rtvc", *DEMO, *words], stdout=-1, stderr=-1) as process:
        while not Path("talk.wav").exists():
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.02)
        folder.rename(tmp_path / "renamed")
        folder.write_text("in the way")
        told, failed = (text.decode() for text in process.communicate(timeout=60))
    assert process.returncode == 1
    assert "s.json cannot be written" in failed
    assert f"Saved the recording to {tmp_path / 'talk.wav'}." in told
    assert "The output is in demo.wav." in told
    assert " blocks, " in told


class WithoutInput(SimulatedDevice):
    """A device that opens, and records nothing."""

    def wait(self, samples: int, timeout: float) -> int:
        time.sleep(0.01)
        return 0


def test_a_recording_is_named_also_if_no_block_was_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(sources: tuple[Any, ...], *_: object, **__: object) -> None:
        sources[0].endpoint.recording.push("output", np.zeros(4800, np.float32))
        raise KeyboardInterrupt

    monkeypatch.setattr(run_status_line, "_watch", interrupted)
    opened = OpenDevices(WithoutInput(np.zeros(0, np.float32), wall_clock=True), DeviceNames())
    devices = RunDevices(DeviceSelection(), lambda: opened)
    args = parse(["run", "--no-tui", "--no-save", "--record", str(tmp_path / "talk.wav")])
    with pytest.raises(KeyboardInterrupt):
        run_status_line.run(args, devices, RememberedRun(), Sizing(), GuardLink())
    assert f"Saved the recording to {tmp_path / 'talk.wav'}." in capsys.readouterr().out


def test_the_saved_minute_names_the_devices_that_came_later(tmp_path: Path):
    lost = SimulatedDevice(load_utterance()[:96_000], faults=[Fault(0.5, "lost", 0.3)])
    names = DeviceNames("microphone that came", "speaker that came")
    opened = OpenDevices(lost, DeviceNames("", "typed"), in_use=lambda: names)
    devices = RunDevices(DeviceSelection(), lambda: opened)
    args = parse(["run", "--no-tui", "--no-save", "--save-on-fault"])
    recording = RecordingChoice(folder=str(tmp_path))
    run = RememberedRun(recording=recording)
    run_status_line.run(args, devices, run, Sizing(), GuardLink())
    (folder,) = tmp_path.glob("rtvc-minute-*")
    assert json.loads((folder / "versions.json").read_text())["devices"] == names._asdict()
