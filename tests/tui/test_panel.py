"""The panel in use: keys and clicks in, the session's settings and sound out."""

import os
import time

import numpy as np
import pytest
import soundfile
from textual import events
from textual.binding import Binding

from rtvc.audio.simulated import Fault
from rtvc.config.panel_state import keys_path, load_keys, load_panel_state
from rtvc.config.presets import load_preset, user_folder
from rtvc.config.remembered import load_remembered
from rtvc.live import flight_recorder
from rtvc.live.devices import DeviceNames
from rtvc.live.flight_recorder import FlightRecorder
from rtvc.settings import SETTINGS, Settings
from rtvc.stats import State
from rtvc.tui.app import Panel
from rtvc.tui.devices_screen import DevicesScreen
from rtvc.tui.dialogs import Confirm, Dialog
from rtvc.tui.first_run_screen import FirstRunScreen
from rtvc.tui.keys import KEY_IDS, chosen_keys
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.presets_screen import PresetsScreen
from rtvc.tui.reserved_keys import reserved_keys
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.voice_list import VoiceList
from tests.support.voices import PlainVoice, finder
from tests.tui.conftest import ROWS, START, in_loop, loudest, save_preset_with_a_mode
from tests.tui.simulated_devices import CABLE, HEADPHONES, SPEAKERS, USB, SimulatedDevices

pytestmark = pytest.mark.slow


