"""The walk of a new user through the whole program, in a real terminal of two sizes."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from rtvc.config.panel_state import load_panel_state
from rtvc.config.presets import load_preset, user_path
from rtvc.config.remembered import load_remembered
from rtvc.library.setting_up import install_from_folder
from rtvc.live.devices import SystemDevices
from tests.engine.rvc.rvc_stack import GOLDEN
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK, SoundServer
from tests.support.terminal import Terminal
from tests.tui.simulated_devices import speech

RTVC = [sys.executable, "-m", "rtvc"]
LIMIT_S = 90.0
"""Time for the words of one step, on a machine that does much else."""
PANIC_S = 0.7
"""Presses of the mute key at shorter intervals are one."""
READ_S = 1.1
"""A key removes a message only after that time."""
DELIBERATE_S = 0.4
"""A second press of the key for your own voice must come later than that."""


class User:
    """What a user types, and reads from the screen."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    def press(self, *keys: str) -> None:
        """Press keys, by their names in tmux, as fast as a user who knows them."""
        for key in keys:
            self.terminal.type(key)
            # Escape and a key at once are that key with Alt.
            time.sleep(0.5 if key == "Escape" else 0.05)

    def press_until(self, key: str, pattern: str) -> None:
        """Press a key until a part of one row matches a regular expression, as in a list."""
        end = time.monotonic() + LIMIT_S
        while not any(re.search(pattern, row) for row in self.terminal.screen().splitlines()):
            assert time.monotonic() < end, f"no row with {pattern!r} in:\n{self.terminal.screen()}"
            self.press(key)
            time.sleep(0.2)

    def see(self, *words: str, lacks: str = "") -> None:
        """Wait until words can be read, and others not any more."""
        self.terminal.reads(*words, lacks=lacks, seconds=LIMIT_S)

    def see_live(self, *words: str, lacks: str = "") -> None:
        """Wait until the changed voice is on air, with words and without others.

        A machine that is too busy says so in place of the state.
        """
        self.terminal.reads_row("CHANGED VOICE IS LIVE|TOO SLOW", seconds=LIMIT_S)
        self.see(*words, lacks=lacks)

    def see_row(self, pattern: str) -> None:
        """Wait until a part of one row matches a regular expression."""
        self.terminal.reads_row(pattern, seconds=LIMIT_S)

    def see_dialog(self, *words: str) -> None:
        """Wait until words can be read in the open dialog."""
        end = time.monotonic() + LIMIT_S
        while not all(word in dialog(self.terminal.screen()) for word in words):
            assert time.monotonic() < end, f"no {words} in:\n{self.terminal.screen()}"
            time.sleep(0.02)

    def answer(self, *words: str, enter: str) -> None:
        """Read a dialog's question, and replace its answer."""
        self.see_dialog(*words)
        self.press("C-u", *enter, "Enter")


def dialog(screen: str) -> str:
    """Return the text in the frame of a dialog without line breaks, "" if none is open."""
    rows = screen.splitlines()
    top = next((row for row in rows if "┏" in row), "")
    if not top:
        return ""
    left, right = top.index("┏"), top.rindex("┓")
    inside = [row[left + 1 : right] for row in rows if row[left : left + 1] == "┃"]
    return " ".join(" ".join(inside).split())


@pytest.fixture
def home(program_home: Path) -> Path:
    """A fresh settings folder, and the base models that `rtvc setup` would download."""
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    return program_home


@contextmanager
def terminal(home: Path, columns: int, rows: int) -> Iterator[User]:
    opened = Terminal(home, columns=columns, rows=rows)
    try:
        yield User(opened)
    finally:
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "rows"), [(80, 24), pytest.param(40, 12, marks=pytest.mark.thorough)]
)
def test_the_walk_of_a_new_user(home: Path, sound_server: SoundServer, columns: int, rows: int):
    with terminal(home, columns, rows) as user:
        with sound_server.speaking(speech(300)):
            start(user)
            see_the_guide(user)
            choose_the_microphone(user)
            set_the_level(user)
            choose_a_preset(user)
            choose_the_speaker(user)
            search(user)
            edit(user)
            save(user)
            update(user)
            rename(user)
            record(user, home)
            mute(user)
            let_the_own_voice_out(user)
            measure(user, sound_server)
        lose_the_microphone(user, sound_server)
        with sound_server.speaking(speech(300)):
            add_a_voice(user)
            leave(user)
            see_all_as_it_was(user)
            leave(user)


def start(user: User) -> None:
    user.terminal.type(f"{' '.join(RTVC)}; echo code=$?", "Enter")


def see_the_guide(user: User) -> None:
    user.see("1 of 5", "Choose your microphone with Enter", "Enter select", "n next")


def choose_the_microphone(user: User) -> None:
    names = [device.name for device in SystemDevices().scan().inputs]
    user.press_until("End", " Hz")
    user.press("Home", *["Down"] * (1 + names.index("fake_mic")), "Enter")
    user.see("2 of 5", lacks="RESTARTING")


def set_the_level(user: User) -> None:
    user.see("Speak as loudly as you are going to", "Enter sets input gain +")
    user.press("Enter")
    user.see("3 of 5", "Set input gain")


def choose_a_preset(user: User) -> None:
    user.press("n")
    user.see("4 of 5", "Put headphones on")
    user.press("Enter")
    user.see("5 of 5", "Load presets with Enter", "androgynous", "n ends the guide")
    user.press("Down", "Enter")
    user.see("Loaded preset 'announcer'.")
    user.press("n")
    user.see_live("q quit", lacks="5 of 5")


