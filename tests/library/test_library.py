"""Adding, refusing, removing, restoring and blending voices in the library."""

import dataclasses
import errno
import fcntl
import json
import os
import random
import shutil
import signal
import struct
import sys
import time
import unicodedata
import zipfile
from collections import namedtuple
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from rtvc import library
from rtvc.cli import options
from rtvc.cli.main import main
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.recognise import recognise
from rtvc.errors import RtvcError, UsageError
from rtvc.library import adding, archives, names
from rtvc.library import home as home_module
from rtvc.library.adding import add_voice, blend_voices
from rtvc.library.base_models import BASE_MODELS
from rtvc.library.finding import find_voices, select_voice
from rtvc.library.opening import open_source
from rtvc.library.setting_up import install_from_folder, install_from_url
from rtvc.library.voices import write_manifest
from rtvc.settings import Settings
from rtvc.system.durable import flush_file
from tests.support.file_server import serving
from tests.support.library_files import (
    EMPTY_INDEX,
    GOLDEN,
    MRF,
    PLAIN,
    V1,
    V1_32K,
    V2,
    make_index,
    make_zip,
    ran,
    rtvc,
    tree,
    variant,
)
from tests.support.unprivileged import unprivileged


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RTVC_CONFIG_DIR", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("index") / "added_IVF1_Flat_nprobe_1_Anna_v2.index")