@in_loop
async def test_it_starts_converted_and_tells_what_it_does(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.until(lambda: loudest(it.provider.device) > 0.02)
        await it.reads("CHANGED VOICE IS LIVE", "MacBook Pro Microphone >", "peak", "rms")
        await it.reads("block 100", "headroom 200", "HEALTH steady, computing takes", "h figures")
        await it.press("h")
        await it.reads("STEP p50/95/99", "UNDERRUNS 0", "RING", "DRIFT")
        await it.press("h")
        await it.reads("HEALTH steady")
        await it.until(lambda: it.stats.input_f0_hz > 0)
        await it.reads("you", "voice", "Hz")
        latency = round(it.stats.latency.total * 1000)
        await it.reads(f"LATENCY {latency} ms")


@in_loop
async def test_space_and_m_decide_what_is_heard(open_panel):
    async with open_panel() as it:
        await it.own_voice()
        await it.hears(State.DRY)
        await it.reads("YOUR OWN VOICE IS LIVE")
        await it.press("m")
        await it.hears(State.MUTED)
        await it.reads("MUTED")
        await it.passes(0.4)
        since = len(it.provider.device.played)
        await it.passes(0.4)
        assert loudest(it.provider.device, since) == 0
        await it.press("m")
        await it.hears(State.CONVERTED)


@in_loop
async def test_a_preset_with_a_mode_never_opens_the_output(open_panel):
    save_preset_with_a_mode()
    async with open_panel() as it:
        await it.press("m")
        await it.hears(State.MUTED)
        await it.press("1")
        await it.reads("Loaded preset 'old'.", "'mode' is ignored")
        assert (it.settings.pitch, it.settings.mode) == (3, "muted")
        await it.passes(1)
        await it.press("m", "1")
        assert it.settings.mode == "converted"
        await it.press("ctrl+z", "ctrl+y")
        assert it.settings.mode == "converted"
        await it.own_voice()
        await it.hears(State.DRY)
        it.panel.preset_manager.save("new", it.settings)
        assert "mode" not in (user_folder() / "new.yaml").read_text()


@pytest.mark.thorough
@in_loop
async def test_without_its_voice_the_panel_says_which_is_missing(open_panel):
    settings = START.replace(voice="Anna")
    async with open_panel(settings=settings, find_voice=finder()) as it:
        await it.reads("NO VOICE", "There is no voice 'Anna'.")
        it.panel.show_message("Wear headphones.")
        await it.reads("There is no voice 'Anna'.")
        assert loudest(it.provider.device) == 0
        it.controller.apply(it.controller.settings.replace(voice="world"))
        await it.hears(State.CONVERTED)
    async with open_panel(settings=settings, find_voice=finder(), fail_open=True) as it:
        await it.hears(State.DRY)
        await it.reads("YOUR OWN VOICE IS LIVE", "FAIL-OPEN", "Your own voice is output.")


@pytest.mark.thorough
@in_loop
async def test_settings_that_leave_you_as_you_are_are_called_unchanged(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        await it.choose("formant")
        await it.press("backspace")
        await it.hears(State.UNCHANGED)
        await it.reads("(=) UNCHANGED", "Your voice is recognisable")
        await it.press("right_square_bracket", "right_square_bracket")
        await it.hears(State.CONVERTED)


@pytest.mark.thorough
@in_loop
async def test_brackets_shift_the_pitch_that_is_heard(open_panel):
    async with open_panel() as it:
        for _ in range(12):
            await it.press("]")
        assert it.settings.pitch == 12
        await it.until(
            lambda: (
                it.stats.input_f0_hz > 0
                and it.stats.output_f0_hz == pytest.approx(2 * it.stats.input_f0_hz, rel=0.02)
            )
        )
        await it.press("[")
        assert it.settings.pitch == 11
        for _ in range(30):
            await it.press("]")
        assert it.settings.pitch == 24, "it goes to the end of the range"
        assert it.stats.state is State.CONVERTED


@pytest.mark.thorough
@in_loop
async def test_controls_turn_in_fine_and_coarse_steps(open_panel):
    async with open_panel() as it:
        await it.press("down")
        assert it.panel.screen.query_one(SettingsList).setting.name == "pitch"
        await it.press("right")
        assert it.settings.pitch == 1
        await it.press("full_stop", "full_stop", "shift+right")
        assert it.settings.pitch == pytest.approx(1.3)
        await it.press("greater_than_sign", "ctrl+right")
        assert it.settings.pitch == pytest.approx(11.3)
        await it.press("less_than_sign", "comma", "left")
        assert it.settings.pitch == pytest.approx(5.2)
        await it.press("backspace")
        assert it.settings.pitch == 0


@pytest.mark.thorough
@in_loop
async def test_every_setting_has_a_control_that_changes_it(open_panel):
    voice = PlainVoice(features=frozenset({"speakers"}), speakers=3)
    async with open_panel(settings=Settings(), find_voice=finder(world=voice)) as it:
        await it.hears(State.CONVERTED)
        await it.press("a", "home")
        for name, setting in ((name, SETTINGS[name]) for name in ROWS):
            assert it.panel.screen.query_one(SettingsList).setting.name == name
            before = getattr(it.settings, name)
            await it.press("right" if before != setting.high else "left")
            if name != "voice":  # there is one voice only
                assert getattr(it.settings, name) != before, name
            await it.press("backspace")
            assert getattr(it.settings, name) == setting.default
            await it.press("down")


@pytest.mark.thorough
@in_loop
async def test_a_value_is_typed_and_a_wrong_one_refused_in_place(open_panel):
    async with open_panel() as it:
        await it.press("down", "enter")
        await it.reads("pitch: Pitch shift in semitones.", "from -24 to 24 semitones")
        await it.press("backspace", *"99", "enter")
        await it.reads("'pitch' is 99, but must be")
        assert it.settings.pitch == 0
        await it.press("backspace", "backspace", *"-7.5", "enter")
        assert it.settings.pitch == -7.5
        await it.press("enter", *"123", "escape")
        assert it.settings.pitch == -7.5
        await it.press("enter")
        await it.until(lambda: it.panel.screen.focused)
        it.panel.screen.focused.post_message(events.Paste("\x1b[31m\x00€€ rm -rf\n" + "x" * 5000))
        await it.press("enter")
        await it.reads("'pitch' is", "but must be")
        assert it.settings.pitch == -7.5


@pytest.mark.thorough
@in_loop
async def test_a_typed_size_is_rounded_visibly(open_panel):
    async with open_panel() as it:
        controls = it.panel.screen.query_one(SettingsList)
        controls.go_to("block")
        await it.press("enter", *["backspace"] * 4, *"95", "enter")
        await it.reads("'block' is rounded from 95 to 100 ms, a multiple of 10.")
        assert it.settings.block == 100
        await it.press("enter", *["backspace"] * 4, *"25", "enter")
        await it.reads("'block' is rounded from 25 to 20 ms, a multiple of 10.")
        assert it.settings.block == 20


@pytest.mark.thorough
@in_loop
async def test_the_mouse_sets_types_and_chooses(open_panel):
    async with open_panel(size=(120, 40)) as it:
        rows = it.panel.screen.query_one(SettingsList)
        row = ROWS.index("formant")
        await it.hears(State.CONVERTED)
        width = rows.scrollable_content_region.width
        await it.pilot.click(SettingsList, offset=(width - 2, row))
        assert it.settings.formant == 12
        await it.pilot.click(SettingsList, offset=(4, row - 1))
        assert rows.setting.name == "tune_speed"
        await it.pilot.click(SettingsList, offset=(25, row - 1))
        await it.reads("Enter applies")
        await it.press("backspace", "backspace", *"80", "enter")
        assert it.settings.tune_speed == 80
        before = it.settings
        place = it.text().splitlines()[-1].index("^z")
        await it.pilot.click(offset=(place + 4, 39))
        await it.until(lambda: it.settings != before)
        assert it.settings.tune_speed == 50


@pytest.mark.thorough
@in_loop
async def test_undo_and_redo(open_panel):
    async with open_panel() as it:
        await it.press("5")
        changed = it.settings
        assert changed.changed() != START.changed()
        await it.press("m", "ctrl+z")
        assert it.settings == START.replace(mode="muted"), "an undo never opens the output"
        await it.press("ctrl+z")
        await it.reads("There is nothing to undo.")
        await it.press("ctrl+y")
        assert it.settings == changed.replace(mode="muted")
        await it.reads("->")


@pytest.mark.thorough
@in_loop
async def test_a_held_key_is_followed_and_undone_at_once(open_panel):
    async with open_panel() as it:
        await it.press("down", *["right"] * 20)
        assert it.settings.pitch == 20
        await it.press("ctrl+z")
        assert it.settings.pitch == 0
        await it.choose("block")
        await it.press(*["right"] * 15)
        assert it.settings.block == START.block + 150
        await it.until(
            lambda: it.stats.latency.block == pytest.approx(0.25) and not it.stats.loading
        )
        assert it.stats.state is State.CONVERTED


@pytest.mark.thorough
@in_loop
async def test_w_writes_the_last_minute(open_panel, tmp_path):
    async with open_panel(flight=FlightRecorder(tmp_path, seconds=2)) as it:
        await it.until(lambda: it.stats.blocks > 3)
        await it.press("w", "w")  # held down
        await it.reads("The last minute, with your own voice in it, is in")
        (folder,) = tmp_path.glob("rtvc-minute-*")
        assert (folder / "replay.npz").exists()


@in_loop
async def test_a_fault_just_before_the_end_is_saved(open_panel, tmp_path, monkeypatch):
    monkeypatch.setattr(flight_recorder, "_POLL_S", 60.0)
    provider = SimulatedDevices(20, faults=[Fault(4.0, "lost", 0.5)])
    flight = FlightRecorder(tmp_path, save_on_fault=True, seconds=2)
    async with open_panel(provider=provider, flight=flight) as it:
        await it.until(lambda: it.stats.restarts)
    (folder,) = tmp_path.glob("rtvc-minute-*")
    assert '"restarts"' in (folder / "events.json").read_text()


@pytest.mark.thorough
@in_loop
async def test_favourites_and_search_load_presets(open_panel):
    async with open_panel() as it:
        favourites = load_panel_state()[0].favourites
        await it.press("5")
        name = favourites[5]
        assert it.settings == it.panel.preset_manager.find(name).preset.apply_to(START)
        await it.reads(f"Loaded preset '{name}'.", f"*5 {name}")
        await it.find("robo")
        assert it.settings.pitch_fixed > 0
        await it.reads("Loaded preset 'robot'.")
        await it.press("slash", *"zzz", "enter")
        assert it.settings.pitch_fixed > 0
        await it.press("escape", "m")
        await it.hears(State.MUTED)


@pytest.mark.thorough
@in_loop
async def test_r_records_what_is_played(open_panel, tmp_path):
    async with open_panel() as it:
        await it.press("r")
        await it.reads("REC 00:0")
        await it.passes(0.4)
        await it.press(*["r"] * 5)  # held down
        await it.reads("Press r again to stop the recording.")
        await it.until(lambda: (it.controller.recorder.seconds or 0) > 1)
        await it.passes(1)
        await it.press("r")
        await it.reads("Saved the recording to")
        samples, rate = soundfile.read(tmp_path / "rtvc-recording.wav")
        assert rate == 48_000
        assert len(samples) > 48_000
        assert np.abs(samples).max() > 0.02
        assert len(list(tmp_path.glob("rtvc-recording*"))) == 1


@pytest.mark.thorough
@in_loop
async def test_too_slow_is_told_with_its_remedy(open_panel):
    slow = PlainVoice(on_render=lambda n: time.sleep(0.15 if n % 4 == 0 else 0.01))
    settings, find = START.replace(headroom=60), finder(world=slow)
    async with open_panel(settings=settings, find_voice=find, real_time=True) as it:
        await it.reads("TOO SLOW", "late blocks in 10 s.", "programs")
        assert it.stats.late_blocks >= 3


@pytest.mark.thorough
@in_loop
async def test_a_lost_device_is_told_and_comes_back(open_panel):
    provider = SimulatedDevices(20, faults=[Fault(4.0, "lost", 2.0)])
    async with open_panel(provider=provider) as it:
        await it.press("down", "enter")
        await it.hears(State.DEVICE_LOST)
        it.panel.show_message("Wear headphones.")
        await it.press("escape")
        await it.reads("DEVICE LOST", "unplugged", "press d to choose another", "Wear")
        text = " ".join(it.text().split())
        assert text.find("unplugged") < text.find("Wear"), "a message hides the reason"
        await it.hears(State.CONVERTED)
        await it.until(lambda: "DEVICE LOST" not in it.text())


@pytest.mark.thorough
@in_loop
async def test_without_devices_it_says_so_and_takes_one_that_comes(open_panel):
    provider = SimulatedDevices(20)
    provider.outputs.clear()
    async with open_panel(provider=provider) as it:
        await it.reads("NO DEVICE", "There is no output named")
        await it.press("d")
        provider.outputs.append(HEADPHONES)
        await it.reads("External Headphones")
        await it.press("tab", "down", "enter")
        await it.hears(State.CONVERTED)
        assert it.controller.names[1] == HEADPHONES.name


@pytest.mark.thorough
@in_loop
async def test_devices_are_switched_while_it_runs(open_panel):
    async with open_panel() as it:
        await it.press("d")
        await it.reads("USB Microphone", "BlackHole 2ch virtual cable")
        first = it.provider.device
        await it.press("down", "down", "enter")
        await it.until(lambda: it.controller.names == DeviceNames(USB.name, SPEAKERS.name))
        await it.hears(State.CONVERTED)
        await it.press("tab", "down", "down", "down")
        await it.reads("'BlackHole 2ch' is a virtual cable")
        await it.press("enter")
        await it.until(lambda: it.controller.names == DeviceNames(USB.name, CABLE.name))
        await it.hears(State.CONVERTED)
        await it.until(lambda: loudest(it.provider.device) > 0.02)
        assert np.abs(first.played[-48:]).max() < 0.01
        it.provider.inputs.remove(USB)
        await it.until(lambda: "USB Microphone 44100" not in " ".join(it.text().split()))
        await it.press("shift+tab", "home", "down")
        await it.press("tab", "home", "down")
        await it.press("shift+tab", "enter", "tab")
        await it.reads("Wear headphones")
        await it.press("escape")
        await it.reads("VOICE")


@pytest.mark.thorough
@in_loop
async def test_presets_are_saved_renamed_copied_deleted_and_brought_back(open_panel):
    async with open_panel() as it:
        await it.press("]", "]", "ctrl+s", *"mine", "enter")
        mine = user_folder() / "mine.yaml"
        assert load_preset(mine).settings.pitch == 2
        await it.press("ctrl+s", *"third", "enter", "ctrl+s", *"mine", "enter")
        await it.reads("There is a preset 'mine' already")
        await it.press("escape", "p")
        await it.reads("/ search presets")
        await it.find("mine")
        await it.press("n")
        await it.reads("Rename 'mine' to:")
        await it.press(*["backspace"] * 4, *"a/b", "enter")
        await it.reads("cannot be a preset's name")
        await it.press(*["backspace"] * 3, *"other", "enter")
        other = user_folder() / "other.yaml"
        assert other.exists()
        assert not mine.exists()
        await it.find("other")
        await it.press("c", *"other2", "enter")
        assert (user_folder() / "other2.yaml").read_text() == other.read_text()
        await it.find("other2")
        await it.press("x")
        assert not (user_folder() / "other2.yaml").exists()
        await it.press("u")
        assert (user_folder() / "other2.yaml").read_text() == other.read_text()
        await it.find("robot")
        await it.passes(1)
        await it.press("x")
        await it.reads("comes with rtvc and cannot be deleted")


@pytest.mark.thorough
@in_loop
async def test_a_preset_is_previewed_and_loaded(open_panel):
    async with open_panel() as it:
        await it.press("p")
        await it.reads("It would change:")
        await it.press(*["down"] * 4)
        await it.reads("pitch: 0 -> -5 semitones", "formant: 2 -> -2 semitones")
        assert it.settings == START, "a preview changes nothing"
        await it.press("enter")
        assert it.settings.pitch == -5
        await it.reads("Nothing: these settings are in use.")


@pytest.mark.thorough
@in_loop
async def test_a_preset_edited_elsewhere_and_a_broken_one_are_shown(open_panel):
    folder = user_folder()
    folder.mkdir(parents=True)
    (folder / "aaa.yaml").write_text("description: First.\npitch: 3\n")
    async with open_panel() as it:
        await it.press("p")
        await it.reads("pitch: 0 -> 3 semitones")
        (folder / "aaa.yaml").write_text("description: First.\npitch: 33\nptich: 1\n")
        await it.reads("BROKEN", "Line 2: 'pitch' is 33", "Line 3: There is no setting 'ptich'")
        await it.press("enter")
        await it.reads("The preset 'aaa' cannot be loaded.")
        assert it.settings == START
        (folder / "aaa.yaml").write_text("description: First.\npitch: 4\n")
        await it.reads("pitch: 0 -> 4 semitones")
        (folder / "aaa.yaml").unlink()
        await it.until(lambda: "aaa" not in it.text())


@pytest.mark.thorough
@in_loop
async def test_a_favourite_is_given_and_taken_away(open_panel):
    async with open_panel() as it:
        await it.press("p")
        await it.reads("/ search presets", "1 androgynous")
        await it.press("f")
        await it.reads("no longer has a key")
        assert 1 not in load_panel_state()[0].favourites
        await it.find("robot")
        await it.press("ctrl+z", "f")
        assert load_panel_state()[0].favourites[1] == "robot"
        await it.press("1")
        assert it.settings.pitch_fixed > 0


@pytest.mark.thorough
@in_loop
async def test_a_folder_that_cannot_be_written_gives_a_sentence(open_panel, monkeypatch, tmp_path):
    async with open_panel() as it:
        # A file in its place refuses everybody, the administrator too.
        user_folder().parent.mkdir(exist_ok=True)
        user_folder().write_text("")
        await it.press("ctrl+s", *"mine", "enter")
        await it.reads("cannot be written")
        await it.press("escape")
        await it.hears(State.CONVERTED)


@pytest.mark.thorough
@in_loop
async def test_it_fits_every_size(open_panel):
    async with open_panel() as it:
        await it.hears(State.CONVERTED)
        for size in ((40, 12), (200, 50), (20, 5), (1, 1), (40, 12), (80, 24)):
            await it.pilot.resize_terminal(*size)
            await it.passes(0.15)
            if size == (40, 12):
                await it.reads("CHANGED VOICE IS LIVE", "dB", "pitch")
            for key in ("p", "d", "question_mark"):
                await it.press(key)
                await it.passes(0.06)
            await it.press("escape", "escape")
        await it.reads("HEALTH", "quit")


@pytest.mark.thorough
@in_loop
async def test_keys_can_be_chosen(open_panel):
    keys_path().parent.mkdir(parents=True, exist_ok=True)
    keys_path().write_text('mute: "k"\ndry: f2\n')
    async with open_panel() as it:
        await it.press("k")
        await it.hears(State.MUTED)
        await it.press("m")
        await it.passes(0.2)
        assert it.settings.mode == "muted"
        await it.press("f2")
        await it.reads("k MUTE", "The output is muted. Press k to unmute.")
        await it.passes(1)
        await it.press("k", "f2")
        await it.reads("Press f2 again within 5 s")
        await it.press("question_mark")
        await it.reads("k mute at once", "f2 your own voice")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mute: q\n", "'q' is both mute and quit"),
        ('mute: "5"\n', "'5' is both mute and a key of favourites."),
        ("mute: x\n", "'x' is both mute and a key of the presets screen."),
        ("quit: ctrl+k\n", "'ctrl+k' is both quit and a key of text fields."),
        ("dry: escape\n", "'escape' is both dry and a key of "),
        ("mute_typing: k\n", "mute_typing is 'k', which types a character."),
        ("mute: nonsense\n", "'nonsense', which is not a key"),
        ("mite: x\n", "Did you mean 'mute'?"),
        ("pitch: 3\n", "does not belong in this file"),
    ],
)
def test_keys_that_cannot_be_used_have_a_sentence(text, sentence):
    keys_path().parent.mkdir(parents=True, exist_ok=True)
    keys_path().write_text(text)
    chosen, unreadable = load_keys(KEY_IDS)
    keys, clash = chosen_keys(chosen, reserved_keys(Panel))
    assert sentence in unreadable + clash
    assert not keys


