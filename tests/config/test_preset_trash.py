"""Deleted presets and earlier versions, kept on disk."""

import os
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from rtvc._version import __version__
from rtvc.config import paths, preset_trash
from rtvc.config.preset_manager import PresetEntry, PresetManager
from rtvc.config.presets import find_preset, listed_name, save_preset, user_folder
from rtvc.errors import RtvcError, UsageError
from rtvc.settings import Settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    return user_folder()


def manager() -> PresetManager:
    """Return presets as a new run sees them."""
    made = PresetManager()
    made.scan()
    return made


def find(presets: PresetManager, name: str) -> PresetEntry:
    entry = presets.find(name)
    assert entry is not None
    return entry


def delete(name: str) -> None:
    presets = manager()
    presets.delete(find(presets, name))


def update(name: str, pitch: float) -> None:
    presets = manager()
    presets.update(find(presets, name), Settings(pitch=pitch), "")


def write(name: str, text: str) -> Path:
    user_folder().mkdir(exist_ok=True)
    path = user_folder() / f"{name}.yaml"
    path.write_text(text)
    return path


def test_the_last_deletion_of_any_run_is_undone_first():
    for name in ("a", "b", "c"):
        write(name, f"description: '{name}'\n")
        delete(name)
    assert [manager().restore().name for _ in range(3)] == ["c", "b", "a"]
    assert (user_folder() / "b.yaml").read_text() == "description: 'b'\n"
    with pytest.raises(UsageError, match="No deleted preset is kept"):
        manager().restore()


def test_equal_names_are_kept_one_after_the_other():
    for pitch in (1, 2):
        write("a", f"pitch: {pitch}\n")
        delete("a")
    assert manager().restore("a").restored == "Restored 'a', which was deleted."
    assert (user_folder() / "a.yaml").read_text() == "pitch: 2\n"
    with pytest.raises(UsageError, match="There is another preset 'a' now; rename it"):
        manager().restore("a")
    assert (user_folder() / "a.yaml").read_text() == "pitch: 2\n"
    (user_folder() / "a.yaml").rename(user_folder() / "b.yaml")
    manager().restore("a")
    assert (user_folder() / "a.yaml").read_text() == "pitch: 1\n"


def test_an_update_is_undone_and_what_it_replaces_is_kept():
    path = write("a", "# Mine.\npitch: 1\n")
    write("b", "pitch: 9\n")
    delete("b")
    update("a", 2)
    assert path.read_text() == (
        f"# Mine.\npitch: 2\n\ndescription: ''\n\n# Saved by rtvc {__version__}.\n"
    )
    path.write_text("pitch: 3\n")  # by hand, since then
    assert manager().restore().restored == "Restored 'a' as it was before the last update."
    assert path.read_text() == "# Mine.\npitch: 1\n"
    assert manager().restore().name == "b", "an undo is not undone by the next one"
    assert manager().restore("a").restored == "Restored 'a' as it was before the last restore."
    assert path.read_text() == "pitch: 3\n"


def test_a_link_to_a_preset_stays_one(tmp_path: Path):
    target = tmp_path / "dotfiles.yaml"
    target.write_text("pitch: 1\n")
    target.chmod(0o600)
    user_folder().mkdir()
    link = user_folder() / "a.yaml"
    link.symlink_to("../dotfiles.yaml")
    update("a", 2)
    manager().restore()
    assert link.is_symlink()
    assert target.read_text() == "pitch: 1\n"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [kept.reason for kept in preset_trash.list_kept()] == ["replaced"]
    delete("a")
    manager().restore()
    assert link.is_symlink()
    assert link.read_text() == "pitch: 1\n"


def test_programs_that_change_presets_at_once_lose_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paths, "_LOCK_LIMIT_S", 60.0)  # not what a busy machine exceeds
    path = write("a", "pitch: 1\n")
    for number in range(10):
        for program in (0, 1):
            write(f"{program} {number}", f"pitch: {program}\n")
    at_once, refused = threading.Barrier(2), []

    def attempt(act: Callable[..., object], *args: object) -> None:
        at_once.wait()
        try:
            act(*args)
        except UsageError as error:
            refused.append(error)

    def change(program: int) -> None:
        presets = manager()
        for number in range(10):
            entry = find(presets, f"{program} {number}")
            attempt(preset_trash.keep_copy, path, "updated")
            attempt(presets.rename, entry, f"both {number}")
            attempt(save_preset, user_folder() / f"new {number}.yaml", Settings(pitch=4.0))

    threads = [threading.Thread(target=change, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kept.number for kept in preset_trash.list_kept()] == list(range(20, 0, -1))
    assert len(refused) == 20, "one of two programs took a name that the other had taken"
    assert len(list(user_folder().glob("*.yaml"))) == 1 + 20 + 10


def test_files_that_are_no_presets_can_be_deleted_and_restored():
    path = write("a", "")
    path.write_bytes(b"\xff\xfe\x00garbage\x80")
    delete("a")
    assert not path.exists()
    manager().restore()
    assert path.read_bytes() == b"\xff\xfe\x00garbage\x80"


def test_the_oldest_are_removed_and_other_files_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preset_trash, "MAX_KEPT", 3)
    preset_trash.trash_folder().mkdir(parents=True)
    (preset_trash.trash_folder() / "notes.txt").write_text("mine")
    for name in ("a", "b", "c", "d", "e"):
        write(name, "pitch: 1\n")
        delete(name)
    assert [kept.name for kept in preset_trash.list_kept()] == ["e", "d", "c"]
    assert (preset_trash.trash_folder() / "notes.txt").read_text() == "mine"
    assert not [entry for entry in manager().entries if not entry.file.bundled]


