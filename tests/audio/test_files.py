from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.file_endpoint import FileEndpoint
from rtvc.errors import RtvcError, UsageError
from tests.audio.signals import error_db, noise_below


def convert(
    endpoint: FileEndpoint, *, late: int = 0, block: int = 4800, blocks: int = 1 << 30
) -> None:
    """Copy the input to the output with a delay of `late` samples."""
    endpoint.start(lambda: pytest.fail("a file endpoint calls no watchdog"), late)
    kept = np.zeros(late, np.float32)
    try:
        while not endpoint.finished and blocks:
            blocks -= 1
            assert endpoint.wait(block, 1.0) == block
            kept = np.concatenate((kept, endpoint.read(block)))
            endpoint.write(kept[:block])
            kept = kept[block:]
            assert 0.0 <= endpoint.progress <= 1.0
    finally:
        endpoint.stop()


def write(
    path: Path, rate: int, samples: int, channels: int = 1, subtype: str = "FLOAT"
) -> np.ndarray:
    sound = np.stack([noise_below(3000, rate, samples, seed=c) for c in range(channels)], 1)
    soundfile.write(path, sound, rate, subtype=subtype)
    mono: Float32 = sound.mean(1, dtype=np.float32)
    return mono


@pytest.mark.parametrize("late", [0, 1, 4799, 12345])
@pytest.mark.parametrize("block", [480, 4800, 7013])
def test_the_result_has_the_length_and_alignment_of_the_source(
    tmp_path: Path, late: int, block: int
) -> None:
    sound = write(tmp_path / "in.wav", ENGINE_RATE, 100_003)
    endpoint = FileEndpoint(tmp_path / "in.wav", tmp_path / "out.wav")
    convert(endpoint, late=late, block=block)
    assert endpoint.complete
    assert endpoint.progress == 1.0
    result, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert (rate, result.size) == (ENGINE_RATE, sound.size)
    np.testing.assert_allclose(result, sound, atol=2**-23)
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_24"


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_rate_and_channel_count(tmp_path: Path, rate: int, channels: int) -> None:
    sound = write(tmp_path / "in.wav", rate, 2 * rate + 77, channels)
    convert(FileEndpoint(tmp_path / "in.wav", tmp_path / "out.flac"), late=3000)
    result, out_rate = soundfile.read(tmp_path / "out.flac", dtype="float32")
    assert (out_rate, result.size) == (rate, sound.size)
    inner = slice(rate // 5, -rate // 5)
    assert error_db(result[inner], sound[inner]) < -80


def test_the_rate_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 44100, 44101)
    convert(FileEndpoint(tmp_path / "in.wav", tmp_path / "out.wav", rate=16000))
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.frames) == (16000, 16000)


@pytest.mark.parametrize(
    ("name", "subtype", "rate"),
    [
        ("x.ogg", "VORBIS", 96000),
        ("x.opus", "OPUS", 48000),
        ("x.mp3", "MPEG_LAYER_III", 48000),
        ("x.aiff", "PCM_24", 96000),
        ("x.au", "PCM_24", 96000),
    ],
)
def test_the_extension_selects_the_format(
    tmp_path: Path, name: str, subtype: str, rate: int
) -> None:
    write(tmp_path / "in.wav", 96000, 50_000)
    convert(FileEndpoint(tmp_path / "in.wav", tmp_path / name))
    info = soundfile.info(tmp_path / name)
    assert (info.subtype, info.samplerate) == (subtype, rate)


def test_compressed_sources_are_read(tmp_path: Path) -> None:
    for name in ("in.ogg", "in.mp3", "in.flac"):
        soundfile.write(tmp_path / name, noise_below(3000, 44100, 60_000), 44100)
        frames = soundfile.read(tmp_path / name)[0].size
        convert(FileEndpoint(tmp_path / name, tmp_path / f"{name}.wav"), late=1000)
        assert soundfile.info(tmp_path / f"{name}.wav").frames == frames


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 4800)
    out = tmp_path / "out.wav"
    out.write_bytes(b"precious")
    with pytest.raises(RtvcError, match="exists already"):
        convert(FileEndpoint(tmp_path / "in.wav", out))
    assert out.read_bytes() == b"precious"
    convert(FileEndpoint(tmp_path / "in.wav", out, overwrite=True))
    assert soundfile.info(out).frames == 4800
    convert(FileEndpoint(out, out, overwrite=True))
    assert soundfile.info(out).frames == 4800