@pytest.fixture
def signals():
    """Restore the signal handlers that the command line sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def add(source, **how):
    with open_source(str(source), lambda done, total: None) as found:
        (one,) = found
        return add_voice(one, **how)


def voices_in(source):
    with open_source(str(source), lambda done, total: None) as found:
        return {
            voice.name: voice.index and voice.index.name
            for voice in sorted(found, key=lambda v: v.name)
        }


def refused(source, error=RtvcError, **how):
    with pytest.raises(RtvcError) as caught:
        add(source, **how)
    assert type(caught.value) is error
    return str(caught.value)


def installed():
    voices, problems = library.list_voices()
    assert not problems
    return [voice.name for voice in voices]


@pytest.mark.parametrize("source", [V2, V1, V1_32K, PLAIN, MRF])
def test_an_installed_voice_equals_the_added_one(source):
    before = source.read_bytes()
    voice = add(source).voice
    original, copy = read_voice_checkpoint(source), read_voice_checkpoint(voice.path)
    for field in fields(original):
        if field.name not in ("weights", "source_sha256"):
            assert getattr(copy, field.name) == getattr(original, field.name)
    assert copy.weights.keys() == original.weights.keys()
    for name, array in original.weights.items():
        np.testing.assert_array_equal(copy.weights[name], array)
    facts = voice.manifest
    assert voice.name == source.stem
    assert facts.source == source.name
    assert facts.source_sha256 == original.source_sha256
    assert (facts.version, facts.sample_rate) == (original.version, original.sample_rate)
    assert (facts.uses_pitch, facts.speakers) == (original.uses_pitch, original.speakers)
    assert (facts.vocoder, facts.embedder) == (original.vocoder, original.embedder)
    assert facts.info == original.info
    assert voice.index is None
    assert source.read_bytes() == before
    assert library.installed_voice(source.stem.upper()) == voice


def test_an_installed_voice_is_a_folder_of_standard_files(index):
    voice = add(V2, index=index).voice
    assert [p.name for p in sorted(voice.folder.iterdir())] == [
        "voice.index",
        "voice.json",
        "voice.safetensors",
    ]
    assert voice.index.read_bytes() == index.read_bytes()
    assert voice.manifest.index == index.name
    assert voice.manifest.index_vectors == 40
    assert voice.size == sum(p.stat().st_size for p in voice.folder.iterdir())


def test_an_archive_with_unrelated_files(tmp_path, home, index):
    path = make_zip(
        tmp_path / "Anna (RVC).zip",
        {
            "Anna/readme.txt": b"Have fun",
            "Anna/weights/Anna_e200_s4000.pth": V2,
            "Anna/logs/added_IVF1_Flat_nprobe_1_Anna_v2.index": index,
            "Anna/logs/trained_IVF1_Flat_nprobe_1_Anna_v2.index": EMPTY_INDEX,
            "Anna/logs/D_2333333.pth": V2,
            "Anna/logs/G_2333333.pth": V2,
            "__MACOSX/Anna/weights/._Anna_e200_s4000.pth": b"\0\5\x16\7",
            "Anna/weights/._Anna_e200_s4000.pth": b"\0\5\x16\7",
            "Anna/.hidden/other.pth": V1,
            "../../etc/cron.d/evil.sh": b"rm",
        },
    )
    added = add(path)
    assert added.voice.name == "Anna"
    assert added.notes == ()
    assert added.voice.manifest.source == "Anna_e200_s4000.pth"
    assert added.voice.index.read_bytes() == index.read_bytes()
    assert sorted(p.name for p in home.iterdir()) == ["voices"]


@pytest.mark.parametrize(
    ("member", "name"),
    [
        ("model.pth", "Anna"),
        ("weights/G_2333.pth", "Anna"),
        ("Bert.pth", "Bert"),
        ("Bert.pth.safetensors", "Bert"),
        ("Bert_e20.pth", "Bert"),
        ("Bert_200e_4000s_best_epoch.pth", "Bert"),
        ("folder\\Bert.pth", "Bert"),
        ("Bert.safetensors", "Bert"),
        ("BERT.PTH", "BERT"),
        ("\u65e5\u672c\u8a9e \U0001f3a4.pth", "\u65e5\u672c\u8a9e \U0001f3a4"),
        ("a\x1b[31m\u202eb.pth", "a[31mb"),
        ("A\u0308nna.pth", "\u00c4nna"),
        ("x" * 200 + ".pth", "x" * 80),
    ],
)
def test_the_name_comes_from_the_file_unless_it_is_generic(tmp_path, member, name):
    path = make_zip(tmp_path / "Anna.zip", {member: V2})
    assert add(path).voice.name == name


def test_several_voices_each_with_its_index(tmp_path, index):
    other = make_index(tmp_path / "other.index", 256, 30)
    path = make_zip(
        tmp_path / "many.zip",
        {
            "Anna.pth": V2,
            "Bert_e10_s20.pth": V1,
            "Cleo.pth": PLAIN,
            "added_IVF1_Flat_nprobe_1_Anna_v2.index": index,
            "added_IVF1_Flat_nprobe_1_bert_v1.index": other,
            "dora/weights.pth": V1_32K,
            "dora/added_IVF1_Flat_nprobe_1_thing_v1.index": other,
        },
    )
    assert voices_in(path) == {
        "Anna": index.name,
        "Bert": "added_IVF1_Flat_nprobe_1_bert_v1.index",
        "Cleo": None,
        "weights": "added_IVF1_Flat_nprobe_1_thing_v1.index",
    }
    with open_source(str(path), lambda done, total: None) as found:
        assert [one.name for one in select_voice(found, "bert_e10_s20.PTH")] == ["Bert"]
        assert [one.name for one in select_voice(found, "Cleo")] == ["Cleo"]
        with pytest.raises(UsageError, match=r"Anna\.pth, Bert_e10_s20\.pth, Cleo\.pth, weights"):
            select_voice(found, "Dora")


def test_checkpoints_of_one_training_keep_distinct_names(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"Anna_e10_s20.pth": V2, "Anna_e20_s40.pth": V2})
    assert list(voices_in(path)) == ["Anna_e10_s20", "Anna_e20_s40"]


def test_voices_of_one_name_get_numbers(tmp_path, capsys, signals):
    path = make_zip(
        tmp_path / "a.zip",
        {"a/Voice.pth": V2, "b/voice.pth": V1, "c/voice 2.pth": V1, "d/voice.pth": PLAIN},
    )
    assert sorted(voices_in(path)) == ["Voice", "voice 2", "voice 2 2", "voice 3"]
    for _ in range(2):  # the second time it replaces four voices, and each by itself
        assert main(["voices", "add", str(path), "--force", "--no-level"]) == 0
        assert capsys.readouterr().out.endswith("4 of 4 voices added.\n")
    assert installed() == ["Voice", "voice 2", "voice 2 2", "voice 3"]
    assert library.installed_voice("voice").manifest.version == "v2"
    assert len(library.list_removed()) == 4
    with open_source(str(path), lambda done, total: None) as found:
        assert [one.name for one in select_voice(found, "voice")] == ["Voice"]
        with pytest.raises(UsageError, match=r"by its name: Voice, voice 2, voice 3\."):
            select_voice(found, "voice.pth")


def test_every_numbered_name_is_valid():
    for name in ("a" * 80, "\N{GRINNING FACE}" * 50, "é" * 79 + "."):
        suggested = [names.sanitized(name)] * 120
        found = names.distinct(suggested)
        assert [names.validated_name(one) for one in found] == found
        assert len(set(found)) == 120


def test_ambiguous_indexes_are_listed(tmp_path, index):
    path = make_zip(tmp_path / "a.zip", {"Anna.pth": V2, "one.index": index, "two.index": index})
    assert "one.index, two.index" in refused(path, UsageError)
    path = make_zip(tmp_path / "b.zip", {"Anna.pth": V2, "one.index": index, index.name: index})
    assert add(path).voice.manifest.index == index.name


def test_a_folder_is_searched_like_an_archive(tmp_path, index):
    folder = tmp_path / "Anna"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "__MACOSX").mkdir()
    shutil.copy(V2, folder / "deep" / "er" / "model.pth")
    shutil.copy(V2, folder / "__MACOSX" / "no.pth")
    shutil.copy(index, folder)
    (folder / "deep" / "loop").symlink_to(folder)
    assert voices_in(folder) == {"Anna": index.name}


def test_a_file_uses_the_index_of_its_name_in_the_same_folder(tmp_path, index):
    shutil.copy(V2, tmp_path / "Anna_e5_s6.pth")
    shutil.copy(V2, tmp_path / "Bert.pth")
    shutil.copy(index, tmp_path)
    assert voices_in(tmp_path / "Anna_e5_s6.pth") == {"Anna": index.name}
    assert voices_in(tmp_path / "Bert.pth") == {"Bert": None}


def test_an_index_that_does_not_match_is_left_out_or_refused(tmp_path, index, home):
    path = make_zip(tmp_path / "Anna.zip", {"Anna.pth": V1, "Anna.index": index})
    added = add(path)
    assert added.voice.index is None
    (note,) = added.notes
    assert "Anna.index holds features of width 768" in note
    assert ".adding" not in note
    cut = tmp_path / "cut.index"
    cut.write_bytes(index.read_bytes()[:-9])
    for other, message in (
        (index, "width 768"),
        (EMPTY_INDEX, "without any vectors"),
        (V1, "a torch file"),
        (tmp_path / "gone.index", "There is no file"),
        (cut, "damaged"),
    ):
        with pytest.raises(RtvcError, match=message):
            add(V1, name="Bert", index=other)
    assert installed() == ["Anna"]
    assert sorted(p.name for p in home.iterdir()) == ["voices"]


def test_of_two_indexes_the_one_that_fits_is_used(tmp_path, index):
    narrow = make_index(tmp_path / "narrow.index", 256, 30)
    members = {"Anna.pth": V1, "Anna_v1.index": narrow, "added_Anna_v2.index": index}
    added = add(make_zip(tmp_path / "Anna.zip", members))
    assert added.voice.manifest.index == "Anna_v1.index"


def test_an_index_of_no_voice_is_mentioned(tmp_path, index):
    path = make_zip(tmp_path / "two.zip", {"Anna.pth": V2, "Bert.pth": V1, "Carl.index": index})
    with open_source(str(path), lambda done, total: None) as found:
        for voice in found:
            (note,) = add_voice(voice).notes
            assert "are not used: Carl.index." in note


def test_an_index_with_fewer_vectors_than_lists_is_refused(tmp_path):
    import faiss

    rows = np.random.default_rng(1).standard_normal((40, 768)).astype(np.float32)
    made = faiss.IndexIVFFlat(faiss.IndexFlatL2(768), 768, 8)
    made.train(rows)
    made.add(rows[:3])
    path = tmp_path / "few.index"
    faiss.write_index(made, str(path))
    with pytest.raises(RtvcError, match=r"more lists .8. than vectors .3."):
        add(V2, index=path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_an_index_of_vectors_that_are_not_finite_is_refused(tmp_path, value):
    import faiss

    rows = np.random.default_rng(1).standard_normal((40, 768)).astype(np.float32)
    made = faiss.IndexIVFFlat(faiss.IndexFlatL2(768), 768, 1)
    made.train(rows)
    made.add(np.full_like(rows, value))
    path = tmp_path / "many.index"
    faiss.write_index(made, str(path))
    with pytest.raises(
        RtvcError, match=r"many\.index is empty: the vectors that it counts are not"
    ):
        add(V2, index=path)


def patched(path, change):
    raw = bytearray(path.read_bytes())
    change(raw)
    path.write_bytes(raw)
    return path


def entry(raw, offset):
    """Return the position of a field in the first entry of an archive's directory."""
    return raw.index(b"PK\x01\x02") + offset


