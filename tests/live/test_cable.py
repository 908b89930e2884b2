"""The virtual cable on the private sound server: made, used, lost, undone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rtvc.cli import main
from rtvc.errors import RtvcError
from rtvc.live import cable
from tests.support.processes import end, start
from tests.support.sound_server import MICROPHONE_SINK, RATE, SPEAKER_SINK, SoundServer

pytestmark = pytest.mark.slow
BEFORE = f"{MICROPHONE_SINK}.monitor"


@pytest.fixture(autouse=True)
def folder(
    sound_server: SoundServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("PULSE_SOURCE", raising=False)
    yield tmp_path
    for line in pactl("list", "short", "modules"):
        if cable.SINK in line:
            pactl("unload-module", line.split()[0])
    pactl("set-default-source", BEFORE)


def pactl(*words: str) -> list[str]:
    return subprocess.check_output(["pactl", *words], text=True).splitlines()


def default_source() -> str:
    lines = pactl("info")
    return next(line.split(": ")[1] for line in lines if line.startswith("Default Source"))


def test_it_removes_exactly_what_it_has_made():
    modules = pactl("list", "short", "modules")
    assert cable.make().startswith("Made the cable")
    assert cable.exists()
    assert cable.make().startswith("The cable 'rtvc_cable' is there.")
    assert cable.remove() == "Removed the cable 'rtvc_cable'."
    assert pactl("list", "short", "modules") == modules
    assert cable.remove() == "There is no cable that rtvc has made."
    pactl("load-module", "module-null-sink", f"sink_name={cable.SINK}")
    cable.make()
    assert cable.remove() == "There is no cable that rtvc has made."
    assert cable.exists(), "it has removed a cable of the user"


def test_the_command_makes_and_removes_it(capsys: pytest.CaptureFixture[str]):
    modules = pactl("list", "short", "modules")
    assert main.main(["cable"]) == 0
    assert capsys.readouterr().out.startswith("Made the cable")
    assert cable.exists()
    assert main.main(["cable", "--remove"]) == 0
    assert capsys.readouterr().out == "Removed the cable 'rtvc_cable'.\n"
    assert pactl("list", "short", "modules") == modules


def test_its_end_is_the_default_microphone_only_while_it_is_used():
    with cable.in_use():
        assert default_source() == cable.MICROPHONE
        assert (os.environ["PULSE_SINK"], os.environ["PULSE_SOURCE"]) == (cable.SINK, BEFORE)
    assert default_source() == BEFORE
    assert "PULSE_SINK" not in os.environ
    assert "PULSE_SOURCE" not in os.environ
    with cable.in_use():
        pactl("set-default-source", f"{SPEAKER_SINK}.monitor")
    assert default_source() == f"{SPEAKER_SINK}.monitor", "it has undone a choice of the user"


def test_after_a_kill_the_microphone_is_repaired(folder: Path):
    cable.make()
    code = "import time; from rtvc.live import cable\nwith cable.in_use(): print(1, flush=True); "
    process = subprocess.Popen([sys.executable, "-c", code + "time.sleep(60)"], stdout=-1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    assert default_source() == cable.MICROPHONE
    process.kill()
    process.wait()
    process.stdout.close()
    assert cable.is_left_behind()
    assert cable.remove() == "Removed the cable 'rtvc_cable'."
    assert default_source() == BEFORE
    assert not (folder / "cable.json").exists()


@pytest.mark.thorough
def test_a_run_on_the_cable_and_its_loss(sound_server: SoundServer, tmp_path: Path):
    cable.make()
    words = ["--cable", "--no-tui", "--seconds", "20", "--preset", "deep", "--stats", "s.json"]
    rng = np.random.default_rng(2)
    noise = (0.1 * rng.standard_normal(20 * RATE)).astype(np.float32)
    with sound_server.speaking(noise), sound_server.recording(cable.SINK, SPEAKER_SINK) as finish:
        process = start(
            [sys.executable, "-m", "rtvc", *words, "--gate", "-90"],
            cwd=tmp_path,
            env=os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 6
            while default_source() != cable.MICROPHONE and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(2.5)  # it starts
            module = json.loads((tmp_path / "cable.json").read_text())["module"]
            into_cable, elsewhere = finish()
            pactl("unload-module", str(module))
            time.sleep(1.5)
            process.send_signal(signal.SIGINT)
            text = process.communicate(timeout=10)[0].decode()
        finally:
            end(process)
    assert np.abs(into_cable.samples).max() > 0.01
    assert np.abs(elsewhere.samples).max() == 0.0, "the monitor or the output is elsewhere"
    assert "The virtual cable is gone, and your call may now hear your real microphone" in text
    report = json.loads((tmp_path / "s.json").read_text())
    assert report["stats"]["restart_causes"] == {"device lost": 1}
    assert default_source() == BEFORE


def test_two_runs_do_not_share_it(monkeypatch: pytest.MonkeyPatch):
    with cable.in_use():
        made = cable._load()
        monkeypatch.setattr(cable, "_load", lambda: cable._Made(made.module, made.source, 1))
        monkeypatch.setattr(cable, "_runs", lambda process: process == 1)
        with pytest.raises(RtvcError, match="process 1"), cable.in_use():
            pass
        with pytest.raises(RtvcError, match="process 1"):
            cable.remove()
        monkeypatch.undo()
