"""``rtvc run`` and ``rtvc devices`` on real devices: a private sound server."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE

import numpy as np
import pytest

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.config.remembered import load_remembered
from rtvc.live.demo import load_utterance
from tests.cli.test_main import rtvc_command
from tests.support.processes import started
from tests.support.pseudo_terminal import on_terminal
from tests.support.sound_server import HEADPHONES_SINK, SPEAKER_SINK, SoundServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound_server: SoundServer) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)


def test_devices_are_listed_for_people_and_programs():
    rows = json.loads(rtvc_command("devices", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    assert by_name["default"]["default_input"]
    assert by_name["default"]["default_output"]
    assert 48_000 in by_name["fake_mic"]["input_rates"]
    assert 8_000 in by_name["fake_speaker"]["output_rates"]
    text = rtvc_command("devices").stdout
    microphones, speakers = text.split("speakers:")
    for part in (microphones, speakers):
        assert "fake_mic " in part
        assert "ALSA" in part
        assert "any from 8000 to 192000" in part
        assert [line[0] for line in part.splitlines() if " default " in line] == ["*"]


def test_an_unknown_device_is_refused_with_the_known_ones():
    done = rtvc_command("run", "--input", "no such thing", code=2)
    assert "no input named 'no such thing'" in done.stderr
    assert "fake_mic" in done.stderr


def test_a_live_run_converts_and_remembers(sound_server: SoundServer):
    words = ("--input", "fake_mic", "--output", "fake_spe", "--pitch", "6", "--seconds", "2")
    with (
        sound_server.speaking(np.tile(load_utterance(), 2)),
        sound_server.recording(SPEAKER_SINK) as finish,
    ):
        done = rtvc_command(*words, "--stats", "figures.json")
        heard = finish()[0].samples
    assert "Input: 'fake_mic', output: 'fake_speaker'." in done.stderr
    assert np.abs(heard).max() > 0.05
    report = json.loads(Path("figures.json").read_text())
    assert report["devices"] == {"input": "fake_mic", "output": "fake_speaker"}
    assert report["stats"]["blocks"] > 12
    assert report["stats"]["latency"]["device_out"] > 0
    assert not Path("rtvc-demo.wav").exists()

    again = rtvc_command("--seconds", "0.2")
    assert "Input: 'fake_mic', output: 'fake_speaker'." in again.stderr
    assert "Restored: pitch 6 semitones (" in again.stderr
    other = rtvc_command("--seconds", "0.2", "--input", "default", "--formant", "1", "--no-save")
    assert "Input: 'default', output: 'fake_speaker'." in other.stderr
    assert "Restored: pitch 6 semitones (" in rtvc_command("--seconds", "0.2").stderr
    reset = rtvc_command("--seconds", "0.2", "--reset")
    assert "Input: 'default', output: 'default'." in reset.stderr
    assert "preset 'deep'" in reset.stderr
    assert load_remembered()[0].preset == "deep"
    assert "Restored: pitch -5 semitones" in rtvc_command("--seconds", "0.2").stderr


def test_a_remembered_device_that_has_gone_is_waited_for(tmp_path: Path):
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "remembered.yaml"
    file.write_text('input: fake\noutput: fake_speaker\nmonitor: "USB\\ething"\n')
    done = rtvc_command("--seconds", "0.5", "--stats", "figures.json", code=1)
    assert "rtvc: Nothing was converted: no device came in this time. The input" in done.stderr
    assert "Remembered, but missing: The input 'fake' is not connected." in done.stderr
    assert "choose another one with --input. Until then rtvc waits" in done.stderr
    assert "The output 'USB\\x1bthing' is not connected. Connect it, or choose" in done.stderr
    report = json.loads(Path("figures.json").read_text())
    assert report["stats"]["blocks"] == 0
    refused = rtvc_command("doctor", "--live", code=1)
    assert "The input 'fake' is not connected. Connect it, or choose another" in refused.stderr
    assert "input: fake\n" in file.read_text(), "it is still remembered"
    text = rtvc_command("devices").stdout
    assert "Remembered, but missing: The input 'fake' is not connected.\n" in text
    assert "Remembered, but missing: The output 'USB\\x1bthing' is not connected.\n" in text
    [line] = [line for line in text.splitlines() if "remembered output" in line]
    assert " fake_speaker " in line


def test_a_number_is_remembered_as_the_device(tmp_path: Path):
    rows = json.loads(rtvc_command("devices", "--json").stdout)
    number = next(row["index"] for row in rows if row["name"] == "fake_mic")
    rtvc_command("--seconds", "0.2", "--input", str(number), "--output", "SPEAKER")
    text = (tmp_path / "config" / "remembered.yaml").read_text()
    assert "input: fake_mic\ninput_host_api: ALSA\noutput: fake_speaker\n" in text
    rows = json.loads(rtvc_command("devices", "--json").stdout)
    used = {row["name"]: row["remembered"] for row in rows if row["remembered"]}
    assert used == {"fake_mic": ["input"], "fake_speaker": ["output"]}


def test_without_the_remembered_voice_nothing_is_output(sound_server: SoundServer, tmp_path: Path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "remembered.yaml").write_text("voice: anna\npitch: 0\n")
    with (
        sound_server.speaking(np.tile(load_utterance(), 2)),
        sound_server.recording(SPEAKER_SINK) as finish,
    ):
        done = rtvc_command("--seconds", "1", "--stats", "figures.json", code=1)
        heard = finish()[0].samples
    assert not heard.any(), "something was output without a voice"
    assert "Nothing was converted. No voice: There is no voice 'anna'" in done.stderr
    assert "No voice: There is no voice 'anna'" in done.stderr
    report = json.loads(Path("figures.json").read_text())
    assert (report["settings"]["voice"], report["stats"]["state"]) == ("anna", "stopped")
    assert report["stats"]["restart_causes"] == {"no voice": 1}
    asked = rtvc_command("--seconds", "0.2", "--voice", "anna", code=2)
    assert "There is no voice 'anna'" in asked.stderr


@pytest.mark.thorough
def test_a_monitor_is_heard_too_and_remembered(sound_server: SoundServer):
    words = ("--input", "fake_mic", "--output", "fake_speaker", "--monitor", "ears")
    with (
        sound_server.speaking(np.tile(load_utterance(), 2)),
        sound_server.recording(SPEAKER_SINK, HEADPHONES_SINK) as finish,
    ):
        done = rtvc_command(*words, "--seconds", "2", "--stats", "figures.json")
        said, heard = (recording.samples for recording in finish())
    assert "Input: 'fake_mic', output: 'fake_speaker', monitor: 'fake_ears'." in done.stderr
    assert np.abs(heard).max() == pytest.approx(np.abs(said).max(), rel=0.2)
    assert json.loads(Path("figures.json").read_text())["devices"]["monitor"] == "fake_ears"
    assert "monitor: 'fake_ears'" in rtvc_command("--seconds", "0.2").stderr
    assert "'fake_ears'" not in rtvc_command("--seconds", "0.2", "--monitor", "off").stderr
    assert "'fake_ears'" not in rtvc_command("--seconds", "0.2").stderr


def test_a_monitor_that_cannot_be_is_refused():
    done = rtvc_command("run", "--monitor", "no such thing", code=2)
    assert "no output named 'no such thing'" in done.stderr
    both = ("--output", "fake_speaker", "--monitor", "fake_speaker")
    assert "is already the output" in rtvc_command("run", *both, code=2).stderr


@pytest.fixture
def no_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asound.conf").write_text(
        "</usr/share/alsa/alsa.conf>\npcm.!default { type plug slave.pcm nothing }\n"
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    monkeypatch.delenv("PULSE_SERVER")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "client.conf").write_text("autospawn = no\n")
    monkeypatch.setenv("PULSE_CLIENTCONFIG", str(tmp_path / "client.conf"))
    if json.loads(rtvc_command("devices", "--json").stdout):
        pytest.skip("this machine has sound hardware")


def test_without_a_microphone_or_speaker_it_plays_the_utterance(no_devices):
    done = rtvc_command("--seconds", "1")
    assert "No live sound. " in done.stderr
    assert "The output is in rtvc-demo.wav." in done.stdout
    assert Path("rtvc-demo.wav").stat().st_size > 50_000


def test_on_a_terminal_without_devices_the_panel_waits(no_devices):
    save_panel_state(PanelState(guided=True))
    code = "import sys; from rtvc.cli.main import main; sys.exit(main([]))"
    with on_terminal(code) as terminal:
        assert "There is no microphone" in terminal.read_until("NO DEVICE")
        terminal.type("q")
        assert terminal.process.wait(20) == 0
        assert terminal.modes() == terminal.before


def rtvc_started(*words: str):
    return started(
        [sys.executable, "-m", "rtvc", *words], stdout=PIPE, stderr=PIPE, stdin=DEVNULL, text=True
    )


def test_a_sound_server_that_starts_later_is_used(sound_server: SoundServer):
    sound_server.kill()
    words = ["--no-tui", "--stats", "figures.json"]
    code = f"import sys; from rtvc.cli.main import main; sys.exit(main({words}))"
    with on_terminal(code) as terminal:
        seen = terminal.read_until("DEVICE LOST")
        assert "There is no microphone" in seen
        assert "Waiting for it; press Ctrl-C to stop." in seen
        sound_server.start()
        terminal.read_until("CONVERTED")
        terminal.type("q")
        assert terminal.process.wait(5) == 0
    report = json.loads(Path("figures.json").read_text())
    assert report["stats"]["latency"]["device_out"] > 0
    assert report["devices"] == {"input": "default", "output": "default"}


@pytest.mark.parametrize("words", [("devices",), ("--no-tui",)])
def test_a_sound_server_that_hangs_is_told_and_signals_end_the_wait(
    sound_server: SoundServer, words: tuple[str, ...]
):
    os.kill(sound_server.pid, signal.SIGSTOP)
    try:
        with rtvc_started(*words) as process:
            said = ""
            while "Waiting for it; press Ctrl-C to stop." not in said:
                said = process.stderr.readline()
            assert said.startswith("The sound server does not answer.")
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 143
            assert time.monotonic() - began < 1.0
    finally:
        os.kill(sound_server.pid, signal.SIGCONT)


def test_on_a_terminal_one_line_is_redrawn_until_q():
    code = "import sys; from rtvc.cli.main import main; sys.exit(main(['--no-save', '--no-tui']))"
    with on_terminal(code) as terminal:
        seen = terminal.read_until("late 0")
        seen += terminal.read_until("q stops")
        assert seen.count("\n") <= 3, seen
        assert "\r" in seen
        assert "\x1b[K" in seen
        terminal.type("q")
        assert "blocks" in terminal.read_until("underruns")
        assert terminal.process.wait(20) == 0
        assert terminal.modes() == terminal.before


@pytest.mark.parametrize(
    ("words", "shown"), [([], "CHANGED VOICE"), (["--no-tui"], "CONVERTED")], ids=["panel", "line"]
)
def test_while_the_sound_server_hangs_q_ends_it(
    sound_server: SoundServer, words: list[str], shown: str
):
    save_panel_state(PanelState(guided=True))
    code = f"import sys; from rtvc.cli.main import main; sys.exit(main({words}))"
    with on_terminal(code) as terminal:
        terminal.read_until(shown)
        os.kill(sound_server.pid, signal.SIGSTOP)
        try:
            terminal.type("q")
            began = time.monotonic()
            assert terminal.process.wait(10) == 0
            assert time.monotonic() - began < 2.0
        finally:
            os.kill(sound_server.pid, signal.SIGCONT)
        assert terminal.modes() == terminal.before