@pytest.mark.thorough
@in_loop
async def test_unusable_keys_are_told_and_ignored(open_panel):
    keys_path().parent.mkdir(parents=True, exist_ok=True)
    keys_path().write_text("mute: q\n")
    async with open_panel(size=(140, 30)) as it:
        await it.reads("'q' is both mute and quit")
        await it.press("m")
        await it.hears(State.MUTED)


@pytest.mark.thorough
@in_loop
async def test_themes_are_remembered_and_colour_is_never_alone(open_panel):
    async with open_panel() as it:
        for theme in ("light", "contrast", "dark"):
            await it.press("t")
            await it.reads(f"Theme: {theme}.")
            assert load_panel_state()[0].theme == theme
        await it.press("t")
    async with open_panel() as it:
        assert it.panel.theme == "rtvc-light"


@in_loop
async def test_q_fades_out_and_remembers(open_panel):
    async with open_panel() as it:
        await it.press("]", "]", "]")
        await it.until(lambda: loudest(it.provider.device) > 0.02)
        with it.clock.passing():
            await it.press("q")
        await it.until(lambda: not it.panel.is_running or it.panel.return_code == 0)
        assert np.abs(it.provider.device.played[-48:]).max() < 0.01
        assert it.panel.return_code == 0
    assert load_remembered()[0].settings == START.replace(pitch=3)


