"""An impatient or unusual user: keys and clicks too early or twice, odd sizes and odd keys."""

import threading

import pytest
from rich.cells import cell_len
from textual.widgets import Input, OptionList

from rtvc.config.panel_state import (
    PanelState,
    keys_path,
    load_keys,
    load_panel_state,
    save_panel_state,
)
from rtvc.config.presets import user_folder
from rtvc.config.remembered import RememberedRun, load_remembered
from rtvc.errors import RtvcError
from rtvc.live.controller import Controller
from rtvc.settings import Settings
from rtvc.stats import State
from rtvc.tui.devices_screen import DeviceList
from rtvc.tui.keys import chosen_keys
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.state_band import StateBand
from rtvc.tui.text_pane import FlowPane, cut
from rtvc.tui.voice_list import VoiceList
from tests.tui.conftest import ROWS, in_loop
from tests.tui.simulated_devices import HEADPHONES, USB, SimulatedDevices

pytestmark = pytest.mark.slow

REASON = "The microphone cannot be opened: another program has taken it. Close that program."


class Taken(SimulatedDevices):
    """Devices that cannot be opened."""

    def open(self, selection):
        raise RtvcError(REASON)


class Slow(SimulatedDevices):
    """Devices that open only while they may."""

    def __init__(self):
        super().__init__()
        self.may_open = threading.Event()
        self.may_open.set()

    def open(self, selection):
        self.may_open.wait(20)
        return super().open(selection)


def shown_footer(it) -> str:
    return str(it.text().splitlines()[-1])


def dismiss(screen) -> None:
    screen.dismiss()  # without waiting for it


def last_char_of(it, id: str) -> str:
    """Return the last character of a text on the screen."""
    pane = it.panel.screen.query_one(id, FlowPane)
    rows = it.text().splitlines()[pane.region.y : pane.region.bottom]
    return str(rows[-1].rstrip()[-1])


@pytest.mark.thorough
@in_loop
async def test_page_keys_while_the_palette_has_no_rows_on_the_screen(open_panel):
    async with open_panel() as it:
        await it.press("ctrl+p")
        await it.reads("Mute at once")
        rows = it.panel.screen.query_one("CommandList", OptionList)
        rows.styles.display = "none"
        await it.passes(0.1)
        rows.clear_options()
        rows.add_options(["One", "Two"])  # as when they arrive
        rows.highlighted = 0
        await it.press("pagedown", "pageup", "escape")
        assert isinstance(it.panel.screen, MainScreen)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "keys",
    [
        ("d",),
        *(
            pytest.param(keys, marks=pytest.mark.thorough)
            for keys in (("slash", "escape"), ("p",), ("g",))
        ),
    ],
)
@in_loop
async def test_page_keys_in_a_list_without_rows(open_panel, keys):
    async with open_panel(size=(40, 12)) as it:
        await it.press(*keys)
        for size in ((30, 8), (20, 4), (40, 12)):
            await it.pilot.resize_terminal(*size)
            await it.passes(0.1)
            await it.press("pagedown", "pageup")
        await it.reads("CHANGED VOICE")


@pytest.mark.thorough
@in_loop
async def test_a_double_click_closes_one_screen(open_panel):
    async with open_panel() as it:
        await it.press("g", "n", "n", "n", "n")
        await it.reads("5 of 5")
        guide = it.panel.screen
        for _ in range(3):  # all are in its queue before the first is handled
            guide.call_later(guide.action_next)
        await it.passes(0.1)
        assert isinstance(it.panel.screen, MainScreen)
        await it.press("p", "question_mark")
        help = it.panel.screen
        for _ in range(3):
            help.call_later(dismiss, help)
        await it.passes(0.1)
        assert "/ search presets" in it.text()
        await it.press("ctrl+p")
        palette = it.panel.screen
        for _ in range(3):
            palette.call_later(dismiss, palette)
        await it.passes(0.1)
        assert "/ search presets" in it.text()


@pytest.mark.parametrize("provider", [SimulatedDevices, Taken])
@in_loop
async def test_each_device_list_can_be_used_at_40x12(open_panel, provider):
    async with open_panel(size=(40, 12), provider=provider()) as it:
        await it.press("d")
        await it.reads("MICROPHONE", "system default")
        for number, kind in enumerate(("input", "output", "monitor")):
            devices = it.panel.screen.query_one(f"#{kind}", DeviceList)
            await it.until(lambda devices=devices: devices.has_focus)
            await it.until(lambda devices=devices: devices.scrollable_content_region.height >= 2)
            titles = [row for row in it.text().splitlines() if row[0] in "━─"]
            assert len(titles) == 3, it.text()
            assert sum(": " in title for title in titles) == 2
            if provider is SimulatedDevices and number:
                await it.reads("MICROPHONE: MacBook Pro Mic")
            await it.press("tab")


