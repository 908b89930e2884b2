"""Files whose stated length is wrong or missing are read to the true end, or what lacks is said."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.local_file import local_file
from rtvc.audio.sound_input import SoundInput, inspect
from rtvc.audio.sound_source import read_whole
from rtvc.errors import RtvcError
from tests.audio.signals import noise_below

RATE = 48_000
SECONDS = 4.0


def whole(path: Path, seconds: float = SECONDS, **options: str | float) -> bytes:
    """Write a sound file, and return its bytes."""
    sound = noise_below(3000, RATE, round(seconds * RATE))
    if path.suffix == ".opus":
        options |= {"format": "OGG", "subtype": "OPUS"}
    soundfile.write(path, 0.3 * sound, RATE, **options)
    return path.read_bytes()


def inspected(path: Path, data: bytes) -> SoundInput:
    path.write_bytes(data)
    return inspect(path)


def seconds(sound: SoundInput) -> float:
    return sound.frames / sound.rate


def without_first_frame(mp3: bytes) -> bytes:
    """An MP3 file without the frame that states its length."""
    info = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    return mp3[mp3.index(b"\xff\xfb", info) :]


def test_mp3_of_variable_bit_rate_without_a_stated_length(tmp_path: Path) -> None:
    busy = noise_below(15_000, RATE, RATE // 2)
    path = tmp_path / "x.mp3"
    sound = np.concatenate([0.3 * busy, np.zeros(4 * RATE)])
    soundfile.write(path, sound, RATE, bitrate_mode="VARIABLE", compression_level=0.2)
    data = without_first_frame(path.read_bytes())
    path.write_bytes(data)
    assert soundfile.info(path).duration < 4.0
    assert seconds(inspected(path, data)) == pytest.approx(4.5, abs=0.06)


@pytest.mark.parametrize("name", ["x.mp3", "x.ogg", "x.opus", "x.wav", "x.flac"])
def test_files_joined_end_to_end(tmp_path: Path, name: str) -> None:
    data = whole(tmp_path / name)
    other = whole(tmp_path / f"other-{name}", 1.0)
    sound = inspected(tmp_path / name, data + other)
    assert sound.shortfall == ""
    assert seconds(sound) == pytest.approx(5.0, abs=0.06)
    read = read_whole(sound, RATE)
    assert np.sqrt(np.mean(read[-RATE // 2 :] ** 2)) > 0.01


@pytest.mark.parametrize(
    "extension",
    ["mp3", "ogg", "opus", "flac", "wav", "aiff", "au", "caf", "w64", "rf64", "svx", "nist"],
)
def test_files_that_are_cut(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    data = whole(path)
    assert inspect(path).shortfall == ""
    assert seconds(inspect(path)) == SECONDS
    sound = inspected(path, data[: len(data) // 2])
    assert "is cut short or damaged" in sound.shortfall
    assert 0 < seconds(sound) < 2.4
    read_whole(sound, RATE)


@pytest.mark.parametrize("extension", ["mp3", "ogg", "opus", "flac"])
def test_files_with_a_damaged_place(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    data = bytearray(whole(path))
    data[len(data) // 2 : len(data) // 2 + 1500] = bytes(1500)
    sound = inspected(path, bytes(data))
    assert "is cut short or damaged" in sound.shortfall
    read_whole(sound, RATE)


@pytest.mark.parametrize(
    ("extension", "size_at", "header"),
    [("wav", b"data", "<I"), ("aiff", b"SSND", ">I"), ("w64", b"data\xf3\xac\xd3\x11", "<Q")],
)
def test_a_recorder_that_was_killed(
    tmp_path: Path, extension: str, size_at: bytes, header: str
) -> None:
    path = tmp_path / f"x.{extension}"
    data = bytearray(whole(path, subtype="PCM_16"))
    at = data.index(size_at) + (16 if header == "<Q" else 4)
    struct.pack_into(header, data, at, 0)
    sound = inspected(path, bytes(data))
    assert seconds(sound) == pytest.approx(SECONDS, abs=0.001)
    assert sound.shortfall == ""


def test_a_recorder_that_was_killed_after_an_update_of_the_size(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    data = bytearray(whole(path, subtype="PCM_16"))
    struct.pack_into("<I", data, data.index(b"data") + 4, 1000)
    sound = inspected(path, bytes(data))
    assert (seconds(sound), sound.shortfall) == (SECONDS, "")
    assert "states less sound" in sound.notes[0]


def test_an_rf64_file_without_a_size(tmp_path: Path) -> None:
    path = tmp_path / "x.rf64"
    data = bytearray(whole(path, subtype="PCM_16"))
    struct.pack_into("<Q", data, data.index(b"ds64") + 16, 0)
    sound = inspected(path, bytes(data))
    assert seconds(sound) == pytest.approx(SECONDS, abs=0.001)
    assert sound.shortfall == ""


def test_a_caf_file_up_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "x.caf"
    data = bytearray(whole(path, subtype="PCM_16"))
    struct.pack_into(">q", data, data.index(b"data") + 4, -1)
    path.write_bytes(data)
    with local_file(path) as file:
        assert file.path == path  # another program would call it damaged
        sound = inspect(file.path)
    assert seconds(sound) == pytest.approx(SECONDS, abs=0.001)
    assert sound.shortfall == ""


def test_flac_without_a_length(tmp_path: Path) -> None:
    data = bytearray(whole(tmp_path / "x.flac"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    sound = inspected(tmp_path / "x.flac", bytes(data))
    assert (seconds(sound), sound.shortfall) == (SECONDS, "")


def test_what_follows_the_sound_is_not_sound(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    data = whole(path)
    for tail in (b"ID3" + bytes(500), b"LIST\x04\0\0\0abcd", bytes(range(256)) * 40):
        sound = inspected(path, data + tail)
        assert (seconds(sound), sound.shortfall) == (SECONDS, "")
    empty = struct.pack("<4sI", b"data", 0) + b"LIST\x04\0\0\0abcd"
    with pytest.raises(RtvcError, match="contains no audio"):
        inspected(path, data[: data.index(b"data")] + empty)


def test_float_samples_that_are_integers_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    sound = noise_below(3000, RATE, RATE)
    sound /= 2 * np.abs(sound).max()
    for factor, words in ((2.0**15, "16-bit integers"), (30.0, "above full scale")):
        soundfile.write(path, factor * sound, RATE, subtype="FLOAT")
        found = inspect(path)
        assert words in found.notes[0]
        assert 0.05 < np.abs(read_whole(found, RATE)).max() <= 1.0


@pytest.mark.parametrize("extension", ["mp3", "ogg", "flac", "wav", "aiff", "caf", "w64"])
def test_mutated_files_give_sound_or_one_error(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    data = whole(path, 0.3)
    random = np.random.default_rng(7)
    for _ in range(60):
        changed = bytearray(data)
        for at in random.integers(0, min(len(data), 300), 3):
            changed[at] = random.integers(256)
        path.write_bytes(changed[: random.integers(4, len(data))])
        with contextlib.suppress(RtvcError):
            assert np.isfinite(read_whole(inspect(path), RATE)).all()
