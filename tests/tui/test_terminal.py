"""The whole program in a real terminal, with a real sound server."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.config import load_choices
from rtvc.panel_file import Memory, save_memory
from tests.engine.speech_measures import harmonic_pitch
from tests.sound_server import RATE, SPEAKER_SINK, SoundServer

ROOT = Path(__file__).parent.parent.parent
TONE_HZ = 150.0


class Terminal:
    """A shell in tmux, on a server of its own."""

    def __init__(self, folder: Path, columns: int = 80, rows: int = 24) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull]
        size = ["-x", str(columns), "-y", str(rows)]
        self._run("new-session", "-d", *size, "exec sh")

    def _run(self, *words: str) -> str:
        command = [*self._tmux, *words]
        # Readline puts the size of its own terminal into a process's environment.
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=dict(os.environ)
        )
        return done.stdout

    def type(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def text(self) -> str:
        return " ".join(self._run("capture-pane", "-p").split())

    def reads(self, *words: str, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not all(word in self.text() for word in words):
            assert time.monotonic() < end, self._run("capture-pane", "-p")
            time.sleep(0.05)

    def resize(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(tmp_path, monkeypatch, sound_server: SoundServer):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("TMUX", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    save_memory(Memory(guided=True))
    made = Terminal(tmp_path)
    yield made
    made.close()


def vowel(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * TONE_HZ * k * t) / k for k in range(1, 12))
    return (0.1 * tone).astype(np.float32)


def around(heard: np.ndarray, second: float, length: float = 0.6) -> np.ndarray:
    return heard[round(second * RATE) : round((second + length) * RATE)]


def test_a_performance(terminal: Terminal, sound_server: SoundServer, tmp_path: Path):
    flags = "--input fake_mic --output fake_speaker --headroom 200 --pitch 0 --formant 0"
    times = {}
    (tmp_path / "rtvc-recording.wav").unlink(missing_ok=True)
    with (
        sound_server.speaking(vowel(60)),
        sound_server.recording(SPEAKER_SINK) as finish,
    ):
        terminal.type(f"{sys.executable} -m rtvc run {flags}; echo code=$?", "Enter")
        terminal.reads("CONVERTED", "fake_mic > fake_speaker", "q quit")
        terminal.type("r")
        terminal.reads("REC 00:0")

        def act(name: str, *keys: str, shows: str) -> None:
            terminal.type(*keys)
            terminal.reads(shows)
            times[name] = time.monotonic() + 0.6
            time.sleep(1.4)

        act("up", *["]"] * 12, shows="Pitch +12 semitones.")
        act("muted", "m", shows="MUTED")
        act("dry", "m", "Space", shows="DRY")
        act("small", "Space", *["["] * 5, shows="Pitch +7 semitones.")
        terminal.resize(40, 12)
        terminal.reads("peak")
        terminal.resize(80, 24)
        terminal.reads("STEP")
        terminal.type("r")
        terminal.reads("Recorded")
        terminal.type("d")
        terminal.reads("SPEAKER", "fake_cable")
        terminal.type("d")
        terminal.reads("STEP")
        terminal.type("q")
        terminal.reads("code=0")
        heard = finish()[0]
    assert "CONVERTED" not in terminal.text(), "the picture has not gone"
    assert "ALSA" not in terminal.text()
    assert "Traceback" not in terminal.text()

    def piece(name: str) -> np.ndarray:
        return around(heard.samples, times[name] - heard.began)

    def pitch(name: str) -> float:
        return float(np.median(harmonic_pitch(piece(name), 80, 500)))

    assert pitch("up") == pytest.approx(2 * TONE_HZ, rel=0.02)
    assert np.abs(piece("muted")).max() == 0
    assert pitch("dry") == pytest.approx(TONE_HZ, rel=0.01)
    wanted = TONE_HZ * 2 ** (7 / 12)
    assert pitch("small") == pytest.approx(wanted, rel=0.02)
    assert np.abs(heard.samples[-RATE // 20 :]).max() < 0.01
    recorded, rate = soundfile.read(tmp_path / "rtvc-recording.wav")
    assert rate == RATE
    assert len(recorded) > 5 * RATE
    assert load_choices()[0].settings.pitch == 7