def encrypt(raw):
    for at in (6, entry(raw, 8)):
        raw[at] |= 1


def state_no_encoding(raw):
    for at in (7, entry(raw, 9)):
        assert raw[at] == 8  # the names are UTF-8
        raw[at] = 0


def unknown_compression(raw):
    for at in (8, entry(raw, 10)):
        raw[at : at + 2] = struct.pack("<H", 97)


def make_link(raw):
    at = entry(raw, 0)
    raw[at + 5] = 3
    raw[at + 38 : at + 42] = struct.pack("<I", 0o120777 << 16)


def claim_less(raw):
    for at in (22, entry(raw, 24)):
        raw[at : at + 4] = struct.pack("<I", 1000)


def claim_more(raw):
    for at in (22, entry(raw, 24)):
        raw[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)


def spoil(raw):
    raw[len(raw) // 2] ^= 0xFF


def cut(raw):
    del raw[-200:]


def many(raw):
    at = raw.rindex(b"PK\x05\x06")
    raw[at + 8 : at + 12] = struct.pack("<HH", 65000, 65000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (encrypt, "encrypted"),
        (unknown_compression, "not supported"),
        (make_link, "is a link"),
        (claim_less, "damaged or cut short"),
        (claim_more, "times its size"),
        (spoil, "damaged or cut short"),
        (cut, "damaged"),
        (many, "more than 20000 files"),
    ],
)
def test_a_bad_archive_is_refused(tmp_path, home, change, message):
    path = patched(make_zip(tmp_path / "Anna.zip", {"Anna.pth": V2}), change)
    assert message in refused(path)
    assert not home.exists() or tree(home) == []


@pytest.mark.parametrize(
    "name", ["../Anna.pth", "/Anna.pth", "a/../../Anna.pth", "..\\Anna.pth", "C:\\Anna.pth"]
)
def test_an_archive_with_paths_outside_of_it_is_refused(tmp_path, home, name):
    assert "points outside" in refused(make_zip(tmp_path / "a.zip", {name: V2}))
    assert tree(home) == []


def test_decompression_bombs_are_refused_before_unpacking(tmp_path, monkeypatch):
    bomb = make_zip(tmp_path / "bomb.zip", {"Anna.pth": bytes(80 * 2**20)})
    assert "times its size" in refused(bomb)
    twice = make_zip(tmp_path / "twice.zip", {"Anna.pth": V2, "anna.pth": V1})
    assert "twice" in refused(twice)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 10**6)
    path = make_zip(tmp_path / "two.zip", {"a.pth": V2, "b.pth": V2})
    assert "unpack to more" in refused(path)


def test_random_damage_gives_an_error_and_writes_nothing_outside(tmp_path):
    dice = random.Random(5)
    members: dict[str, Path | bytes] = {
        "a/Anna.pth": b"PK\x03\x04" + bytes(300),
        "a/x.index": b"IwFl" * 50,
        "b.txt": b"b",
    }
    good = make_zip(tmp_path / "good.zip", members).read_bytes()
    path = tmp_path / "bad.zip"
    outcomes = set()
    for number in range(600):
        raw = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(raw))
            raw[at] = dice.choice(
                (0, 0xFF, raw[at] ^ (1 << dice.randrange(8)), dice.randrange(256))
            )
        if number % 7 == 0:
            del raw[dice.randrange(len(raw)) :]
        path.write_bytes(raw)
        folder = tmp_path / "deep" / str(number)
        folder.mkdir(parents=True)
        try:
            archives.unpack(path, folder, (".pth", ".index"))
            outcomes.add("unpacked")
        except RtvcError as error:
            outcomes.add(str(error))
        assert all(name.split("/")[0].isdigit() for name in tree(folder))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip", "deep", "good.zip"]
    assert len(outcomes) > 5


