"""The flight recorder on simulated devices, what it saves, and its replay."""

import json
import os
import resource
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from rtvc.audio.simulated import Fault, SimulatedDevice
from rtvc.cli.main import main
from rtvc.config.presets import load_preset
from rtvc.engine.chain import Chain
from rtvc.errors import RtvcError
from rtvc.library.open_voice import find_voice
from rtvc.live import flight_recorder
from rtvc.live.device_session import DeviceSession
from rtvc.live.devices import DeviceNames, OpenDevices
from rtvc.live.flight_folder import COLUMNS, delivered_rows, write_folder
from rtvc.live.flight_log import AudioRing
from rtvc.live.flight_recorder import FlightRecorder
from rtvc.live.replay import load, replay
from rtvc.settings import Settings
from rtvc.stats import DeviceHealth, State, Stats
from tests.support.material import more
from tests.support.speech import UTTERANCES
from tests.support.voices import PlainVoice, finder

pytestmark = pytest.mark.slow

RATE = 48_000
GOLDEN = Path(__file__).parents[1] / "golden"


def speech(seconds: float):
    samples, rate = soundfile.read(UTTERANCES[0], dtype="float32")
    return np.resize(soxr.resample(samples, rate, RATE), round(seconds * RATE)).astype(np.float32)


class ScriptedDevice(SimulatedDevice):
    """Applies settings when certain blocks are read."""

    script: dict[int, dict[str, Any]]
    session: DeviceSession
    reads = 0

    def read(self, samples: int):
        self.reads += 1
        if changes := self.script.get(self.reads):
            self.session.session.apply(**changes)
        return super().read(samples)


def fly(flight, seconds, settings, script=None, *, find=find_voice, faults=()):
    device = ScriptedDevice(speech(seconds), faults=faults)
    device.script = script or {}
    opened = OpenDevices(device, DeviceNames("mic", "speaker"))
    device.session = session = DeviceSession(opened, settings, find, flight=flight)
    session.start()
    while not session.session.wait(0.05):
        pass
    session.stop()
    return session


@pytest.mark.thorough
def test_a_replay_is_the_run_bit_for_bit(tmp_path, anna, capsys):
    """A run with changes of settings, block and voice."""
    flight = FlightRecorder(tmp_path, seconds=10)
    script = {
        8: {"pitch": 5.0, "loudness": 1.0},
        16: {"block": 60.0},
        22: {"formant": -2.0},
        28: {"voice": "anna", "block": 100.0},
        33: {"pitch": -3.0, "formant": 1.0},
    }
    fly(flight, 3.5, Settings(pitch=2, input_gain=3), script)
    folder = write_folder(flight.log(), tmp_path, {"input": "mic"})

    saved = load(folder)
    assert {settings.voice for settings in saved.chains.values()} == {"world", "anna"}
    again = replay(saved, find_voice)
    assert again.identical == again.rendered >= 30
    assert again.unknown == 0
    heard, _ = soundfile.read(folder / "input.flac", dtype="float32")
    assert 3.5 <= len(heard) / RATE < 4.1
    assert len(again.output) == len(heard)
    played, _ = soundfile.read(folder / "output.flac", dtype="float32")
    assert np.abs(played).max() > 0.05

    out = tmp_path / "again.wav"
    assert main(["replay", str(folder), "--output", str(out)]) == 0
    assert f"{again.rendered} are identical to the run" in capsys.readouterr().out
    np.testing.assert_allclose(soundfile.read(out)[0], again.output, atol=2e-7)
    assert main(["replay", str(folder), "--output", str(out)]) == 2
    (tmp_path / "soft.yaml").write_text("output_gain: -36\n")
    muted = ("--voice", "world", "--preset", str(tmp_path / "soft.yaml"))
    assert main(["replay", str(folder), "--output", str(out), "--force", *muted]) == 0
    assert np.abs(soundfile.read(out)[0]).max() < 0.02


def test_a_preset_replaces_all_that_presets_set(tmp_path):
    flight = FlightRecorder(tmp_path, seconds=10)
    fly(flight, 1.0, Settings(pitch_fixed=110, breathiness=-1, input_gain=3))
    folder, out = write_folder(flight.log(), tmp_path, {}), tmp_path / "deep.wav"
    assert main(["replay", str(folder), "--output", str(out), "--preset", "deep"]) == 0
    changes: dict[str, Any] = {"voice": "world", "pitch": -5.0, "formant": -2.0}
    changes |= {"output_gain": -2.0, "pitch_fixed": 0.0, "breathiness": 0.0}
    expected = replay(load(folder), find_voice, changes)
    np.testing.assert_allclose(soundfile.read(out)[0], expected.output, atol=2e-7)


