"""What the screens show: the state, messages, settings, meters, and all of it at every size."""

import re

import pytest
from textual.widgets import Input, OptionList

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.live.badge import Remedy
from rtvc.setting import SettingError
from rtvc.settings import SETTINGS, Settings
from rtvc.stats import State
from rtvc.tui.health_line import HealthLine
from rtvc.tui.latency import LatencyBar
from rtvc.tui.level_meter import HANDLE, LevelMeter
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.slider import DEFAULT_MARK, PRESET_MARK, track, value_in
from rtvc.tui.state_band import StateBand
from tests.support.voices import PlainVoice, finder
from tests.tui.conftest import START, in_loop
from tests.tui.simulated_devices import SimulatedDevices

pytestmark = pytest.mark.slow

SIZES = ((40, 12), (60, 20), (80, 24), (120, 40), (200, 50))
each_size = pytest.mark.parametrize(
    "size",
    [
        pytest.param(size, id=f"{size[0]}x{size[1]}", marks=[pytest.mark.thorough] * between)
        for between, size in zip((0, 1, 1, 1, 1), SIZES, strict=True)
    ],
)


def words(it, part: str = "") -> str:
    """The screen, or one widget of it, without line breaks and frames."""
    lines = it.text().splitlines()
    if part:
        x, y, width, height = it.panel.screen.query_one(part).region
        lines = [line[x : x + width] for line in lines[y : y + height]]
    return " ".join(re.sub("[─│━┃╭╮╰╯┏┓┗┛┌┐└┘]", " ", " ".join(lines)).split())


def band(it) -> str:
    text: str = it.panel.screen.query_one(StateBand).text
    return text


@each_size
@in_loop
async def test_the_state_is_whole_on_every_screen(open_panel, size):
    async with open_panel(size=size) as it:
        await it.hears(State.CONVERTED)
        for opened in ("", "p", "d", "g"):
            await it.press(*opened)
            await it.until(lambda: "(*) CHANGED VOICE IS LIVE" in it.text())
            await it.until(lambda: "world" in band(it))
            await it.until(lambda: re.search(r"\d+ ms latency", band(it)))
            assert len({line for line in band(it).split("\n") if len(line) > size[0]}) == 0
            await it.press(*(["escape"] if opened else []))


@in_loop
async def test_each_state_has_its_words_shape_and_colour(open_panel):
    async with open_panel() as it:
        seen = {}
        it.controller.apply(it.controller.settings.replace(mode="dry"))
        for mode, word in (
            ("converted", "CHANGED VOICE IS LIVE"),
            ("dry", "YOUR OWN VOICE IS LIVE"),
            ("muted", "MUTED"),
        ):
            it.controller.apply(it.controller.settings.replace(mode=mode))
            await it.reads(word)
            widget = it.panel.screen.query_one(StateBand)
            seen[mode] = band(it)[:3], tuple(widget.classes)
        assert len({shape for shape, _ in seen.values()}) == 3
        assert len({colour for _, colour in seen.values()}) == 3
        await it.reads("Others hear: nothing", "m unmutes")


@pytest.mark.thorough
@in_loop
async def test_the_border_of_your_own_voice_moves(open_panel):
    async with open_panel() as it:
        it.controller.apply(it.controller.settings.replace(mode="dry"))
        await it.reads("YOUR OWN VOICE IS LIVE", "Others hear: your own voice")
        first = band(it)
        await it.until(lambda: band(it) != first)
        moved = band(it)
        assert re.sub("[▚▞]", "", moved) == re.sub("[▚▞]", "", first)
        await it.until(lambda: band(it) == first)


@in_loop
async def test_a_recording_and_fail_open_are_named_in_the_band(open_panel):
    async with open_panel(size=(40, 12), fail_open=True) as it:
        await it.hears(State.CONVERTED)
        await it.press("r")
        await it.until(lambda: "REC 00:0" in band(it) and "FAIL-OPEN" in band(it))


