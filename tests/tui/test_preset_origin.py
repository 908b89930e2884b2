"""The preset that the settings began with: shown, remembered, updated, renamed, restored."""

import pytest
from textual.widgets import Input

from rtvc import __version__
from rtvc.config.panel_state import PanelState, load_panel_state, save_panel_state
from rtvc.config.preset_manager import PresetEntry
from rtvc.config.preset_origin import origin_of
from rtvc.config.presets import Preset, PresetFile, find_preset, load_preset, user_folder
from rtvc.config.remembered import load_remembered
from rtvc.library.voice_defaults import own_settings
from rtvc.settings import SETTINGS, Settings
from rtvc.tui.save_dialog import SavePreset
from rtvc.tui.voice_list import VoiceList
from tests.support.voices import PlainVoice, finder
from tests.tui.conftest import START, in_loop

pytestmark = pytest.mark.slow

DEEP = find_preset("deep").apply_to(START)
MINE = "# The comment stays.\ndescription: My own.\npitch: 5\n"


def write(name: str, text: str = MINE) -> None:
    user_folder().mkdir(parents=True, exist_ok=True)
    (user_folder() / f"{name}.yaml").write_text(text)


def origin(it) -> tuple[str, tuple[str, ...]] | None:
    found = it.panel.actions.origin
    return found and (found.name, found.edits)


async def mark(it, name: str) -> None:
    """Highlight a preset without loading it."""
    voices = it.panel.screen.query_one(VoiceList)
    voices.mark(name)
    await it.until(lambda: voices.marked and voices.marked.name == name)


def marked(it) -> str:
    item = it.panel.screen.query_one(VoiceList).marked
    return item.name if item else ""


@pytest.mark.thorough
@in_loop
async def test_it_stays_while_settings_are_changed_undone_and_in_the_next_run(open_panel):
    async with open_panel(size=(110, 30)) as it:
        await it.find("deep")
        await it.reads("Others hear: deep MacBook")
        await it.press("[")
        await it.reads("deep, edited: pitch -5 -> -6", "*5 deep")
        await it.press("ctrl+z")
        assert origin(it) == ("deep", ())
        await it.press("ctrl+z")
        assert origin(it) is None
        await it.press("ctrl+y", "ctrl+y")
        assert origin(it) == ("deep", ("pitch -5 -> -6",))
    remembered = load_remembered()[0]
    assert (remembered.preset, remembered.settings.pitch) == ("deep", -6)
    async with open_panel(
        size=(110, 30), settings=remembered.settings, preset=remembered.preset
    ) as it:
        await it.reads("deep, edited: pitch -5 -> -6")


@pytest.mark.thorough
@in_loop
async def test_another_preset_another_voice_or_the_end_of_its_file_end_it(open_panel):
    write("mine")
    write("other", "pitch: 6\n")
    find = finder(world=PlainVoice("world"), Anna=PlainVoice("Anna"))
    async with open_panel(settings=DEEP, preset="deep", find_voice=find) as it:
        await it.find("mine")
        await it.press("]")
        assert origin(it) == ("mine", ("pitch 5 -> 6",)), "the settings match another preset too"
        (user_folder() / "mine.yaml").unlink()
        await it.until(lambda: origin(it) == ("other", ()))
        await it.press("[", "[", "[")
        assert origin(it) == ("other", ("pitch 6 -> 3",)), "it began with what it matched"
        it.panel.actions.select_voice("Anna")
        assert origin(it) is None
        await it.press("ctrl+z")
        assert origin(it) == ("other", ("pitch 6 -> 3",))
        (user_folder() / "other.yaml").write_text("pitch: 66\n")
        await it.until(lambda: origin(it) is None)


@pytest.mark.thorough
@in_loop
async def test_of_two_equal_presets_the_loaded_one_is_named(open_panel):
    write("villain", "description: As deep.\npitch: -5\nformant: -2\n")
    write("deep", "description: Deep.\npitch: -5\nformant: -2\n")
    async with open_panel() as it:
        for name in ("villain", "deep", "villain"):
            await it.find(name)
            await it.reads(f"Others hear: {name}")
            assert origin(it) == (name, ())


@pytest.mark.thorough
@in_loop
async def test_backspace_goes_to_the_value_of_the_preset_and_then_to_the_default(open_panel):
    async with open_panel(settings=DEEP, preset="deep") as it:
        await it.choose("pitch")
        await it.press("right", "backspace")
        assert it.settings.pitch == -5
        await it.press("backspace")
        assert it.settings.pitch == SETTINGS["pitch"].default
        await it.choose("gate")
        await it.press("right", "backspace")
        assert it.settings.gate == SETTINGS["gate"].default, "the preset does not set it"