def choose_the_speaker(user: User) -> None:
    names = [device.name for device in SystemDevices().scan().outputs]
    user.press("d")
    user.see("MICROPHONE", "* fake_mic", "SPEAKER", "MONITOR", "Tab next")
    user.press("Tab", "Home", *["Down"] * (1 + names.index("fake_speaker")), "Enter")
    user.see_row(r"\* fake_speaker")
    user.press("Escape")
    user.see_live("pitch", lacks="MICROPHONE")


def search(user: User) -> None:
    user.press("/")
    user.see("^g MUTE")
    user.press(*"nothing like it")
    user.see("Nothing matches")
    user.press("C-u", *"robot")
    user.see("A machine", lacks="Nothing matches")
    user.press("Enter")
    user.see("Loaded preset 'robot'.")
    user.press("Escape")
    user.see_row("> voice +world")


def edit(user: User) -> None:
    user.press("Down", "Right", "Right")
    user.see_row(r"> pitch \* +2 semitones")
    user.press("Enter")
    user.answer("Pitch shift in semitones", enter="99")
    user.see_dialog("'pitch' is 99, but must be")
    user.press("C-u", *"-7,5", "Enter")
    user.see_row(r"> pitch \* +-7.5 semitones")


def save(user: User) -> None:
    user.press("C-s")
    user.see_dialog("Save the settings as a new preset.", "robot 2", "Enter saves")
    user.press("C-u", *"mine", "Tab", *"Slow and low.", "Enter")
    user.see("Saved preset 'mine'.")


def update(user: User) -> None:
    user.press("]")
    user.see("Pitch -6.5 semitones.")
    user.press("C-s")
    user.see_dialog("Update 'mine': pitch -7.5 -> -6.5")
    user.press("Enter")
    user.see("Updated 'mine'.")


def rename(user: User) -> None:
    user.press("p")
    user.see("/ search presets", "mine", "Esc back")
    user.press("n")
    user.answer("Rename 'mine' to:", enter="bob")
    user.see("Renamed 'mine' to 'bob'.")
    user.press("Escape")
    user.see("q quit", lacks="/ search presets")


def record(user: User, home: Path) -> None:
    user.press("r")
    user.see("REC 00:02")
    user.press("r")
    user.see("Saved the recording to", lacks="REC 00:")
    assert soundfile.info(home / "rtvc-recording.wav").duration > 1.9


def mute(user: User) -> None:
    user.press("m")
    user.see("MUTED m unmutes", "nothing")
    user.press("Space")
    user.see("The output is muted. Press m to unmute.")
    time.sleep(PANIC_S)
    user.press("m")
    user.see_live(lacks="The output is muted")


def let_the_own_voice_out(user: User) -> None:
    user.press("Space")
    user.see("Your own voice on air? Press space again within 5 s; Escape: no.")
    time.sleep(DELIBERATE_S)
    user.press("Space")
    user.see("YOUR OWN VOICE IS LIVE", "your own voice")
    time.sleep(DELIBERATE_S)
    user.press("Space")
    user.see_live(lacks="on air?")


def measure(user: User, sound_server: SoundServer) -> None:
    user.press("l")
    user.see_dialog("Measure the latency of the devices?", "'fake_mic'", "Enter confirms")
    with sound_server.connected(SPEAKER_SINK, MICROPHONE_SINK):
        user.press("Enter")
        user.see("Measuring the latency")
        user.see("The devices have a latency of")
    time.sleep(READ_S)
    user.press("Escape")
    user.see_live(lacks="The devices have a latency")


def lose_the_microphone(user: User, sound_server: SoundServer) -> None:
    """Lose it and get it back; nothing speaks, which the server would play into the speaker."""
    with sound_server.unplugged(MICROPHONE_SINK):
        user.see("DEVICE LOST d devices", "nothing", "press d to choose another")
    user.see_live(lacks="DEVICE LOST")


def add_a_voice(user: User) -> None:
    """Add an RVC voice in another process; the panel lists it without a restart."""
    checkpoint = GOLDEN / "voice_v1_f0_40k.pth"
    words = [*RTVC, "voices", "add", str(checkpoint), "--name", "anna", "--no-level"]
    added = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert "Added 'anna': RVC v1" in added.stdout
    user.press("/", *"anna")
    user.see_row(r"anna \(voice\) +RVC v1")
    user.press("Enter")
    user.see_row(r"\* +anna \(voice\)")
    user.see_live()
    user.press("Escape")
    user.see_row("> pitch ")
    user.press("Home")
    user.see_row("> voice.* anna")
    user.press("C-s", "C-u", *"stage", "Enter")
    user.see("Saved preset 'stage'.")


def leave(user: User) -> None:
    user.press("q")
    user.see("code=0", lacks="LIVE")
    assert "Traceback" not in user.terminal.text()
    user.press(*"clear", "Enter")
    user.see(lacks="code=0")


def see_all_as_it_was(user: User) -> None:
    assert load_panel_state()[0].guided
    assert load_preset(user_path("bob")).settings.pitch == -6.5
    remembered = load_remembered()[0]
    assert (remembered.preset, remembered.settings.voice) == ("stage", "anna")
    assert remembered.output is not None
    assert remembered.output.name == "fake_speaker"
    start(user)
    user.see_live(lacks="1 of 5")
    user.press("C-s")
    user.see_dialog("Update 'stage'")
    user.press("Escape")
    user.see_row("> voice +.* anna")
    user.press("Down")
    user.see_row(r"> pitch .*-6.5 semitones")
    user.press("/")
    user.see_row(r"\* +anna \(voice\)")
    user.press("Escape")
    user.see(lacks="^g MUTE")
    user.press("p", "/", *"bob")
    user.see_row("bob +Slow and low.")
    user.press("Escape")
    user.see(lacks="^g MUTE")
    user.press("Escape")
    user.see("q quit")
    user.press("d")
    user.see_row(r"\* fake_mic")
    user.press("Escape")
    user.see("q quit")