@pytest.mark.parametrize("name", ["\u00c4nna", "A\u0308nna", "\u65e5\u672c\u8a9e"])
def test_an_archive_of_macos_whose_names_are_utf_8_without_saying_so(tmp_path, name):
    path = patched(make_zip(tmp_path / "a.zip", {f"{name}/{name}.pth": V2}), state_no_encoding)
    voice = add(path).voice
    assert voice.name == unicodedata.normalize("NFC", name)
    assert unicodedata.normalize("NFC", voice.manifest.source) == f"{voice.name}.pth"
    other = patched(make_zip(tmp_path / "b.zip", {f"{name}.txt": b""}), state_no_encoding)
    assert f"only {voice.name}.txt" in refused(other)


def test_an_archive_whose_names_are_not_utf_8_keeps_its_name(tmp_path):
    def write_in_code_page_437(raw):
        state_no_encoding(raw)
        raw[:] = raw.replace("\u00c4x.pth".encode(), "A\u00e4.pth".encode("cp437") + b"2")

    path = make_zip(tmp_path / "a.zip", {"\u00c4x.pth": V2})
    with pytest.raises(RtvcError, match=r"only A\u00e4\.pth2"):
        add(patched(path, write_in_code_page_437))


def overlapping(path):
    """Write an archive with two directory entries for one member."""
    make_zip(path, {"Anna.pth": V2})
    raw = path.read_bytes()
    start, end = raw.index(b"PK\x01\x02"), raw.rindex(b"PK\x05\x06")
    record = raw[start:end]
    twin = record.replace(b"Anna.pth", b"Bert.pth")
    tail = bytearray(raw[end:])
    tail[8:12] = struct.pack("<HH", 2, 2)
    tail[12:16] = struct.pack("<I", 2 * len(record))
    path.write_bytes(raw[:start] + record + twin + tail)
    return path


def test_members_that_overlap_are_refused(tmp_path):
    assert "overlap" in refused(overlapping(tmp_path / "a.zip"))


def test_an_archive_with_a_comment_is_accepted(tmp_path):
    path = make_zip(tmp_path / "Anna.zip", {"Anna.pth": V2})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"From a friend. " * 300
    assert add(path).voice.name == "Anna"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Rar!\x1a\x07\x01\x00" + bytes(99), "RAR archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "7z archive; unpack it"),
        (b"\x1f\x8b\x08" + bytes(99), "gzip archive"),
        (bytes(257) + b"ustar" + bytes(99), "tar archive"),
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        (b"", "empty"),
        (EMPTY_INDEX.read_bytes(), "faiss index"),
        ((GOLDEN / "rmvpe_small.pt").read_bytes(), "RMVPE, not a voice"),
    ],
)
def test_other_files_are_recognised_and_refused(tmp_path, home, content, message):
    path = tmp_path / "Anna.pth"
    path.write_bytes(content)
    assert message in refused(path)
    assert message in refused(make_zip(tmp_path / "Anna.zip", {"Anna.pth": path}))
    assert not home.exists() or tree(home) == []


def test_a_folder_without_a_voice_is_refused_with_its_content(tmp_path):
    (tmp_path / "Anna").mkdir()
    assert "Anna holds no voice" in refused(tmp_path / "Anna")
    (tmp_path / "Anna" / "voice.rar").write_bytes(b"Rar!")
    assert "voice.rar is an archive inside it" in refused(tmp_path / "Anna")
    path = make_zip(tmp_path / "a.zip", {"x/readme.txt": b"", "x/b.onnx": b""})
    assert "only x_readme.txt, x_b.onnx" in refused(path)
    assert "There is no file or folder" in refused(tmp_path / "gone.zip", UsageError)
    assert "There is no file 'gone.index'." in refused(V1, UsageError, index=Path("gone.index"))


@pytest.mark.parametrize("mac", [True, False])
def test_a_folder_or_file_without_permission_is_not_called_empty(tmp_path, monkeypatch, mac):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    folder, file = Path("locked"), Path("Anna.pth")
    folder.mkdir()
    shutil.copy(V2, folder)
    shutil.copy(V2, file)
    for path in (folder, file):
        path.chmod(0)
    advice = " Allow your terminal access in System Settings, Privacy & Security, Files & Folders."
    end = f"Permission denied.{advice if mac else ''}"
    with unprivileged():
        monkeypatch.setattr(sys, "platform", "darwin" if mac else "linux")
        for use, message in [
            (lambda: find_voices(folder, "locked"), "Cannot read the folder locked: "),
            (lambda: install_from_folder("rmvpe", folder), "Cannot read the folder locked: "),
            (lambda: recognise(file), "Cannot open Anna.pth: "),
        ]:
            with pytest.raises(RtvcError) as caught:
                use()
            assert str(caught.value) == message + end
    folder.chmod(0o777)


@pytest.mark.parametrize("same", ["Anna", "anna", " ANNA "])
def test_a_taken_name_is_refused(same):
    add(V2, name="Anna")
    assert "already" in refused(V1, UsageError, name=same)
    assert library.installed_voice("Anna").manifest.version == "v2"


def test_names_that_differ_only_in_unicode_normalization_are_equal():
    add(V2, name="\u00c4nna")
    decomposed = unicodedata.normalize("NFD", "\u00c4nna")
    assert "already" in refused(V1, UsageError, name=decomposed)
    assert library.installed_voice(decomposed).name == "\u00c4nna"


