"""What may go wrong around a performer: a sentence at most, and the voice continues."""

import os
import random
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from textual import events

from rtvc.config.panel_state import PanelState, load_panel_state, save_panel_state
from rtvc.config.presets import user_folder
from rtvc.config.remembered import load_remembered
from rtvc.settings import SETTINGS
from rtvc.stats import State
from tests.support.unprivileged import unprivileged
from tests.tui.conftest import START, in_loop
from tests.tui.simulated_devices import HEADPHONES, SPEAKERS, SimulatedDevices

pytestmark = pytest.mark.slow

OPEN = {
    "main": (),
    "search": ("slash",),
    "value": ("home", "down", "enter"),
    "save": ("ctrl+s",),
    "presets": ("p",),
    "copy": ("p", "c"),
    "devices": ("d",),
    "help": ("question_mark",),
    "guide": ("g",),
}
"""The keys that open everything that can be open."""

GARBAGE = (
    "\x1b[31m\x1b]0;title\x07 rm -rf ~\r\n\x00\x08\x7f",
    "[bold]$not markup[/]{}%s\\",
    "\N{ARABIC LETTER ALEF}\u202e\u200d\N{PILE OF POO}\ufffd\N{COMBINING ACUTE ACCENT}" * 40,
    "x" * 20_000,
    "../../../etc/passwd",
    "1e999",
)

STORM = pytest.mark.parametrize(
    "length", [1, pytest.param(5, marks=pytest.mark.soak)], ids=["short", "long"]
)
"""How long keys rain: five times as long with ``make soak``."""


async def back(it) -> None:
    """Close whatever is open."""
    await it.press("escape", "escape", "escape")
    await it.until(lambda: len(it.panel.screen_stack) == 2)
    await it.press("home")


@pytest.mark.thorough
@in_loop
async def test_resizing_with_anything_open(open_panel):
    async with open_panel(provider=SimulatedDevices(120)) as it:
        for keys in OPEN.values():
            await it.press(*keys)
            for size in ((40, 12), (10, 3), (200, 50), (80, 24)):
                await it.pilot.resize_terminal(*size)
                await it.passes(0.1)
            await back(it)
            await it.reads("CHANGED VOICE IS LIVE", "HEALTH")
        assert it.settings == START


@pytest.mark.thorough
@STORM
@in_loop
async def test_garbage_pasted_into_anything(open_panel, length):
    async with open_panel(provider=SimulatedDevices(120)) as it:
        for number, (name, keys) in enumerate(OPEN.items()):
            # Half of it each, and all of it in the long version.
            for garbage in GARBAGE if length > 1 else GARBAGE[number % 2 :: 2]:
                await it.press(*keys)
                it.panel.post_message(events.Paste(garbage))
                await it.passes(0.05)
                await it.press("enter" if name != "guide" else "escape")
                await back(it)
        assert it.stats.state is State.CONVERTED
        assert [file.name for file in user_folder().iterdir()] == ["1e999.yaml"]
        assert it.settings == START


@pytest.mark.thorough
@STORM
@in_loop
async def test_keys_that_are_held_down(open_panel, tmp_path, length):
    async with open_panel(provider=SimulatedDevices(120)) as it:
        await it.press(*["]"] * 40 * length)
        assert it.settings.pitch == 24
        await it.press("home", "down", *["left"] * 60 * length)
        assert it.settings.pitch == -24
        await it.press(*["ctrl+z"] * 12 * length, *["ctrl+y"] * 12 * length)
        await it.press(*["1", "2"] * 6 * length, "space")
        await it.passes(0.5)
        for _ in range(12 * length):
            await it.press("space")
        await it.hears(State.DRY)
        await it.passes(0.5)
        await it.press("space")
        for key in ("p", "d", "g", "t", "slash", "enter", "question_mark", "ctrl+s", "tab", "x"):
            await it.press(*[key] * 6 * length)
            await back(it)
        await it.hears(State.CONVERTED)
        assert it.stats.failed_steps == 0


@pytest.mark.thorough
@STORM
@in_loop
async def test_a_cat_on_the_keyboard(open_panel, length):
    rng = random.Random(4)
    keys = [*"abcdefghijklmnoprstuvwxyz0123456789 []/?<>,.", "enter", "escape", "tab", "up"]
    keys += ["down", "left", "right", "home", "end", "pageup", "backspace", "delete", "ctrl+z"]
    keys += ["ctrl+y", "ctrl+s", "shift+tab", "shift+left", "ctrl+right", "f1", "ctrl+p"]
    async with open_panel(provider=SimulatedDevices(120)) as it:
        for _ in range(12 * length):
            await it.press(*rng.choices(keys, k=10))
        await back(it)
        await it.reads("HEALTH")
        assert it.stats.failed_steps == 0


