"""A morph in the panel: its rows, what it refuses, and that nothing of it keeps you from muting."""

import pytest

from rtvc.config.presets import user_folder
from rtvc.settings import Settings
from rtvc.stats import State
from tests.support.voices import PlainVoice
from tests.tui.conftest import START, in_loop, loudest

pytestmark = pytest.mark.slow


@pytest.mark.thorough
@in_loop
async def test_the_built_in_voice_morphs_to_a_preset(open_panel):
    user_folder().mkdir(parents=True)
    (user_folder() / "aaa.yaml").write_text("pitch: -6\n")
    async with open_panel(settings=START.replace(pitch=2)) as it:
        await it.hears(State.CONVERTED)
        await it.choose("morph_to")
        await it.press("right")
        assert it.settings.morph_to == "aaa"
        await it.choose("morph")
        await it.press("right", "right")
        assert it.settings.morph == 0.2
        engine = it.controller._session.session._engine
        assert engine._builder.requested.pitch == pytest.approx(0.4)
        assert it.settings.pitch == 2
        (user_folder() / "aaa.yaml").unlink()
        await it.press("m")
        await it.hears(State.MUTED)
        since = len(it.provider.device.played)
        await it.passes(0.5)
        assert loudest(it.provider.device, since + 24_000 // 2) == 0


@pytest.mark.thorough
@in_loop
async def test_what_cannot_be_morphed_to_is_refused_where_it_is_typed(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.choose("morph")
        await it.press("right")
        await it.choose("morph_to")
        await it.press("enter")
        await it.reads("morph to", "a preset of the built-in voice")
        await it.press(*["backspace"] * 3, *"nobody", "enter")
        await it.reads("There is no preset 'nobody'.")
        assert it.settings.morph_to == "off"
        assert it.controller.settings.morph_to == "off"


@pytest.mark.thorough
@in_loop
async def test_an_rvc_voice_offers_the_others(open_panel, monkeypatch):
    names = {"world": "built in", "Anna": "RVC", "Bert": "RVC", "Cleo": "RVC"}
    monkeypatch.setattr("rtvc.library.open_voice.list_voices", lambda: names)
    wanted: list[str] = []

    def find(name: str) -> PlainVoice:
        wanted.append(name)
        return PlainVoice(name, features=frozenset({"rvc"}))

    settings = Settings(voice="Anna", block=100, headroom=200, gate=-90, morph=0.5)
    async with open_panel(settings=settings, find_voice=find) as it:
        await it.until(lambda: it.stats.voice == "Anna")
        await it.choose("morph_to")
        await it.press("left")
        assert it.settings.morph_to == "Cleo"
        await it.until(lambda: it.stats.in_use.get("morph_to") == "Cleo")
        assert "Anna > Cleo 0.5" in wanted
        await it.reads("Others hear: Anna > Cleo 0.5, your settings")


@in_loop
async def test_without_its_preset_a_run_starts_silent(open_panel):
    settings = START.replace(morph_to="gone", morph=1.0)
    async with open_panel(settings=settings) as it:
        await it.hears(State.MUTED)
        await it.reads("NO VOICE", "gone")
        assert loudest(it.provider.device) == 0
        await it.press("m")
        await it.passes(0.5)
        assert loudest(it.provider.device) == 0
