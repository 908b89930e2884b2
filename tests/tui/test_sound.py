"""What the panel shows and plays besides the voice: spectrogram, measured delay, monitor, demo."""

import asyncio

import numpy as np
import pytest

from rtvc.config.panel_state import load_panel_state
from rtvc.config.remembered import load_remembered
from rtvc.live.devices import DeviceNames
from rtvc.stats import State
from rtvc.tui.colour_map import LEVELS
from rtvc.tui.pitch_trace import PitchTrace
from rtvc.tui.spectrogram import Spectrogram
from tests.tui.conftest import in_loop, loudest
from tests.tui.plots import spectrogram_levels
from tests.tui.simulated_devices import BUILT_IN, CABLE, HEADPHONES, SPEAKERS, SimulatedDevices

pytestmark = pytest.mark.slow


def loudest_level(it) -> int:
    """The spectrogram's loudest level of the visible ones, 0 for silence."""
    levels = spectrogram_levels(it.panel.screen_stack[1].query_one(Spectrogram))
    return max(map(max, levels))


@pytest.mark.thorough
@in_loop
async def test_the_spectrogram_shows_what_is_heard(open_panel):
    async with open_panel() as it:
        await it.reads("output, in Hz", "you", "voice")
        await it.until(lambda: loudest_level(it) > LEVELS // 2)
        await it.press("m")
        await it.hears(State.MUTED)
        await it.until(lambda: loudest_level(it) == 0)


@pytest.mark.thorough
@in_loop
async def test_v_hides_the_spectrogram_and_that_is_remembered(open_panel):
    async with open_panel() as it:
        await it.reads("output, in Hz")
        await it.press("v")
        await it.reads("The spectrogram is hidden.")
        await it.until(lambda: "output, in Hz" not in it.text())
        assert not load_panel_state()[0].spectrogram
    async with open_panel() as it:
        await it.reads("you", "voice")
        assert "output, in Hz" not in it.text()
        await it.press("v")
        await it.reads("output, in Hz")
        await it.pilot.resize_terminal(50, 24)
        await it.until(lambda: "output, in Hz" not in it.text())
        await it.reads("you", "HEALTH")


@pytest.mark.thorough
@in_loop
async def test_the_spectrogram_vanishes_before_the_pitch(open_panel):
    sizes = [(200, 50), (120, 40), (80, 24), (59, 24), (40, 24), (80, 21), (60, 16), (40, 12)]
    async with open_panel(size=sizes[0]) as it:
        plots = [it.panel.screen.query_one(kind) for kind in (PitchTrace, Spectrogram)]
        drawn = []
        for size in sizes:
            await it.pilot.resize_terminal(*size)
            await it.until(lambda size=size: it.panel.screen.size == size)
            await it.passes(0.2)
            drawn.append(tuple(plot.room != (0, 0) for plot in plots))
        assert (False, True) not in drawn
        assert drawn[:4] == [(True, True)] * 3 + [(True, False)]
        assert drawn[-1] == (False, False)


@pytest.mark.thorough
@in_loop
async def test_the_delay_is_measured_only_if_one_agrees(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.press("l")
        await it.reads("Measure the latency of the devices?", "MacBook Pro Speakers")
        await it.press("escape")
        assert len(it.provider.opened) == 1
        await it.press("l", "enter")
        await it.reads("Measuring the latency with chirps.")
        await it.until(lambda: len(it.provider.opened) == 2)
        await it.reads("The chirps did not come back")
        await it.hears(State.CONVERTED)
        assert 0.08 < loudest(it.provider.opened[1][1]) < 0.12
        await it.press("m", "l", "enter")
        await it.reads("the output is muted")
        assert len(it.provider.opened) == 3


@pytest.mark.thorough
@in_loop
async def test_a_monitor_is_chosen_turned_down_and_lost(open_panel):
    # The monitor's thread has a clock of its own.
    async with open_panel(size=(120, 40), real_time=True) as it:
        await it.press("d")
        await it.reads("MONITOR", "none", "External Headphones")
        await it.press("tab", "end", "enter")
        await it.until(lambda: it.controller.names.output == CABLE.name)
        await it.reads("choose your headphones as the monitor")
        await it.press("tab", "home", "down", "down", "enter")
        wanted = DeviceNames(BUILT_IN.name, CABLE.name, HEADPHONES.name)
        await it.until(lambda: it.controller.names == wanted)
        await it.hears(State.CONVERTED)
        await it.until(lambda: loudest(it.provider.monitors[-1]) > 0.02)
        await it.press("escape")
        await it.reads("BlackHole 2ch + External Headphones")
        await it.choose("monitor_gain")
        await it.press("enter", "backspace", *"-60", "enter")
        await it.until(lambda: it.settings.monitor_gain == -60)
        await asyncio.sleep(0.6)
        since = len(it.provider.monitors[-1].played)
        await it.until(lambda: len(it.provider.monitors[-1].played) > since + 24_000)
        assert loudest(it.provider.monitors[-1], since) < 1e-6
        it.provider.monitors[-1].unplug()
        await it.reads("The monitor is silent. 'External Headphones' was lost")
        assert it.stats.state is State.CONVERTED
        await it.press("d")
        await it.reads("MONITOR", "none", "External Headphones")
        await it.press("tab", "tab", "home", "enter")
        await it.until(lambda: it.controller.names.monitor == "")
        await it.hears(State.CONVERTED)
    assert load_remembered()[0].monitor is None


@pytest.mark.thorough
@in_loop
async def test_a_monitor_that_the_microphone_hears_is_warned_of(open_panel):
    async with open_panel(size=(120, 40)) as it:
        await it.press("d")
        await it.reads("External Headphones")
        await it.press("tab", "down", "down", "enter")
        await it.until(lambda: it.controller.names.output == HEADPHONES.name)
        await it.press("tab", "home", "down")
        await it.reads(f"{BUILT_IN.name!r} picks up {SPEAKERS.name!r}")


@pytest.mark.thorough
@in_loop
async def test_without_devices_the_panel_waits_for_one(open_panel):
    provider = SimulatedDevices(20)
    provider.inputs.clear()
    async with open_panel(provider=provider) as it:
        await it.hears(State.DEVICE_LOST)
        await it.reads("NO DEVICE", "There is no input named", "press d to choose")
        await it.press("]", "]")
        assert it.settings.pitch == 2
        assert np.isfinite(it.stats.latency.total)
        provider.inputs.append(BUILT_IN)
        await it.hears(State.CONVERTED)
        assert it.settings.pitch == 2


@pytest.mark.parametrize("size", [(80, 24), pytest.param((200, 50), marks=pytest.mark.thorough)])
@in_loop
async def test_all_that_matters_has_room(open_panel, size):
    async with open_panel(size=size) as it:
        await it.hears(State.CONVERTED)
        await it.reads(
            *("CHANGED VOICE IS LIVE", "peak", "rms", "LATENCY", "block 100", "HEALTH"),
            *("you", "output, in Hz", "pitch", "/ search voices", "world (voice)", "q quit"),
        )
