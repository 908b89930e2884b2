"""An impatient or unusual user: keys and clicks too early or twice, odd sizes and odd keys."""

import re
import threading
from dataclasses import replace

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
from rtvc.config.preset_manager import PresetManager
from rtvc.config.preset_origin import origin_of
from rtvc.config.presets import user_folder
from rtvc.config.remembered import RememberedRun, load_remembered
from rtvc.errors import RtvcError
from rtvc.live.controller import Controller
from rtvc.live.devices import AvailableDevices
from rtvc.settings import Settings
from rtvc.stats import State
from rtvc.tui.app import Panel
from rtvc.tui.devices_screen import DeviceList
from rtvc.tui.footer import KeyLine
from rtvc.tui.keys import chosen_keys
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.state_band import StateBand
from rtvc.tui.text_pane import FlowPane, cut
from rtvc.tui.voice_list import VoiceList
from tests.support.virtual_clock import VirtualClock
from tests.tui.conftest import ROWS, START, Driver, in_loop, repeat_by
from tests.tui.simulated_devices import (
    BUILT_IN,
    HEADPHONES,
    SPEAKERS,
    USB,
    SimulatedDevices,
    microphone,
    speaker,
)

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


@pytest.mark.thorough
@pytest.mark.parametrize("key", ["p", "d", "g", "slash"])
@in_loop
async def test_a_guide_that_was_left_with_a_key_does_not_open_again(open_panel, key):
    async with open_panel(guided=False) as it:
        await it.reads("1 of 5")
        await it.press(key)
        await it.until(lambda: "1 of 5" not in it.text())
    assert load_panel_state()[0].guided


@in_loop
async def test_a_text_of_wide_characters_is_cut_at_the_end_of_its_last_row(open_panel):
    async with open_panel(size=(40, 12)) as it:
        await it.hears(State.CONVERTED)
        it.panel.show_message("\u58f0" * 150, urgent=True)
        await it.until(lambda: last_char_of(it, "#message") == "…")
        pane = it.panel.screen.query_one("#message", FlowPane)
        row = it.text().splitlines()[pane.region.bottom - 1]
        assert cell_len(row.rstrip()) > 37
        assert pane.rows(38) == 8
        assert it.panel.screen.has_class("-crowded")


def test_the_edits_of_a_preset_fit_their_columns():
    user_folder().mkdir(parents=True)
    name = "\u58f0" * 10
    (user_folder() / f"{name}.yaml").write_text("pitch: 3\n")
    manager = PresetManager()
    manager.scan()
    settings = Settings(pitch=4, formant=2)
    origin = origin_of(manager.find(name), settings, manager.own)
    assert origin is not None
    assert origin.summary(50) == f"{name}, edited: pitch 3 -> 4, formant 0 -> 2"
    assert origin.summary(50, cell_len) == f"{name}, edited: pitch 3 -> 4, 1 more"
    assert origin.summary(28, cell_len) == f"{name}, edited"


def test_a_wide_key_takes_two_columns_of_the_footer():
    assert KeyLine._length((("\u58f0", "MUTE", ""), ("q", "quit", "")), 1) == 14


@pytest.mark.thorough
@in_loop
async def test_the_time_of_a_recording_is_whole_while_your_own_voice_is_live(open_panel):
    async with open_panel(size=(40, 12), fail_open=True) as it:
        it.controller.apply(it.controller.settings.replace(mode="dry"))
        await it.press("r")
        await it.reads("YOUR OWN VOICE IS LIVE")
        await it.until(lambda: re.search(r"FAIL-OPEN  REC 00:\d\d ", it.text()))


@pytest.mark.thorough
@in_loop
async def test_edits_that_do_not_fit_the_save_dialog_end_with_a_sign(open_panel):
    user_folder().mkdir(parents=True)
    (user_folder() / "mine.yaml").write_text("formant: 2\n")
    async with open_panel(size=(40, 12), preset="mine") as it:
        changes = {"pitch": 3, "pitch_fine": 7, "formant": 5, "tune": 0.5, "output_gain": -3}
        it.controller.apply(it.controller.settings.replace(**changes))
        await it.press("ctrl+s")
        await it.reads("Update 'mine': pitch 0 -> 3", "Enter saves")
        pane = it.panel.screen.query_one("#what", FlowPane)
        assert pane.region.height == 2
        row = it.text().splitlines()[pane.region.bottom - 1]
        assert row[: pane.region.right].rstrip().endswith("…")


@pytest.mark.thorough
@in_loop
async def test_the_question_about_measuring_shows_its_keys_with_long_names(open_panel):
    provider = SimulatedDevices()
    name = "Family 17h/19h HD Audio Controller, a long name, Analog Stereo"
    provider.inputs = [microphone(name, default=True)]
    provider.outputs = [speaker(name, default=True)]
    async with open_panel(size=(40, 12), provider=provider) as it:
        await it.hears(State.CONVERTED)
        await it.press("l")
        await it.reads("'Family 17h/19h HD Audio", "keep silent.", "Escape cancels", "mutes.")