@pytest.mark.thorough
@in_loop
async def test_unplugging_with_anything_open(open_panel):
    async with open_panel(provider=SimulatedDevices(120)) as it:
        for keys in OPEN.values():
            await it.hears(State.CONVERTED)
            await it.press(*keys)
            it.provider.unplug(0.8)
            await it.hears(State.DEVICE_LOST)
            await back(it)
            await it.reads("DEVICE LOST", "unplugged")
            await it.hears(State.CONVERTED)
            await it.until(lambda: "DEVICE LOST" not in it.text())


@pytest.mark.thorough
@in_loop
async def test_an_unplugged_device_is_replaced_by_another(open_panel):
    async with open_panel(provider=SimulatedDevices(120)) as it:
        await it.reads("CHANGED VOICE IS LIVE", "ms latency")
        await it.press("d")
        await it.reads("External Headphones")
        it.provider.outputs.remove(SPEAKERS)
        it.provider.unplug(60)
        await it.hears(State.DEVICE_LOST)
        await it.reads("unplugged", "press d to choose another")
        await it.until(lambda: "MacBook Pro Speakers 48000 Hz" not in " ".join(it.text().split()))
        await it.press("tab", "home", "enter")  # the system's choice, and there is none
        await it.reads("DEVICE LOST", "There is no output named")
        await it.press("down", "enter")
        await it.until(lambda: it.controller.names[1] == HEADPHONES.name)
        await it.hears(State.CONVERTED)


