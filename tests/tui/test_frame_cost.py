"""What a frame of the panel costs: only what changes is computed and rendered again."""

import asyncio

import pytest
from rich.console import Console
from textual._compositor import ChopsUpdate
from textual.widget import Widget

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.tui import level_meter
from rtvc.tui.app import Panel
from rtvc.tui.cell_diff import CellDiff
from tests.tui.conftest import in_loop
from tests.tui.still import StillController
from tests.tui.test_cell_diff import Screen

pytestmark = pytest.mark.slow

SIZE = 120, 40
FRAME_S = 1 / 15
CONSOLE = Console(color_system="truecolor", force_terminal=True, width=SIZE[0], height=SIZE[1])


class Frames:
    """A panel whose frames are drawn one by one."""

    def __init__(self, controller: StillController, panel: Panel) -> None:
        self.controller, self.panel = controller, panel

    async def draw(self, count: int) -> None:
        for _ in range(count):
            self.controller.now = round(self.controller.now + FRAME_S, 6)
            self.panel.update_screens()
            for _ in range(3):  # the widgets' messages to the screen
                await asyncio.sleep(0)
            self.panel.screen._on_timer_update()


@pytest.fixture
def frames(monkeypatch):
    save_panel_state(PanelState(guided=True))
    controller = StillController()
    panel = Panel(controller, clock=lambda: controller.now)
    monkeypatch.setattr(panel, "set_interval", lambda *_: None)
    yield Frames(controller, panel)
    controller.close()


@in_loop
async def test_a_frame_renders_only_the_rows_that_change(frames, monkeypatch):
    rendered = []
    render_lines = Widget.render_lines

    def recorded(self, crop):
        rendered.append(self.id or type(self).__name__)
        return render_lines(self, crop)

    async with frames.panel.run_test(size=SIZE) as pilot:
        await frames.draw(20)
        await pilot.pause(0.02)
        await frames.draw(1)
        monkeypatch.setattr(Widget, "render_lines", recorded)
        await frames.draw(12)
    assert {"input-meter", "output-meter", "trace", "spectrogram"} <= set(rendered)
    assert not {"lists", "settings", "voices", "foot", "message", "KeyLine"} & set(rendered)


@in_loop
async def test_frames_add_up_to_the_whole_picture(frames, monkeypatch):
    seen, whole = Screen(), Screen()
    partial = []

    async with frames.panel.run_test(size=SIZE) as pilot:
        differences = CellDiff()

        def shown(screen, update):
            if update is not None:
                seen.write(differences.changes(update, CONSOLE))
                partial.append(isinstance(update, ChopsUpdate))

        monkeypatch.setattr(frames.panel, "_display", shown)
        frames.panel.screen.refresh()
        for key in ("down", "right", "pagedown", "a", "slash", "d", "escape", "ctrl+t", "s"):
            await frames.draw(5)
            await pilot.press(key)
            await frames.draw(5)
            await pilot.pause(0.02)
        await frames.draw(3)
        compositor = frames.panel.screen._compositor
        whole.write(CellDiff().changes(compositor.render_update(full=True), CONSOLE))
    assert sum(partial) > len(partial) / 2
    assert seen.cells == whole.cells


@in_loop
async def test_what_has_not_changed_is_not_computed_again(frames, monkeypatch):
    computed = []
    own, draw = frames.panel.preset_manager.own, level_meter.LevelMeter.draw

    def recorded_own(voice):
        computed.append(voice)
        return own(voice)

    def recorded_draw(self):
        computed.append(self.id)
        draw(self)

    monkeypatch.setattr(frames.panel.preset_manager, "own", recorded_own)
    async with frames.panel.run_test(size=SIZE):
        await frames.draw(3)
        assert computed
        computed.clear()
        monkeypatch.setattr(level_meter.LevelMeter, "draw", recorded_draw)
        stats = frames.controller.stats()
        monkeypatch.setattr(frames.controller, "stats", lambda: stats)
        await frames.draw(1)
        computed.clear()
        await frames.draw(15)
    assert not computed
