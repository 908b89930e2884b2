"""A folder that cannot be read is called so: what is in it is not said to be missing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from rtvc.cli import main
from rtvc.config.panel_state import PanelState, load_panel_state, save_panel_state
from rtvc.config.preset_manager import PresetManager
from rtvc.config.presets import find_preset, save_preset, user_folder, user_path
from rtvc.engine.weights.ivf_flat_file import check_ivf_flat
from rtvc.errors import RtvcError, UsageError
from rtvc.library import base_models, home, voices
from rtvc.settings import Settings
from rtvc.system.permission import folder_problem
from tests.support.unprivileged import unprivileged


@pytest.fixture(autouse=True)
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path))
    # Without permissions Python may not find the modules that these import when they are used.
    for words in (["presets", "check"], ["presets", "restore"], ["voices"], ["voices", "--help"]):
        with suppress(SystemExit):
            main.main(words)
    assert main.main(["report", str(tmp_path / "none" / "a.zip"), "--yes"]) == 2
    capsys.readouterr()
    for one in (tmp_path, *tmp_path.parents):  # pytest makes them readable for its user only
        if one.name.startswith(("pytest-", "popen-", tmp_path.name)):
            one.chmod(0o777)
    return tmp_path


@pytest.mark.parametrize("mode", [0o000, 0o311, 0o644])
def test_presets(mode: int, capsys: pytest.CaptureFixture[str]) -> None:
    save_preset(user_path("mine"), Settings(pitch=3.0))
    user_folder().chmod(mode)
    problem = f"Cannot read the folder {user_folder()}: Permission denied."
    with unprivileged():
        with pytest.raises(UsageError) as caught:
            find_preset("mine")
        assert str(caught.value) == f"There is no bundled preset 'mine'. {problem}"
        assert find_preset("deep").name == "deep"
        for words, code in (
            (["delete", "mine"], 2),
            (["rename", "mine", "yours"], 2),
            (["list"], 1),
            (["check"], 1),
        ):
            assert main.main(["presets", *words]) == code
            assert problem in capsys.readouterr().err
    user_folder().chmod(0o755)
    assert find_preset("mine").settings.pitch == 3.0


def test_deleted_presets(capsys: pytest.CaptureFixture[str]) -> None:
    save_preset(user_path("mine"), Settings(pitch=3.0))
    assert main.main(["presets", "delete", "mine"]) == 0
    (user_folder() / "deleted").chmod(0)
    with unprivileged():
        assert main.main(["presets", "restore"]) == 2
    assert "deleted: Permission denied." in capsys.readouterr().err
    (user_folder() / "deleted").chmod(0o755)
    assert main.main(["presets", "restore"]) == 0


@pytest.mark.parametrize("mode", [0o000, 0o644])  # whether the names in it may be read
def test_voices(mode: int, capsys: pytest.CaptureFixture[str]) -> None:
    for parent in (home.voices_folder(), home.removed_folder()):
        (parent / "Anna").mkdir(parents=True)
        parent.chmod(mode)
    problem = f"Cannot read the folder {home.voices_folder()}: Permission denied."
    with unprivileged():
        with pytest.raises(UsageError, match=r"^Cannot read the folder"):
            voices.installed_voice("Anna")
        assert voices.list_voices() == ([], [problem])
        for words in ([], ["list", "--json"]):
            assert main.main(["voices", *words]) == 1
            printed = capsys.readouterr().out
            assert problem in printed
            assert "No RVC voices yet" not in printed
        assert main.main(["voices", "remove", "Anna"]) == 2
        assert capsys.readouterr().err == f"rtvc: {problem}\n"
        with pytest.raises(UsageError, match="removed: Permission denied"):
            voices.restore_voice("Anna")
    for parent in (home.voices_folder(), home.removed_folder()):
        parent.chmod(0o755)


@pytest.mark.parametrize("locked", ["", "voice.json"])
def test_a_voice_is_not_called_damaged(locked: str) -> None:
    folder = home.voices_folder() / "Anna"
    folder.mkdir(parents=True)
    (folder / "voice.json").write_text("{}")
    (folder / locked).chmod(0)
    problem = f"Cannot read the voice 'Anna' in {folder}: Permission denied."
    with unprivileged():
        assert voices.list_voices() == ([], [problem])
        with pytest.raises(RtvcError) as caught:
            voices.installed_voice("anna")
    assert str(caught.value) == problem
    folder.chmod(0o755)


def test_the_index_of_a_voice() -> None:
    folder = home.data_folder() / "locked"
    folder.mkdir()
    (folder / "a.index").touch()
    folder.chmod(0)
    with unprivileged(), pytest.raises(RtvcError, match=r"a\.index cannot be read: Permission den"):
        check_ivf_flat(folder / "a.index")
    folder.chmod(0o755)


def test_base_models() -> None:
    home.models_folder().mkdir()
    home.models_folder().chmod(0)
    with unprivileged():
        advice = base_models.install_advice(["contentvec"])
    assert advice == f"Cannot read the folder {home.models_folder()}: Permission denied."
    home.models_folder().chmod(0o755)


def test_the_folder_of_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o555)
    with unprivileged():
        assert main.main(["report", str(tmp_path / "a.zip"), "--yes"]) == 1
    assert "a.zip cannot be written: Permission denied." in capsys.readouterr().err
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("linked", ["", "voices"])
def test_a_link_to_a_disk_that_is_not_mounted(
    linked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library, disk = tmp_path / "library", tmp_path / "disk"
    monkeypatch.setenv("RTVC_HOME", str(library))
    (library / linked).parent.mkdir(exist_ok=True)
    (library / linked).symlink_to(disk)
    link = library / linked
    problem = (
        f"Cannot read the folder {library / 'voices'}: {link} is a link to {disk}, which is not "
        "there."
    )
    assert main.main(["voices"]) == 1
    assert problem in capsys.readouterr().out
    with pytest.raises(UsageError) as caught:
        voices.installed_voice("Anna")
    assert str(caught.value) == problem


def test_a_missing_folder_is_no_problem(tmp_path: Path) -> None:
    assert folder_problem(tmp_path / "none") == ""
    assert folder_problem(tmp_path) == ""


def test_a_pipe_keeps_nothing_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    user_folder().mkdir()
    pipe = user_folder() / "pipe.yaml"
    manifests = (
        home.voices_folder() / "Anna" / voices.MANIFEST_FILE,
        home.models_folder() / "rmvpe" / base_models.MANIFEST_FILE,
    )
    for manifest in manifests:
        manifest.parent.mkdir(parents=True)
    for path in (pipe, *manifests):
        os.mkfifo(path)
    assert main.main(["presets", "save", "pipe", "--force"]) == 1
    assert "pipe.yaml cannot be read: It is a pipe, not a file." in capsys.readouterr().err
    assert pipe.is_fifo()
    assert "(voice.json: it is a pipe, not a file)" in voices.list_voices()[1][0]
    assert base_models.installed_model("rmvpe") is None
    assert not base_models.is_newer("rmvpe")


def test_a_preset_that_can_be_read_again_is_read() -> None:
    save_preset(user_path("mine"), Settings(pitch=3.0))
    manager = PresetManager()
    user_path("mine").chmod(0)
    with unprivileged():
        manager.scan()
        before = manager.entries
        manager.scan()
        assert manager.entries is before
    entry = manager.find("mine")
    assert entry is not None
    assert "It cannot be read: Permission denied." in entry.error
    user_path("mine").chmod(0o644)
    with unprivileged():
        manager.scan()
    entry = manager.find("mine")
    assert entry is not None
    assert entry.preset is not None
    assert entry.preset.settings.pitch == 3.0


def test_a_renamed_preset_keeps_its_key_if_another_file_cannot_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_preset(user_path("high"), Settings(pitch=3.0))
    user_folder().chmod(0o777)
    (tmp_path / "locked").mkdir()
    save_preset(tmp_path / "locked" / "half.yaml", Settings(morph_to="high", morph=0.5))
    (tmp_path / "locked").chmod(0o555)
    (user_folder() / "half.yaml").symlink_to("../locked/half.yaml")
    save_panel_state(PanelState(favourites={1: "high"}))
    with unprivileged():
        assert main.main(["presets", "rename", "high", "higher"]) == 1
    assert "The preset 'half' still has the old name." in capsys.readouterr().err
    assert load_panel_state()[0].favourites == {1: "higher"}
