"""Sizes that the user has chosen, in whatever way, stay as they are with automatic latency."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtvc.config.learned_sizes import Conditions, save_learned
from rtvc.config.panel_state import PanelState
from rtvc.config.preset_manager import PresetManager
from rtvc.config.presets import user_path
from rtvc.config.remembered import RememberedRun, load_remembered, save_remembered
from rtvc.live.actions import Actions
from rtvc.live.badge import Remedy
from rtvc.live.controller import Controller
from rtvc.live.mode_keys import ModeKeys
from rtvc.settings import SETTINGS, Settings
from rtvc.system.info import power_state
from tests.cli.test_main import rtvc_command
from tests.tui.simulated_devices import BUILT_IN, SPEAKERS, SimulatedDevices

pytestmark = pytest.mark.slow

BLOCK, HEADROOM = SETTINGS["block"], SETTINGS["headroom"]
LEARNED = 30.0, 200.0
DEFAULT = {"block": 100.0, "headroom": 80.0}
GIVEN = "voice: world\nblock: 100\nheadroom: 80\n"
"""A preset that sets both sizes to their default."""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


class Run:
    """A run whose automatic sizes are `LEARNED` from its start."""

    def __init__(self) -> None:
        conditions = Conditions(BUILT_IN.name, SPEAKERS.name, power_state())
        save_learned(conditions, {("world", "world"): LEARNED})
        user_path("given").parent.mkdir(parents=True, exist_ok=True)
        user_path("given").write_text(GIVEN)
        presets = PresetManager()
        presets.scan()
        settings = Settings(formant=2.0)
        self.controller = Controller(SimulatedDevices(), RememberedRun(settings=settings))
        self.actions = Actions(self.controller, presets, PanelState(), ModeKeys())

    def keeps(self, *names: str) -> None:
        """Wait until only these sizes are at their default."""
        end = time.monotonic() + 10.0
        while True:
            stats = self.controller.stats()
            kept = {name for name in DEFAULT if stats.in_use.get(name) == DEFAULT[name]}
            if stats.in_use and kept == set(names) and not stats.loading:
                break
            assert time.monotonic() < end, stats.in_use
            time.sleep(0.01)
        assert (stats.sizing == "") == (kept == DEFAULT.keys())


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    made.controller.start()
    try:
        made.keeps()
        yield made
    finally:
        made.controller.close()


def test_the_default_can_be_chosen_in_the_panel_and_given_up_again(run: Run) -> None:
    run.actions.change(BLOCK, 100.0)
    run.keeps("block")
    run.actions.change(HEADROOM, 80.0)
    run.keeps(*DEFAULT)
    run.actions.change(SETTINGS["pitch"], 3.0)
    run.actions.reset(BLOCK)
    run.keeps("headroom")
    run.actions.undo()
    run.keeps(*DEFAULT)
    run.controller.close()
    assert load_remembered()[0].chosen == {"block", "headroom"}


@pytest.mark.parametrize(
    "choose",
    [
        lambda run: run.actions.load_preset("given"),
        lambda run: run.actions.apply_remedy(Remedy("", dict(DEFAULT))),
    ],
    ids=["a preset", "a remedy"],
)
def test_the_default_is_chosen_by(run: Run, choose: Callable[[Run], object]) -> None:
    choose(run)
    run.keeps(*DEFAULT)


def test_a_step_through_the_default_is_a_choice(run: Run) -> None:
    for value in (90.0, 100.0):
        run.actions.change(BLOCK, value)
        run.actions.change(HEADROOM, 80.0)
    run.keeps(*DEFAULT)


def test_the_default_is_chosen_by_a_flag_a_preset_and_an_earlier_run() -> None:
    def sizing(*words: str) -> str:
        command = ("run", "--demo", "--seconds", "0.3", "--stats", "a.json", "--force")
        rtvc_command(*command, *words)
        stats = json.loads(Path("a.json").read_text())["stats"]
        assert 1000 * stats["latency"]["block"] == pytest.approx(100.0)
        return str(stats["sizing"])

    Path("a.yaml").write_text(GIVEN)
    assert sizing("--block", "100", "--no-save") == "settling"  # the headroom
    assert sizing("--preset", "a.yaml") == ""
    save_remembered(RememberedRun(settings=Settings(pitch=1.0), chosen=frozenset({"block"})))
    assert sizing("--headroom", "80") == "", "what is remembered is not used"