@pytest.mark.parametrize(
    "name",
    ["", " ", ".hidden", "-x", "a/b", "..", "a\\b", "a:b", "a\x1b[2J", "x" * 81, "\u202ea",
     "World", "Anna.pth", "end.", "\u00e4" * 80 + "\u4e2d" * 41],
)  # fmt: skip
def test_invalid_names_are_refused(name):
    with pytest.raises(UsageError):
        names.validated_name(name)
    assert refused(V2, UsageError, name=name or " ")


def test_every_suggested_name_is_valid():
    for stem in ("CON", "a/b", "...", "-rf", " x ", "model", "\x00", "\u4e2d" * 200, "a." * 90):
        name = names.suggested_name(stem)
        assert names.validated_name(name) == name


def test_an_index_next_to_a_file_is_used_if_it_fits_and_is_the_only_one(tmp_path):
    voice = tmp_path / "Anna.pth"
    voice.write_bytes(V2.read_bytes())
    (tmp_path / "Anna.index").mkdir()
    make_index(tmp_path / "added_IVF1_Flat_nprobe_1_Anna_v1.index", 256)
    make_index(tmp_path / "added_IVF1_Flat_nprobe_1_Anna_v2.index", count=40)
    assert add(voice).voice.manifest.index == "added_IVF1_Flat_nprobe_1_Anna_v2.index"
    make_index(tmp_path / "added_IVF1_Flat_nprobe_2_Anna_v2.index", count=41)
    added = add(voice, name="Bert")
    assert added.voice.index is None
    (note,) = added.notes
    assert note.startswith("More than one index belongs to it by its name, so none is used: ")
    assert note.endswith(
        "nprobe_1_Anna_v2.index, added_IVF1_Flat_nprobe_2_Anna_v2.index. Select one with --index."
    )


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_member_is_reported_for_every_compression_method(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/Anna.pth", V2.read_bytes())
    raw = bytearray(path.read_bytes())
    assert add(path, name=f"Anna {method}").voice.manifest.version == "v2"
    middle = len(raw) // 2
    raw[middle : middle + 400] = bytes(400)
    path.write_bytes(raw)
    assert "a.zip" in refused(path, name="Bert")
    assert installed() == [f"Anna {method}"]


def test_a_compression_method_that_is_not_known_everywhere_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"Anna.pth": V2})
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\1\2")
    raw[at + 10 : at + 12] = struct.pack("<H", 93)  # Zstandard
    path.write_bytes(raw)
    assert "compression method is not supported" in refused(path)


def test_a_replaced_voice_can_be_restored(index):
    add(V2, name="Anna", index=index)
    added = add(V1, name="anna", force=True)
    assert added.voice.manifest.version == "v1"
    assert added.notes[0].endswith(": rtvc voices restore Anna --name NEW")
    assert installed() == ["anna"]
    assert library.list_removed() == ["Anna"]
    with pytest.raises(UsageError, match="already"):
        library.restore_voice("Anna")
    assert library.restore_voice("anna", "Anna of old") == "Anna of old"
    assert library.installed_voice("Anna of old").manifest.index_vectors == 40
    add(V1, name="Cleo D", force=True)
    library.remove_voice("Cleo D")
    add(V1, name="Cleo D")
    again = add(V1, name="Cleo D", force=True)
    assert again.notes[0].endswith(": rtvc voices restore 'Cleo D 2'")
    assert library.restore_voice("Cleo D 2") == "Cleo D 2"


@pytest.mark.parametrize("problem", [OSError(errno.EDQUOT, "over quota"), KeyboardInterrupt()])
def test_a_voice_stays_if_its_replacement_fails(index, monkeypatch, problem):
    add(V2, name="Anna", index=index)

    def fail(path):
        if path.parent.name == "voice":  # the new one, which is not in place yet
            raise problem
        flush_file(path)

    monkeypatch.setattr(home_module, "flush_file", fail)
    with pytest.raises((RtvcError, KeyboardInterrupt)):
        add(V1, name="anna", force=True)
    assert installed() == ["Anna"]
    assert library.installed_voice("Anna").manifest.index_vectors == 40
    assert library.list_removed() == []


def test_a_link_to_a_voice_is_removed_without_the_voice(tmp_path):
    folder = add(V2, name="Anna").voice.folder
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    before = tree(elsewhere)
    assert installed() == ["Anna"]
    library.restore_voice(library.remove_voice("Anna"))
    assert installed() == ["Anna"]
    assert library.remove_voice("Anna", forever=True) == ""
    assert installed() == library.list_removed() == []
    assert tree(elsewhere) == before


def test_removed_voices_of_the_same_name_can_be_restored():
    for version, source in (("v2", V2), ("v1", V1)):
        add(source, name="Anna")
        assert library.installed_voice("Anna").manifest.version == version
        library.remove_voice("ANNA")
    assert installed() == []
    assert library.list_removed() == ["Anna", "Anna 2"]
    with pytest.raises(UsageError, match=r"Did you mean 'Anna'\?"):
        library.restore_voice("Ana")
    assert library.restore_voice("anna 2") == "Anna 2"
    assert library.installed_voice("Anna 2").manifest.version == "v1"
    with pytest.raises(UsageError, match=r"no voice 'Anna'\. Did you mean 'Anna 2'\?"):
        library.remove_voice("Anna")
    assert library.remove_voice("Anna", forever=True) == ""
    assert library.remove_voice("Anna 2", forever=True) == ""
    assert library.list_removed() == []
    with pytest.raises(UsageError, match="None can be restored"):
        library.restore_voice("Anna")