def test_the_summary_lists_the_edits_that_fit():
    deep = Preset("deep", "", Settings(pitch=-5, formant=-2), frozenset({"pitch", "formant"}))
    entry = PresetEntry(PresetFile("deep", user_folder() / "deep.yaml", bundled=True), deep)
    edited = deep.settings.replace(pitch=-7, formant=-1.5, whisper=True, gate=-30)
    found, unedited = (
        origin_of(entry, settings, own_settings)
        for settings in (edited, deep.settings.replace(gate=-30))
    )
    assert found is not None
    assert unedited is not None
    assert found.edits == ("pitch -5 -> -7", "formant -2 -> -1.5", "whisper no -> yes")
    full = "deep, edited: pitch -5 -> -7, formant -2 -> -1.5, whisper no -> yes"
    assert found.summary(len(full)) == full
    assert (
        found.summary(len(full) - 1) == "deep, edited: pitch -5 -> -7, formant -2 -> -1.5, 1 more"
    )
    assert found.summary(40) == "deep, edited: pitch -5 -> -7, 2 more"
    assert found.summary(20) == "deep, edited"
    assert found.summary(11) == "deep *"
    assert unedited.summary(0) == "deep"


@pytest.mark.thorough
@in_loop
async def test_saving_proposes_a_new_name_and_then_updates_it(open_panel):
    async with open_panel(settings=DEEP, preset="deep") as it:
        await it.press("[", "ctrl+s")
        await it.reads("Save the settings as a new preset", "deep 2")
        await it.press(*"robot", "enter")
        await it.reads("'robot' comes with rtvc; choose another name, such as")
        await it.press(*["backspace"] * 5, *"mine.yaml", "tab", *"My own.", "enter")
        await it.reads("Saved preset 'mine'.")
        path = user_folder() / "mine.yaml"
        assert load_preset(path).settings == DEEP.replace(pitch=-6)
        assert load_preset(path).description == "My own."
        assert origin(it) == ("mine", ())
        path.write_text(f"# The comment stays.\n{path.read_text()}")
        saved = path.read_text()
        await it.press("[", "[")
        await it.until(lambda: origin(it) == ("mine", ("pitch -6 -> -8",)))
        await it.press("ctrl+s")
        await it.reads("Update 'mine': pitch -6 -> -8.", "My own.")
        await it.press("enter")
        await it.reads("Updated 'mine'.")
        assert path.read_text() == saved.replace("pitch: -6", "pitch: -8")
        assert origin(it) == ("mine", ())
        await it.press("p", "u")
        await it.reads("Restored 'mine' as it was before the last update.")
        assert path.read_text() == saved
        await it.until(lambda: origin(it) == ("mine", ("pitch -6 -> -8",)))
        await it.until(lambda: marked(it) == "mine")


@pytest.mark.thorough
@in_loop
async def test_the_description_alone_can_be_changed(open_panel):
    write("mine")
    async with open_panel(settings=START) as it:
        await it.find("mine")
        await it.press("ctrl+s", "tab", *"Another.", "enter")
        text = (user_folder() / "mine.yaml").read_text()
        expected = "# The comment stays.\ndescription: Another.\npitch: 5\n"
        saved_by = f"\n# Saved by rtvc {__version__}.\n"
        assert text == expected + saved_by, "headroom, not the default, is none of its settings"


@pytest.mark.parametrize("size", [(40, 12), pytest.param((80, 24), marks=pytest.mark.thorough)])
@in_loop
async def test_the_dialog_fits(open_panel, size):
    write("mine")
    async with open_panel(settings=START, size=size) as it:
        it.panel.actions.load_preset("mine")
        await it.press("ctrl+s")
        await it.until(lambda: isinstance(it.panel.screen, SavePreset))
        await it.reads("Update 'mine': its description.", "Name", "Description", "Escape cancels")
        fields = it.panel.screen.query(Input)
        assert [field.region.height for field in fields] == [1, 1]
        await it.press(*"a/b", "enter")
        await it.reads("'a/b' cannot be a preset's", "Escape cancels")


