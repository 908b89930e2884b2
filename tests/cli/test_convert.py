"""``rtvc convert``: files and folders, through the real engine."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.cli.convert_jobs import plan
from rtvc.errors import UsageError
from rtvc.live.demo import load_utterance
from tests.support.processes import started
from tests.support.pseudo_terminal import on_terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def convert(*arguments: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rtvc", "convert", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def speech(path: str, seconds: float = 1.5, rate: int = 48_000, channels: int = 1) -> Path:
    samples = load_utterance()[24_000 : 24_000 + round(seconds * 48_000)]
    samples = np.interp(np.arange(0, len(samples), 48_000 / rate), np.arange(len(samples)), samples)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.stack([samples] * channels, axis=1), rate)
    return file


def test_a_file_becomes_a_file_of_the_same_length_and_rate():
    source = speech("talk.wav", rate=44_100, channels=2)
    told = convert(source, "new/deep.flac", "--pitch", "-5")
    assert re.fullmatch(r"talk.wav -> new/deep.flac, [\d.]+ x real time\n", told)
    before, after = soundfile.info(source), soundfile.info("new/deep.flac")
    assert (after.frames, after.samplerate, after.channels) == (before.frames, 44_100, 1)
    sound, _ = soundfile.read("new/deep.flac")
    assert np.sqrt(np.mean(sound**2)) > 0.01


def test_the_same_command_gives_the_same_file_whatever_is_remembered(tmp_path: Path):
    source = speech("talk.wav")
    words = ("--whisper", "--seed")
    convert(source, "a.wav", *words, "7")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "remembered.yaml").write_text("pitch: 12\nblock: 300\n")
    convert(source, "b.wav", *words, "7")
    convert(source, "c.wav", *words, "8")
    a, b, c = (soundfile.read(name)[0] for name in ("a.wav", "b.wav", "c.wav"))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


def test_rate():
    convert(speech("talk.wav"), "out.wav", "--rate", "22050")
    info = soundfile.info("out.wav")
    assert (info.samplerate, info.frames) == (22_050, round(1.5 * 22_050))


def test_nothing_is_overwritten_without_force():
    source = speech("talk.wav")
    Path("out.wav").write_text("mine")
    assert "out.wav exists already" in convert(source, "out.wav", code=1)
    assert Path("out.wav").read_text() == "mine"
    convert(source, "out.wav", "--force")
    assert soundfile.info("out.wav").frames == 72_000
    assert "is an input file" in convert(source, "talk.wav", "--force", code=2)
    assert sorted(os.listdir()) == ["out.wav", "talk.wav"]


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_an_output_that_cannot_be_written_is_one_sentence(rate: int):
    message = convert(speech("talk.wav", rate=rate), "/proc/out.wav", code=1)
    assert message == "rtvc: Cannot write /proc/out.wav: No such file or directory.\n"


def test_files_that_hold_no_sound_are_named():
    Path("text.wav").write_text("no sound")
    message = convert("text.wav", "out.wav", code=1)
    assert message.startswith("rtvc: Cannot read text.wav: it is in no format that libsndfile")


def test_folders_keep_their_order_and_a_bad_file_stops_no_other():
    speech("in/a.wav", 0.5)
    speech("in/sub/b.flac", 0.5, rate=16_000)
    Path("in/broken.wav").write_bytes(b"RIFF nonsense")
    Path("in/notes.txt").write_text("no sound")
    speech("in/.hidden.wav", 0.5)
    told = convert("in", speech("extra.ogg", 0.5), "out", code=1).splitlines()
    assert told[0].startswith("in/a.wav -> out/a.wav")
    assert told[1].startswith("rtvc: Cannot read in/broken.wav")
    assert told[2].startswith("in/sub/b.flac -> out/sub/b.flac")
    assert told[3].startswith("extra.ogg -> out/extra.ogg")
    assert told[4] == "3 of 4 files converted."
    made = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    assert made == ["a.wav", "extra.ogg", "sub/b.flac"]


def test_plans():
    for name in ("a.wav", "x/a.wav", "x/y/b.wav", "x/out/old.wav"):
        speech(name, 0.1)
    a, x = Path("a.wav"), Path("x")
    Path("folder.d").mkdir()
    assert plan([a], Path("b.mp3")) == [(a, Path("b.mp3"))]
    assert plan([a], Path("b")) == [(a, Path("b/a.wav"))]
    assert plan([a], Path("folder.d")) == [(a, Path("folder.d/a.wav"))]
    below = [(x / "a.wav", x / "out/a.wav"), (x / "y/b.wav", x / "out/y/b.wav")]
    assert plan([x], x / "out") == below
    for inputs, target, part in [
        ([a, x / "a.wav"], "out", "would both be written to out/a.wav"),
        ([a, x], "a.wav", "is a file. Give a folder"),
        ([a], "out.xyz", "names no sound format"),
        ([x], "x", "is an input file"),
        ([Path("folder.d")], "out", "There are no sound files in the folder 'folder.d'"),
        ([Path("none.wav")], "out", "There is no file 'none.wav'"),
    ]:
        with pytest.raises(UsageError, match=re.escape(part)):
            plan(inputs, Path(target))


def test_an_interrupt_leaves_nothing_half_done():
    soundfile.write("talk.wav", np.tile(load_utterance(), 6), 48_000)
    words = [sys.executable, "-m", "rtvc", "convert", "talk.wav", "out.wav", "--block", "20"]
    with started(words, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while len(os.listdir()) == 1 and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""
    assert os.listdir() == ["talk.wav"]


def test_a_terminal_shows_progress_and_the_time_left():
    speech("talk.wav", 9.0)
    code = (
        "import sys; from rtvc.cli.main import main; "
        "sys.exit(main(['convert', 'talk.wav', 'out.wav']))"
    )
    with on_terminal(code) as terminal:
        seen = terminal.read_until("x real time")
        assert re.search(r"\rtalk.wav \[#+ *\] +\d+% +\d+ s left", seen)
        assert terminal.process.wait(20) == 0