def test_removed_voices_whose_names_differ_in_case_are_told_apart(home):
    for name, source in (("anna", V2), ("Anna", V1), ("ANNA", PLAIN)):
        add(source, name=name)
        library.remove_voice(name)
    assert sorted(library.list_removed()) == ["ANNA 3", "Anna 2", "anna"]
    restored = library.installed_voice(library.restore_voice("ANNA 2"))
    assert (restored.name, restored.manifest.source) == ("Anna 2", V1.name)
    assert library.installed_voice(library.restore_voice("Anna")).manifest.source == V2.name


def test_of_removed_voices_that_differ_in_case_the_equal_one_is_meant(home):
    add(V2, name="anna")
    library.remove_voice("anna")
    if (home / "removed" / "ANNA").exists():
        pytest.skip("this disk ignores case")
    for name in ("ANNA", "Anna"):  # as older versions did
        shutil.copytree(home / "removed" / "anna", home / "removed" / name)
    for name in ("anna", "Anna", "ANNA"):
        library.remove_voice(name, forever=True)
        assert name not in library.list_removed()
    assert library.list_removed() == []


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_in_the_place_of_a_folder_is_reported(home, linked):
    def block(name):
        if linked:
            (home / name).symlink_to("nowhere")
        else:
            (home / name).touch()

    told = "home cannot be written to: '{}' in it is not a folder."
    add(V2, name="Anna")
    block("removed")
    with pytest.raises(RtvcError, match=told.format("removed")):
        library.remove_voice("Anna")
    assert installed() == ["Anna"]
    (home / "voices").rename(home / "elsewhere")
    block("voices")
    assert told.format("voices") in refused(V2)


def test_renaming(index):
    add(V2, name="anna", index=index)
    add(V1, name="Bert")
    assert library.rename_voice("ANNA", "Anna") == "Anna"
    assert library.rename_voice("Anna", "Cleo 2.5") == "Cleo 2.5"
    with pytest.raises(UsageError, match="already"):
        library.rename_voice("bert", "cleo 2.5")
    with pytest.raises(UsageError, match="built-in"):
        library.rename_voice("bert", "world")
    with pytest.raises(UsageError, match=r"Did you mean 'Bert'\?"):
        library.rename_voice("Berta", "x")
    assert installed() == ["Bert", "Cleo 2.5"]
    index = library.installed_voice("cleo 2.5").index
    assert index is not None
    assert index.is_file()


def test_a_damaged_voice_is_reported_and_the_others_work():
    add(V2, name="Anna")
    for number, damage in enumerate(
        (
            b"",
            b"{",
            b"[1]",
            b'{"format": 0}',
            b'{"format": 1, "version": "v2"}',
            b"[" * 100_000,
            b'{"format": 2}',
            None,
        )
    ):
        folder = library.data_folder() / "voices" / f"Bert {number}"
        shutil.copytree(library.data_folder() / "voices" / "Anna", folder)
        if damage is None:
            (folder / "voice.safetensors").unlink()
        else:
            (folder / "voice.json").write_bytes(damage)
        newer = damage == b'{"format": 2}'
        told = "installed by a newer version" if newer else "is damaged .*remove it"
        with pytest.raises(RtvcError, match=told):
            library.installed_voice(f"bert {number}")
    voices, problems = library.list_voices()
    assert [voice.name for voice in voices] == ["Anna"]
    assert len(problems) == 8
    assert library.remove_voice("Bert 0") == "Bert 0"


def test_folders_with_invalid_names_are_ignored():
    add(V2, name="Anna")
    voices = library.data_folder() / "voices"
    for name in (".hidden", "evil\x1b[2J", "-x"):
        shutil.copytree(voices / "Anna", voices / name)
    (voices / "file").touch()
    assert installed() == ["Anna"]


def test_a_blend_is_the_weighted_mean(tmp_path):
    add(V2, name="Anna")
    add(variant(tmp_path / "b.safetensors", V2, 3.0, speakers=2), name="Bert")
    voice = blend_voices("anna", "bert", ratio=0.25).voice
    assert voice.name == "Anna+Bert"
    assert voice.manifest.speakers == 2
    assert voice.manifest.source == "Anna 75% and Bert 25%"
    assert voice.manifest.source_sha256 == ""
    a, mixed = read_voice_checkpoint(V2), read_voice_checkpoint(voice.path)
    for name, array in a.weights.items():
        wanted = array[:2] if name == "emb_g.weight" else array
        np.testing.assert_allclose(mixed.weights[name], 1.5 * wanted, rtol=1e-6)
    assert (mixed.version, mixed.sample_rate, mixed.uses_pitch) == ("v2", 48000, True)
    with pytest.raises(UsageError, match="already"):
        blend_voices("Anna", "Bert", ratio=0.5)
    again = blend_voices("Anna", "Bert", ratio=0, force=True)
    for name, array in read_voice_checkpoint(again.voice.path).weights.items():
        np.testing.assert_array_equal(array, a.weights[name][: len(array)])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (V1, "version"),
        (MRF, "sample rate .*vocoder"),
        (PLAIN, "use of pitch"),
    ],
)
def test_different_networks_are_not_blended(other, message):
    add(V2, name="Anna")
    add(other, name="Bert")
    with pytest.raises(UsageError, match=message):
        blend_voices("Anna", "Bert", ratio=0.5)


def test_voices_of_different_encoders_are_not_blended(tmp_path):
    add(V2, name="Anna")
    add(variant(tmp_path / "b.safetensors", V2, 1.0, embedder="spin"), name="Bert")
    with pytest.raises(UsageError, match="content encoder"):
        blend_voices("Anna", "Bert", ratio=0.5)
    with pytest.raises(UsageError, match="ratio"):
        blend_voices("Anna", "Anna", ratio=1.5)
    with pytest.raises(UsageError, match=r"Did you mean 'Anna'\?"):
        blend_voices("Anna", "Ann", ratio=0.5)