def test_a_chain_that_continues_is_replayed_bit_for_bit(tmp_path):
    """It has the automatic pitch of the one before, and silence where devices were away."""
    flight = FlightRecorder(tmp_path, seconds=20)
    script = {40: {"block": 60.0}, 70: {"block": 80.0}}
    settings = Settings(auto_pitch="on", auto_pitch_target=200.0, latency="constant")
    fly(flight, 9.0, settings, script, faults=[Fault(6.0, "lost", 0.5)])
    log = flight.log()
    assert len({chain.number for chain, *_ in log.learned}) == 2
    saved = load(write_folder(log, tmp_path, {}))
    again = replay(saved, find_voice)
    assert again.identical == again.rendered >= 90
    assert again.unknown == 0


@pytest.mark.thorough
@pytest.mark.parametrize("voice", more(["world", "anna"]))
def test_a_run_that_is_longer_than_what_is_kept(tmp_path, anna, voice, monkeypatch):
    """The replay starts from the state of the chain at a certain block."""
    monkeypatch.setattr(flight_recorder, "HISTORY_S", 0.3)
    flight = FlightRecorder(tmp_path, seconds=0.8)
    flight.note("test", "Something has happened.")
    fly(flight, 2.0, Settings(voice=voice, pitch=3))
    folder = write_folder(flight.log(), tmp_path, {})
    assert "Something has happened." in (folder / "events.json").read_text()
    assert "Something has happened." not in (folder / "trace.json").read_text()
    saved = load(folder)
    assert saved.start >= saved.input_start + 0.3 * RATE > 0.3 * RATE
    again = replay(saved, find_voice)
    assert again.identical == again.rendered >= 7
    assert again.unknown == 0


def test_a_folder_is_for_people_and_programs(tmp_path):
    flight = FlightRecorder(tmp_path)
    flight.note("test", "Something has happened.")
    fly(flight, 2.0, Settings(), {5: {"pitch": 4.0, "mode": "dry"}})
    folder = write_folder(flight.log(), tmp_path, {"input": "mic"})
    names = "events.json input.flac output.flac replay.npz settings.yaml trace.json versions.json"
    assert sorted(path.name for path in folder.iterdir()) == names.split()
    events = json.loads((folder / "events.json").read_text())
    assert events[0]["text"] == "Something has happened."
    assert any("pitch: 0 -> 4 semitones" in event["text"] for event in events)
    trace = json.loads((folder / "trace.json").read_text())
    assert {"step", "voice", "test"} <= {event["name"] for event in trace}
    text = (folder / "settings.yaml").read_text()
    assert "# The mode at the end: dry." in text
    preset = load_preset(folder / "settings.yaml")
    assert preset.apply_to(Settings()) == Settings(pitch=4)
    assert json.loads((folder / "versions.json").read_text())["devices"] == {"input": "mic"}
    assert write_folder(flight.log(), tmp_path, {}) != folder
    latin = write_folder(flight.log(), tmp_path / os.fsdecode(b"caf\xe9"), {})
    assert sorted(path.name for path in latin.iterdir()) == names.split()


def test_what_was_played_late_is_known(tmp_path):
    flight = FlightRecorder(tmp_path)
    device = SimulatedDevice(speech(4.0))
    slow = PlainVoice(on_render=lambda n: device.pass_time(0.25 if n == 20 else 0.01))
    opened = OpenDevices(device, DeviceNames())
    settings = Settings(latency="constant")
    session = DeviceSession(opened, settings, finder(world=slow), flight=flight)
    session.start()
    while not session.session.wait(0.05):
        pass
    session.stop()
    assert session.session.stats().late_blocks >= 1
    rows = [row for row in delivered_rows(flight.log()) if row.call.output_crc >= 0]
    words = [row.delivered for row in rows]
    assert words.count("whole") > 25
    # One block and most of the next one were concealed and dropped; what was left is shorter than
    # the crossfade out of the concealment, which ends in the block after them.
    assert words[1:23] == ["whole"] * 18 + ["", "changed", "changed", "whole"]
    assert rows[20].concealed_before == 9216
    assert load(write_folder(flight.log(), tmp_path, {})).calls.shape[0] == len(rows)


def test_a_fault_is_saved_after_a_while_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr(flight_recorder, "_POLL_S", 0.01)
    monkeypatch.setattr(flight_recorder, "_AFTERMATH_S", 0.05)
    flight = FlightRecorder(tmp_path, save_on_fault=True, seconds=1)
    fly(flight, 1.5, Settings())
    current = [Stats(state=State.CONVERTED, blocks=5, late_blocks=0)]
    flight.watch(lambda: current[0], dict)
    time.sleep(0.1)
    assert not list(tmp_path.glob("rtvc-minute*"))
    current[0] = Stats(state=State.CONVERTED, blocks=9, device=DeviceHealth(underruns=2))
    end = time.monotonic() + 60
    while not (message := flight.take_message()):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert "with your own voice in it" in message
    current[0] = Stats(state=State.DEVICE_LOST, blocks=9)
    time.sleep(0.2)
    flight.close()
    (folder,) = tmp_path.glob("rtvc-minute*")
    assert "2 underruns of the device." in (folder / "events.json").read_text()
    assert load(folder).input.size >= RATE


