"""Pictures of every screen, of a sound and a time that are always the same.

``python -m tests.tui.still`` makes those anew that the tests compare with.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import os
import re
import tempfile
import time
from pathlib import Path

from textual.widgets import Input

from rtvc.config.measured_latency import MeasuredLatency
from rtvc.config.panel_state import THEMES, PanelState, save_panel_state
from rtvc.config.presets import find_preset, user_folder
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.settings import Settings
from rtvc.stats import DeviceHealth, Latency, Level, State, Stats, Times
from rtvc.tui.app import Panel
from tests.tui.conftest import TERMINAL
from tests.tui.idle import wait_no_more
from tests.tui.simulated_devices import (
    CABLE,
    HEADPHONES,
    USB,
    SimulatedDevices,
    identity,
    selected,
)

FOLDER = Path(__file__).parent / "stills"
SIZES = ((40, 12), (60, 20), (80, 24), (120, 40), (200, 50))
SCREENS = ("main", "presets", "devices", "guide", "help", "dialog")
_SECONDS = 11
_LOOKS_A_SECOND = 30


class StillController(Controller):
    """A controller whose audio is a function of `now`."""

    def __init__(self) -> None:
        provider = SimulatedDevices(0)
        super().__init__(
            provider,
            RememberedRun(settings=find_preset("deep").apply_to(Settings())),
            selection=selected(USB, CABLE, HEADPHONES),
        )
        self.now = 0.0
        self._names = self.wanted.names()
        self.scanner.close()
        self.scanner.devices = provider.scan()
        self.scanner._voices = {
            "world": "Your own voice, shaped by the settings; built in.",
            "Anna": "RVC v2, 40 kHz, with an index.",
            "Bruno": "RVC v1, 48 kHz.",
        }

    def start(self) -> None:
        self._in_progress = ""

    @property
    def measured(self) -> MeasuredLatency:
        devices, now = (identity(USB), identity(CABLE)), time.time()
        return MeasuredLatency(*devices, "48000 Hz, 10 ms", 0.023, 0.020, 0.0001, now)

    def stats(self) -> Stats:
        speaks = math.sin(self.now * 2.3) > -0.6
        loud = -18 + 8 * math.sin(self.now * 5) if speaks else -70.0
        heard = 150 * 2 ** (0.4 * math.sin(self.now * 1.7)) if speaks else 0.0
        return Stats(
            state=State.CONVERTED,
            blocks=int(self.now * 10),
            voice="world",
            gate_open=speaks,
            input_f0_hz=heard,
            output_f0_hz=heard * 2 ** (self.settings.pitch / 12),
            features=("built-in", "f0"),
            input=Level(loud + 6, loud - 4),
            conditioned=Level(loud + 6, loud - 4),
            limited_db=-2.0 if loud > -12 else 0.0,
            output=Level(loud + 9, loud, clipped=7.0 < self.now < 7.2),
            step=Times(0.021, 0.034, 0.048, 0.071),
            latency=Latency(0.010, 0.100, 0.060, 0.030, 0, 0, 0.003, 0.010),
            device=DeviceHealth(0, 0, 0.004, 0.058, 12.0),
        )

    def spectrum(self) -> tuple[float, ...]:
        pitch = 8 + 3 * math.sin(self.now * 1.7)
        speaks = math.sin(self.now * 2.3) > -0.6
        return tuple(
            -20 - 1.2 * band - 18 * (1 - math.cos(0.7 * (band - pitch))) if speaks else -90.0
            for band in range(24)
        )


def picture(panel: Panel) -> str:
    """Return the screen as SVG, without the fonts that it would load from elsewhere."""
    svg = panel.export_screenshot()
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"terminal-\d+", "terminal", svg)


async def take(size: tuple[int, int], theme: str) -> dict[str, str]:
    """Return the pictures of all screens by name."""
    save_panel_state(PanelState(theme=theme, guided=True))
    mine = user_folder() / "mine.yaml"
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("description: My own.\npitch: 33\n")
    controller = StillController()
    panel = Panel(controller, clock=lambda: controller.now)
    setattr(panel, "set_interval", lambda *_: None)  # noqa: B010 - it looks when it is told to
    made = {}
    async with panel.run_test(size=size) as pilot:

        async def keep(name: str, *keys: str) -> None:
            await pilot.press(*keys)
            for _ in range(2):  # the second look sees the sizes that the first has made
                await pilot.pause(0.02)
                for field in panel.screen.query(Input):
                    field.cursor_blink, field._cursor_visible = False, True
                for _ in range(_LOOKS_A_SECOND // 2):
                    controller.now = round(controller.now + 1 / _LOOKS_A_SECOND, 6)
                    panel.update_screens()
            await pilot.pause(0.02)
            made[name] = picture(panel)

        for _ in range(_SECONDS):
            await keep("main")
        await keep("main", "down")
        await keep("presets", "p")
        await keep("presets", *["down"] * 5)
        await keep("devices", "d")
        await keep("devices", "tab")
        await keep("guide", "g")
        await keep("help", "escape", "question_mark")
        await keep("dialog", "escape", "enter")
    controller.close()
    return made


def stored(name: str, size: tuple[int, int], theme: str) -> Path:
    """Return the file of a picture."""
    return FOLDER / f"{name}-{size[0]}x{size[1]}-{theme}.svg.gz"


def main() -> None:
    """Make all pictures anew."""
    FOLDER.mkdir(exist_ok=True)
    for size in SIZES:
        for theme in THEMES:
            for name, svg in asyncio.run(take(size, theme)).items():
                # Without a time in it, the same picture is the same file.
                stored(name, size, theme).write_bytes(gzip.compress(svg.encode(), mtime=0))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= TERMINAL | {"RTVC_CONFIG_DIR": "rtvc"}
        os.environ.pop("NO_COLOR", None)
        wait_no_more()
        main()