def test_a_full_disk_is_reported_before_anything_is_written(home, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**5))
    assert "not enough space for the voice 'Anna'" in refused(V2, name="Anna")
    assert not home.exists()


def test_a_failed_write_leaves_nothing(home):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))"
    code, _, output = ran("voices", "add", str(V2), home=home, code=limit)
    assert code == 1
    assert output.startswith("rtvc: ")
    assert "cannot be written to: File too large" in output
    assert tree(home) == []


@pytest.mark.parametrize("kind", ["file", "system"])
def test_an_unwritable_folder_is_reported(home, monkeypatch, kind):
    place = home.parent / "file" / "x"
    if kind == "system":
        place = Path("/sys/rtvc" if sys.platform == "linux" else "/System/rtvc")
    else:
        place.parent.touch()
    monkeypatch.setenv("RTVC_HOME", str(place))
    message = refused(V2)
    assert f"{place} cannot be written to" in message
    assert "RTVC_HOME" in message


WAIT = """
from rtvc.library import adding
def wait(*arguments):
    import time
    print("half done", flush=True)
    time.sleep(60)
adding.write_manifest = wait
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_add_leaves_nothing(home, number):
    with rtvc("voices", "add", str(V2), home=home, code=WAIT) as process:
        assert process.stdout.readline() == "half done\n"
        assert any(name.endswith("voice.safetensors") for name in tree(home))
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert tree(home) == []


def test_the_files_of_a_killed_process_are_removed(home):
    with rtvc("voices", "add", str(V2), home=home, code=WAIT) as process:
        process.stdout.readline()
        (stage,) = home.iterdir()
        os.utime(stage, (1, 1))
        add(V2, name="Bert")
        assert stage.is_dir()  # its process still runs
    os.utime(stage, (1, 1))
    add(V2, name="Cleo")
    assert sorted(p.name for p in home.iterdir()) == ["voices"]
    assert installed() == ["Bert", "Cleo"]


def test_a_disk_without_locks_is_enough(home, monkeypatch):
    def no_lock(file, how):  # as on a network disk; NFS has locks for files, but not for folders
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_lock)
    add(V2, name="Anna")
    with serving() as server:
        add(server.put("/Bert.pth", V1.read_bytes()))
    assert installed() == ["Anna", "Bert"]
    assert sorted(path.name for path in home.iterdir()) == ["downloads", "voices"]


def test_two_processes_that_add_the_same_name_do_not_mix(monkeypatch, home):
    real = write_manifest

    def and_another(*arguments):
        monkeypatch.setattr(adding, "write_manifest", real)
        add(V2, name="Anna")
        real(*arguments)

    monkeypatch.setattr(adding, "write_manifest", and_another)
    assert "already" in refused(V1, UsageError, name="Anna")
    assert library.installed_voice("Anna").manifest.version == "v2"
    assert library.list_removed() == []
    assert sorted(p.name for p in home.iterdir()) == ["voices"]


def test_a_voice_is_added_from_a_url(tmp_path, home, index):
    archive = make_zip(tmp_path / "a.zip", {"model.pth": V2, "x.index": index}).read_bytes()
    with serving() as server:
        url = server.put("/a/b/Anna%20X.zip", archive) + "?key=secret"
        voice = add(url).voice
        assert voice.name == "Anna X"
        assert voice.manifest.origin == f"{server.url}/a/b/Anna%20X.zip"
        assert voice.manifest.index_vectors == 40
        # After a usage error the download stays and is not downloaded a second time.
        assert "already" in refused(url, UsageError)
        assert "already" in refused(url, UsageError)
        assert server.ranges()[2] == f"bytes={len(archive)}-"
        assert add(url, name="Bert").voice.name == "Bert"
        direct = add(server.put("/Cleo_e5_s6.pth", V1.read_bytes())).voice
        assert (direct.name, direct.manifest.source) == ("Cleo", "Cleo_e5_s6.pth")
        message = refused(server.put("/Dora.pth", b"Rar!\x1a\x07\x01" + bytes(99)))
        assert "Dora.pth cannot be read as a voice: it is a RAR archive" in message
    assert tree(home / "downloads") == []


def test_a_disk_without_links_is_enough(home, monkeypatch):
    def no_link(*paths, **how):  # as on an exFAT disk
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "symlink", no_link)
    rmvpe = (GOLDEN / "rmvpe_small.pt").read_bytes()
    with serving() as server:
        add(server.put("/Anna.pth", V2.read_bytes()))
        model = dataclasses.replace(BASE_MODELS["rmvpe"], url=server.put("/rmvpe.pt", rmvpe))
        assert install_from_url(model, lambda done, total: None, unverified=True).file == "rmvpe.pt"
    assert installed() == ["Anna"]
    assert tree(home / "downloads") == []


def test_a_download_is_not_taken_away_from_the_process_that_adds_it(home):
    with serving() as server:
        url = server.put("/Anna.pth", V2.read_bytes())
        with open_source(url, lambda done, total: None) as (found,):
            code, _, errors = ran("voices", "add", url, "--name", "Bert", "--no-level", home=home)
            assert code == 1
            assert "Another rtvc process is already using http://127.0.0.1:" in errors
            assert add_voice(found).voice.name == "Anna"
        assert ran("voices", "add", url, "--name", "Bert", "--no-level", home=home)[0] == 0
    assert installed() == ["Anna", "Bert"]


def test_missing_base_models_are_reported_with_the_command_to_run(tmp_path):
    add(V2, name="Anna")
    add(PLAIN, name="Plain")
    add(variant(tmp_path / "s.safetensors", V2, 1.0, embedder="spin_v2"), name="Spin")
    for voice in ("world", "./Anna.pth", "Anna.safetensors", "folder/Anna"):
        options.require_voice(Settings(voice=voice))
    anna = library.installed_voice("anna")
    with pytest.raises(RtvcError, match=r"FCPE.* Run 'rtvc setup contentvec fcpe' once; .*233 MB"):
        library.require_base_models(anna, "fcpe")
    assert library.missing_models(anna.manifest, "dio") == ["contentvec"]
    for name, message in (
        ("anna", r"ContentVec and the pitch estimator RMVPE.* Run 'rtvc setup' once; .*371 MB"),
        ("plain", r"needs the content encoder ContentVec, not.* Run 'rtvc setup' once; .*190 MB"),
        ("spin", r"RMVPE.*Run 'rtvc setup' once.*'rtvc setup spin-v2 --from FOLDER'"),
        ("Ann", r"no voice 'Ann'\. Did you mean 'Anna'\?"),
        ("wrld", r"no voice 'wrld'\. Did you mean 'world'\?"),
    ):
        with pytest.raises(RtvcError, match=message):
            options.require_voice(Settings(voice=name))


def test_reading_the_library_is_light():
    code = """