def test_the_oldest_of_many_can_be_restored(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preset_trash, "MAX_KEPT", 3)
    path = write("a", "pitch: 1\n")
    update("a", 2)
    for name in ("b", "c"):
        write(name, "pitch: 1\n")
        delete(name)
    manager().restore("a")
    assert path.read_text() == "pitch: 1\n"
    assert [kept.name for kept in preset_trash.list_kept()] == ["a", "c", "b"]


def test_without_a_folder_for_them_nothing_is_deleted_or_updated():
    path = write("a", "pitch: 1\n")
    preset_trash.trash_folder().write_text("a file in its place")
    with pytest.raises(RtvcError, match="'a' cannot be deleted: "):
        delete("a")
    with pytest.raises(RtvcError, match="cannot be written: "):
        update("a", 2)
    assert path.read_text() == "pitch: 1\n"


def test_bundled_presets_are_never_changed_or_hidden():
    presets = manager()
    deep = find(presets, "deep")
    text = deep.file.path.read_text()
    with pytest.raises(UsageError, match="comes with rtvc and cannot be changed"):
        presets.update(deep, Settings(), "")
    write("deep 2", "pitch: 1\n")
    presets.scan()
    mine = find(presets, "deep 2")
    for act in (
        lambda: presets.save("deep", Settings()),
        lambda: presets.rename(mine, "deep"),
        lambda: presets.duplicate(mine, "deep"),
    ):
        with pytest.raises(UsageError, match=r"'deep' comes with rtvc; .* such as 'deep 3'"):
            act()
    assert deep.file.path.read_text() == text


NAME = "Ren\u00e9e"
OTHER_FORM = unicodedata.normalize("NFD", NAME)


def test_a_file_from_a_disk_that_stores_accents_apart_is_the_preset_of_its_name():
    path = write(OTHER_FORM, "pitch: 2\n")
    presets = manager()
    assert NAME in [entry.name for entry in presets.entries]
    for name in (NAME, OTHER_FORM):
        assert find_preset(name).settings.pitch == 2
        assert find_preset(name).name == find(presets, name).name == NAME
        assert listed_name(name) == NAME
        with pytest.raises(UsageError, match="There is a preset 'Ren\u00e9e' already"):
            presets.save(name, Settings())
    presets.update(find(presets, NAME), Settings(pitch=5), "")
    assert manager().restore(NAME).name == NAME
    assert path.read_text() == "pitch: 2\n"
    assert [file.name for file in user_folder().glob("*.yaml")] == [path.name]
    presets.delete(find(presets, NAME))
    assert manager().restore(OTHER_FORM).name == NAME
    assert manager().rename(find(manager(), NAME), "Anna") == "Anna"


def test_a_new_preset_has_its_accents_in_one_form():
    assert manager().save(OTHER_FORM, Settings(pitch=1)) == NAME
    assert [file.name for file in user_folder().glob("*.yaml")] == [f"{NAME}.yaml"]


def test_the_case_of_a_name_can_change_where_the_disk_ignores_it():
    path = write("anna", "pitch: 2\n")
    if not path.with_name("Anna.yaml").exists():
        # Two names of one file are what such a disk shows.
        os.link(path, path.with_name("Anna.yaml"))
    assert manager().rename(find(manager(), "anna"), "Anna") == "Anna"
    with pytest.raises(UsageError, match="There is a preset 'Anna' already"):
        manager().rename(find(manager(), "Anna"), "Anna")


def test_a_link_of_the_same_name_in_another_case_is_another_preset():
    write("Anna", "pitch: 2\n")
    if (user_folder() / "anna.yaml").exists():
        pytest.skip("the disk ignores case")
    (user_folder() / "anna.yaml").symlink_to("Anna.yaml")
    with pytest.raises(UsageError, match="There is a preset 'Anna' already"):
        manager().rename(find(manager(), "anna"), "Anna")
    assert find_preset("Anna").settings.pitch == 2
