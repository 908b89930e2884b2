"""Recordings that end by a full disk, a kill, a stalled disk, or in the usual way."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.recording import Recording, Side
from rtvc.audio.recording_file import RecordingError, RecordingFile
from rtvc.audio.simulated import SimulatedDevice
from rtvc.audio.tee import TeeEndpoint
from rtvc.errors import RtvcError
from tests.support.patience import measured
from tests.support.processes import started

RATE = 48_000
PATIENCE_S = 60.0
"""Longest wait for the last samples: on a busy machine an encoder takes long."""
FORMATS = ("wav", "flac", "aiff", "mp3", "ogg", "opus")
LOSSLESS = FORMATS[:3]

SOURCE = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from rtvc.audio.recording import Recording, Side

RATE, FORMATS = 48_000, sys.argv[2:]
noise = np.random.default_rng(0).uniform(-0.3, 0.3, 8 * RATE).astype(np.float32)
pieces = np.split(noise, 80)
"""
FULL = """
for ext in FORMATS:
    size = 300_000 if ext in ("wav", "flac", "aiff") else 40_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    recording = Recording({"output": Path(sys.argv[1]) / f"talk.{ext}"})
    for piece in pieces:
        recording.push("output", piece)
    while not recording.error and recording._thread.is_alive():
        time.sleep(0.01)
    print(json.dumps([recording.error, recording.seconds]), flush=True)
"""
KILLED = """
recordings = [Recording({"output": Path(sys.argv[1]) / f"talk.{ext}"}) for ext in FORMATS]
began = time.monotonic()
for number, piece in enumerate(pieces, 1):
    time.sleep(max(0.0, began + 0.1 * number - time.monotonic()))
    for recording in recordings:
        recording.push("output", piece)
    print(number, flush=True)
"""


def noise(seconds: float):
    values = np.random.default_rng(0).uniform(-0.3, 0.3, 8 * RATE).astype(np.float32)
    return values[: round(seconds * RATE)]