import rtvc.library, rtvc.cli.voices, rtvc.cli.setup
rtvc.library.list_voices()
heavy = {"numpy", "mlx", "faiss", "urllib.request", "http.client", "rtvc.engine", "zipfile"}
print(sorted(heavy & set(sys.modules)))
"""
    assert ran("--version", home=Path("nowhere"), code=code)[1].splitlines()[0] == "[]"


def test_the_commands_print_what_they_did(tmp_path, index, capsys, signals):
    path = make_zip(tmp_path / "Anna.zip", {"Anna.pth": V2, "a.index": index})

    def run(*words):
        code = main(["voices", *words])
        return code, *capsys.readouterr()

    assert run()[:2] == (
        0,
        "world  built in\n\nNo RVC voices yet. Add one with 'rtvc voices add FILE'.\n",
    )
    code, output, _ = run("add", str(path))
    assert code == 0
    assert output.splitlines() == [
        "Added 'Anna': RVC v2, 48 kHz, HiFi-GAN, with pitch, 3 speakers, index of 40 vectors.",
        "Run 'rtvc setup' once; it downloads 371 MB. Then use it: rtvc --voice Anna",
        "With the base models, trim it to the loudness of others: rtvc voices level Anna",
    ]
    code, output, errors = run("add", str(path))
    assert (code, output) == (2, "")
    assert "--name" in errors
    listed = json.loads(run("list", "--json")[1])
    assert [voice["name"] for voice in listed["voices"]] == ["Anna"]
    assert listed["voices"][0]["missing"] == ["contentvec", "rmvpe"]
    assert Path(listed["voices"][0]["path"]).is_file()
    assert "40 vectors (a.index)" in run("show", "anna")[1]
    shown = json.loads(run("show", str(path), "--json")[1])
    assert (shown[0]["name"], shown[0]["index_vectors"]) == ("Anna", 40)
    assert "RVC v1 voice, without pitch" in run("show", str(PLAIN))[1]
    many = make_zip(tmp_path / "many.zip", {"Anna.pth": V2, "Bert.pth": V1})
    code, output, errors = run("add", str(many), "--name", "x")
    assert code == 2
    assert "Anna.pth, Bert.pth" in errors
    code, output, errors = run("add", str(many))
    assert code == 1
    assert "1 of 2 voices added." in output
    assert "'Anna' already" in errors
    assert run("add", str(many), "--pick", "bert.pth", "--name", "Cleo D")[0] == 0
    assert "--ratio is 'half'" in run("blend", "Bert", "Cleo D", "--ratio", "half")[2]
    assert "The ratio is 1.5" in run("blend", "Bert", "Cleo D", "--ratio", "1,5")[2]
    long = make_zip(tmp_path / "long.zip", {f"{'x' * 200}.pth": V1})
    assert f"Added '{'x' * 80}'" in run("add", str(long))[1]
    run("remove", "x" * 80, "--forever")
    assert "--voice 'Cleo D'" in run("blend", "Bert", "Cleo D", "--name", "Cleo D", "--force")[1]
    assert run("remove", "anna", "nobody")[:2] == (2, "")
    assert "Undo: rtvc voices restore Anna" in run("remove", "anna", "Anna")[1]
    assert "Removed: Anna, Cleo D." in run()[1]


def test_doctor_checks_the_library(home, monkeypatch):
    from rtvc.cli.doctor import _library
    from rtvc.cli.probes import probe

    def checks():
        return {check.name: check for check in _library(probe("library"))}

    nothing = checks()
    assert {check.verdict for check in nothing.values()} == {"good"}
    assert "rtvc setup" in nothing["base models"].fix
    add(V2, name="Anna")
    found = checks()
    assert found["base models"].verdict == "warning"
    assert "RVC voices use the pitch estimator swift until" in found["base models"].found
    assert "Anna" in found["RVC voices"].found
    for facts, fix in (("{}", "remove it with"), ('{"format": 2}', "Update rtvc")):
        (home / "voices" / "Anna" / "voice.json").write_text(facts)
        check = checks()["RVC voices"]
        assert check.verdict == "warning"
        assert check.fix.startswith("The voice 'Anna' ")
        assert fix in check.fix


def test_a_folder_with_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("rtvc.library.finding._MAX_FILES", 3)
    for i in range(4):
        (tmp_path / f"{i}.txt").touch()
    began = time.monotonic()
    with pytest.raises(UsageError, match="more than 3 files"):
        find_voices(tmp_path, "x")
    assert time.monotonic() - began < 1
