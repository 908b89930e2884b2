"""Headers that state another size than the file has, and files joined end to end.

All the sound is read, or a sentence says what is not.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.containers.layout import NO_LENGTH, UPDATED
from rtvc.audio.sound_input import SoundInput, inspect
from rtvc.audio.sound_source import SoundSource, read_whole
from rtvc.errors import RtvcError
from tests.audio.signals import noise_below
from tests.audio.test_containers import inspected

RATE = 48_000
SOUND = (0.5 * noise_below(3000, RATE, RATE)).astype(np.float32)
BODY = np.round(SOUND * 32_767).astype("<i2").tobytes()
FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
LIST = b"LIST" + struct.pack("<I", 18) + b"INFOISFT\x05\0\0\0Lavf\0\0"
UNKNOWN = 0xFFFFFFFF


def chunk(name: bytes, content: bytes, size: int | None = None, *, padded: bool = True) -> bytes:
    padding = bytes(len(content) % 2) if padded else b""
    stated = len(content) if size is None else size
    return name + struct.pack("<I", stated) + content + padding


def wav(*chunks: bytes, magic: bytes = b"RIFF", form: bytes = FORMAT) -> bytes:
    content = b"".join((chunk(b"fmt ", form), *chunks))
    return magic + struct.pack("<I", 4 + len(content)) + b"WAVE" + content


def rf64(large: int, size: int = UNKNOWN, magic: bytes = b"RF64") -> bytes:
    sizes = struct.pack("<QQQI", len(BODY) + 72, large, len(BODY) // 2, 0)
    sound = chunk(b"data", BODY, size)
    return magic + struct.pack("<I", UNKNOWN) + b"WAVE" + chunk(b"ds64", sizes) + wav(sound)[12:]


def encoded(form: str, **options: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE, format=form, **{"subtype": "PCM_16"} | options)
    return file.getvalue()


def restated(data: bytes, at: int, layout: str, size: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, size)
    return bytes(changed)


DATA = chunk(b"data", BODY)
PART = int(0.6 * len(BODY)) // 2 * 2
AU, DNS, CAF, W64 = encoded("AU"), encoded("AU", endian="LITTLE"), encoded("CAF"), encoded("W64")
AIFF, FLAC = encoded("AIFF"), encoded("FLAC")
WHOLE = {
    "WAV, a chunk behind": wav(DATA, LIST),
    "WAV, two chunks of samples": wav(
        chunk(b"data", BODY[:9000]), LIST, chunk(b"data", BODY[9000:])
    ),
    "WAV, first chunk empty": wav(chunk(b"data", b""), DATA),
    "WAV, odd chunk without padding": wav(chunk(b"LIST", LIST[8:-1], padded=False), DATA),
    "WAV, format without bits per sample": wav(DATA, form=FORMAT[:14]),
    "WAV, ID3 behind": wav(DATA) + b"ID3\4\0\0\0\0\x10\0" + bytes(60_000),
    "WAV, ID3 before": b"ID3\4\0\0\0\0\2\0" + bytes(256) + wav(DATA),
    "RF64, 32-bit size": rf64(0, len(BODY)),
    "BW64": rf64(len(BODY), magic=b"BW64"),
    "FLAC, ID3 before": b"ID3\4\0\0\0\0\2\0" + bytes(256) + FLAC,
}
UPDATED_ONCE = {
    "WAV": wav(chunk(b"data", BODY, PART)),
    "RF64": rf64(PART),
    "AIFF": restated(AIFF, AIFF.index(b"SSND") + 4, ">I", PART),
    "AU": restated(AU, 8, ">I", PART),
    "AU, little-endian": restated(DNS, 8, "<I", PART),
    "CAF": restated(CAF, CAF.index(b"data") + 4, ">q", PART),
    "FLAC": restated(FLAC, 22, ">I", 9000),
}
UNSTATED = {
    "WAV": wav(chunk(b"data", BODY, UNKNOWN)),
    "WAV, as SoX": wav(chunk(b"data", BODY, 0x7FFFF000)),
    "RF64": rf64(2**64 - 1),
    "RF64 without ds64": wav(chunk(b"data", BODY, UNKNOWN), magic=b"RF64"),
    "AU, little-endian": restated(DNS, 8, "<I", 0),
    "CAF": restated(CAF, CAF.index(b"data") + 4, ">q", 1 << 60),
    "FLAC": restated(FLAC, 22, ">I", 0),
}


def check(path: Path, data: bytes, *notes: str) -> None:
    found = inspected(path, data)
    assert (found.shortfall, found.notes) == ("", tuple(f"{path}: {note}" for note in notes))
    np.testing.assert_allclose(read_whole(found, RATE), SOUND, atol=2**-14)


@pytest.mark.parametrize("name", WHOLE)
def test_all_sound_is_read(tmp_path: Path, name: str) -> None:
    check(tmp_path / "x", WHOLE[name])


@pytest.mark.parametrize("name", UPDATED_ONCE)
def test_sound_behind_the_stated_end_is_read(tmp_path: Path, name: str) -> None:
    check(tmp_path / "x", UPDATED_ONCE[name], UPDATED)


@pytest.mark.parametrize("name", UNSTATED)
def test_an_unknown_size_means_up_to_the_end(tmp_path: Path, name: str) -> None:
    check(tmp_path / "x", UNSTATED[name], NO_LENGTH)


@pytest.mark.parametrize(
    "data",
    [
        *(wav(DATA, LIST), rf64(len(BODY)), encoded("WAV", endian="BIG"), AIFF, AU, DNS, CAF, W64),
        *(FLAC, b"ID3\4\0\0\0\0\2\0" + bytes(256) + FLAC),
    ],
)
def test_joined_files_are_read_one_after_another(tmp_path: Path, data: bytes) -> None:
    found = inspected(tmp_path / "x", 3 * data)
    assert (found.frames, found.shortfall, found.notes) == (3 * len(SOUND), "", ())
    read = read_whole(found, RATE)
    np.testing.assert_allclose(read, np.tile(SOUND, 3), atol=2**-14)
    cut = inspected(tmp_path / "x", data + data[: len(data) // 2])
    assert "can be read" in cut.shortfall
    assert " of 2.00 s " in cut.shortfall


def test_a_few_bytes_behind_the_end_are_told(tmp_path: Path) -> None:
    for data in (wav(DATA) + b"\1\2\3" * 70, CAF + bytes(210), AU + bytes(210)):
        found = inspected(tmp_path / "x", data)
        assert (found.frames, found.shortfall) == (len(SOUND), "")
        assert "210 bytes follow the end that its header states" in found.notes[0]


SINGLE_HEADER = [
    *(("AVR", "PCM_16"), ("MPC2K", "PCM_16"), ("WVE", "ALAW"), ("NIST", "PCM_24")),
    *(("SDS", "PCM_16"), ("MAT4", "PCM_16"), ("MAT5", "PCM_16"), ("SVX", "PCM_16")),
    *(("VOC", "PCM_U8"), ("VOC", "ULAW"), ("W64", "PCM_16"), ("AU", "G721_32"), ("OGG", "OPUS")),
]
NO_STATED_LENGTH = [("IRCAM", "PCM_16"), ("PAF", "PCM_16"), ("PVF", "PCM_16"), ("XI", "DPCM_16")]


def encoded_at_8_khz(form: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND[:8000], 8000, format=form, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("form", "subtype"), SINGLE_HEADER + NO_STATED_LENGTH)
def test_no_header_or_other_byte_is_read_as_sound(tmp_path: Path, form: str, subtype: str) -> None:
    data = encoded_at_8_khz(form, subtype)
    notes = () if (form, subtype) in SINGLE_HEADER else (f"{tmp_path / 'x'}: {NO_LENGTH}",)
    one = inspected(tmp_path / "x", data)
    assert (one.shortfall, one.notes) == ("", notes)
    two = inspected(tmp_path / "x", 2 * data)
    assert (two.frames, two.shortfall, two.notes) == (2 * one.frames, "", notes)
    if not notes:
        behind = inspected(tmp_path / "x", data + 210 * b"\xee")
        assert (behind.frames, behind.shortfall) == (one.frames, "")
        if form != "SDS":  # its packets are counted: what follows them is not sound
            assert "210 bytes follow" in behind.notes[0]


def test_the_name_of_a_file_does_not_make_it_raw_samples(tmp_path: Path) -> None:
    assert inspected(tmp_path / "x.raw", wav(DATA)).frames == len(SOUND)
    with pytest.raises(RtvcError, match="is in no format that libsndfile reads"):
        inspected(tmp_path / "x.raw", BODY)


def test_samples_that_are_no_sound_are_refused(tmp_path: Path) -> None:
    samples = np.stack([SOUND, SOUND], 1)
    samples[24_000] = 1e30
    soundfile.write(tmp_path / "x.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(RtvcError, match=r"samples of up to 1e\+30, such as at 0.500 s"):
        inspected(tmp_path / "x.wav", (tmp_path / "x.wav").read_bytes())


def test_compressed_aiff_keeps_its_length_with_bytes_behind(tmp_path: Path) -> None:
    data = encoded_at_8_khz("AIFF", "GSM610")
    found = inspected(tmp_path / "x", data + bytes([0, 1] * 1500))
    assert found.frames > 8000
    assert found.notes == (f"{tmp_path / 'x'}: {UPDATED}",)


def test_a_large_size_is_believed(tmp_path: Path) -> None:
    found = inspected(tmp_path / "x", wav(chunk(b"data", BODY, 3_000_000_000)))
    assert "can be read" in found.shortfall


@pytest.mark.parametrize("form", ["MP3", "OGG", "FLAC", "WAV", "AIFF"])
def test_a_file_read_in_pieces_is_the_file_read_at_once(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x.{form.lower()}"
    soundfile.write(path, np.tile(SOUND, 2), RATE, format=form)
    at_once, _ = soundfile.read(path, dtype="float32")
    found = inspected(path, path.read_bytes())
    np.testing.assert_allclose(read_whole(found, RATE)[200:-200], at_once[200:-200], atol=0.01)


def test_a_cut_packet_is_told(tmp_path: Path) -> None:
    data = encoded("CAF", subtype="ALAC_16")
    assert inspected(tmp_path / "x", data).shortfall == ""
    for cut in (3, 40):
        found = inspected(tmp_path / "x", data[:-cut])
        assert "its last packet is incomplete" in found.shortfall


@pytest.mark.parametrize(
    "form", ["SDS", "MAT5", "CAF", "AIFF", "WAV", "W64", "FLAC", "OGG", "VOC", "NIST", "MPC2K"]
)
def test_a_file_cut_within_its_header_is_refused_in_words(tmp_path: Path, form: str) -> None:
    data = encoded(form) if form != "OGG" else encoded(form, subtype="VORBIS")
    for size in (5, 8, 12, 15, 20, 33, 40):
        with pytest.raises(RtvcError) as caught:
            inspected(tmp_path / "x", data[:size])
        message = str(caught.value)
        assert message.isprintable()
        assert re.search(r"complete sound file\.$|Copy or download it again\.$", message)


@pytest.mark.parametrize("size", [21, 22, 100, 147])
def test_a_sample_dump_without_a_whole_packet_is_refused(tmp_path: Path, size: int) -> None:
    # libsndfile reads 1 s of whatever is in its memory.
    with pytest.raises(RtvcError, match=r"nothing .*its header states 152,400 bytes of sound, and"):
        inspected(tmp_path / "x", encoded("SDS")[:size])


def test_a_damaged_flac_file_is_read_up_to_the_damage(tmp_path: Path) -> None:
    for at, seconds in ((0.3, 0.2), (0.9, 0.8)):
        data = bytearray(FLAC)
        data[int(at * len(data))] ^= 0xFF
        found = inspected(tmp_path / "x", bytes(data))
        assert found.frames > seconds * RATE
        assert "is cut short or damaged" in found.shortfall


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "W64", "SVX", "AVR", "NIST", "WVE", "MAT5"])
def test_zeros_behind_the_stated_end_are_no_sound(tmp_path: Path, form: str) -> None:
    rate, subtype = (8000, "ALAW") if form == "WVE" else (RATE, "PCM_16")
    soundfile.write(tmp_path / "y", SOUND, rate, format=form, subtype=subtype)
    found = inspected(tmp_path / "x", (tmp_path / "y").read_bytes() + bytes(70_000))
    assert found.frames == len(SOUND)
    assert "70,000 bytes follow the end that its header states" in " ".join(found.notes)


@pytest.mark.parametrize("size", [0, UNKNOWN, 0x7FFFFFFF, 0x80000000])
@pytest.mark.parametrize("behind", [b"", LIST, LIST + chunk(b"id3 ", b"ID3\4\0\0\0\0\0\1\0")])
def test_chunks_behind_sound_of_unknown_size_are_no_sound(
    tmp_path: Path, size: int, behind: bytes
) -> None:
    one = wav(chunk(b"data", BODY, size), behind)
    for data, times in ((one, 1), (one + wav(DATA), 2), (one + one, 2)):
        found = inspected(tmp_path / "x", data)
        assert found.frames == times * len(SOUND)
        assert found.notes == (f"{tmp_path / 'x'}: {NO_LENGTH}",)
        np.testing.assert_allclose(
            read_whole(found, RATE)[200:-200], np.tile(SOUND, times)[200:-200], atol=0.01
        )


@pytest.mark.parametrize("offset", [0, 24, 60])
def test_the_header_of_au_is_no_sound(tmp_path: Path, offset: int) -> None:
    header = struct.pack(">4sIIIII", b".snd", offset, len(BODY), 3, RATE, 1)
    big = np.frombuffer(BODY, "<i2").astype(">i2").tobytes()
    found = inspected(tmp_path / "x", header.ljust(offset, b"\0") + big)
    assert (found.frames, found.notes, found.shortfall) == (len(SOUND), (), "")


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0, "a sample rate or a number of channels that no sound has"),
        (1, "a sample rate of 1 Hz, which is too low for a voice"),
        (2**31 - 1, "a sample rate of 2147483647 Hz, which is too high for sound"),
        (2**31, "a sample rate or a number of channels that no sound has"),
    ],
)
def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path, rate: int, words: str) -> None:
    with pytest.raises(RtvcError, match=words):
        inspected(tmp_path / "x", restated(wav(DATA), 24, "<I", rate))


def test_a_file_that_changes_while_it_is_read_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def inspected_later() -> SoundInput:
        path.write_bytes(wav(DATA, DATA, DATA))
        os.utime(path, (0, 0))
        return inspect(path)

    found = inspected_later()
    grown = read_in_the_middle(found, lambda: path.open("ab").close())
    assert grown == 3 * len(SOUND)
    with path.open("ab") as file:
        grown = read_in_the_middle(found, lambda: file.write(b"more"))
    assert grown == 3 * len(SOUND)
    for change in (
        lambda: path.write_bytes(wav(DATA, DATA[:-4] + b"\1\2\3\4", DATA)),
        lambda: os.truncate(path, 200_000),
    ):
        found = inspected_later()
        with pytest.raises(RtvcError, match="has changed while it was read"):
            read_in_the_middle(found, change)
    found = inspected_later()
    (tmp_path / "y").write_bytes(path.read_bytes())
    (tmp_path / "y").replace(path)
    with pytest.raises(RtvcError, match="has changed while it was read"):
        SoundSource(found)


def read_in_the_middle(found: SoundInput, change: Callable[[], object]) -> int:
    source = SoundSource(found)
    try:
        source.read()
        change()
        while not source.ended:
            source.read()
    finally:
        source.close()
    return source.frames_read