def push(recording: Recording, samples) -> None:
    for piece in np.array_split(samples, max(1, samples.size // 4800)):
        recording.push("output", piece)


def read(path):
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return samples


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The result of a recording in each format, and their folder; each file has a largest size."""
    folder = tmp_path_factory.mktemp("full")
    with started([sys.executable, "-c", SOURCE + FULL, folder, *FORMATS], stdout=-1) as process:
        lines = process.stdout.read().decode().splitlines()
        assert process.wait() == 0
    return folder, dict(zip(FORMATS, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("ext", FORMATS)
def test_a_full_disk_keeps_what_was_recorded(full, ext):
    folder, results = full
    error, seconds = results[ext]
    path = folder / f"talk.{ext}"
    assert "because the disk is full; what was recorded is in" in error
    assert str(path) in error
    samples = read(path)
    # A piece that is written at once lasts 0.3 s, and a page of an Ogg file a second.
    assert path.stat().st_size > (250_000 if ext in LOSSLESS else 20_000)
    assert seconds - len(samples) / RATE < (0.5 if ext not in ("ogg", "opus") else 1.1)
    if ext in LOSSLESS:
        np.testing.assert_allclose(samples, noise(8)[: len(samples)], atol=2e-7)


@measured  # the writer must get a processor in time
def test_a_kill_costs_less_than_half_a_second(tmp_path):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))  # another one for each attempt
    words: list[str | Path] = [sys.executable, "-c", SOURCE + KILLED, folder, *FORMATS]
    with started(words, stdout=-1) as process:
        pushed = [int(process.stdout.readline()) for _ in range(18)][-1]
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        pushed = int(rest[-1]) if rest else pushed
    for ext in FORMATS:
        samples = read(folder / f"talk.{ext}")
        if ext in ("ogg", "opus"):
            # Its newest page is missing; the newest seconds are in another file.
            samples = read(folder / "talk-end.wav")
        assert pushed / 10 - len(samples) / RATE < 0.5, ext
        if ext in LOSSLESS:
            np.testing.assert_allclose(samples, noise(8)[: len(samples)], atol=2e-7)


@pytest.mark.parametrize("ext", FORMATS)
def test_a_recording_is_complete_and_alone(tmp_path, ext):
    recording = Recording({"output": tmp_path / f"talk.{ext}"})
    push(recording, noise(1.0))
    recording.finish(PATIENCE_S)
    samples = read(tmp_path / f"talk.{ext}")
    assert len(samples) == pytest.approx(RATE, abs=0 if ext != "mp3" else 2 * 1152 + 1105)
    assert [path.name for path in tmp_path.iterdir()] == [f"talk.{ext}"]
    assert recording.seconds == 1.0
    assert recording.missing_s == 0.0


def test_nothing_is_overwritten_and_nothing_empty_is_left(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_text("mine")
    recording = Recording({"output": path, "input": tmp_path / "talk-input.wav"})
    push(recording, noise(0.2))
    recording.finish(PATIENCE_S)
    assert path.read_text() == "mine"
    assert recording.paths[0] == tmp_path / "talk-2.wav"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["talk-2.wav", "talk.wav"]


@pytest.mark.parametrize("ext", ["wav", "ogg"])
def test_a_folder_that_gets_another_name_does_not_end_a_recording(tmp_path, ext):
    folder = tmp_path / "before"
    folder.mkdir()
    recording = Recording({"output": folder / f"talk.{ext}"}, waiting_s=60.0)
    folder = folder.rename(tmp_path / "after")
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, RATE).astype(np.float32)
    for _ in range(40):
        recording.push("output", noise)
    recording.finish(PATIENCE_S)
    assert soundfile.info(folder / f"talk.{ext}").frames == 40 * RATE


def test_a_long_recording_continues_in_another_file(tmp_path):
    recording = Recording({"output": tmp_path / "talk.flac"}, longest_s=1.0)
    push(recording, noise(2.5))
    recording.finish(PATIENCE_S)
    assert [path.name for path in recording.paths] == ["talk.flac", "talk-2.flac", "talk-3.flac"]
    joined = np.concatenate([read(path) for path in recording.paths])
    np.testing.assert_allclose(joined, noise(2.5), atol=2e-7)


def test_a_long_recording_ends_where_no_other_file_can_be_created(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    recording = Recording({"output": folder / "talk.wav"}, longest_s=2.0)
    push(recording, noise(1.5))
    while recording.seconds < 1.5:
        time.sleep(0.01)
    folder.rename(tmp_path / "renamed")
    push(recording, noise(1.0))
    with pytest.raises(RtvcError) as caught:
        recording.finish(PATIENCE_S)
    assert str(caught.value) == (
        f"The recording ended after 0:01, because there is no folder {folder}; what was recorded "
        f"is in {folder / 'talk.wav'}, which was moved or removed."
    )
    assert 1.5 <= recording.seconds <= 2.0
    assert soundfile.info(tmp_path / "renamed" / "talk.wav").duration == recording.seconds


def test_what_a_kill_would_leave_is_told_whenever_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("rtvc.audio.recording._END_S", 0.5)
    told: list[list[str]] = []
    recording = Recording(
        {"output": tmp_path / "talk.ogg"},
        longest_s=1.4,
        on_files=lambda files: told.append([path.name for path in files]),
    )
    assert told == [["talk.ogg", "talk-end.wav"]]
    for _ in range(4):  # one at a time, so that the thread notes all that happens
        push(recording, noise(0.5))
        while recording._tracks["output"]._waiting or recording.seconds < 0.5:
            time.sleep(0.01)
        time.sleep(0.25)
    assert ["talk.ogg", "talk-end.wav", "talk-end-2.wav"] in told
    assert set(told[-1]) == {path.name for path in tmp_path.iterdir()}
    assert {"talk.ogg", "talk-2.ogg", "talk-2-end.wav"} <= set(told[-1])
    recording.finish(PATIENCE_S)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk-2.ogg", "talk.ogg"]


def test_a_recording_that_cannot_begin_leaves_no_file(tmp_path, monkeypatch):
    create = RecordingFile.__init__

    def full(self, path):
        if path.suffix == ".wav":
            raise RecordingError(path, OSError(errno.ENOSPC, "No space left on device"))
        create(self, path)

    monkeypatch.setattr(RecordingFile, "__init__", full)
    with pytest.raises(RtvcError, match="the disk is full"):
        Recording({"output": tmp_path / "talk.ogg"})
    assert not list(tmp_path.iterdir())


def test_a_disk_that_becomes_read_only_is_told(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    class ReadOnly:
        """The module `os` on a disk that nothing can be written to."""

        write = fsync = ftruncate = staticmethod(refuse)

        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def close(self, number: int) -> None:
            os.close(number)
            refuse()

    recording = Recording({"output": tmp_path / "talk.ogg"})
    monkeypatch.setattr("rtvc.audio.recording_file.os", ReadOnly())
    monkeypatch.setattr("rtvc.audio.recording_file.Path.unlink", refuse)
    for _ in range(20):
        push(recording, noise(1.0))
        time.sleep(0.02)
    recording._thread.join(5)
    monkeypatch.undo()
    with pytest.raises(RtvcError, match="Read-only file system"):
        recording.finish()


def test_a_disk_that_does_not_respond(tmp_path, monkeypatch):
    responds = threading.Event()
    write = RecordingFile.write

    def stall(self, samples):
        responds.wait(10)
        write(self, samples)

    monkeypatch.setattr(RecordingFile, "write", stall)
    recording = Recording({"output": tmp_path / "talk.wav"}, waiting_s=1.0)
    push(recording, noise(3.0))
    assert sum(np.size(piece) for piece in recording._tracks["output"]._waiting) <= RATE
    began = time.monotonic()
    with pytest.raises(RtvcError, match=r"talk\.wav may be missing"):
        recording.finish(0.1)
    assert time.monotonic() - began < 1.0
    responds.set()
    recording._thread.join(5)
    assert recording.missing_s == pytest.approx(2.0, abs=0.11)
    samples = read(tmp_path / "talk.wav")
    # Silence in place of what is missing keeps the time.
    assert len(samples) == 3 * RATE
    kept = np.flatnonzero(samples)[-1] + 1
    np.testing.assert_allclose(samples[:kept], noise(3.0)[:kept], atol=2e-7)


def test_a_disk_that_stops_responding_names_the_newest_file_of_each_side(tmp_path, monkeypatch):
    stalls, responds = threading.Event(), threading.Event()
    close = RecordingFile.close

    def stall(self):
        if self.path.stem == "talk-2":
            stalls.set()
            responds.wait(60)
        close(self)

    monkeypatch.setattr(RecordingFile, "close", stall)
    paths: dict[Side, Path] = {
        "output": tmp_path / "talk.wav",
        "input": tmp_path / "talk-input.wav",
    }
    recording = Recording(paths, longest_s=1.0)
    push(recording, noise(1.5))
    recording.push("input", noise(0.5))
    recording._stop_requested.set()
    assert stalls.wait(30)
    with pytest.raises(RtvcError) as caught:
        recording.finish(0.1)
    responds.set()
    recording._thread.join(5)
    files = f"{tmp_path / 'talk-2.wav'} and {tmp_path / 'talk-input.wav'}"
    assert f"the last seconds of {files} may be missing" in str(caught.value)


def test_input_and_output_have_a_file_each(tmp_path):
    device = SimulatedDevice(noise(1.0))
    endpoint = TeeEndpoint(device)
    paths: dict[Side, Path] = {
        "output": tmp_path / "talk.wav",
        "input": tmp_path / "talk-input.wav",
    }
    endpoint.recording = recording = Recording(paths)
    endpoint.start(lambda: None, 0)
    for _ in range(5):
        assert endpoint.wait(4800, 1.0) >= 4800
        endpoint.write(0.5 * endpoint.read(4800))
    recording.finish(PATIENCE_S)
    endpoint.stop()
    heard, played = read(paths["input"]), read(paths["output"])
    assert len(heard) == len(played) == 24_000
    np.testing.assert_allclose(played, 0.5 * heard, atol=2e-7)