@in_loop
async def test_a_reason_that_is_cut_ends_with_a_sign(open_panel):
    async with open_panel(size=(40, 12), provider=Taken()) as it:
        await it.reads("NO DEVICE", "press d to choose.")
        await it.press("d")
        await it.reads("NO DEVICE", "MICROPHONE")
        assert "choose" not in it.text()
        await it.until(lambda: last_char_of(it, "#reason") == "…")
        await it.pilot.resize_terminal(80, 24)
        await it.reads("press d to choose.")
        assert last_char_of(it, "#reason") == "."


@pytest.mark.thorough
@in_loop
async def test_nothing_is_measured_without_devices_or_while_muted(open_panel):
    async with open_panel(provider=Taken()) as it:
        await it.press("l")
        await it.reads("The latency cannot be measured while the devices are not running.")
        assert isinstance(it.panel.screen, MainScreen)
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.press("m", "l")
        await it.reads("the output is muted. Unmute it first.")
        assert isinstance(it.panel.screen, MainScreen)


@pytest.mark.thorough
@in_loop
async def test_the_hint_is_about_the_marked_row_while_the_list_has_the_focus(open_panel):
    async with open_panel(size=(40, 12)) as it:
        await it.reads("pitch")
        await it.press("slash", *"robot")
        await it.reads("robot: A machine that speaks on one")
        await it.press("escape", "escape", "home")
        await it.reads("voice: Voice to convert to")


@pytest.mark.thorough
@in_loop
async def test_the_key_that_mutes_is_left_out_last(open_panel):
    async with open_panel(size=(30, 12)) as it:
        assert "m MUTE" in shown_footer(it)
        assert "q quit" in shown_footer(it)


@in_loop
async def test_messages_name_the_chosen_keys(open_panel):
    keys_path().parent.mkdir(parents=True, exist_ok=True)
    keys_path().write_text('record: k\nsearch: "{"\ndevices: D\ndry: F\nsave: f4\n')
    async with open_panel(provider=Taken(), size=(120, 40)) as it:
        await it.reads("or press D to choose", "{ search voices, presets", "presets, {")
        await it.press("k")
        await it.reads("until you press k.")
        await it.press("left_curly_bracket")
        assert isinstance(it.panel.focused, Input)
        await it.press("escape", "home", "f")
        await it.reads("Save the voice as a preset (f4).")
        await it.press("question_mark")
        await it.reads("{ search; Enter loads the first hit")
        await it.press("escape", "p")
        assert "{ search" in shown_footer(it)
        await it.press("escape", "g", "n", "n", "n")
        await it.reads("F switches between your own voice")


@pytest.mark.parametrize("key", ["\t", "\u202e", "\x01", ""])
def test_a_character_that_is_not_printed_is_no_key(key):
    assert chosen_keys({"mute": key}, {}) == (
        {},
        f"keys.yaml is ignored: mute is {key!r}, which is not a key.",
    )


def test_an_unknown_action_in_the_file_of_keys():
    keys_path().parent.mkdir(parents=True, exist_ok=True)
    keys_path().write_text("xyzzy: k\n")
    keys, message = load_keys(("mute", "record"))
    assert keys == {}
    assert message.endswith("'xyzzy'. The end of the help (?) lists all names.")


@pytest.mark.thorough
@in_loop
async def test_another_panel_changes_favourites_and_names(open_panel):
    folder = user_folder()
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("pitch: 3\n")
    (folder / "other.yaml").write_text("pitch: 5\n")
    save_panel_state(PanelState(guided=True, favourites={1: "mine"}))
    async with open_panel() as it:
        await it.press("t")
        # What another panel does: a rename that keeps the key, and another key.
        (folder / "mine.yaml").rename(folder / "new.yaml")
        state = load_panel_state()[0]
        save_panel_state(state.renamed("mine", "new").with_favourite(2, "other"))
        await it.press("1")
        await it.reads("Loaded preset 'new'.")
        await it.press("2")
        await it.reads("Loaded preset 'other'.")
        await it.press("v")
    assert load_panel_state()[0] == PanelState("light", True, False, {1: "new", 2: "other"})


def test_the_run_that_ends_last_is_remembered():
    runs = [
        Controller(SimulatedDevices(), RememberedRun(settings=Settings(pitch=pitch)))
        for pitch in (3.0, 5.0)
    ]
    for run in (*runs, *reversed(runs)):
        run._save()
    runs[1].close()
    assert load_remembered()[0].settings.pitch == 5
    runs[0].close()
    assert load_remembered()[0].settings.pitch == 3


