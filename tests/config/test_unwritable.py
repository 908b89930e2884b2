"""A settings folder that cannot be read or written keeps nothing from running."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtvc.cli import main, options
from rtvc.config.paths import write_atomically
from rtvc.config.remembered import (
    RememberedRun,
    load_remembered,
    remembered_path,
    save_remembered,
)
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from rtvc.system.mlx_environment import request_device, requested_device
from tests.cli.test_main import ROOT, rtvc_command
from tests.support.sound_server import SoundServer
from tests.support.unprivileged import unprivileged


def test_a_file_without_permission_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    save_remembered(RememberedRun(settings=Settings(pitch=3.0)))
    for folder in (tmp_path, *tmp_path.parents):  # pytest makes them readable for its user only
        if folder.name.startswith(("pytest-", "popen-", tmp_path.name)):
            folder.chmod(0o777)
    remembered_path().chmod(0)
    with unprivileged():
        run, sentence = load_remembered()
        assert run == RememberedRun()
        assert sentence.startswith("The settings of the last run are ignored.")
        assert "It cannot be read: Permission denied." in sentence
        assert os.listdir(tmp_path) == ["remembered.yaml"]
        with pytest.raises(RtvcError, match="not replaced"):
            save_remembered(run)
    remembered_path().chmod(0o600)
    assert load_remembered()[0].settings.pitch == 3


def test_a_run_starts_without_being_remembered(
    sound_server: SoundServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", "/proc/nowhere")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    words = ("--input", "fake_mic", "--output", "fake_speaker", "--seconds", "0.3")
    done = rtvc_command(*words)
    assert "This run is not remembered. /proc/nowhere/remembered.yaml cannot be" in done.stderr
    assert " blocks, " in done.stdout


def test_the_choice_of_the_device_to_compute_on_is_used_without_being_remembered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", "/proc/nowhere")
    options.choose_device(main.parse(["run", "--compute", "cpu"]), remember=True)
    assert requested_device() == "cpu"
    request_device("")
    assert "The choice of --compute is not remembered." in capsys.readouterr().err


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.yaml"
    link.symlink_to("real/file.yaml")
    for text in ("a", "b"):  # the target does not exist at first
        write_atomically(link, text)
        assert link.is_symlink()
        assert (tmp_path / "real" / "file.yaml").read_text() == text
    assert sorted(os.listdir(tmp_path)) == ["link.yaml", "real"]


@pytest.mark.parametrize("flag", ["--stats", "--demo"])
def test_a_run_replaces_no_pipe_even_with_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    words = ["run", "--demo", "--seconds", "0.2", "--force", "--no-save", flag, str(pipe)]
    assert main.main(words) == 2
    assert "pipe.wav is not a file that can be replaced. Choose" in capsys.readouterr().err
    assert pipe.is_fifo()


def test_each_mistake_of_a_preset_has_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a\nb.yaml").write_text("pich: 3\nformant: 99\n")
    assert main.main(["run", "--demo", "--preset", "./a\nb.yaml"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(r"rtvc: a\nb.yaml:1: There is no setting 'pich'.")
    assert second.startswith(r"a\nb.yaml:2: 'formant' is 99")
