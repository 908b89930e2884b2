"""The whole program in a real terminal, with a real sound server."""

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rtvc.audio.loopback import find_signal
from rtvc.config.panel_state import PanelState, load_panel_state, save_panel_state
from rtvc.config.presets import load_preset, user_path
from rtvc.config.remembered import RememberedRun, load_remembered, save_remembered
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.setting_up import install_from_folder
from rtvc.live.devices import SystemDevices
from rtvc.settings import SETTINGS
from tests.engine.rvc.rvc_stack import GOLDEN, INDEX
from tests.engine.speech_measures import harmonic_pitch
from tests.support.patience import measured
from tests.support.sound_server import (
    HEADPHONES_SINK,
    MICROPHONE_SINK,
    RATE,
    SPEAKER_SINK,
    RecordedSound,
    SoundServer,
)
from tests.support.terminal import Terminal
from tests.tui.listening import TONE_HZ, bend, cut, half_way, likeness, moment, vowel

DEVICES = "--input fake_mic --output fake_speaker"


@pytest.fixture
def home(program_home: Path, sound_server: SoundServer):
    save_panel_state(PanelState(guided=True))
    return program_home


@pytest.fixture
def anna(home: Path) -> None:
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    add_voice(FoundVoice(GOLDEN / "voice_v1_f0_40k.pth", INDEX, "anna"))


@contextmanager
def panel(home: Path, flags: str = "", **terminal: Any) -> Iterator[Terminal]:
    """A terminal with the panel in it, whose process is the one in rtvc.pid."""
    made = Terminal(home, **terminal)
    try:
        program = f"sh -c 'echo $$ > rtvc.pid; exec {sys.executable} -m rtvc run {DEVICES} {flags}'"
        made.type(f"{program}; echo code=$?", "Enter")
        state = "UNCHANGED" if "--pitch 0 --formant 0" in flags else "CHANGED VOICE IS LIVE"
        made.reads(state, "fake_mic > fake_speaker", "q quit")
        yield made
    finally:
        made.close()


def leave(terminal: Terminal) -> None:
    terminal.type("q")
    terminal.reads("code=0")
    for trace in ("CHANGED VOICE IS LIVE", "UNCHANGED", "ALSA", "Traceback"):
        assert trace not in terminal.text(), terminal.screen()


