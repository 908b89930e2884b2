"""A preset that is renamed while the settings in use morph to it."""

from pathlib import Path

import pytest

from rtvc.config.panel_state import PanelState
from rtvc.config.preset_manager import PresetManager
from rtvc.config.presets import load_preset, user_folder
from rtvc.config.remembered import RememberedRun
from rtvc.live.actions import Actions
from rtvc.live.controller import Controller
from rtvc.live.mode_keys import ModeKeys
from rtvc.settings import Settings
from tests.tui.simulated_devices import SimulatedDevices


def test_the_settings_their_history_and_other_presets_get_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    user_folder().mkdir()
    (user_folder() / "high.yaml").write_text("pitch: 3\n")
    (user_folder() / "half.yaml").write_text("morph_to: high\nmorph: 0.5\n")
    manager = PresetManager()
    manager.scan()
    remembered = RememberedRun(settings=Settings(morph_to="high", morph=0.5))
    run = Controller(SimulatedDevices(), remembered, remember=False)
    actions = Actions(run, manager, PanelState(), ModeKeys())
    try:
        run.apply(run.settings.replace(pitch=1.0))
        entry = manager.find("high")
        assert entry is not None
        assert actions.note_renamed("high", manager.rename(entry, "higher")) == ""
        assert (run.settings.morph_to, run.settings.pitch) == ("higher", 1.0)
        assert run.undo()
        assert (run.settings.morph_to, run.settings.pitch) == ("higher", 0.0)
        assert load_preset(user_folder() / "half.yaml").settings.morph_to == "higher"
        half = manager.find("half")
        assert half is not None
        assert half.preset is not None
        assert half.preset.settings.morph_to == "higher"
    finally:
        run.close()


def test_a_rename_says_which_file_keeps_the_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    panel = tmp_path / "panel.yaml"
    panel.write_text("new: 1\nfavourite_1: high\n\n# Saved by rtvc 99.0.0.\n")
    run = Controller(SimulatedDevices(), RememberedRun(), remember=False)
    memory = PanelState(favourites={1: "high"})
    actions = Actions(run, PresetManager(), memory, ModeKeys())
    try:
        problem = actions.note_renamed("high", "higher")
        assert problem.startswith(f"{panel} is not replaced: rtvc 99.0.0 has saved it")
        assert actions.memory.favourites == {1: "higher"}
    finally:
        run.close()