@pytest.mark.thorough
@in_loop
async def test_a_search_before_the_list_is_filled_can_be_left(monkeypatch):
    clock, provider = VirtualClock(), SimulatedDevices()
    provider.clock = clock
    repeat_by(clock, monkeypatch)
    save_panel_state(PanelState(guided=True))
    controller = Controller(provider, RememberedRun(settings=START))
    panel = Panel(controller, clock=clock)
    try:
        async with panel.run_test() as pilot:
            it = Driver(panel, pilot, clock)
            for key in ("slash", *"robot", "enter", "escape"):
                await pilot.press(key)
            await it.reads("androgynous", "CHANGED VOICE")
            await it.passes(1)
            assert it.settings == START
    finally:
        with clock.passing():
            controller.close()


@pytest.mark.thorough
@in_loop
async def test_a_hidden_list_of_the_guide_gets_no_key_when_the_window_is_back(open_panel):
    async with open_panel(guided=False) as it:
        await it.reads("1 of 5", "USB Microphone")
        await it.press("enter")
        it.panel.app_focus = False
        await it.reads("2 of 5", "Enter sets input gain +")
        it.panel.app_focus = True
        await it.press("enter")
        await it.reads("3 of 5", "Set input gain +")


@pytest.mark.thorough
@in_loop
async def test_what_has_the_focus_stays_visible_when_the_window_becomes_narrow(open_panel):
    async with open_panel() as it:
        await it.press("tab")
        await it.until(lambda: isinstance(it.panel.focused, Input))
        await it.pilot.resize_terminal(40, 12)
        await it.reads("/ search voices, presets")
        assert isinstance(it.panel.focused, Input)
        await it.pilot.resize_terminal(80, 24)
        await it.press("escape", "escape")
        await it.press("slash", "shift+tab")
        await it.until(lambda: isinstance(it.panel.focused, SettingsList))
        await it.pilot.resize_terminal(40, 12)
        await it.reads("Voice Microphone Effects", "pitch")
        assert isinstance(it.panel.focused, SettingsList)


@pytest.mark.thorough
@in_loop
async def test_the_palette_shows_names_with_brackets(open_panel):
    user_folder().mkdir(parents=True)
    (user_folder() / "my [red] one.yaml").write_text("formant: 2\n")
    async with open_panel() as it:
        await it.press("ctrl+p", *"red")
        await it.reads("Load the preset my [red] one")


@pytest.mark.thorough
@in_loop
async def test_a_key_that_is_held_deletes_and_restores_one_preset(open_panel):
    user_folder().mkdir(parents=True)
    names = [f"aa{number}" for number in range(4)]
    for name in names:
        (user_folder() / f"{name}.yaml").write_text("pitch: 3\n")

    def there() -> list[str]:
        return sorted(path.stem for path in user_folder().glob("*.yaml"))

    async with open_panel() as it:
        await it.press("p")
        it.panel.screen.query_one(VoiceList).mark("aa0")
        await it.press("x")
        await it.passes(0.4)
        await it.press(*["x"] * 5)
        await it.reads("Press x again to delete 'aa1'.")
        assert there() == names[1:]
        await it.passes(1)
        await it.press("x")
        assert there() == names[2:]
        await it.press("u", "u", "u")
        assert there() == names[1:]


@pytest.mark.thorough
@in_loop
async def test_no_key_for_a_preset_that_has_gone_and_no_tenth_one(open_panel):
    async with open_panel() as it:
        actions, before = it.panel.actions, load_panel_state()[0]
        assert len(before.favourites) == 9
        assert actions.assign_favourite(3, "gone") == "The preset 'gone' no longer exists."
        save_panel_state(replace(before, favourites={1: before.favourites[1]}))
        actions.follow_favourites()
        save_panel_state(before)  # by another panel, while this one asks
        assert actions.toggle_favourite("robot") == "All nine keys are assigned."
        assert load_panel_state()[0] == before


@pytest.mark.thorough
@in_loop
async def test_the_device_that_was_chosen_is_used_also_if_the_list_changes_then(open_panel):
    async with open_panel() as it:
        await it.press("d")
        await it.reads("USB Microphone")
        devices = it.panel.screen.query_one("#input", DeviceList)
        devices.highlighted = 2
        devices.action_select()
        others = AvailableDevices((BUILT_IN,), (SPEAKERS,))
        devices.put(others, it.controller.wanted, it.controller.names)
        await it.until(lambda: it.controller.names[0] == USB.name)