WIDE = "\N{PARTY POPPER} \N{CJK UNIFIED IDEOGRAPH-58F0}" * 3


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("size", "voice"), [((40, 12), "world"), ((80, 24), "world"), ((80, 24), WIDE)]
)
@in_loop
async def test_names_of_wide_characters_keep_the_rows_whole(open_panel, size, voice):
    user_folder().mkdir(parents=True)
    (user_folder() / f"{WIDE}.yaml").write_text("formant: 2\n")
    settings = Settings(formant=2, voice=voice)
    async with open_panel(size=size, preset=WIDE, settings=settings) as it:
        await it.reads("CHANGED VOICE" if voice == "world" else "NO VOICE")
        for row in it.text().splitlines():
            assert cell_len(row) == size[0]
        band = it.panel.screen.query_one(StateBand)
        assert {cell_len(line) for line in band.text.splitlines()} == {size[0]}


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [("abc", 3, "abc"), ("abc", 2, "a…"), ("abc", 1, "…"), ("声声", 4, "声声"), ("声声", 3, "声…")],
)
def test_a_text_is_cut_by_cells(text, room, shown):
    assert cut(text, room) == shown


@pytest.mark.thorough
@in_loop
async def test_the_guide_keeps_a_microphone_that_is_still_being_opened(open_panel):
    provider = Slow()
    async with open_panel(guided=False, provider=provider) as it:
        await it.reads("1 of 5", "USB Microphone")
        provider.may_open.clear()
        await it.press("down", "down", "enter", "n", "n")
        await it.reads("3 of 5", "External Headphones")
        await it.press("down", "down", "enter")
        provider.may_open.set()
        await it.until(lambda: it.controller.names[:2] == (USB.name, HEADPHONES.name))


@pytest.mark.thorough
@in_loop
async def test_a_search_from_the_guide_is_visible(open_panel):
    async with open_panel(guided=False) as it:
        await it.reads("1 of 5", "USB Microphone")
        await it.press("slash")
        assert isinstance(it.panel.screen, MainScreen)
        assert isinstance(it.panel.focused, Input)
        await it.press("escape", "escape", "g")
        await it.reads("1 of 5")
        await it.press("n", "n", "n", "n")
        await it.reads("5 of 5")
        await it.press("slash")
        await it.reads("5 of 5")
        assert isinstance(it.panel.focused, Input)


@pytest.mark.thorough
@in_loop
async def test_the_row_that_was_chosen_is_loaded_also_if_the_list_changes_then(open_panel):
    async with open_panel() as it:
        await it.press("p")
        voices = it.panel.screen.query_one(VoiceList)
        voices.mark("deep")
        assert voices.marked.name == "deep"
        voices.query_one(OptionList).action_select()
        voices.put(voices._items[-1:])  # before the list has handled it
        await it.pilot.pause()
        await it.reads("Loaded preset 'deep'.")


@pytest.mark.thorough
@in_loop
async def test_a_handle_changes_its_own_setting_and_no_longer_than_it_is_held(open_panel):
    async with open_panel(size=(120, 40)) as it:
        await it.hears(State.CONVERTED)
        rows = it.panel.screen.query_one(SettingsList)
        width = rows.scrollable_content_region.width
        row = ROWS.index("formant")
        for keys in (("down",), ("enter", "escape")):
            await it.pilot.mouse_down(SettingsList, offset=(width - 2, row))
            assert it.settings.formant == 12
            await it.press(*keys)
            before = it.settings
            if keys == ("down",):
                await it.pilot.mouse_up(SettingsList, offset=(width - 2, row))
            else:
                await it.pilot.hover(SettingsList, offset=(width - 12, row))
            assert it.settings == before


@pytest.mark.thorough
@in_loop
async def test_a_preset_that_is_removed_while_its_new_name_is_typed(open_panel):
    user_folder().mkdir(parents=True)
    for name in ("mine", "other"):
        (user_folder() / f"{name}.yaml").write_text("pitch: 3\n")
    async with open_panel() as it:
        await it.press("p")
        it.panel.screen.query_one(VoiceList).mark("mine")
        await it.press("n")
        await it.reads("Rename 'mine' to:")
        (user_folder() / "mine.yaml").unlink()
        await it.press(*["backspace"] * 4, *"other", "enter")
        await it.reads("No such file or directory")
        await it.press("escape")
        assert (user_folder() / "other.yaml").read_text() == "pitch: 3\n"