def test_a_fault_just_before_the_end_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(flight_recorder, "_POLL_S", 60.0)
    flight = FlightRecorder(tmp_path, save_on_fault=True, seconds=1)
    fly(flight, 0.5, Settings())
    flight.watch(Stats, dict)
    flight.look(Stats(state=State.CONVERTED, blocks=5, late_blocks=1))
    flight.close(60.0)
    (folder,) = tmp_path.glob("rtvc-minute*")
    assert "1 late blocks." in (folder / "events.json").read_text()


def test_a_full_disk_leaves_no_half_folder(tmp_path):
    flight = FlightRecorder(tmp_path / "file", seconds=1)
    with pytest.raises(RtvcError, match="no sound yet"):
        flight.save()
    (tmp_path / "file").write_text("in the way")
    flight.push("input", np.zeros(480, np.float32))
    flight.save()
    flight.close()
    assert "was not saved" in flight.take_message()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_becomes_full_is_told_in_words(tmp_path):
    flight = FlightRecorder(tmp_path, seconds=5)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 2 * RATE).astype(np.float32)
    for piece in np.split(noise, 20):
        flight.push("input", piece)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        flight.save()
        flight.close(60.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    message = flight.take_message()
    assert message.startswith("The last minute was not saved.")
    assert message.endswith(" cannot be written: the disk may be full.")
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_replayed(tmp_path):
    with pytest.raises(RtvcError, match=r"no replay\.npz"):
        load(tmp_path)
    (tmp_path / "replay.npz").write_bytes(b"not a file of arrays")
    with pytest.raises(RtvcError, match="is damaged"):
        load(tmp_path)


def test_a_minute_that_is_not_saved_by_the_end_is_reported(tmp_path, monkeypatch):
    responds = threading.Event()
    monkeypatch.setattr(flight_recorder, "write_folder", lambda *_: responds.wait(10))
    flight = FlightRecorder(tmp_path)
    flight.push("input", speech(0.1))
    flight.save()
    flight.close(0.1)
    assert flight.take_message() == "The last minute was not saved: the disk is too slow."
    responds.set()


def test_a_damaged_file_of_a_replay_is_called_so(tmp_path):
    file = tmp_path / "replay.npz"
    facts: dict[str, Any] = {"format": 1, "versions": {"rtvc": "1"}, "settings": [{}], "states": []}
    facts |= {"input_start": 0, "start": 0, "chains": {"0": {}}}

    def write(facts: object) -> None:
        text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        calls = np.zeros((1, len(COLUMNS)), np.int64)
        np.savez_compressed(file, facts=text, calls=calls, input=np.zeros(100, np.float32))

    write(facts)
    load(tmp_path)
    whole = file.read_bytes()
    refused = 0
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            load(tmp_path)
        except RtvcError:  # and no other error
            refused += 1
    assert refused > len(whole) / 2
    wrong: tuple[object, ...] = ([], {**facts, "chains": []}, {**facts, "start": 1e400})
    for one in wrong:
        write(one)
        with pytest.raises(RtvcError, match=r"is damaged\. Save another one\.$"):
            load(tmp_path)


def test_the_ring_keeps_the_newest_samples():
    ring = AudioRing(3 * RATE)
    signal = np.arange(10 * RATE, dtype=np.float32)
    for piece in np.array_split(signal, 97):
        ring.push(piece)
    samples, start = ring.read()
    np.testing.assert_array_equal(samples, signal[start:])
    assert len(samples) >= 2 * RATE


def test_a_block_costs_little(tmp_path):
    """Copies and checksums of two blocks of 100 ms, not the state of a chain."""
    flight = FlightRecorder(tmp_path)
    settings = Settings()
    chain = Chain(PlainVoice(), settings)
    blocks = [np.full(chain.block, 0.1 * n, np.float32) for n in range(60)]
    steps = [chain.step(block, settings) for block in blocks]
    times = []
    for block, step in zip(blocks, steps, strict=True):
        began = time.perf_counter()
        flight.push("input", block)
        flight.stepped(chain, block, settings, step)
        flight.push("output", step.output)
        times.append(time.perf_counter() - began)
    assert np.median(times) < 300e-6  # 0.06 ms on an idle machine
    shutil.rmtree(tmp_path)
