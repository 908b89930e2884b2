"""A path that begins with '~' is in your home folder, also where no shell has replaced it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rtvc.cli.main import main, parse
from rtvc.config.paths import config_folder
from rtvc.library import data_folder
from rtvc.live.demo import load_utterance
from tests.support.library_files import V1


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is not the current one."""
    (tmp_path / "me").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("RTVC_HOME", "~/library")
    monkeypatch.delenv("RTVC_CONFIG_DIR", raising=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "me"


def test_a_file_is_read_from_and_written_to_the_home_folder(at_home: Path) -> None:
    import soundfile

    soundfile.write(at_home / "in.wav", load_utterance()[:24_000], 48_000)
    assert main(["convert", "~/in.wav", "~/out.wav"]) == 0
    assert soundfile.info(at_home / "out.wav").frames == 24_000
    assert list(Path.cwd().iterdir()) == []


def test_the_library_is_in_the_home_folder(at_home: Path) -> None:
    assert data_folder() == config_folder() == at_home / "library"
    shutil.copy(V1, at_home / "Anna.pth")
    assert main(["voices", "add", "~/Anna.pth", "--no-level"]) == 0
    assert (at_home / "library" / "voices" / "Anna").is_dir()
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("voices add Anna.pth --index ~/a", "index"),
        ("voices add Anna.pth --index=~/a", "index"),
        ("setup --from ~/a", "place"),
        ("report ~/a", "file"),
        ("replay ~/a", "folder"),
        ("replay x --output ~/a", "output"),
        ("bench --compare ~/a", "compare"),
        ("run --stats ~/a", "stats"),
        ("run --record ~/a", "record"),
        ("run --demo ~/a", "demo"),
    ],
)
def test_every_command_takes_such_a_path(at_home: Path, words: str, name: str) -> None:
    assert Path(getattr(parse(words.split()), name)) == at_home / "a"