class Performance:
    """What is done and when: a key, and the moment from which its sound is steady."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.keyed: dict[str, float] = {}
        self.settled: dict[str, float] = {}

    def act(
        self, name: str, *keys: str, shows: str = "", hides: str = "", steady_s: float = 0.6
    ) -> None:
        assert not shows or shows not in self.terminal.text()
        self.keyed[name] = self.terminal.type(*keys)
        self.terminal.reads(shows, lacks=hides)
        # What is shown is what was asked for; its sound is on the way.
        self.settled[name] = time.monotonic() + steady_s
        time.sleep(steady_s + 0.7)


def typed(name: str, value: str) -> list[str]:
    """The keys that type a value of a setting of the built-in voice."""
    features = {"built-in", "f0", "devices"}
    shown = [
        n for n, setting in SETTINGS.items() if setting.stored and setting.applies_to(features)
    ]
    up = len(shown) - 1 - shown.index(name)
    return ["Escape", "End", *["Up"] * up, "Enter", *["BSpace"] * 8, *value, "Enter"]


@measured
def test_a_performance(home: Path, anna: None, sound_server: SoundServer):
    save_remembered(RememberedRun())  # those of an attempt before are kept
    speakers = [device.name for device in SystemDevices().scan().outputs]
    to_headphones = ["Down"] * (1 + speakers.index("fake_ears"))
    with (
        sound_server.speaking(vowel(120)),
        sound_server.recording(MICROPHONE_SINK, SPEAKER_SINK, HEADPHONES_SINK) as finish,
        panel(home, "--headroom 200 --pitch 0 --formant 0") as terminal,
    ):
        time.sleep(1)  # check_leaks looks back further than the panel takes to start
        show = Performance(terminal)
        show.act("record", "r", shows="REC 00:0")
        show.act("up", *["]"] * 12, shows="Pitch +12 semitones.")
        show.act("robot", "/", *"robot", "Enter", shows="Loaded preset 'robot'.")
        show.act("back", "C-z", shows="110 -> 0 Hz")
        show.act("block", *typed("block", "150"), shows="block 150")
        show.act("muted", "m", shows="MUTED")
        show.act("unmuted", "m", shows="CHANGED VOICE")
        terminal.type("Space")
        terminal.reads("on air?")
        time.sleep(0.6)
        show.act("dry", "Space", shows="YOUR OWN VOICE IS LIVE")
        terminal.resize(40, 12)
        terminal.reads("dB", lacks="peak")
        terminal.resize(80, 24)
        terminal.reads("HEALTH")
        show.act("small", "Space", *["["] * 5, shows="Pitch +7 semitones.")
        for name in ("anna", "world"):  # another voice has another delay
            show.act(name, "/", *name, "Enter", hides=terminal.find(r"LATENCY +\d+ ms"))
        terminal.type("d")
        terminal.reads("SPEAKER", "fake_ears")
        # Devices are opened, and their first blocks converted.
        to_ears = ("Tab", "Home", *to_headphones, "Enter")
        show.act("device", *to_ears, shows="* fake_ears", steady_s=1.5)
        terminal.type("d")
        terminal.reads("HEALTH")
        show.act("stop", "r", shows="Saved the recording to")
        leave(terminal)
        said, speaker, headphones = finish()
    check_pitches(show, speaker, headphones)
    check_times(show, speaker)
    check_devices(show, speaker, headphones)
    check_clicks(show, speaker, headphones)
    check_leaks(show, said, speaker, headphones)
    check_recording(home, speaker, headphones)
    assert load_remembered()[0].settings.pitch == 7
    output = load_remembered()[0].output
    assert output is not None
    assert output.name == "fake_ears"


def check_pitches(show: Performance, speaker: RecordedSound, headphones: RecordedSound) -> None:
    """Each piece sounds as it was asked to."""

    def piece(name: str) -> np.ndarray:
        return cut(headphones if name == "stop" else speaker, show.settled[name], 0.6)

    wanted = {"record": 1.0, "up": 2.0, "back": 2.0, "block": 2.0, "dry": 1.0}
    wanted |= {"robot": 110 / TONE_HZ} | dict.fromkeys(("small", "world", "stop"), 2 ** (7 / 12))
    for name, ratio in wanted.items():
        pitch = float(np.median(harmonic_pitch(piece(name), 80, 500)))
        assert pitch == pytest.approx(ratio * TONE_HZ, rel=0.02), name
    assert np.abs(piece("muted")).max() < 1e-12  # what a filter keeps of the sound before
    assert np.std(piece("anna")) > 0.01


def check_times(show: Performance, speaker: RecordedSound) -> None:
    """Each change is heard after its keys, and no later than shown."""
    for name in ("up", "robot", "back", "muted", "unmuted", "small", "anna", "world"):
        key, settled = show.keyed[name], show.settled[name]
        assert 0 < moment(speaker, key, settled) < settled - key, name


def check_devices(show: Performance, speaker: RecordedSound, headphones: RecordedSound) -> None:
    """The sound moves from one device to the other, and is then nowhere else."""
    start, moved = show.keyed["record"], show.settled["device"]
    assert not cut(headphones, start, show.keyed["device"] - start).any()
    assert not cut(speaker, moved, 60).any()
    assert np.std(cut(headphones, moved, 0.6)) > 0.03
    assert not headphones.samples[-RATE // 20 :].any(), "it keeps playing"


def check_clicks(show: Performance, speaker: RecordedSound, headphones: RecordedSound) -> None:
    """Near a change nothing is sharper than in the steady sound before and after it."""
    names = [name for name in show.keyed if name not in ("record", "device", "stop")]
    before = show.settled["record"]
    for name in names:
        steady = max(bend(speaker, at, 0.6) for at in (before, show.settled[name]))
        key, before = show.keyed[name], show.settled[name]
        assert bend(speaker, key, before - key) < 1.5 * steady, name
    key, moved, steady = show.keyed["device"], show.settled["device"], bend(speaker, before, 0.6)
    assert bend(headphones, key, moved - key) < 1.5 * steady, "device"
    # A fade out begins with a join of two pieces of noise.
    assert bend(speaker, key, moved - key) < 2 * steady, "device"
    assert bend(headphones, show.settled["stop"], 60) < 2 * steady, "quit"


def check_leaks(
    show: Performance, said: RecordedSound, speaker: RecordedSound, headphones: RecordedSound
) -> None:
    """The microphone itself is heard where it was asked for, and nowhere else."""
    assert likeness(speaker, said, show.settled["dry"], 0.6) > 0.9
    end = min(recording.began + len(recording.samples) / RATE for recording in (said, speaker))
    for at in np.arange(show.keyed["record"], end - 0.2, 0.05):
        if not show.keyed["dry"] - 0.1 < at < show.settled["small"]:
            assert likeness(speaker, said, at, 0.1) < 0.4, at - show.keyed["record"]
            assert likeness(headphones, said, at, 0.1) < 0.4, at - show.keyed["record"]


def check_recording(home: Path, speaker: RecordedSound, headphones: RecordedSound) -> None:
    """The file holds what was heard on both devices."""
    newest = max(home.glob("*.wav"), key=lambda file: file.stat().st_mtime)
    recorded, rate = soundfile.read(newest, dtype="float32")
    assert rate == RATE
    for device, piece in ((speaker, recorded[RATE : 2 * RATE]), (headphones, recorded[-RATE:])):
        found = find_signal(device.samples, piece)
        assert found.gain == pytest.approx(1, abs=0.05)


@pytest.mark.thorough
@measured
def test_a_key_is_heard_soon(home: Path, sound_server: SoundServer):
    """From the key in the terminal to the change at the speaker, everything in between counted.

    A key waits for the next block, at most 100 ms here. From there on it takes the way that
    all sound takes: the headroom, 40 ms here, and the device.
    """
    keys = []
    with (
        sound_server.speaking(vowel(60)),
        sound_server.recording(SPEAKER_SINK) as finish,
        panel(home, "--pitch 0 --formant 0 --block 100 --headroom 40") as terminal,
    ):
        terminal.type("Home", "Down")  # the pitch
        time.sleep(1.5)
        for n in range(16):
            # Five semitones up and down, and muted and open, at every place of a block.
            keys.append(terminal.type((">", "<", "m", "m")[n % 4]))
            time.sleep(0.75 + 0.0237 * (n % 8))  # m pressed sooner stays muted
        leave(terminal)
        heard = finish()[0]
    delays = [half_way(heard, key, TONE_HZ) for key in keys]
    assert min(delays) > 0
    # A block and 100 ms; what the terminal and the machine do to a few of them counts apart.
    assert np.quantile(delays, 0.9) < 0.200, np.round(delays, 3)
    assert max(delays) < 0.300, np.round(delays, 3)


@pytest.mark.thorough
def test_garbage_does_not_end_it(home: Path, sound_server: SoundServer):
    with sound_server.speaking(vowel(60)), panel(home) as terminal:
        noise = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
        # As keys these mean what they say: quit, and that the terminal is pasting from here on.
        noise = bytes(byte for byte in noise if byte not in b"q\x03\x1b")
        for garbage in (b"\xff\xfe\x80 \xc3", "ä".encode("latin-1") * 300, noise):
            terminal.paste(garbage, home)
            time.sleep(0.5)
        for _ in range(3):
            terminal.type("Escape")
            time.sleep(0.3)
        terminal.type("-N", "500", "]")
        terminal.reads("Pitch +24 semitones.")
        leave(terminal)


@pytest.mark.thorough
def test_keys_that_come_at_once_wait_for_each_other(home: Path, sound_server: SoundServer):
    with sound_server.speaking(vowel(60)), panel(home) as terminal:
        terminal.type("/", *"robot", "Enter", "C-s", *"mine", "Enter", "p", "m", "p")
        terminal.reads("MUTED", "mine", "HEALTH")
        assert "REC" not in terminal.text()
        leave(terminal)
    assert load_panel_state()[0].theme == "dark"
    assert load_preset(user_path("mine")).settings.pitch_fixed == 110


@pytest.mark.thorough
def test_it_is_stopped_and_continued_again_and_again(home: Path, sound_server: SoundServer):
    with sound_server.speaking(vowel(60)), panel(home) as terminal:
        guard = int(Path("rtvc.pid").read_text())
        child = int(Path(f"/proc/{guard}/task/{guard}/children").read_text())
        threads = len(list(Path(f"/proc/{child}/task").iterdir()))
        for pitch in (-4, -3):
            os.kill(child, signal.SIGSTOP)  # the guard stops with it, and the shell returns
            terminal.reads("Stopped")
            terminal.type("fg", "Enter")
            terminal.reads("q quit", lacks="Stopped")
            terminal.type("]")
            terminal.reads(f"Pitch {pitch} semitones.")
        assert len(list(Path(f"/proc/{child}/task").iterdir())) <= threads + 1
        terminal.type("q")
        while Path("/proc", str(guard)).exists():
            time.sleep(0.05)
        terminal.type("echo over=$?", "Enter")
        terminal.reads("over=0")


def test_signals_that_continue_it_come_at_any_time(home: Path, sound_server: SoundServer):
    with sound_server.speaking(vowel(60)), panel(home) as terminal:
        guard = int(Path("rtvc.pid").read_text())
        child = int(Path(f"/proc/{guard}/task/{guard}/children").read_text())
        threads = len(list(Path(f"/proc/{child}/task").iterdir()))
        for gap in (0.0, 0.001, 0.003, 0.01, 0.03, 0.1):
            for _ in range(8):
                os.kill(child, signal.SIGCONT)
                time.sleep(gap)
        terminal.type("]")
        terminal.reads("q quit", "Pitch -4 semitones.")
        assert len(list(Path(f"/proc/{child}/task").iterdir())) <= threads + 1
        leave(terminal)


def test_it_ends_with_its_terminal(home: Path, sound_server: SoundServer):
    with sound_server.speaking(vowel(60)), sound_server.recording(SPEAKER_SINK) as finish:
        with panel(home) as terminal:
            terminal.type("]", "r")
            terminal.reads("REC 00:01")
            process = Path("/proc", Path("rtvc.pid").read_text().strip())
            closed = time.monotonic()
        while process.exists() and time.monotonic() < closed + 10:
            time.sleep(0.02)
        assert not process.exists(), "it still runs without a terminal"
        gone = time.monotonic()
        time.sleep(1)
        heard = finish()[0]
    after = heard.samples[round((gone + 0.3 - heard.began) * RATE) :]
    assert len(after) > RATE / 20
    assert not after.any()
    # A cut jumps by up to the height of the sound, a fade joins two pieces of noise.
    assert bend(heard, closed, 60) < 2 * bend(heard, closed - 0.5, 0.5), "no fade"
    assert load_remembered()[0].settings.pitch == -4
    assert soundfile.info(home / "rtvc-recording.wav").duration > 0.8


@pytest.mark.thorough
def test_256_colours_are_enough(home: Path):
    with panel(home, term="screen-256color") as terminal:
        colours = terminal.screen(colours=True)
        leave(terminal)
    assert re.search(r"\x1b\[[\d;]*38;5;\d+", colours)
    assert not re.search(r"\x1b\[[\d;]*[34]8;2;", colours), "it needs more colours"


@pytest.mark.thorough
def test_without_colours_everything_is_said(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    with panel(home) as terminal:
        terminal.type("m")
        terminal.reads("MUTED")
        colours = terminal.screen(colours=True)
        leave(terminal)
    shades = {int(number) for number in re.findall(r"[34]8;5;(\d+)", colours)}
    assert shades <= {16, 231, *range(232, 256)}, "not all are grey"
