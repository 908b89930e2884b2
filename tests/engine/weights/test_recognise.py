import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from rtvc.engine.weights.recognise import FileKind, recognise, require_weights
from rtvc.engine.weights.text import printable
from rtvc.errors import RtvcError
from tests.engine.weights import torch_writer as tw

GOLDEN = Path(__file__).parents[2] / "golden"


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, raw in files.items():
            # A ZipInfo has a fixed date; writestr(name) would store the time of the run.
            member = zipfile.ZipInfo(name.replace("__", "/").replace("_dot_", "."))
            target.writestr(member, raw, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as target:
        target.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return buffer.getvalue()


def index(count: int) -> bytes:
    return b"IwFl" + struct.pack("<iqqqBi", 256, count, 2**20, 2**20, 1, 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("voice_v2_f0_48k.pth", FileKind.TORCH),
        ("hubert_small/pytorch_model.bin", FileKind.TORCH),
        ("hubert_small/model.safetensors", FileKind.SAFETENSORS),
        ("hubert_small/config.json", FileKind.TEXT),
        ("trained_IVF16_Flat_nprobe_1_golden_v1.index", FileKind.EMPTY_INDEX),
    ],
)
def test_real_files(name, kind):
    assert recognise(GOLDEN / name) is kind


SAMPLES = [
    (tw.legacy_bytes(b"}", {}), FileKind.TORCH_LEGACY),
    (archive(voices__a_dot_pth=b"x", b_dot_index=b"y"), FileKind.ARCHIVE),
    (tw.zip_bytes(b"}", {"0": b"abc" * 99})[:-50], FileKind.TORCH),
    (archive(a_dot_pth=b"x")[:-20], FileKind.ARCHIVE),
    (tar(), FileKind.TAR),
    (index(900), FileKind.INDEX),
    (index(0), FileKind.EMPTY_INDEX),
    (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xff\xff\x01", FileKind.ONNX),
    (b"Rar!\x1a\x07\x01\x00" + b"\0" * 40, FileKind.RAR),
    (b"7z\xbc\xaf\x27\x1c\0\4" + b"\0" * 40, FileKind.SEVEN_ZIP),
    (b"\x1f\x8b\x08\x00" + b"\0" * 40, FileKind.GZIP),
    (b"\n<!DOCTYPE html><html lang='en'><head>", FileKind.HTML),
    ("\ufeff<html><body>Sign in".encode(), FileKind.HTML),
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:6d62\nsize 181184272\n",
        FileKind.LFS_POINTER,
    ),
    (b'{"error": "Repository not found"}', FileKind.TEXT),
    ("Entry not found — žádný".encode(), FileKind.TEXT),
    (b"RIFF\x24\0\0\0WAVEfmt ", FileKind.SOUND),
    (b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94.", FileKind.PICKLE),
    (b"", FileKind.EMPTY),
    (bytes(range(256)), FileKind.UNKNOWN),
    (b"\xff" * 20, FileKind.UNKNOWN),
    (struct.pack("<Q", 10**6) + b"{" + b"\x00" * 50, FileKind.UNKNOWN),
]


@pytest.mark.parametrize(("content", "kind"), SAMPLES, ids=lambda v: getattr(v, "name", ""))
def test_generated_files(tmp_path, content, kind):
    path = tmp_path / "voice.pth"
    path.write_bytes(content)
    assert recognise(path) is kind


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (SAMPLES[1][0], "unpack it and give the .pth and the .index (a.pth, b.index)"),
        (SAMPLES[3][0], "damaged or cut short"),
        (index(900), "give it as the index of a voice"),
        (index(0), "begins with added_"),
        (SAMPLES[7][0], "ONNX export"),
        (b"<html>", "download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_messages_contain_a_remedy(tmp_path, content, advice):
    path = tmp_path / "voice.pth"
    path.write_bytes(content)
    with pytest.raises(RtvcError) as caught:
        require_weights(path, "a voice")
    message = str(caught.value)
    assert message.startswith("voice.pth cannot be read as a voice: it is ")
    assert message.endswith(".")
    assert advice in message


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(RtvcError, match="is a folder"):
        recognise(tmp_path)
    with pytest.raises(RtvcError, match="No such file"):
        recognise(tmp_path / "gone.pth")


def test_printable_drops_terminal_control_characters():
    hostile = "\x1b]0;owned\x07 na\u202eme\n\tnext\u200b\x9b31m\ud800"
    assert printable(hostile) == "]0;owned name next31m"
    assert printable("a" * 200, 10) == "a" * 9 + "…"
    assert printable("初音ミク é") == "初音ミク é"
