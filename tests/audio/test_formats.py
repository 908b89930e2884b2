"""Every input format into every output format: the length is exact, from one sample on.

`benchmarks.formats` tries all pairs and lengths up to minutes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from rtvc.audio.file_endpoint import FileEndpoint
from rtvc.audio.sound_file import SoundSink, supports_rate, usual_rate
from rtvc.errors import UsageError
from tests.audio.signals import noise_below


class Format(NamedTuple):
    """A format of libsndfile, with a rate that it supports."""

    name: str
    subtype: str
    rate: int = 48_000


INPUTS = [
    *(Format("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")),
    *(Format("WAV", subtype) for subtype in ("FLOAT", "DOUBLE", "ULAW", "ALAW")),
    *(Format("WAV", subtype, 8000) for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32")),
    *(Format("WAV", "PCM_16", rate) for rate in (4000, 11_025, 44_100, 96_000, 384_000)),
    *(Format("AIFF", subtype) for subtype in ("PCM_S8", "PCM_24", "FLOAT", "IMA_ADPCM")),
    *(Format("CAF", subtype) for subtype in ("PCM_16", "ALAC_16", "DOUBLE")),
    *(Format("AU", subtype) for subtype in ("PCM_16", "ULAW", "FLOAT")),
    *(Format(name, "PCM_16") for name in ("WAVEX", "RF64", "W64", "FLAC", "VOC", "NIST", "SVX")),
    *(Format(name, "PCM_16") for name in ("IRCAM", "PAF", "PVF", "AVR", "MAT4", "MAT5", "HTK")),
    *(Format("OGG", subtype) for subtype in ("VORBIS", "OPUS")),
    *(Format("MP3", "MPEG_LAYER_III", rate) for rate in (8000, 24_000, 44_100)),
]
OUTPUTS = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "caf", "w64", "rf64")
PADDED = ("ADPCM", "GSM610", "G721", "MPEG", "PCM_S8")
"""Formats of whole blocks, which are longer than what was written; libsndfile writes the padding
byte of 8-bit AIFF as a sample."""
LENGTHS = (1, 2401)


def write(folder: Path, form: Format, frames: int) -> Path:
    """Write a file, and return its path."""
    path = folder / f"{form.name}-{form.subtype}-{form.rate}-{frames}"
    sound = 0.3 * noise_below(1500, form.rate, frames + 2000)[-frames:]
    with soundfile.SoundFile(
        path, "w", form.rate, 1, format=form.name, subtype=form.subtype
    ) as file:
        # libsndfile's Vorbis encoder needs as much of the stack as it gets at once.
        for at in range(0, frames, form.rate):
            file.write(sound[at : at + form.rate])
    return path


def copied(source: Path, target: Path, rate: int | None = None) -> tuple[int, int, int]:
    """Copy through the endpoint of `convert`; return frames and rate read, and frames written."""
    endpoint = FileEndpoint(source, target, rate=rate)
    endpoint.start(lambda: None, 700)
    kept = np.zeros(700, np.float32)
    try:
        while not endpoint.finished:
            kept = np.concatenate([kept, endpoint.read(endpoint.wait(4800, 1.0))])
            endpoint.write(kept[:4800])
            kept = kept[4800:]
    finally:
        endpoint.stop()
    assert endpoint.complete
    read = endpoint._opened
    assert not read.input.shortfall
    return read.frames_read, read.rate, soundfile.info(target).frames


def check(folder: Path, form: Format, frames: int, extension: str) -> None:
    """Check the lengths of one conversion, to the sample."""
    source = write(folder, form, frames)
    target = folder / f"out.{extension}"
    target.unlink(missing_ok=True)
    read, rate, made = copied(source, target)
    padded = any(word in form.subtype for word in PADDED)
    assert read == frames or (padded and 0 <= read - frames <= 4000)
    assert made == max(1, round(read * soundfile.info(target).samplerate / rate))


@pytest.mark.parametrize("form", INPUTS, ids=lambda form: "-".join(map(str, form)))
def test_every_input_format_keeps_its_length(tmp_path: Path, form: Format) -> None:
    for frames in LENGTHS:
        check(tmp_path, form, frames, "wav")


@pytest.mark.parametrize("extension", OUTPUTS)
def test_every_output_format_keeps_the_length(tmp_path: Path, extension: str) -> None:
    for form in (Format("WAV", "PCM_16", rate) for rate in (44_100, 48_000, 384_000)):
        for frames in LENGTHS:
            check(tmp_path, form, frames, extension)


def test_there_are_40_inputs_and_10_outputs() -> None:
    assert len(set(INPUTS)) >= 40
    assert len(set(OUTPUTS)) == 10


@pytest.mark.parametrize("form", sorted(soundfile.available_formats()))
def test_what_is_written_has_its_rate_and_length_or_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form.lower()}"
    if form in ("RAW", "SD2", "XI"):
        with pytest.raises(UsageError, match="names no sound format"):
            SoundSink(path, 44_100)
        return
    written = []
    for rate in (1000, 8000, 11_025, 16_000, 44_100, 48_000, 65_536, 192_000, 10**8):
        if not supports_rate(path, rate):
            sentence = f"files do not support {rate} Hz; {usual_rate(path)} Hz always works"
            with pytest.raises(UsageError, match=sentence):
                SoundSink(path, rate)
            continue
        sink = SoundSink(path, rate, overwrite=True)
        sink.write(0.3 * noise_below(1000, 48_000, 4800).astype(np.float32), last=True)
        sink.finish()
        found = soundfile.info(path)
        assert abs(found.samplerate - rate) <= (12 if form == "SDS" else 0)
        assert 0 <= found.frames - sink.frames_written < 10
        written.append(rate)
    assert usual_rate(path) in written
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("suffix", "rate"), [("wve", 8000), ("htk", 16_000), ("svx", 48_000)])
def test_a_rate_that_the_format_does_not_have_is_converted(
    tmp_path: Path, suffix: str, rate: int
) -> None:
    source = write(tmp_path, Format("WAV", "PCM_16", 96_000), 9600)
    copied(source, tmp_path / f"out.{suffix}")
    found = soundfile.info(tmp_path / f"out.{suffix}")
    assert (found.samplerate, found.frames) == (rate, rate // 10)


@pytest.mark.parametrize("characters", [66, 67, 68])
def test_an_unfinished_file_with_a_long_name_has_whole_characters(
    tmp_path: Path, characters: int
) -> None:
    def tags() -> Iterator[tuple[str, str]]:
        [part] = tmp_path.iterdir()
        part.name.encode()  # macOS creates no file whose name is not UTF-8
        yield "title", "Speech"

    sink = SoundSink(tmp_path / f"{characters * '声'}.wav", 48_000, tags=tags())
    sink.write(np.zeros(480, np.float32))
    sink.finish()
    assert [len(path.stem) for path in tmp_path.iterdir()] == [characters]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_a_file_is_opened_leaves_nothing(
    tmp_path: Path, error: type[BaseException]
):
    def interrupted() -> Iterator[tuple[str, str]]:
        assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
        raise error
        yield "", ""

    with pytest.raises(error):
        SoundSink(tmp_path / "out.wav", 48_000, tags=interrupted())
    gc.collect()
    assert not list(tmp_path.iterdir())