@pytest.mark.thorough
@in_loop
async def test_an_error_stays_until_a_key_and_news_does_not_push_it_out(open_panel):
    async with open_panel() as it:
        it.panel.show_message("It broke.", urgent=True)
        it.panel.show_message("Pitch +1 semitones.")
        await it.reads("It broke.", "Pitch +1 semitones.")
        await it.passes(9)
        await it.until(lambda: "Pitch +1" not in it.text())
        assert "It broke." in it.text()
        await it.press("down")
        await it.until(lambda: "It broke." not in it.text())
        it.panel.show_message("Again.", urgent=True)
        await it.press("down")
        await it.reads("Again.")


@pytest.mark.thorough
@in_loop
async def test_ctrl_l_lists_the_last_messages_with_their_times(open_panel):
    async with open_panel() as it:
        for number in range(60):
            it.panel.show_message(f"Message {number}.")
        await it.press("ctrl+l")
        await it.reads("Messages, the newest first", "Esc closes")
        assert re.search(r"\d\d:\d\d:\d\d +Message 59\.", it.text())
        assert len(it.panel._messages.entries) == 50
        await it.press("escape")
        await it.reads("HEALTH")


LONG = " ".join(f"{word} is a word of a long message." for word in "abcdefghij") + " The end."


@each_size
@in_loop
async def test_a_long_message_is_whole_on_every_screen(open_panel, size):
    async with open_panel(size=size) as it:
        await it.hears(State.CONVERTED)
        text = LONG if size[0] >= 60 else LONG[-120:]
        for opened in ("", "p", "d"):
            await it.press(*opened)
            it.panel.show_message(text, urgent=True)
            await it.until(lambda: text in words(it))
            await it.press(*(["escape"] if opened else []))


@pytest.mark.thorough
@in_loop
async def test_e_applies_the_remedy(open_panel):
    async with open_panel() as it:
        await it.press("e")
        await it.reads("Nothing is proposed")
        it.panel.actions.apply_remedy(Remedy("longer block", {"block": 150.0}))
        assert it.settings.block == 150
    async with open_panel(settings=START.replace(voice="gone"), find_voice=finder()) as it:
        await it.reads("NO VOICE", "Press e: use the built-in voice.")
        await it.press("e")
        assert it.settings.voice == "world"
        await it.hears(State.CONVERTED)


@pytest.mark.thorough
@in_loop
async def test_only_what_the_voice_uses_is_shown_and_a_shows_all(open_panel):
    async with open_panel(size=(120, 40)) as it:
        await it.hears(State.CONVERTED)
        await it.reads("Voice", "Microphone", "Output", "Timing", "formant", "a shows 9 more")
        assert "speaker" not in it.text()
        await it.press("a")
        await it.reads("a hides unused")
        await it.choose("index_rate")
        await it.reads("speaker", "index rate", "It changes nothing with this voice.")
        await it.press("a")
        await it.until(lambda: "index rate" not in it.text())


@pytest.mark.thorough
@in_loop
async def test_the_tabs_are_opened_by_keys_and_by_the_mouse(open_panel):
    async with open_panel(size=(120, 40)) as it:
        rows = it.panel.screen.query_one(SettingsList)
        await it.press("pagedown")
        await it.reads("input gain", "gate hold")
        assert rows.tab == "microphone"
        await it.press("pageup", "pageup")
        await it.reads("pitch floor", "seed")
        x = it.text().splitlines()
        y = next(n for n, line in enumerate(x) if "Effects  Output" in line)
        await it.pilot.click(offset=(x[y].index("Output") + 1, y))
        await it.reads("loudness", "ceiling")
        await it.press("end")
        assert rows.setting.name == "seed"
        await it.press("home", "up")
        assert rows.setting.name == "voice"


