"""Pictures of every screen, of a sound and a time that are always the same.

``python -m tests.tui.still`` renders those again that the tests compare with.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import os
import re
import tempfile
import time
from contextlib import chdir
from dataclasses import replace
from itertools import product
from pathlib import Path

from textual.widgets import Input

from rtvc.config.measured_latency import MeasuredLatency
from rtvc.config.panel_state import THEMES, PanelState, save_panel_state
from rtvc.config.presets import find_preset, user_folder
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.live.devices import DeviceSelection
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
    microphone,
    selected,
    speaker,
)

FOLDER = Path(__file__).parent / "stills"
SIZES = ((40, 12), (60, 20), (80, 24), (120, 40), (200, 50))
SCREENS = {
    "typical": ("main", "presets", "devices", "guide", "help", "dialog"),
    "longest": ("main", "presets", "devices", "guide", "dialog"),
    "empty": ("main", "presets", "devices", "guide"),
}
"""The pictures by what there is to show: `typical`, names and messages of the greatest length, or
no device, no sound and no match of a search."""
_SECONDS = {"typical": 11, "longest": 2, "empty": 1}
"""How long the main screen is looked at."""
_LOOKS_A_SECOND = 15
_LONG_VOICE = "A voice with a name of 80 characters, which is as many as the name of one may be"
_LONG_PRESET = f"{'a preset with a name of 200 characters, as many as one can have, ' * 4:.199}!"
_LONG_ABOUT = "A voice for a long play: with whispers, shouts, songs and an echo of each of them."
_LONG_DEVICES = (
    microphone("Scarlett 18i20 USB (3rd Gen), Analogue 1 + 2 of the rack in the other room"),
    speaker("Digital Output S/PDIF (Sound Blaster X-Fi Surround 5.1 Pro, second one)"),
    speaker("High Definition Audio Controller Digital Stereo (HDMI 3) of the display"),
)
_NEWS = (
    "The recording stopped: the disk is full. 12 minutes and 4 seconds are in "
    "~/somebody/Our/Recordings/2026/November/rtvc-recording-of-the-long-meeting-17.flac."
)


class StillController(Controller):
    """A controller whose audio is a function of `now`, with one of the contents of `SCREENS`."""

    def __init__(self, content: str = "typical") -> None:
        self._content = content
        provider, settings = SimulatedDevices(0), find_preset("deep").apply_to(Settings())
        chosen, preset = (USB, CABLE, HEADPHONES), ""
        voices = {
            "world": "Your own voice, shaped by the settings; built in.",
            "Anna": "RVC v2, 40 kHz, with an index.",
            "Bruno": "RVC v1, 48 kHz.",
        }
        if content == "longest":
            chosen = _LONG_DEVICES
            provider.inputs, provider.outputs = [chosen[0]], [*chosen[1:]]
            voices[_LONG_VOICE] = "RVC v2, 40 kHz, with an index."
            settings, preset = settings.replace(voice=_LONG_VOICE), _LONG_PRESET
        if content == "empty":
            provider.inputs, provider.outputs = [], []
            del voices["Anna"], voices["Bruno"]
        selection = DeviceSelection() if content == "empty" else selected(*chosen)
        super().__init__(
            provider, RememberedRun(settings=settings, preset=preset), selection=selection
        )
        self.now, self.late = 0.0, False
        if content != "empty":
            self._names = self.wanted.names()
        self.scanner.close()
        self.scanner.devices = provider.scan()
        self.scanner._voices = voices

    def start(self) -> None:
        self._in_progress = ""

    @property
    def measured(self) -> MeasuredLatency | None:
        if self._content == "empty":
            return None
        devices, now = (identity(USB), identity(CABLE)), time.time()
        return MeasuredLatency(*devices, "48000 Hz, 10 ms", 0.023, 0.020, 0.0001, now)

    def stats(self) -> Stats:
        if self._content == "empty":
            reason = "There is no microphone. The next try is in 5 s."
            return Stats(state=State.DEVICE_LOST, reason=reason)
        stats = self._steady()
        if self._content == "typical":
            return stats
        return replace(
            stats,
            voice=self.settings.voice,
            fail_open=True,
            late_blocks=30 if self.late else 0,
            step=Times(0.11, 0.134, 0.148, 0.171),
            features=("rvc", "f0", "index"),
        )

    def _steady(self) -> Stats:
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
            latency=Latency(
                device_in=0.010,
                block=0.100,
                headroom=0.060,
                lookahead=0.030,
                filters=0.003,
                device_out=0.010,
            ),
            device=DeviceHealth(0, 0, 0.004, 0.058, 12.0),
        )

    def spectrum(self) -> tuple[float, ...]:
        if self._content == "empty":
            return ()
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


async def take(size: tuple[int, int], theme: str, content: str = "typical") -> dict[str, str]:
    """Return the pictures of all screens with this content by name."""
    save_panel_state(PanelState(theme=theme, guided=True))
    preset = _LONG_PRESET if content == "longest" else "mine"
    mine = user_folder() / f"{preset}.yaml"
    mine.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        f"description: '{_LONG_ABOUT}'\nvoice: {_LONG_VOICE}\npitch: 12\n"
        if content == "longest"
        else "description: My own.\npitch: 33\n"  # which is too much
    )
    mine.write_text(lines)
    controller = StillController(content)
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

        for _ in range(_SECONDS[content]):
            await keep("main")
        await keep("main", "down")
        await keep("presets", "p")
        if content == "empty":
            await keep("presets", "slash", *"zzz")
            await pilot.press("escape")
        else:
            await keep("presets", *["down"] * 5)
        await keep("devices", "d")
        await keep("devices", "tab")
        await keep("guide", "g")
        await pilot.press("escape")
        if content == "typical":
            await keep("help", "question_mark")
            await keep("dialog", "escape", "enter")
        if content == "longest":
            await keep("dialog", "ctrl+s")
            controller.late = True
            await pilot.press("escape")
            panel.show_message(_NEWS, urgent=True)
            await keep("main")
    controller.close()
    return made


def stored(name: str, size: tuple[int, int], theme: str, content: str = "typical") -> Path:
    """Return the file of a picture."""
    end = "" if content == "typical" else f"-{content}"
    return FOLDER / f"{name}{end}-{size[0]}x{size[1]}-{theme}.svg.gz"


def main() -> None:
    """Render all pictures again."""
    FOLDER.mkdir(exist_ok=True)
    for size, theme, content in product(SIZES, THEMES, SCREENS):
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            made = asyncio.run(take(size, theme, content))
        for name, svg in made.items():
            # Without a time in it, the same picture is the same file.
            stored(name, size, theme, content).write_bytes(gzip.compress(svg.encode(), mtime=0))


if __name__ == "__main__":
    os.environ |= TERMINAL | {"RTVC_CONFIG_DIR": "rtvc"}
    os.environ.pop("NO_COLOR", None)
    wait_no_more()
    main()
