"""Make the pictures of the documentation: ``python -m tests.tui.pictures docs``.

The panel runs on simulated devices that hear speech, in the time of a virtual clock: the same
commands give the same pictures, except for the measured durations of steps. Nothing is played.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.config.presets import find_preset
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.settings import Settings
from rtvc.stats import State
from rtvc.tui.app import Panel
from tests.support.virtual_clock import VirtualClock
from tests.tui.conftest import TERMINAL, Driver, repeat_by
from tests.tui.film import Frame, Look, Row, film, frame_of
from tests.tui.idle import wait_no_more
from tests.tui.simulated_devices import HEADPHONES, USB, SimulatedDevices, identity

_SIZE = 110, 38
_PRESET = "deep"
FRAME_S = 0.1
_FRAMES_PER_KEY = 2
_NEWS_S = 7.0
"""Time after which a message has gone."""
_FILLED_S = 8.0
"""Speech before the first picture, so that the plots are full."""


class Scene(NamedTuple):
    """A part of the recording.

    Attributes
    ----------
    caption
        What the keys do.
    seconds
        Duration.
    keys
        Keys in Textual's names, pressed one after the other.
    """

    caption: str
    seconds: float
    keys: tuple[str, ...] = ()


SCENES = (
    Scene("Your voice goes in, the preset's voice comes out.", 2.5),
    Scene("] raises the pitch by a semitone.", 2.0, ("]", "]", "]")),
    Scene("/ searches voices and presets; Enter loads robot.", 4.0, ("slash", *"robot", "enter")),
    Scene("ctrl+z undoes it.", 1.5, ("ctrl+z",)),
    Scene("m is silence at once.", 1.5, ("m",)),
    Scene("m again opens the output.", 1.5, ("m",)),
    Scene("p opens the presets.", 2.0, ("p", "down", "down", "down")),
    Scene("Escape closes what is open.", 0.75, ("escape",)),
    Scene("t changes the colours: light.", 1.5, ("t",)),
    Scene("t again: high contrast.", 1.5, ("t",)),
    Scene("t again: dark.", 1.0, ("t",)),
)


@asynccontextmanager
async def open_panel(size: tuple[int, int]) -> AsyncIterator[Driver]:
    """Run the panel with a preset, until the plots are full of speech."""
    clock = VirtualClock()
    provider = SimulatedDevices(120)
    provider.clock = clock
    settings = find_preset(_PRESET).apply_to(Settings())
    choices = RememberedRun(identity(USB), identity(HEADPHONES), settings)
    controller = Controller(provider, choices, remember=False)
    panel = Panel(controller, clock=clock)
    with pytest.MonkeyPatch.context() as patched:
        repeat_by(clock, patched)
        try:
            async with panel.run_test(size=size) as pilot:
                it = Driver(panel, pilot, clock)
                await it.hears(State.CONVERTED)
                await it.passes(_FILLED_S)
                yield it
        finally:
            with clock.passing():
                controller.close()


async def pictures(size: tuple[int, int] = _SIZE) -> dict[str, Frame]:
    """Return the main screen in two themes, and the presets screen, by file name."""
    made = {}
    async with open_panel(size) as it:
        await it.press("down")
        await _speaks(it)
        made["panel"] = frame_of(it.panel)
        await it.press("t")
        await it.passes(_NEWS_S)
        await _speaks(it)
        made["panel-light"] = frame_of(it.panel)
        await it.press("t", "t", "p", *["down"] * 5)
        await it.passes(1.0)
        made["presets"] = frame_of(it.panel)
    return made


async def recording(
    size: tuple[int, int] = _SIZE, scenes: tuple[Scene, ...] = SCENES
) -> list[Frame]:
    """Return frames of a run in which keys are pressed, with captions below the screen."""
    frames = []
    async with open_panel(size) as it:
        for scene in scenes:
            keys = deque(scene.keys)
            for number in range(round(scene.seconds / FRAME_S)):
                if keys and number % _FRAMES_PER_KEY == 0:
                    await it.press(keys.popleft())
                await it.passes(FRAME_S)
                frames.append((*frame_of(it.panel), *_caption(scene.caption, it)))
            assert not keys, f"{scene.caption!r} is too short for its keys"
    return frames


async def _speaks(it: Driver) -> None:
    """Wait for a moment in which the plot names the pitch of both."""
    await it.until(lambda: all(name not in it.text() for name in ("you -", "voice -")))


def small_film(frames: list[Frame], max_bytes: int = 1_000_000) -> str:
    """Return the recording with as many of its frames as the size allows, at most 5 a second."""
    for step in range(2, 11):
        svg = film(frames[::step], step * FRAME_S)
        if len(svg.encode()) <= max_bytes:
            return svg
    raise RuntimeError(f"The recording has more than {max_bytes} bytes: shorten its scenes.")


def _caption(text: str, it: Driver) -> tuple[Row, Row]:
    """Return an empty row and one with the caption, in the colours of the screen."""
    _, background = it.panel.screen.background_colors
    colour = it.panel.screen.colors[3]
    look = Look(colour.rgb, background.rgb, bold=True)
    width = it.panel.size.width
    return ((" " * width, look),), ((f"{text:^{width}}", look),)


@contextmanager
def _settings_folder() -> Iterator[None]:
    """Let nothing of the user's settings and terminal be in the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= TERMINAL | {"RTVC_CONFIG_DIR": folder}
        os.environ.pop("NO_COLOR", None)
        save_panel_state(PanelState(guided=True))
        yield


def main(folder: Path) -> None:
    """Write all pictures."""
    wait_no_more()
    with _settings_folder():
        for name, frame in asyncio.run(pictures()).items():
            (folder / f"{name}.svg").write_text(film([frame], FRAME_S))
    with _settings_folder():
        (folder / "recording.svg").write_text(small_film(asyncio.run(recording())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