def test_a_name_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 4800)
    endpoint = FileEndpoint(tmp_path / "in.wav", tmp_path / "out.wav")
    endpoint.start(lambda: None)
    endpoint.write(endpoint.read(endpoint.wait(4800, 1.0)))
    (tmp_path / "out.wav").write_bytes(b"precious")
    with pytest.raises(RtvcError, match="exists already"):
        endpoint.stop()
    assert (tmp_path / "out.wav").read_bytes() == b"precious"
    assert not endpoint.complete
    assert {p.name for p in tmp_path.iterdir()} == {"in.wav", "out.wav"}


def test_an_interruption_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 48000)
    endpoint = FileEndpoint(tmp_path / "in.wav", tmp_path / "out.wav")
    convert(endpoint, blocks=4)
    endpoint.stop()
    assert not endpoint.complete
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


def test_without_a_sink_it_only_reads(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 9000)
    endpoint = FileEndpoint(tmp_path / "in.wav", None)
    convert(endpoint)
    assert endpoint.finished
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_with_their_position(tmp_path: Path, bad: float) -> None:
    sound = np.zeros((96000, 2), np.float32)
    sound[60000, 1] = bad
    soundfile.write(tmp_path / "in.wav", sound, 48000, subtype="FLOAT")
    with pytest.raises(RtvcError, match=r"NaN or infinite samples, .* 1\.250 s"):
        convert(FileEndpoint(tmp_path / "in.wav", tmp_path / "out.wav"))
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_bytes(b"this is no sound file, whatever it is called")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 48000)
    for name, message in {
        "missing.wav": "There is no file",
        "text.wav": "Cannot read .*text.wav",
        "empty.wav": "zero seconds",
        ".": "is a folder",
    }.items():
        with pytest.raises(RtvcError, match=message):
            convert(FileEndpoint(tmp_path / name, tmp_path / "out.wav"))
    assert not (tmp_path / "out.wav").exists()


def test_sinks_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 4800)
    for name, rate, kind, message in (
        ("out.txt", None, UsageError, "names no sound format"),
        ("out", None, UsageError, "names no sound format"),
        ("out.opus", 44100, UsageError, "do not support 44100 Hz"),
        ("nowhere/out.wav", None, RtvcError, "no folder"),
    ):
        with pytest.raises(kind, match=message):
            convert(FileEndpoint(tmp_path / "in.wav", tmp_path / name, rate=rate))
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 96000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(RtvcError, match=r"out\.wav: the disk may be full\. Free some space"):
            convert(FileEndpoint(tmp_path / "in.wav", tmp_path / "out.wav"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
def test_a_disk_that_fills_up_at_the_end_costs_no_good_file(tmp_path: Path, extension: str) -> None:
    """libsndfile reports no error when it writes its last buffers at close."""
    write(tmp_path / "in.wav", 48000, 96000)
    target = tmp_path / f"out.{extension}"
    convert(FileEndpoint(tmp_path / "in.wav", target))
    good = target.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for missing in (1, 700, 3000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) - missing, before[1]))
        try:
            with pytest.raises(RtvcError, match=r"Cannot write .*out"):
                convert(FileEndpoint(tmp_path / "in.wav", target, overwrite=True))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert target.read_bytes() == good
    assert {path.name for path in tmp_path.iterdir()} == {"in.wav", target.name}


def test_a_link_stays_a_link_and_devices_are_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 4800)
    (tmp_path / "real.wav").write_bytes(b"old")
    (tmp_path / "link.wav").symlink_to("real.wav")
    convert(FileEndpoint(tmp_path / "in.wav", tmp_path / "link.wav", overwrite=True))
    assert (tmp_path / "link.wav").is_symlink()
    assert soundfile.info(tmp_path / "real.wav").frames == 4800
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(RtvcError, match="not a file that can be replaced"):
        convert(FileEndpoint(tmp_path / "in.wav", tmp_path / "pipe.wav", overwrite=True))


def test_parts_of_killed_runs_are_swept_up(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", 48000, 4800)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".out.wav.{ended.pid}.part", f".out.wav.{os.getppid()}.part"):
        (tmp_path / name).touch()
    convert(FileEndpoint(tmp_path / "in.wav", tmp_path / "out.wav"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"in.wav", "out.wav", f".out.wav.{os.getppid()}.part"}


def test_tags_are_kept(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "in.flac", "w", 48000, 1) as file:
        file.title, file.artist = "Speech", "Somebody"
        file.write(noise_below(3000, 48000, 9600))
    convert(FileEndpoint(tmp_path / "in.flac", tmp_path / "out.ogg"))
    tags = soundfile.SoundFile(tmp_path / "out.ogg").copy_metadata()
    assert (tags["title"], tags["artist"]) == ("Speech", "Somebody")
