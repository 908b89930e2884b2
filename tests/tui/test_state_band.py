"""What a click on the state does, and that the footer has its words."""

from dataclasses import replace

import pytest

from rtvc.live.badge import (
    NO_DEVICE,
    NO_VOICE,
    RESTARTING,
    STARTING,
    TOO_SLOW,
    BadgeTracker,
    Remedy,
)
from rtvc.stats import State
from rtvc.tui.devices_screen import DevicesScreen
from rtvc.tui.keys import KEYS
from rtvc.tui.state_band import StateBand
from rtvc.tui.voice_list import VoiceList
from tests.support.material import more
from tests.tui.conftest import in_loop

SIZES = ((80, 24), (40, 12), (120, 40))


async def click(it) -> None:
    """Click the band, twice, as a nervous user does."""
    for _ in range(2):
        await it.pilot.click(StateBand)
        await it.passes(0.2)


@pytest.mark.parametrize(("columns", "rows"), more(SIZES))
@in_loop
async def test_a_click_mutes_what_is_live_and_never_unmutes(open_panel, columns, rows):
    async with open_panel(size=(columns, rows)) as it:
        for mode, state in (("converted", State.CONVERTED), ("dry", State.DRY)):
            it.controller.apply(it.controller.settings.replace(mode=mode))
            await it.hears(state)
            await it.reads("VOICE IS LIVE")
            await click(it)
            await it.hears(State.MUTED)
            await it.reads("MUTED", "Press m to unmute")
            await it.passes(2.0)
            await click(it)
            assert it.controller.settings.mode == "muted"


@in_loop
async def test_the_mute_key_right_after_a_click_does_not_unmute(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.pilot.click(StateBand)
        await it.press("m")
        assert it.controller.settings.mode == "muted"
        await it.passes(1.0)
        await it.press("m")
        await it.hears(State.CONVERTED)


@in_loop
async def test_a_click_withdraws_the_question_about_your_own_voice(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.press("space")
        await it.reads("Your own voice on air?")
        await it.pilot.click(StateBand)
        await it.until(lambda: "on air?" not in it.text())
        await it.passes(0.5)
        await it.press("space")
        assert it.controller.settings.mode == "muted"


@pytest.mark.thorough
@in_loop
async def test_a_click_goes_where_the_state_says(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        panel = it.panel
        panel.post_message(StateBand.Clicked(NO_VOICE))
        await it.until(lambda: panel.screen.query_one(VoiceList).has_focus_within)
        panel.post_message(StateBand.Clicked(NO_DEVICE))
        await it.until(lambda: isinstance(panel.screen, DevicesScreen))
        assert it.controller.settings.mode == "converted"
        for badge in (STARTING, RESTARTING, TOO_SLOW):
            it.controller.apply(it.controller.settings.replace(mode="converted"))
            panel.post_message(StateBand.Clicked(badge))
            await it.until(lambda: it.controller.settings.mode == "muted")


@in_loop
async def test_a_click_on_the_remedy_applies_it(open_panel, monkeypatch):
    late = replace(TOO_SLOW, text="Late.", remedy=Remedy("longer block, 150 ms", {"block": 150.0}))
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        monkeypatch.setattr(BadgeTracker, "update", lambda *_: late)
        await it.reads("Late. Press e: longer block, 150 ms")
        await it.pilot.click("#reason", offset=(1 + len("Late. Press"), 0))
        await it.until(lambda: it.settings.block == 150.0)


@pytest.mark.thorough
@in_loop
async def test_the_footer_has_the_words_of_the_state(open_panel):
    shorts = {key.id: key.short for key in KEYS}
    async with open_panel(size=(120, 40)) as it:
        await it.reads("CHANGED VOICE IS LIVE", f"space {shorts['dry']}")
        await it.own_voice()
        await it.reads(f"YOUR {shorts['dry'].upper()} IS LIVE")
        await it.press("r")
        await it.reads(f"{shorts['record'].upper()} 00:0")
    assert f"{shorts['mute']}D" == "MUTED"
    assert shorts[NO_DEVICE.key] == NO_DEVICE.note