@pytest.mark.thorough
@in_loop
async def test_a_rename_keeps_digit_mark_and_origin_and_a_copy_is_marked(open_panel):
    write("mine")
    save_panel_state(PanelState(guided=True, favourites={1: "deep", 9: "mine"}))
    async with open_panel() as it:
        await it.press("9", "]", "p")
        await it.until(lambda: origin(it) == ("mine", ("pitch 5 -> 6",)))
        await mark(it, "mine")
        await it.press("n", *"a villain", "enter")
        await it.reads("Renamed 'mine' to 'a villain'.", "*9 a villain")
        await it.until(lambda: marked(it) == "a villain")
        assert origin(it) == ("a villain", ("pitch 5 -> 6",))
        assert load_panel_state()[0].favourites == {1: "deep", 9: "a villain"}
        await it.press("c", *"z copy", "enter")
        await it.reads("Copied 'a villain' to 'z copy'.")
        await it.until(lambda: marked(it) == "z copy")
        assert (user_folder() / "z copy.yaml").read_text() == MINE
        await it.press("escape", "1")
        assert it.settings.pitch == -5
        await it.press("9")
        assert it.settings.pitch == 5


@pytest.mark.thorough
@in_loop
async def test_the_preset_in_use_is_marked_before_the_next_key(open_panel):
    write("mine")
    save_panel_state(PanelState(guided=True, favourites={1: "deep", 9: "mine"}))
    async with open_panel() as it:
        await it.press("9")
        await it.until(lambda: origin(it) == ("mine", ()))
        await it.pilot.press("p", "n")
        await it.reads("Rename 'mine' to:")
        await it.press("escape")
        await mark(it, "robot")
        await it.press("n")
        await it.reads("'robot' comes with rtvc and cannot be renamed. Press c to copy it.")


@pytest.mark.thorough
@in_loop
async def test_what_was_deleted_is_restored_in_the_next_run_with_its_digit(open_panel):
    write("mine")
    write("mind", "pitch: 7\n")
    save_panel_state(PanelState(guided=True, favourites={3: "mine"}))
    async with open_panel() as it:
        await it.press("p")
        await mark(it, "mine")
        await it.press("x")
        await it.reads("Deleted 'mine'. Press u to restore it.")
        await it.until(lambda: marked(it) != "mine")
        following = sorted(entry.name for entry in it.panel.preset_manager.entries)
        assert marked(it) == next(name for name in following if name > "mine")
    async with open_panel() as it:
        await it.press("p", "u")
        await it.reads("Restored 'mine', which was deleted.", "3 mine My own.")
        await it.until(lambda: marked(it) == "mine")
        assert (user_folder() / "mine.yaml").read_text() == MINE
        await it.passes(1)
        await it.press("u")
        await it.reads("No deleted preset is kept, so nothing can be restored.")


@pytest.mark.thorough
@in_loop
async def test_a_digit_whose_preset_has_gone_says_so_once_and_is_free(open_panel):
    digits = {n: "deep" if n == 1 else f"gone {n}" for n in range(1, 10)}
    save_panel_state(PanelState(guided=True, favourites=digits))
    async with open_panel() as it:
        await it.press("4")
        await it.reads("The preset 'gone 4' no longer exists. Key 4 is free now.")
        await it.press("4")
        await it.reads("Key 4 has no preset.")
        await it.press("p")
        await mark(it, "robot")
        await it.press("f")
        await it.reads("'robot' now has key 2.", "2 robot")
        assert load_panel_state()[0].favourites == (
            {n: name for n, name in digits.items() if n != 4} | {2: "robot"}
        )


@pytest.mark.thorough
@in_loop
async def test_f_and_ctrl_with_a_digit_assign_it_in_any_list(open_panel):
    async with open_panel(size=(110, 30)) as it:
        names = load_panel_state()[0].favourites
        write("mine")
        it.panel.screen.query_one(VoiceList).query_one("OptionList").focus()
        await mark(it, "mine")
        await it.press("f")
        await it.reads("All nine keys are assigned. Which one is")
        await it.press("x", "enter")
        await it.reads("'x' is not a digit from 1 to 9.")
        await it.press("backspace", "7", "enter")
        await it.reads(f"'mine' now has key 7, in place of '{names[7]}'.", "7 mine")
        await it.press("ctrl+2")
        await it.reads(f"'mine' now has key 2, in place of '{names[2]}'.")
        expected = {n: name for n, name in names.items() if n not in (2, 7)} | {2: "mine"}
        assert load_panel_state()[0].favourites == expected
        await it.press("f")
        await it.reads("'mine' no longer has a key.")
        it.panel.screen.query_one(VoiceList).query_one("OptionList").highlighted = 0
        await it.press("f")
        await it.reads("Only presets can have a key.")
        assert 2 not in load_panel_state()[0].favourites