@pytest.mark.thorough
@in_loop
async def test_the_row_shows_what_is_in_use(open_panel):
    def find(name):
        return PlainVoice(name=name, features=frozenset({"rvc", "f0"}))

    def refuse(name):
        if name == "gone":
            return finder()(name)
        return find(name)

    async with open_panel(size=(120, 40), find_voice=refuse) as it:
        await it.hears(State.CONVERTED)
        it.controller.apply(it.controller.settings.replace(voice="gone"))
        await it.reads("There is no voice 'gone'", "The previous voice stays in use.")
        rows = it.panel.screen.query_one(SettingsList)
        await it.until(lambda: re.search(r"> voice +world", it.text()))
        assert rows.setting.name == "voice"


@pytest.mark.thorough
@in_loop
async def test_a_voice_that_failed_is_tried_again_after_any_change(open_panel):
    there: list[str] = []

    def find(name):
        return PlainVoice(name=name) if name == "world" or there else finder()(name)

    async with open_panel(find_voice=find, real_time=True) as it:
        await it.hears(State.CONVERTED)
        it.controller.apply(it.controller.settings.replace(voice="Anna"))
        await it.reads("There is no voice 'Anna'")
        there.append("Anna")
        await it.passes(1.2)
        await it.press("]")
        await it.until(lambda: it.stats.voice == "Anna")


@pytest.mark.thorough
@in_loop
async def test_the_speaker_has_the_range_of_the_voice(open_panel):
    voice = PlainVoice(features=frozenset({"speakers"}), speakers=3)
    async with open_panel(find_voice=finder(world=voice)) as it:
        await it.hears(State.CONVERTED)
        await it.choose("speaker")
        await it.press("right", "right", "right")
        assert it.settings.speaker == 2
        await it.press("enter", "backspace", *"9", "enter")
        await it.reads("'speaker' is 9, but must be a whole number from 0 to 2")
        await it.press("escape")
        assert it.settings.speaker == 2


@pytest.mark.thorough
@in_loop
async def test_a_decimal_comma_is_a_number(open_panel):
    async with open_panel() as it:
        await it.choose("pitch")
        await it.press("enter", "backspace", *"-7,5", "enter")
        assert it.settings.pitch == -7.5


def test_a_comma_that_may_separate_thousands_is_refused():
    assert SETTINGS["pitch"].parse("-7,5") == -7.5
    assert SETTINGS["block"].rounding("95,0").startswith("'block' is rounded from 95 to 100")
    for text in ("1,000", "1,000.5", "1,2,3", "1.5,2"):
        with pytest.raises(SettingError, match="but must be"):
            SETTINGS["gate_hold"].parse(text)


def test_a_track_has_half_cells_and_marks():
    pitch = SETTINGS["pitch"]
    rows = {track(pitch, value, 21) for value in range(-24, 25)}
    assert len(rows) == 42, "the handle moves by half cells"
    assert track(pitch, 5, 21).index(DEFAULT_MARK) == 10
    assert track(pitch, 0, 21, preset=-12).index(PRESET_MARK) == 5
    assert PRESET_MARK not in track(pitch, -12, 21, preset=-12)
    assert track(pitch, 0, 3) == track(SETTINGS["seed"], 0, 30) == ""
    assert [value_in(pitch, x, 21) for x in (-5, 0, 10, 20, 99)] == [-24, -24, 0, 24, 24]


@pytest.mark.thorough
@in_loop
async def test_a_handle_is_dragged_and_heard_meanwhile(open_panel):
    async with open_panel(size=(120, 40)) as it:
        await it.hears(State.CONVERTED)
        await it.press("down")
        rows = it.panel.screen.query_one(SettingsList)
        end = rows.scrollable_content_region.width - 2
        await it.pilot.mouse_down(SettingsList, offset=(end, 1))
        assert it.settings.pitch == 24
        await it.pilot.hover(SettingsList, offset=(end - 10, 1))
        assert 0 < it.settings.pitch < 24, "the mouse has not been let go"
        await it.pilot.mouse_up(SettingsList, offset=(end - 10, 1))
        rows.go_to("block")
        await it.pilot.pause()
        row, end = rows._selection.at, rows.scrollable_content_region.width - 2
        await it.pilot.mouse_down(SettingsList, offset=(end, row))
        assert it.settings.block == START.block, "sizes wait until the mouse is let go"
        await it.pilot.mouse_up(SettingsList, offset=(end, row))
        assert it.settings.block == 1000


