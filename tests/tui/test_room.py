"""What keeps its room at every size when texts are long, and what new users met."""

import re
import threading

import numpy as np
import pytest

from rtvc.errors import RtvcError
from rtvc.live.health import health
from rtvc.settings import Settings
from rtvc.stats import Latency, Level, State, Stats, Times
from rtvc.tui.health_line import _words
from rtvc.tui.level_meter import LevelMeter
from rtvc.tui.message_log import MessageLog
from rtvc.tui.settings_list import SettingsList
from tests.support.material import more
from tests.tui.conftest import in_loop
from tests.tui.simulated_devices import SimulatedDevices
from tests.tui.test_look import LONG, each_size, words

pytestmark = pytest.mark.slow


class Broken(SimulatedDevices):
    """Devices that cannot be opened, for a reason that takes many words."""

    def open(self, selection):
        raise RtvcError(LONG)


@pytest.mark.thorough
@each_size
@in_loop
async def test_a_long_reason_leaves_room_for_settings_lists_and_keys(open_panel, size):
    async with open_panel(size=size, provider=Broken()) as it:
        await it.reads("NO DEVICE", "is a word of a long message")
        assert it.panel.screen.query_one(SettingsList).size.height >= 2
        for opened, row in (
            ("", "> voice"),
            ("p", "androgynous"),
            ("d", "system default"),
            ("g", "1 of 5"),
        ):
            await it.press(*opened)
            await it.reads(row, "MUTE")
            assert "MUTE" in it.text().splitlines()[-1]
            assert not it.panel.screen.show_vertical_scrollbar
            await it.press(*(["escape"] if opened else []))


@pytest.mark.thorough
@in_loop
async def test_a_long_reason_and_a_message_are_both_read_at_40x12(open_panel):
    async with open_panel(size=(40, 12), settings=Settings(voice="gone")) as it:
        await it.reads("NO VOICE", "Press e: use the built-in voice.")
        it.panel.show_message("The other news. " * 6 + "The end.", urgent=True)
        await it.reads("Press e: use the built-in voice.", "The end.", "q quit")
        await it.until(lambda: it.panel.screen.query_one(SettingsList).size.height >= 2)


@pytest.mark.parametrize("gaps", [0, 7, 12_345])
@pytest.mark.parametrize("width", [40, 60, 79, 80, 120])
def test_the_health_is_never_cut(gaps, width):
    stats = Stats(blocks=9, latency=Latency(block=0.1), step=Times(p95=0.99))
    text = "".join(part for part, _ in _words(health(stats), gaps, width))
    assert len(text) <= width
    assert text.endswith("h figures")


def test_the_same_error_is_shown_once_and_both_times_are_kept():
    log = MessageLog()
    log.add("One.", 0.0, urgent=True)
    for now in (1.0, 2.0):
        log.add("Two.", now, urgent=True)
    assert [entry.text for entry in log.current(2.0)] == ["Two.", "One."]
    assert [entry.text for entry in log.entries] == ["One.", "Two.", "Two."]


def test_changes_of_the_sizes_push_no_error_out():
    log = MessageLog()
    log.add("The monitor is silent.", 0.0, urgent=True)
    for now in (1.0, 2.0, 3.0):
        log.add(f"Block {now}.", now, urgent=True, topic="sizes")
    assert [entry.text for entry in log.current(3.0)] == ["Block 3.0.", "The monitor is silent."]


@pytest.mark.thorough
@in_loop
async def test_the_mute_key_removes_what_the_other_key_has_said(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.press("m", "space")
        await it.reads("The output is muted. Press m to unmute.")
        await it.passes(1)
        await it.press("m")
        await it.hears(State.CONVERTED)
        await it.until(lambda: "The output is muted" not in it.text())


@pytest.mark.thorough
@in_loop
async def test_devices_are_looked_for_before_none_is_said_to_be_there(open_panel):
    looked = threading.Event()

    class Slow(SimulatedDevices):
        def scan(self):
            looked.wait(30)
            return super().scan()

    async with open_panel(provider=Slow()) as it:
        await it.press("d")
        await it.reads("Looking for devices.")
        assert "is connected" not in it.text()
        looked.set()
        await it.reads("MacBook Pro Microphone")


@pytest.mark.parametrize(("opened", "key"), more([("g", "n next"), ("d", "Tab next")]))
@in_loop
async def test_the_key_that_leads_on_is_shown_at_40_columns(open_panel, opened, key):
    async with open_panel(size=(40, 12)) as it:
        await it.press(opened)
        await it.reads("Enter select", key)


@pytest.mark.thorough
@in_loop
async def test_the_question_before_a_measurement_is_whole_at_40x12(open_panel):
    async with open_panel(size=(40, 12)) as it:
        await it.hears(State.CONVERTED)
        await it.press("l")
        await it.reads("Measure")
        shown = words(it, "Confirm > Vertical")
        assert "MacBook Pro Microphone" in shown
        assert shown.endswith("and keep silent. Enter confirms, Escape cancels, m mutes.")


@pytest.mark.thorough
@in_loop
async def test_the_guide_sets_no_level_from_silence(open_panel):
    provider = SimulatedDevices()
    provider.source = np.zeros_like(provider.source)
    async with open_panel(guided=False, provider=provider) as it:
        await it.hears(State.CONVERTED)
        await it.press("n")
        await it.passes(3)
        await it.press("enter")
        await it.reads("Too little sound has arrived.", "2 of 5")
        await it.press("n")
        await it.reads("3 of 5")


@pytest.mark.thorough
@in_loop
async def test_the_meters_of_a_lost_device_are_empty(open_panel):
    from rtvc.audio.simulated import Fault

    provider = SimulatedDevices(20, faults=[Fault(4.0, "lost", 2.0)])
    async with open_panel(provider=provider) as it:
        await it.until(lambda: it.stats.input.peak_db > -40)
        await it.hears(State.DEVICE_LOST)
        await it.reads("DEVICE LOST")
        assert it.stats.conditioned != Level(), "the last level is kept"
        for meter in it.panel.screen.query(LevelMeter):
            await it.until(lambda meter=meter: re.search(r"-99 peak +-99 rms", meter.text))
