"""Files that are cut, in formats less common than those of `test_containers.py`."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.containers.layout import NO_LENGTH
from rtvc.audio.local_file import local_file
from rtvc.audio.sound_input import SoundInput, inspect
from rtvc.audio.sound_source import read_whole
from rtvc.errors import RtvcError
from tests.audio.signals import noise_below
from tests.audio.test_containers import RATE, inspected, seconds, whole, without_first_frame

STATED = [
    *(("VOC", subtype, 1, 48_000) for subtype in ("PCM_U8", "PCM_16", "ALAW")),
    *(("AVR", subtype, 2, 48_000) for subtype in ("PCM_S8", "PCM_16")),
    *(("MAT4", subtype, 2, 44_100) for subtype in ("PCM_16", "DOUBLE")),
    *(("MAT5", subtype, 3, 11_025) for subtype in ("PCM_U8", "PCM_16", "FLOAT")),
    *(("SDS", subtype, 1, 48_000) for subtype in ("PCM_S8", "PCM_16", "PCM_24")),
    ("NIST", "ULAW", 2, 48_000),
    ("MPC2K", "PCM_16", 2, 44_100),
    ("WVE", "ALAW", 1, 8000),
    ("AIFF", "PCM_S8", 1, 48_000),
]
"""Formats whose header states a length, with subtype, channels and rate."""
UNSTATED = [
    ("IRCAM", "PCM_16", 2),
    ("IRCAM", "FLOAT", 1),
    ("PAF", "PCM_16", 3),
    ("PAF", "PCM_24", 2),
    ("PVF", "PCM_32", 2),
    ("XI", "DPCM_8", 1),
]


def written(
    path: Path, kind: tuple[str, str], channels: int = 1, rate: int = RATE, frames: int = 40_001
) -> bytes:
    """Write noise in a format and subtype of libsndfile, and return the bytes of the file."""
    sound = 0.3 * noise_below(1500, rate, frames)
    columns = np.stack([sound] * channels, 1)
    soundfile.write(path, columns, rate, format=kind[0], subtype=kind[1])
    return path.read_bytes()


@pytest.mark.parametrize(("form", "subtype", "channels", "rate"), STATED)
def test_headers_with_a_length(
    tmp_path: Path, form: str, subtype: str, channels: int, rate: int
) -> None:
    data = written(tmp_path / "x", (form, subtype), channels, rate)
    sound = inspect(tmp_path / "x")
    # libsndfile counts the end mark of VOC, and the padding byte of AIFF when it writes.
    assert sound.frames == pytest.approx(40_001, abs=1)
    assert (sound.shortfall, sound.notes) == ("", ())
    for share in (0.4, 0.9):
        sound = inspected(tmp_path / "x", data[: round(share * len(data))])
        assert sound.frames == pytest.approx(share * 40_001, rel=0.02)
        assert f" s of {40_001 / sound.rate:.2f} s can be read" in sound.shortfall
        length = sound.frames * RATE / sound.rate
        assert len(read_whole(sound, RATE)) == pytest.approx(length, abs=2)


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("OGG", "VORBIS")]
)
def test_files_of_which_only_the_beginning_is_there(
    tmp_path: Path, form: str, subtype: str
) -> None:
    data = written(tmp_path / "x", (form, subtype), rate=48_000)
    beginning = data.index(b"data") + 8 if form == "WAV" else 200
    with pytest.raises(RtvcError) as caught:
        inspected(tmp_path / "x", data[:beginning])
    assert str(caught.value).startswith(f"{tmp_path / 'x'} is cut short or damaged: nothing ")
    assert str(caught.value).endswith(" Copy or download it again.")
    if form == "FLAC":
        assert "nothing of 0.83 s can be read" in str(caught.value)
        shortfall = inspected(tmp_path / "x", data[: len(data) // 2]).shortfall
        assert " of 0.83 s can be read; reading stopped there: what follows is no" in shortfall


@pytest.mark.parametrize(("form", "subtype", "channels"), UNSTATED)
def test_headers_without_a_length(tmp_path: Path, form: str, subtype: str, channels: int) -> None:
    data = written(tmp_path / "x", (form, subtype), channels)
    sound = inspect(tmp_path / "x")
    padding = 9 if subtype == "PCM_24" else 0  # blocks of ten
    assert (sound.frames, sound.shortfall) == (40_001 + padding, "")
    assert sound.notes == (f"{tmp_path / 'x'}: {NO_LENGTH}",)
    cut = inspected(tmp_path / "x", data[: len(data) // 2 // 64 * 64 + 1])
    assert ("it ends within a sample" in cut.shortfall) == (form != "XI")


def aiff(sound: bytes, *chunks: bytes) -> bytes:
    """Return an AIFF file of 8 bits and 48 kHz with chunks behind the sound."""
    form = struct.pack(">hIh", 1, len(sound), 8) + bytes.fromhex("400ebb80000000000000")
    head = b"COMM" + struct.pack(">I", len(form)) + form
    body = b"SSND" + struct.pack(">I8x", 8 + len(sound)) + sound + bytes(len(sound) % 2)
    content = b"AIFF" + head + body + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(content)) + content


def test_the_padding_byte_of_an_aiff_file_is_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "x.aiff"
    for frames in (1, 2, 41, 40_001):
        sound = (np.arange(frames) % 100 + 1).astype(np.uint8).tobytes()
        data = aiff(sound)
        for content in (data, aiff(sound, b"NAME\0\0\0\4name"), data[: 54 + frames]):
            found = inspected(path, content)
            assert (found.frames, found.shortfall, found.notes) == (frames, "", ())
            read = read_whole(found, RATE)
            np.testing.assert_array_equal(read * 128, np.frombuffer(sound, np.int8))


def test_a_voc_file_of_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "x.voc"
    data = written(path, ("VOC", "PCM_16"))
    head, sound, size = data[:26], data[42:-1], 4096
    blocks = [sound[at : at + size] for at in range(0, len(sound), size)]
    many = head + b"\t" + (12 + size).to_bytes(3, "little") + data[30:42] + blocks[0]
    for block in blocks[1:]:
        many += b"\2" + len(block).to_bytes(3, "little") + block
    whole, _ = soundfile.read(path, dtype="float32")
    found = inspected(path, many + b"\0")
    assert (found.frames, found.shortfall) == (40_001, "")
    np.testing.assert_array_equal(read_whole(found, RATE), whole)
    cut = inspected(path, many[: len(many) // 2])
    assert "its last block is incomplete" in cut.shortfall
    assert cut.frames == pytest.approx(20_000, rel=0.01)
    first = inspected(path, many[: 42 + size])
    assert (first.frames, first.shortfall) == (size // 2, "")
    assert NO_LENGTH in first.notes[0], "it ends behind a block"


@pytest.mark.thorough
def test_a_voc_file_that_is_longer_than_it_can_state(tmp_path: Path) -> None:
    data = written(tmp_path / "x.voc", ("VOC", "PCM_16"), frames=9_000_000)
    assert int.from_bytes(data[27:30], "little") < len(data) // 2
    sound = inspect(tmp_path / "x.voc")
    assert (sound.frames, sound.shortfall) == (9_000_000, "")


def test_the_beginning_of_an_mp3_file_behind_a_cut_one_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    data = whole(path)
    for size in (0.31, 0.9):
        sound = inspected(path, data[: round(size * len(data))] + data)
        assert "one place in it is damaged" in sound.shortfall


@pytest.mark.parametrize("extension", ["mp3", "mp2"])
def test_mpeg_audio_without_a_stated_length_that_is_cut(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    mp2 = extension == "mp2"
    data = encoded(path, "-b:a", "128k") if mp2 else without_first_frame(whole(path))
    sound = inspected(path, data)
    assert sound.shortfall == ""
    assert NO_LENGTH in sound.notes[0]
    cut = inspected(path, data[: len(data) // 2 + 7])
    assert "its last frame is incomplete" in cut.shortfall


def encoded(path: Path, *options: str) -> bytes:
    """Write 2 s of noise with ffmpeg, and return the bytes of the file."""
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg")
    source = path.with_suffix(".source.wav")
    whole(source, 2.0)
    words = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(source), *options, str(path)]
    subprocess.run(words, check=True)
    return path.read_bytes()


def decoded(path: Path, data: bytes) -> SoundInput:
    """Return what a file contains that another program decodes."""
    path.write_bytes(data)
    with local_file(path) as file:
        return inspect(
            file.path, stated_s=file.stated_s, damage=file.damage, notes=file.notes, name="x"
        )


OTHERS = {
    "wma": (),
    "m4a": ("-movflags", "+faststart"),
    "mov": ("-movflags", "+frag_keyframe+empty_moov"),
    "webm": (),
    "mka": (),
    "flv": (),
    "avi": (),
    "ts": (),
    "mpg": (),
    "aac": (),
    "ac3": (),
    "wv": (),
}
JOINED = {"m4a", "wma", "flv", "wv"}
"""Of the others: the program reads one of several files that are joined end to end."""
NOT_STATED = {"ts", "mpg", "aac", "ac3"}
"""Of the others: a cut between two of their packets cannot be noticed."""


@pytest.mark.thorough
@pytest.mark.parametrize("extension", OTHERS)
def test_files_that_another_program_decodes(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    data = encoded(path, *OTHERS[extension])
    sound = decoded(path, data)
    assert sound.shortfall == ""
    assert seconds(sound) == pytest.approx(2.0, abs=0.1)
    assert (NO_LENGTH in " ".join(sound.notes)) == (extension in NOT_STATED)
    if extension in JOINED:
        assert "another file follows in it" in decoded(path, data + data).shortfall
    cut = decoded(path, data[: len(data) // 2 + 7])
    assert ("x is cut short or damaged" in cut.shortfall) == (extension != "mpg")
    assert 0.2 < seconds(cut) < 1.5