@pytest.mark.thorough
@in_loop
async def test_damaged_memory_is_told_and_the_panel_opens(open_panel, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "panel.yaml").write_text("theme: [")
    async with open_panel(size=(140, 30), guided=False) as it:
        await it.reads("panel.yaml")
        assert it.stats.state in (State.STARTING, State.CONVERTED)


@pytest.mark.thorough
@in_loop
async def test_the_first_run_guides_and_is_remembered(open_panel):
    async with open_panel(guided=False) as it:
        await it.reads("FIRST STEPS, 1 of 5", "Choose your microphone", "USB Microphone")
        await it.press("down", "down", "enter")
        await it.reads("2 of 5")
        await it.until(lambda: it.controller.names[0] == USB.name)
        await it.reads("Enter sets input gain +")
        await it.press("enter")
        heard = it.provider.source[: round(it.provider.device.now() * 48_000)]
        loudest_db = 20 * np.log10(np.abs(heard).max())
        assert -9.5 - loudest_db <= it.settings.input_gain < 12
        assert -90 <= it.settings.gate <= -35
        await it.reads("3 of 5", "External Headphones")
        await it.press("down", "down", "enter")
        await it.until(lambda: it.controller.names[1] == HEADPHONES.name)
        await it.reads("4 of 5")
        await it.press("b")
        await it.reads("3 of 5")
        await it.press("n")
        await it.reads("4 of 5")
        await it.hears(State.CONVERTED)
        await it.own_voice()
        await it.hears(State.DRY)
        await it.press("space", "enter")
        await it.reads("5 of 5", "robot")
        await it.press("down", "enter")
        await it.reads("Loaded preset")
        await it.press("n")
        await it.reads("HEALTH")
    async with open_panel() as it:
        assert "FIRST STEPS" not in it.text()
        await it.press("g")
        await it.reads("FIRST STEPS")
        await it.press("escape")
        await it.reads("HEALTH")


