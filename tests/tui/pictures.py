"""Make the pictures of the README: ``python -m tests.tui.pictures docs``."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.config.presets import find_preset
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.settings import Settings
from rtvc.tui.app import Panel
from rtvc.tui.text_pane import TextPane
from tests.tui.idle import wait_no_more
from tests.tui.simulated_devices import HEADPHONES, USB, SimulatedDevices, identity


def take(panel: Panel, path: Path) -> None:
    """Write a picture of what is on the screen, which loads no fonts from elsewhere."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", panel.export_screenshot(), flags=re.DOTALL)
    path.write_text(svg)


async def make(folder: Path) -> None:
    """Run the panel on simulated devices that hear speech, and take its picture."""
    settings = find_preset("deep").apply_to(Settings())
    choices = RememberedRun(identity(USB), identity(HEADPHONES), settings)
    panel = Panel(Controller(SimulatedDevices(700), choices, remember=False))
    async with panel.run_test(size=(110, 34)) as pilot:
        await pilot.press("down")
        await asyncio.sleep(12)
        began = time.monotonic()
        # Other programs may hold it up now and then; then the picture would show that.
        while panel.controller.stats().output_f0_hz <= 0 or "CHANGED VOICE" not in _state(panel):
            assert time.monotonic() - began < 600, "this machine is too busy for a picture"
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
        take(panel, folder / "panel.svg")
        await pilot.press("p", "down", "down", "down", "down", "down")
        await asyncio.sleep(1)
        take(panel, folder / "presets.svg")
        await panel.action_quit()


def _state(panel: Panel) -> str:
    return panel.screen.query_one("#state", TextPane).text


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as config:
        os.environ["RTVC_CONFIG_DIR"] = config
        save_panel_state(PanelState(guided=True))
        wait_no_more()
        asyncio.run(make(Path(sys.argv[1])))