@pytest.fixture
def common_folder(monkeypatch):
    """A configuration folder in a place that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setenv("RTVC_CONFIG_DIR", folder)
        monkeypatch.setenv("RTVC_HOME", f"{folder}/home")
        yield Path(folder)


@pytest.mark.thorough
@in_loop
async def test_a_preset_folder_that_is_read_only(open_panel, common_folder):
    presets = user_folder()
    presets.mkdir()
    (presets / "aaa.yaml").write_text("pitch: 3\n")
    (presets / "secret.yaml").write_text("pitch: 4\n")
    async with open_panel(provider=SimulatedDevices(120)) as it:
        await it.press("p")
        await it.find("aaa")
        presets.chmod(0o555)
        with unprivileged():
            await it.press("ctrl+s", *"mine", "enter")
            await it.reads("mine.yaml cannot be written", "Permission denied")
            await it.press("escape", "n", "x", "enter")
            await it.reads("'aaa' cannot be renamed", "denied.")
            await it.press("escape", "c", "x", "enter")
            await it.reads("x.yaml cannot be written", "denied.")
            await it.press("escape", "x")
            await it.reads("'aaa' cannot be deleted", "denied.")
        (presets / "secret.yaml").chmod(0)
        os.utime(presets / "secret.yaml", (1, 1))
        with unprivileged():
            await it.find("secret")
            await it.reads("It cannot be loaded", "cannot be read", "denied")
        presets.chmod(0)
        with unprivileged():
            await it.until(lambda: "secret" not in it.text())
        presets.chmod(0o755)
        await it.reads("secret")
        await it.hears(State.CONVERTED)
    assert sorted(file.name for file in presets.iterdir()) == ["aaa.yaml", "secret.yaml"]


@in_loop
async def test_a_preset_folder_that_cannot_be_read_for_a_while(open_panel, common_folder):
    presets = user_folder()
    presets.mkdir()
    (presets / "mine.yaml").write_text("pitch: 3\n")
    common_folder.chmod(0o777)
    digits = dict(enumerate(("mine", *"abcdefgh"), 1))
    save_panel_state(PanelState(guided=True, favourites=digits))
    problem = f"Cannot read the folder {presets}: Permission denied."
    async with open_panel(provider=SimulatedDevices(120), size=(110, 30)) as it:
        presets.chmod(0)
        with unprivileged():
            await it.reads(problem)
            await it.passes(1.5)
            await it.press("p")
            await it.until(lambda: not it.panel._shown_messages(it.clock()))
            await it.reads(problem)
            await it.press("1")
            assert it.panel._shown_messages(it.clock())[0].text == problem
            it.panel.actions.assign_favourite(2, "deep")
            await it.press("escape")
            await it.find("robot")
            await it.press("f")
            await it.reads("All nine keys are assigned.")
            await it.press("escape")
        presets.chmod(0o755)
        await it.passes(1.5)
        await it.press("1")
        await it.reads("Loaded preset 'mine'.")
        assert it.settings.pitch == 3
    assert load_panel_state()[0].favourites == digits | {2: "deep"}


@in_loop
async def test_no_preset_sends_control_characters_to_the_terminal(open_panel):
    folder = user_folder()
    folder.mkdir(parents=True)
    sequence = r"\e[31mred\e]0;title\a\x9b31m\uDC80"
    for name in ("aa", "ab\x1b[31m"):
        text = f'description: "{sequence}"\npitch: 4\nmorph_to: "{sequence}"\n'
        (folder / f"{name}.yaml").write_text(text)
    (folder / "ac.yaml").write_text(f'description: "{sequence}"\nvoice: "a{sequence}"\n')
    Path(os.fsdecode(bytes(folder) + b"/ad\xff.yaml")).write_text(f'pitch: "{sequence}"\n')
    shown = set()
    async with open_panel(provider=SimulatedDevices(120), size=(160, 40)) as it:

        async def look(*keys: str) -> None:
            await it.press(*keys)
            await it.passes(0.7)
            shown.update(it.text())

        await look("p")
        for name in "abcd":
            await it.find(f"a{name}")
            for keys in (("ctrl+s",), ("n",), ("c",), ("ctrl+l",)):
                await look(*keys)
                await look("escape")
        await look("escape")
        await it.find("aa")
        await look("escape")
        await it.choose("morph_to")
        await look()
        await look("ctrl+p", *"load", "space", "a")
        await it.reads("Load the preset ab\\x1b[31m")
    assert {character for character in shown if not character.isprintable()} == {"\n"}


@pytest.mark.thorough
@in_loop
async def test_presets_that_are_no_presets(open_panel):
    folder = user_folder()
    folder.mkdir(parents=True)
    (folder / "a1.yaml").write_bytes(b"\xff\xfe\x00garbage\x80")
    (folder / "a2.yaml").mkdir()
    (folder / "a3.yaml").symlink_to("a3.yaml")
    (folder / "a4.yaml").symlink_to("/dev/zero")
    (folder / "a5.yaml").write_text("[" * 100_000)
    (folder / "a6.yaml").write_text("")
    os.mkfifo(folder / "a7.yaml")
    (folder / "a8.yaml").write_text("voice: gone\n")
    save_panel_state(PanelState(guided=True, favourites={1: "a1", 2: "nowhere"}))
    async with open_panel(provider=SimulatedDevices(120), size=(160, 40)) as it:
        await it.press("1")
        await it.reads("The preset 'a1' cannot be loaded. Line 1: This is not UTF-8 text")
        await it.press("2")
        await it.reads("The preset 'nowhere' no longer exists.")
        await it.press("p")
        await it.reads("a5 BROKEN", "a6 BROKEN")
        assert "a2" not in it.text()
        await it.find("a8")
        await it.until(lambda: "There is no voice 'gone'" in it.stats.reason)
        await it.hears(State.CONVERTED)


@pytest.mark.thorough
@in_loop
async def test_a_recording_that_cannot_be_made(open_panel, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    async with open_panel(provider=SimulatedDevices(120)) as it:
        (tmp_path / "here").rmdir()
        await it.press("r")
        await it.reads("The operation failed: No such file or directory.")
        assert "REC" not in it.text()
        monkeypatch.chdir(tmp_path)


@pytest.mark.thorough
@in_loop
async def test_a_voice_file_that_vanishes(open_panel, anna):
    async with open_panel(
        provider=SimulatedDevices(120), settings=START.replace(headroom=400)
    ) as it:
        await it.press("slash", *"anna")
        await it.reads("anna (voice)")
        away = anna.folder.with_name("away")
        anna.folder.rename(away)
        await it.press("enter")
        await it.until(lambda: "There is no voice 'anna'" in it.stats.reason)
        await it.hears(State.CONVERTED)
        away.rename(anna.folder)
        await it.find("world")
        own = it.stats.latency.lookahead
        await it.find("anna")
        await it.until(lambda: it.stats.latency.lookahead != own, 30)
        shutil.rmtree(anna.folder)
        it.panel.actions.change(SETTINGS["block"], 200.0)
        await it.until(lambda: "There is no voice 'anna'" in it.stats.reason)
        assert it.stats.latency.lookahead != own
        await it.hears(State.CONVERTED)
        it.panel.actions.change(SETTINGS["voice"], "world")
        await it.until(lambda: it.stats.latency.lookahead == own and not it.stats.reason)


@pytest.mark.thorough
@in_loop
async def test_a_hang_up_fades_out_and_remembers(open_panel):
    async with open_panel(provider=SimulatedDevices(120)) as it:
        await it.press("]", "r")
        await it.reads("REC 00:01")
        os.kill(os.getpid(), signal.SIGHUP)
        with it.clock.passing():
            await it.until(lambda: it.panel.return_code == 128 + signal.SIGHUP)
    assert load_remembered()[0].settings.pitch == 1
    assert Path("rtvc-recording.wav").exists()