@pytest.mark.thorough
@in_loop
async def test_the_guide_can_be_skipped(open_panel):
    async with open_panel(guided=False) as it:
        await it.press("escape")
        await it.reads("HEALTH")
        assert load_panel_state()[0].guided
        assert it.settings == START


def test_the_panel_loads_nothing_below_the_session():
    import pkgutil
    import subprocess
    import sys
    from pathlib import Path

    import rtvc.tui

    names = [f"rtvc.tui.{module.name}" for module in pkgutil.iter_modules(rtvc.tui.__path__)]
    assert len(names) > 10
    code = (
        f"import sys\nimport {', '.join(names)}\n"
        "heavy = ('mlx', 'sounddevice', 'rtmixer', 'numpy', 'rtvc.engine', 'rtvc.audio')\n"
        "print([name for name in sys.modules for h in heavy if (name + '.').startswith(h + '.')])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "[]\n"


def test_every_binding_has_an_action():
    widgets = (Panel, MainScreen, PresetsScreen, DevicesScreen, FirstRunScreen)
    for kind in (*widgets, SettingsList, VoiceList, Dialog, Confirm):
        for binding in kind.BINDINGS:
            assert isinstance(binding, Binding)
            owner, _, name = binding.action.partition("(")[0].rpartition(".")
            assert hasattr(Panel if owner == "app" else kind, f"action_{name}"), binding