@pytest.mark.thorough
@in_loop
async def test_the_input_meter_is_behind_its_gain_and_moves_the_gate(open_panel):
    async with open_panel(size=(120, 40)) as it:
        await it.hears(State.CONVERTED)
        before = it.stats.conditioned.peak_db
        await it.until(lambda: it.stats.input.peak_db > -40)
        it.controller.apply(it.controller.settings.replace(input_gain=-24, gate=-70))
        await it.passes(1)
        stats = it.stats
        await it.until(lambda: it.stats.blocks > stats.blocks and it.stats.input.peak_db > -40)
        assert it.stats.conditioned.peak_db < it.stats.input.peak_db - 15, before
        meter = it.panel.screen.query_one("#input-meter", LevelMeter)
        await it.until(lambda: HANDLE in meter.text)
        first, cells = meter._bar_at
        await it.pilot.click("#input-meter", offset=(first + cells - 1, 0))
        await it.until(lambda: it.settings.gate == 0)
        await it.reads("gate shut")


@pytest.mark.thorough
@in_loop
async def test_the_limiter_tells_by_how_much_it_reduces(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        assert "limiter" not in it.text()
        it.controller.apply(it.controller.settings.replace(output_gain=24, ceiling=-24))
        await it.until(lambda: it.stats.limited_db < -6)
        await it.until(lambda: re.search(r"limiter -\d+", it.text()))


@pytest.mark.thorough
@in_loop
async def test_a_click_on_a_part_of_the_latency_leads_to_its_setting(open_panel):
    async with open_panel(size=(120, 40)) as it:
        await it.hears(State.CONVERTED)
        await it.reads("block 100", "headroom 200")
        bar = it.panel.screen.query_one(LatencyBar)
        rows = it.panel.screen.query_one(SettingsList)
        for name in ("headroom", "block"):
            await it.pilot.click(LatencyBar, offset=(bar.text.index(name) + 1, 0))
            await it.until(lambda name=name: rows.setting and rows.setting.name == name)
        assert rows.tab == "timing"


def test_gaps_are_counted_for_a_minute():
    line = HealthLine("health")
    assert line._recent_gaps(0, 0.0) == 0
    assert line._recent_gaps(2, 10.0) == 2
    assert line._recent_gaps(3, 50.0) == 3
    assert line._recent_gaps(3, 75.0) == 1
    assert line._recent_gaps(3, 120.0) == 0
    assert line._recent_gaps(1, 121.0) == 0, "a new session counts from its start"


@pytest.mark.thorough
@in_loop
async def test_the_voice_row_opens_the_list(open_panel):
    for size in ((80, 24), (40, 12)):
        async with open_panel(size=size) as it:
            await it.hears(State.CONVERTED)
            await it.choose("voice")
            await it.press("enter")
            await it.until(lambda: isinstance(it.panel.focused, OptionList))
            await it.reads("world (voice)")
            await it.press("escape")
            await it.reads("pitch")


@pytest.mark.thorough
@in_loop
async def test_the_search_is_visible_at_every_size_and_says_when_nothing_matches(open_panel):
    async with open_panel(size=(40, 12)) as it:
        await it.press("slash", *"zz")
        await it.until(lambda: isinstance(it.panel.focused, Input))
        await it.reads("Nothing matches. Esc shows all")
        await it.press("escape", "escape")
        await it.until(lambda: isinstance(it.panel.focused, SettingsList))
        await it.reads("pitch")


@pytest.mark.thorough
@in_loop
async def test_help_begins_with_what_has_the_focus(open_panel):
    async with open_panel() as it:
        for keys, title in (
            ((), "The settings (this has the focus)"),
            (("slash",), "Voices and presets (this has the focus)"),
            (("escape", "escape", "p"), "The presets (this has the focus)"),
            (("escape", "d"), "The devices (this has the focus)"),
            (("escape", "g"), "The guide (this has the focus)"),
        ):
            await it.press(*keys)
            if keys == ("slash",):
                await it.press("tab")
            await it.press("question_mark")
            await it.reads(title, "Esc closes")
            await it.press("escape")


@pytest.mark.thorough
@in_loop
async def test_the_palette_has_every_action_with_its_key(open_panel):
    async with open_panel() as it:
        await it.press("ctrl+p")
        await it.until(lambda: "Mute at once" in it.text())
        await it.press(*"pitch up")
        await it.reads("Pitch up a semitone (])")
        await it.press("enter")
        await it.until(lambda: isinstance(it.panel.screen, MainScreen))
        await it.until(lambda: it.settings.pitch == 1)
        await it.press("ctrl+p", *"preset robot")
        await it.reads("Load the preset robot")
        await it.press("enter")
        await it.until(lambda: it.settings.pitch_fixed > 0)


@pytest.mark.thorough
@in_loop
async def test_the_guide_stays_where_a_microphone_cannot_be_opened(open_panel, monkeypatch):
    provider = SimulatedDevices()
    broken = provider.inputs[1]
    opened = provider.open

    def open_devices(selection):
        if getattr(selection.input, "name", "") == broken.name:
            from rtvc.errors import RtvcError

            raise RtvcError(f"{broken.name!r} is used by another program.")
        return opened(selection)

    monkeypatch.setattr(provider, "open", open_devices)
    async with open_panel(guided=False, provider=provider) as it:
        await it.reads("1 of 5", "USB Microphone")
        await it.press("down", "down", "enter")
        await it.reads("is used by another program.", "1 of 5")
        await it.passes(1)
        assert "1 of 5" in it.text()
        await it.press("up", "enter")
        await it.reads("2 of 5")


@in_loop
async def test_the_guide_says_that_there_is_no_microphone(open_panel, tmp_path):
    provider = SimulatedDevices()
    provider.inputs.clear()
    async with open_panel(guided=False, provider=provider) as it:
        await it.reads("NO DEVICE", "No microphone is connected.", "Choose a device that works")
        await it.press("home", "enter")
        await it.passes(1)
        assert "1 of 5" in it.text()
    assert not list(tmp_path.glob("*.wav"))


@each_size
@in_loop
async def test_known_sentences_and_rows_are_whole(open_panel, size):
    save_panel_state(PanelState(guided=True, favourites={1: "robot"}))
    async with open_panel(size=size) as it:
        await it.hears(State.CONVERTED)
        rows = it.panel.screen.query_one(SettingsList)
        assert rows.size.height >= 2
        assert not rows.show_horizontal_scrollbar
        for name in ("pitch", "pitch_fine", "breathiness", "gate_lookback", "ceiling", "headroom"):
            setting = SETTINGS[name]
            rows.go_to(name)
            label, unit = name.replace("_", " "), setting.unit
            row = re.compile(rf"> {label}.* {re.escape(unit)}")
            await it.until(
                lambda text=setting.help, row=row: text in words(it) and row.search(it.text())
            )
        assert re.search("Voice +Mic(rophone)? +Effects +Output +Timing", it.text())
        await it.press("d")
        await it.reads("MICROPHONE", "SPEAKER", "MONITOR")
        await it.reads("system default")
        await it.press("tab")
        await it.reads("MacBook Pro Speakers")
        await it.press("escape", "p")
        await it.reads("androgynous")
        await it.press("escape")


@each_size
@in_loop
async def test_a_refused_value_and_its_reason_are_inside_the_dialog(open_panel, size):
    async with open_panel(size=size, settings=Settings(formant=2)) as it:
        await it.hears(State.CONVERTED)
        it.panel.screen.query_one(SettingsList).go_to("block")
        await it.press("enter", *["backspace"] * 4, *"99999", "enter")
        sentence = (
            "'block' is 99999, but must be a number from 20 to 1000 ms in steps of 10. "
            "The nearest valid value is 1000."
        )
        await it.until(lambda: sentence in words(it, "Dialog > Vertical"))
        assert "Enter applies" in words(it, "Dialog > Vertical")
