from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from textual.message_pump import MessagePump
from textual.timer import Timer
from textual.widgets import Input, OptionList

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.config.presets import user_folder
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.settings import SETTINGS, Settings
from rtvc.stats import State
from rtvc.tui.app import Panel
from rtvc.tui.devices_screen import DevicesScreen
from rtvc.tui.first_run_screen import FirstRunScreen
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.voice_list import VoiceList
from tests.support.virtual_clock import VirtualClock
from tests.tui.idle import wait_no_more
from tests.tui.simulated_devices import SimulatedDevices

ROOT = Path(__file__).parents[2]

TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
"""A terminal that shows all colours, for what is drawn."""
START = Settings(formant=2, block=100, headroom=200, latency="constant")
ROWS = [name for name, setting in SETTINGS.items() if setting.stored]
"""The settings that have a row, in order."""


def in_loop(test):
    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


def save_preset_with_a_mode() -> None:
    """Save the preset 'old', as other versions wrote it, with the key 1."""
    folder = user_folder()
    folder.mkdir(parents=True)
    (folder / "old.yaml").write_text("mode: dry\npitch: 3\n")
    save_panel_state(PanelState(guided=True, favourites={1: "old"}))


def loudest(device, since=0):
    return np.abs(device.played[since:]).max(initial=0)


class Driver:
    """A panel that runs without a terminal, and what a person does with it."""

    def __init__(self, panel: Panel, pilot, clock: VirtualClock | None) -> None:
        self.clock = clock
        self.panel = panel
        self.controller = panel.controller
        self.pilot = pilot

    @property
    def settings(self) -> Settings:
        """What the session has, which is what is heard."""
        session = self.controller._session
        return session.session.settings if session is not None else self.controller.settings

    @property
    def stats(self):
        return self.controller.stats()

    @property
    def provider(self) -> SimulatedDevices:
        provider = self.controller._provider
        assert isinstance(provider, SimulatedDevices)
        return provider

    def text(self) -> str:
        """What is on the screen."""
        lines = self.panel.screen._compositor.render_strips(self.panel.size)
        return "\n".join("".join(segment.text for segment in line) for line in lines)

    async def press(self, *keys: str) -> None:
        for key in keys:  # each waits until the one before has been worked off
            await self.pilot.press(key)
        await self.passes(0.03)

    async def passes(self, seconds: float) -> None:
        """Let time pass: the devices', and that of all that looks at them."""
        if self.clock is None:
            await self.pilot.pause(seconds)
        else:
            self.clock.pass_time(seconds)
            await self.pilot.pause()

    async def own_voice(self) -> None:
        """Press the key for the own voice, and again, deliberately."""
        await self.press("space")
        await self.passes(0.5)
        await self.press("space")
        await self.passes(0.5)

    async def find(self, name: str) -> None:
        """Search for a preset, and take it."""
        await self.press("slash")
        await self.until(lambda: isinstance(self.panel.focused, Input))
        await self.press(*name)
        voices = self.panel.screen.query_one(VoiceList)
        await self.until(lambda: voices.marked and name in voices.marked.name.lower())
        await self.press("enter")
        await self.until(lambda: isinstance(self.panel.focused, OptionList))
        await self.until(lambda: voices.marked and len(voices._shown) == len(voices._items))

    async def choose(self, setting: str) -> None:
        """Go to a setting, also if it changes nothing now."""
        rows = self.panel.screen.query_one(SettingsList)
        await self.until(lambda: rows._facts.features)
        if not rows.applies(SETTINGS[setting]) and not rows.shows_all:
            await self.press("a")
        await self.press("home")
        while rows.setting is None or rows.setting.name != setting:
            before = rows.setting
            await self.press("down")
            assert rows.setting is not before, f"there is no row {setting}"

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it did not come; on the screen:\n{self.text()}"
            await self.passes(0.05)

    async def reads(self, *words: str) -> None:
        """Wait until the words are on the screen, line breaks aside."""
        await self.until(lambda: all(word in " ".join(self.text().split()) for word in words))

    async def hears(self, state: State) -> None:
        await self.until(lambda: self.stats.state is state)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in TERMINAL.items():
        monkeypatch.setenv(name, value)
    wait_no_more()


def repeat_by(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the panel and its screens repeat what they repeat by a virtual clock."""

    real = MessagePump.set_interval

    def set_interval(self, seconds: float, act: Callable[[], object], **others) -> Timer | None:
        if others:  # Textual's own, such as the one that paints
            return real(self, seconds, act, **others)
        clock.every(seconds, act, lambda: self.is_running)
        return None

    for kind in (Panel, DevicesScreen, FirstRunScreen):
        monkeypatch.setattr(kind, "set_interval", set_interval)


@pytest.fixture
def open_panel(monkeypatch):
    @asynccontextmanager
    async def opened(
        *,
        size: tuple[int, int] = (80, 24),
        settings: Settings = START,
        preset: str = "",
        provider: SimulatedDevices | None = None,
        guided: bool = True,
        real_time: bool = False,
        **others,
    ) -> AsyncIterator[Driver]:
        if guided:
            from rtvc.config.panel_state import load_panel_state

            if not load_panel_state()[0].guided:
                save_panel_state(PanelState(guided=True))
        provider = provider or SimulatedDevices()
        clock = None if real_time else VirtualClock()
        if clock is not None:
            provider.clock = clock
            repeat_by(clock, monkeypatch)
        remembered = RememberedRun(settings=settings, preset=preset)
        controller = Controller(provider, remembered, **others)
        panel = Panel(controller, clock=clock or time.monotonic)
        try:
            async with panel.run_test(size=size) as pilot:
                driver = Driver(panel, pilot, clock)
                await driver.until(lambda: controller._session is not None or controller._failure)
                await driver.reads("IN")
                yield driver
        finally:
            with clock.passing() if clock is not None else nullcontext():
                controller.close()

    return opened


@pytest.fixture
def program_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with fresh settings and voices, of programs started in a terminal."""
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("TMUX", "COLUMNS", "LINES", "COLORTERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
