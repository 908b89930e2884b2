"""Files of a newer version of rtvc are called so, and are never replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rtvc._version import __version__
from rtvc.cli import main
from rtvc.config import calibration_yaml, measured_latency, settings_yaml
from rtvc.config.panel_state import (
    PanelState,
    load_keys,
    load_panel_state,
    panel_state_path,
    save_panel_state,
)
from rtvc.config.preset_manager import PresetManager
from rtvc.config.presets import load_preset, save_preset, user_folder
from rtvc.config.remembered import (
    RememberedRun,
    load_remembered,
    remembered_path,
    save_remembered,
)
from rtvc.config.settings_yaml import NewerFileError, SettingsFileError
from rtvc.device_choice import DeviceIdentity
from rtvc.errors import RtvcError
from rtvc.library import base_models
from rtvc.library.home import models_folder
from rtvc.library.voice_defaults import read_defaults, write_defaults
from rtvc.library.voices import DEFAULTS_FILE, MANIFEST_FILE, list_voices
from rtvc.settings import Settings
from tests.support.library_files import GOLDEN

SAVED_BY = "# Saved by rtvc 99.0.\n"
NEWER = f"description: x\nsparkle: 3\n{SAVED_BY}"
MESSAGE = f"rtvc 99.0 has saved it, and this is rtvc {__version__}. Update rtvc to use it."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    user_folder().mkdir()
    return tmp_path


def test_a_preset_of_a_newer_version_is_kept() -> None:
    path = user_folder() / "a.yaml"
    path.write_text(NEWER)
    with pytest.raises(NewerFileError) as caught:
        load_preset(path)
    assert caught.value.lines[0] == f"{path}: {MESSAGE}"
    assert "There is no setting 'sparkle'." in caught.value.lines[1]
    with pytest.raises(RtvcError, match=r"a\.yaml is not replaced: rtvc 99\.0 has saved it"):
        save_preset(path, Settings(pitch=2), overwrite=True)
    manager = PresetManager()
    manager.scan()
    entry = manager.find("a")
    assert entry is not None
    assert entry.description == "newer rtvc"
    with pytest.raises(RtvcError, match="is not replaced"):
        manager.update(entry, Settings(pitch=2), "")
    assert path.read_text() == NEWER
    assert not (user_folder() / "deleted").exists()


def test_the_last_run_of_a_newer_version_is_kept(folder: Path) -> None:
    path = remembered_path()
    for text in (
        f"sparkle: 3\n{SAVED_BY}",
        f"input: mic\ninput_ordinal: 3 of 2\n{SAVED_BY}",
        f"[\n{SAVED_BY}",
    ):
        path.write_text(text)
        run, sentence = load_remembered()
        assert run == RememberedRun()
        assert sentence == f"The settings of the last run are ignored. {path}: {MESSAGE}"
        with pytest.raises(RtvcError, match="is not replaced: rtvc 99"):
            save_remembered(RememberedRun(settings=Settings(pitch=2)))
        assert path.read_text() == text
        assert not (folder / "remembered-damaged.yaml").exists()


def test_what_this_version_can_read_is_used_and_replaced() -> None:
    remembered_path().write_text(f"pitch: 3\n{SAVED_BY}")
    run, sentence = load_remembered()
    assert (run.settings, sentence) == (Settings(pitch=3), "")
    save_remembered(run)
    assert f"\n# Saved by rtvc {__version__}.\n" in remembered_path().read_text()


@pytest.mark.parametrize(
    "saved_by",
    ["", "# Saved by rtvc 0.0.1.\n", f"# Saved by rtvc {__version__}.\n", "# rtvc 99.0\n"],
)
def test_a_file_of_no_newer_version_is_damaged(saved_by: str) -> None:
    with pytest.raises(SettingsFileError) as caught:
        settings_yaml.parse(f"sparkle: 3\n{saved_by}", "a.yaml", ())
    assert not isinstance(caught.value, NewerFileError)


def test_the_files_of_the_panel_of_a_newer_version_are_kept() -> None:
    path = panel_state_path()
    path.write_text(f"theme: dark\nsparkle: 3\n{SAVED_BY}")
    assert load_panel_state()[1] == f"A file of the panel is ignored. {path}: {MESSAGE}"
    with pytest.raises(RtvcError, match="is not replaced: rtvc 99"):
        save_panel_state(PanelState(theme="light"))
    assert "sparkle" in path.read_text()
    path.unlink()
    save_panel_state(PanelState(theme="light"))
    assert load_panel_state() == (PanelState(theme="light"), "")
    (path.parent / "keys.yaml").write_text(f"mute: x\n{SAVED_BY}")
    assert load_keys(("mute",)) == ({"mute": "x"}, "")


def test_a_damaged_file_of_the_panel_is_renamed(folder: Path) -> None:
    panel_state_path().write_text("favourite_1: deep\ntheme: [\n")
    assert load_panel_state()[1].startswith("A file of the panel is ignored.")
    assert panel_state_path().exists()
    save_panel_state(PanelState(theme="light"))
    assert load_panel_state() == (PanelState(theme="light"), "")
    assert (folder / "panel-damaged.yaml").read_text() == "favourite_1: deep\ntheme: [\n"


def test_what_a_voice_remembers_in_a_newer_version(tmp_path: Path) -> None:
    (tmp_path / DEFAULTS_FILE).write_text(f"gate: -50\n{SAVED_BY}")
    with pytest.raises(NewerFileError, match="has saved it"):
        read_defaults(tmp_path)
    write_defaults(tmp_path, {"pitch": 3.0})
    assert read_defaults(tmp_path) == {"pitch": 3.0}


def test_an_update_writes_the_version() -> None:
    path = user_folder() / "a.yaml"
    path.write_text("# Mine.\ndescription: x\npitch: 1\n\n# Saved by rtvc 0.0.1.\n")
    for pitch in (2, 3):
        save_preset(path, Settings(pitch=pitch), "x", overwrite=True)
        assert path.read_text() == (
            f"# Mine.\ndescription: x\npitch: {pitch}\n\n# Saved by rtvc {__version__}.\n"
        )


def test_measurements_of_a_newer_version_are_called_so() -> None:
    calibration_yaml.calibration_path().write_text("format: 2\nvoices: []\n")
    measured_latency.latency_path().write_text("format: 2\n")
    for sentence in (calibration_yaml.load_calibration()[1], measured_latency.load_latencies()[1]):
        assert "a newer version of rtvc has written it. Update rtvc to use" in sentence
        assert "again" not in sentence


def test_measurements_of_a_newer_version_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    device = DeviceIdentity("x", "", 0, 1)
    latency = measured_latency.MeasuredLatency(device, device, "48000 Hz", 0.1, 0.1, 0.0, 1.0)
    writers: list[tuple[Path, Callable[[], object]]] = [
        (calibration_yaml.calibration_path(), lambda: calibration_yaml.save_calibration({})),
        (measured_latency.latency_path(), lambda: measured_latency.save_latency(latency)),
    ]
    for path, write in writers:
        text = "# Much longer than a file of settings.\n" * 3000 + "format: 2\nnew: 3\n"
        path.write_text(text)
        with pytest.raises(RtvcError, match="is not replaced: a newer version of rtvc has"):
            write()
        assert path.read_text() == text
    assert main.main(["calibrate"]) == 1
    assert "is not replaced" in capsys.readouterr().err, "before anything is measured"


def test_a_base_model_of_a_newer_version_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path))
    folder = models_folder() / "rmvpe"
    folder.mkdir(parents=True)
    (folder / base_models.MANIFEST_FILE).write_text('{"format": 2}')
    newer = (
        "A newer version of rtvc has installed the pitch estimator RMVPE. Update rtvc to use it."
    )
    source = GOLDEN / "rmvpe_small.pt"
    for words in (["--from", str(source)], ["--from", str(source), "--force"], []):
        assert main.main(["setup", "rmvpe", *words]) == 1
        assert f"rtvc: {newer}\n" in capsys.readouterr().err
    assert (folder / base_models.MANIFEST_FILE).read_text() == '{"format": 2}'
    assert base_models.install_advice(["rmvpe"]) == newer
    assert main.main(["setup", "--list"]) == 0
    assert "from a newer version of rtvc; update rtvc to use it" in capsys.readouterr().out


def test_a_voice_of_a_newer_version_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path))
    for name, form in (("Anna", "2"), ("Bert", "0")):
        (tmp_path / "voices" / name).mkdir(parents=True)
        (tmp_path / "voices" / name / MANIFEST_FILE).write_text(f'{{"format": {form}}}')
    problems = list_voices()[1]
    assert problems[0] == (
        "The voice 'Anna' was installed by a newer version of rtvc. Update rtvc to use it."
    )
    assert "damaged (voice.json: its format is 0 instead of 1)" in problems[1]
