"""``rtvc convert`` with files and folders that are not what they seem: one sentence, no abort."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.local_file import local_file
from rtvc.audio.sound_input import inspect
from rtvc.audio.sound_source import read_whole
from rtvc.cli.main import main
from rtvc.errors import RtvcError
from tests.support.material import more

RATE = 48_000


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE // 4)
    soundfile.write("in.wav", noise, RATE)
    return tmp_path


@pytest.fixture
def convert(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def convert(*arguments: str, code: int = 0) -> str:
        assert main(["convert", *arguments]) == code
        told = capfd.readouterr().err
        assert told.count("\n") == 1
        return told

    return convert


@pytest.mark.parametrize(
    "name", ["a\nb.wav", "\x1b[31ma.wav", "a\rb.wav", "\u202ea.wav", "\udcffa.wav"]
)
def test_control_characters_in_names_do_not_reach_the_terminal(
    convert: Callable[..., str], name: str
) -> None:
    os.rename("in.wav", name)
    for told in (
        convert(name, f"out-{name}"),
        convert(name, f"out-{name}", code=2),
        convert(f"no-{name}", "out.wav", code=2),
    ):
        assert told.rstrip("\n").isprintable()
    assert soundfile.info(os.fsencode(f"out-{name}")).frames == RATE // 4


def test_a_file_can_have_the_name_of_standard_input(convert: Callable[..., str]) -> None:
    os.rename("in.wav", "-")
    convert("./-", "out.wav")
    assert soundfile.info("out.wav").frames == RATE // 4


def test_links_in_a_circle(convert: Callable[..., str]) -> None:
    os.symlink("b.wav", "a.wav")
    os.symlink("a.wav", "b.wav")
    assert "There is no file 'a.wav'" in convert("a.wav", "out.wav", code=2)
    assert "a link that leads back to itself" in convert("in.wav", "a.wav", code=2)
    assert "a link that leads back to itself" in convert("in.wav", "b.wav", "--force", code=2)
    assert "Cannot make the folder a.wav" in convert("in.wav", "a.wav/out.wav", code=1)
    assert sorted(os.listdir()) == ["a.wav", "b.wav", "in.wav"]


@pytest.mark.parametrize("rate", [1, 100])
def test_a_sample_rate_that_is_none(convert: Callable[..., str], rate: int) -> None:
    data = bytearray(Path("in.wav").read_bytes())
    struct.pack_into("<I", data, 24, rate)
    Path("in.wav").write_bytes(data)
    assert f"states a sample rate of {rate} Hz" in convert("in.wav", "out.wav", code=1)


def test_a_file_that_gets_shorter_while_it_is_read() -> None:
    sound = inspect(Path("in.wav"))
    os.truncate("in.wav", 10_000)
    with pytest.raises(RtvcError, match=r"in.wav has changed while it was read"):
        read_whole(sound, RATE)


def test_a_fifo_is_read(convert: Callable[..., str]) -> None:
    os.mkfifo("fifo.wav")
    data = Path("in.wav").read_bytes()
    writer = threading.Thread(target=lambda: Path("fifo.wav").write_bytes(data))
    writer.start()
    convert("fifo.wav", "out.wav")
    writer.join()
    assert soundfile.info("out.wav").frames == RATE // 4


def test_no_temporary_folder_is_needed_for_files(
    convert: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    convert("in.wav", "out.wav")
    os.mkfifo("fifo.wav")
    assert "There is no folder for temporary files" in convert("fifo.wav", "x.wav", code=1)


def test_a_constant_offset_is_no_sound_to_miss(convert: Callable[..., str]) -> None:
    soundfile.write("in.wav", np.full(RATE, 0.5), RATE)
    convert("in.wav", "out.wav")


@pytest.mark.parametrize(
    "words",
    more(["convert in.wav -", "convert in.wav out.wav --json", "presets", "--help"], keep=2),
)
def test_a_full_standard_output_is_one_sentence(words: str) -> None:
    command = f"{sys.executable} -m rtvc {words} > /dev/full"
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("rtvc: Cannot write the output: No space left on device.\n")


def test_a_device_is_no_sound_file(convert: Callable[..., str]) -> None:
    for name in ("/dev/zero", "/dev/full"):
        assert "it is a device, not a sound file" in convert(name, "out.wav", code=1)
    assert "it is empty" in convert("/dev/null", "out.wav", code=1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("convert in.wav - >&-", "Standard output is closed. Give a file as OUT, or open it."),
        ("convert - out.wav < /dev/zero", "Cannot read standard input: it is a device"),
        ("convert - out.wav < /dev/null", "Cannot read standard input: it is empty."),
    ],
)
def test_standard_streams_that_lead_nowhere(words: str, sentence: str) -> None:
    command = f"{sys.executable} -m rtvc {words}"
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    assert done.returncode in (1, 2)
    assert sentence in done.stderr


def test_a_folder_that_is_removed_meanwhile(
    convert: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(_file: object) -> None:
        shutil.rmtree("folder")

    monkeypatch.setattr("rtvc.audio.sound_file.flush_file", remove)
    told = convert("in.wav", "folder/out.wav", code=1)
    assert "Cannot write folder/out.wav: its folder has been removed." in told


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize(("suffix", "codec"), [("dts", "dca"), ("wv", "wavpack"), ("mkv", "flac")])
def test_what_only_ffmpeg_reads_is_whole_or_told(here: Path, suffix: str, codec: str) -> None:
    path = here / f"in.{suffix}"
    command = ["ffmpeg", "-v", "error", "-i", "in.wav", "-c:a", codec, "-strict", "-2", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with local_file(path) as file:
        assert abs(inspect(file.path).frames - RATE // 4) < 2048
        assert file.damage == ""
    if codec == "dca":
        return  # ffmpeg does not check its checksums
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(range(200)) * 2
    path.write_bytes(data)
    with local_file(path) as file:
        assert file.damage == "its end is missing or parts of it are damaged"
