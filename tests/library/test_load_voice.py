"""`rtvc.load_voice`: from everything that can be a voice to a voice."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtvc
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.setting_up import install_from_folder
from tests.engine.rvc.rvc_stack import GOLDEN, INDEX
from tests.support.library_files import make_zip, tree

V1 = GOLDEN / "voice_v1_f0_40k.pth"
OTHER = GOLDEN / "voice_v1_f0_48k.pth"
ANNA = "<RvcVoice 'Anna', RVC v1, 40000 Hz, with an index>"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    return tmp_path


@pytest.fixture
def archive() -> Path:
    return make_zip(Path("Anna.zip"), {"model/Anna.pth": V1, f"model/{INDEX.name}": INDEX})


def test_the_built_in_voice():
    voice = rtvc.load_voice("world")
    assert repr(voice) == "<WorldVoice 'world', 48000 Hz>"
    assert isinstance(voice, rtvc.Voice)


def test_an_installed_voice():
    add_voice(FoundVoice(V1, INDEX, "Anna"))
    assert repr(rtvc.load_voice("anna")) == ANNA
    Path("Anna").mkdir()
    assert repr(rtvc.load_voice("anna")) == ANNA, "an installed voice comes before a folder"


def test_an_archive_with_its_index_leaves_nothing_behind(archive: Path, home: Path):
    rtvc.load_voice(V1)  # the first voice of a process keeps the verdict of the self-test
    before = tree(home)
    voice = rtvc.load_voice("Anna.zip")
    assert repr(voice) == ANNA
    assert isinstance(voice, rtvc.Voice)
    assert repr(rtvc.load_voice(archive)) == ANNA
    assert tree(home) == before
    output = rtvc.convert(
        np.zeros(16_000, np.float32), sample_rate=16_000, voice=voice, pitch_method="dio"
    )
    assert output.shape == (16_000,)


def test_a_folder_and_a_file(archive: Path):
    with zipfile.ZipFile(archive) as members:
        members.extractall("Anna")
    for source in ("Anna", "./Anna/", Path("Anna"), "Anna/model"):
        assert repr(rtvc.load_voice(source)).endswith(ANNA.partition(",")[2]), source
    plain = rtvc.load_voice("Anna/model/Anna.pth")
    assert repr(plain) == "<RvcVoice 'Anna', RVC v1, 40000 Hz>"
    assert repr(rtvc.load_voice("Anna/model/Anna.pth", index=INDEX)) == ANNA


def test_one_of_several(archive: Path):
    make_zip(Path("many.zip"), {"Anna.pth": V1, "Bert.pth": OTHER})
    with pytest.raises(rtvc.UsageError, match=r"many.zip .*Anna.pth, Bert.pth.*pick="):
        rtvc.load_voice("many.zip")
    assert repr(rtvc.load_voice("many.zip", pick="Bert")).startswith("<RvcVoice 'Bert'")
    with pytest.raises(rtvc.UsageError, match="'Carl'"):
        rtvc.load_voice("many.zip", pick="Carl")


def test_the_same_file_is_in_memory_once():
    first, second = rtvc.load_voice(V1), rtvc.load_voice(str(V1))
    assert isinstance(first, RvcVoice)
    assert isinstance(second, RvcVoice)
    assert first.voice is second.voice


def test_a_source_that_cannot_be_loaded_is_refused(home: Path):
    make_zip(Path("bad.zip"), {"inner/bad.pth": b"no weights", "notes.txt": b"read me"})
    make_zip(Path("broken.zip"), {"broken.pth": V1.read_bytes()[:2000]})
    Path("cut.zip").write_bytes(b"PK\x03\x04 and no more")
    refused: tuple[tuple[Any, str], ...] = (
        ("nobody", "There is no voice 'nobody'"),
        ("", "There is no voice ''"),
        (4, "from 4. Give a name or a path"),
        (Path("world"), "There is no file or folder '.*/world'"),
        ("none/none.zip", "There is no file or folder '.*/none/none.zip'"),
        ("./none.pth", "none.pth"),
        ("bad.zip", "bad"),
        ("broken.zip", "broken"),
        ("cut.zip", "cut.zip"),
        ("https://example.org/Anna.zip", "A URL cannot be loaded"),
    )
    for source, part in refused:
        with pytest.raises(rtvc.RtvcError, match=part) as caught:
            rtvc.load_voice(source)
        assert ".adding-" not in str(caught.value), source
    with pytest.raises(rtvc.UsageError, match="is not a file"):
        rtvc.load_voice("world", index=INDEX)
    assert not [name for name in tree(home) if ".adding-" in name]


def test_an_index_for_another_kind_of_voice_is_refused():
    wrong = GOLDEN / "added_IVF16_Flat_nprobe_1_golden_v2.index"
    with pytest.raises(rtvc.UsageError, match="width 768"):
        rtvc.load_voice(V1, index=wrong)
    assert repr(rtvc.load_voice(V1, index=str(INDEX))).endswith(", with an index>")


def test_a_voice_is_no_index_of_itself():
    with pytest.raises(rtvc.RtvcError, match=f"{V1.name} .* index"):
        rtvc.load_voice(V1, index=V1)


def test_a_member_of_an_archive_is_never_executed(home: Path):
    import pickle

    class Attack:
        def __reduce__(self):
            return Path.touch, (home / "executed",)

    make_zip(Path("attack.zip"), {"attack.pth": pickle.dumps(Attack())})
    with pytest.raises(rtvc.RtvcError):
        rtvc.load_voice("attack.zip")
    assert not (home / "executed").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x" * 5000, "There is no voice 'xxx"),
        (Path("x" * 5000), "There is no file or folder '/"),
        ("x" * 300 + ".pth", "There is no file or folder '/"),
        ("~no such user/x.pth", "There is no file or folder '/"),
        ("~no such user", "There is no voice '~no such user'"),
        ("a\0b.pth", r"'a\x00b.pth' has a null character"),
    ],
    ids=["name", "path", "suffix", "user", "user without a path", "null"],
)
def test_names_that_the_system_refuses_are_refused_in_a_sentence(source, message):
    with pytest.raises(rtvc.RtvcError) as caught:
        rtvc.load_voice(source)
    assert str(caught.value).startswith(message)


def test_what_is_no_text_is_refused_in_a_sentence():
    with pytest.raises(rtvc.UsageError, match=r"^The index is 3 and pick is None"):
        rtvc.load_voice(V1, index=3)  # type: ignore[arg-type]
    with pytest.raises(rtvc.UsageError, match=r"^The index is None and pick is 3"):
        rtvc.load_voice(V1, pick=3)  # type: ignore[arg-type]
    with pytest.raises(rtvc.SettingError, match=r"^'voice' is 3, but must be a name"):
        rtvc.voice_settings(3)  # type: ignore[arg-type]


def test_a_converter_takes_the_settings_of_its_own_voice():
    voice = rtvc.load_voice(V1)
    own = rtvc.Settings(voice=voice.name, pitch=3)
    assert rtvc.Converter(voice, own, sample_rate=48_000).settings == own
    other = own.replace(voice=voice.name.upper())  # names ignore case
    assert rtvc.Converter(voice, other, sample_rate=48_000).settings == other
    with pytest.raises(rtvc.UsageError, match="The voice is given twice"):
        rtvc.Converter(V1, own.replace(voice=str(V1).upper()), sample_rate=48_000)
    with pytest.raises(rtvc.UsageError, match="The voice is given twice, also as 'Bert'"):
        rtvc.Converter(voice, own.replace(voice="Bert"), sample_rate=48_000)
