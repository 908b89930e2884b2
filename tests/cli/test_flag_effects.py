"""Flags whose effect no other test of their command sees: with and without them.

`test_flag_table.py` has the list of all flags.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rtvc.calibration.conditions import conditions
from rtvc.calibration.timing import Timing
from rtvc.cli import bench, calibrate, main, run_recording
from rtvc.config.calibration_yaml import save_calibration
from rtvc.config.recording_choice import RecordingChoice
from rtvc.config.remembered import RememberedRun, save_remembered
from rtvc.engine.profiling import random_weights
from rtvc.engine.profiling.random_weights import KINDS, random_voice
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.library import installed_voice
from rtvc.library.base_models import installed_model
from rtvc.live import flight_recorder
from rtvc.live.demo import load_utterance
from rtvc.live.flight_recorder import FlightRecorder
from rtvc.settings import Settings
from rtvc.stats import DeviceHealth, State, Stats
from tests.cli.test_main import rtvc_command
from tests.live.test_flight_recorder import fly
from tests.support.file_server import serving
from tests.support.library_files import GOLDEN, V1, V2, make_index, make_zip, variant
from tests.support.material import more
from tests.support.patience import measured
from tests.support.small_networks import small_encoder, small_rmvpe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)


Run = Callable[..., str]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Return the command line in this process; it returns standard output and error."""

    def run(*words: str | Path, code: int = 0) -> str:
        assert main.main([str(word) for word in words]) == code
        told: Any = capfd.readouterr()
        return f"{told.out}{told.err}"

    return run


def talk(name: str, *channels: np.ndarray) -> None:
    soundfile.write(name, np.stack(channels, axis=1), 48_000)


def test_input_channel(run: Run) -> None:
    speech = load_utterance()[24_000:48_000]
    talk("two.wav", speech, speech[::-1])
    talk("second.wav", speech[::-1])
    run("convert", "two.wav", "a.wav", "--input-channel", "2")
    run("convert", "second.wav", "b.wav")
    np.testing.assert_array_equal(soundfile.read("a.wav")[0], soundfile.read("b.wav")[0])


def test_the_preset_of_convert(run: Run) -> None:
    talk("talk.wav", load_utterance()[24_000:36_000])
    Path("mine.yaml").write_text("whisper: true\npitch: 3\n")
    run("convert", "talk.wav", "a.wav", "--preset", "mine.yaml")
    run("convert", "talk.wav", "b.wav", "--whisper", "--pitch", "3")
    np.testing.assert_array_equal(soundfile.read("a.wav")[0], soundfile.read("b.wav")[0])


def test_settings_without_effect_are_named(run: Run) -> None:
    talk("talk.wav", load_utterance()[24_000:36_000])
    told = run("convert", "talk.wav", "a.wav", "--index-rate", "1", "--headroom", "40")
    assert "--index-rate, --headroom have no effect on files with this voice." in told
    assert "no effect" not in run("convert", "talk.wav", "b.wav", "--pitch", "3")
    assert "--morph has no effect" in run("convert", "talk.wav", "c.wav", "--morph", "0.5")
    assert "--morph-to has no effect" in run("convert", "talk.wav", "d.wav", "--morph-to", "deep")
    morph = ("--morph-to", "deep", "--morph", "0.5")
    assert "no effect" not in run("convert", "talk.wav", "e.wav", *morph)


def test_the_last_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_recorder, "_POLL_S", 0.01)
    monkeypatch.setattr(flight_recorder, "_AFTERMATH_S", 0.05)

    def recorder(*flags: str) -> FlightRecorder | None:
        choice = RecordingChoice(folder=str(tmp_path))
        return run_recording.flight_recorder(main.parse(["run", *flags]), choice)

    def saved_after_a_fault(flight: FlightRecorder | None) -> str:
        assert flight is not None
        fly(flight, 0.5, Settings())
        stats = [Stats(state=State.CONVERTED, blocks=5)]
        flight.watch(lambda: stats[0], dict)
        time.sleep(0.1)
        stats[0] = Stats(state=State.CONVERTED, blocks=9, device=DeviceHealth(underruns=2))
        end, message = time.monotonic() + 2, ""
        while not message and time.monotonic() < end:
            time.sleep(0.01)
            message = flight.take_message()
        flight.close()  # saves what is due
        return message or flight.take_message()

    assert recorder("--no-flight-recorder") is None
    assert saved_after_a_fault(recorder()) == ""
    assert not list(tmp_path.glob("rtvc-minute*"))
    assert "with your own voice in it" in saved_after_a_fault(recorder("--save-on-fault"))
    assert list(tmp_path.glob("rtvc-minute*"))


@pytest.mark.thorough
def test_fail_open_and_force() -> None:
    """Without the remembered voice nothing is output; with the flag your own voice is."""
    save_remembered(RememberedRun(settings=Settings(voice="anna")))
    peaks = []
    for flags in ((), ("--fail-open", "--force")):
        words = ("run", "--demo", "demo.wav", "--seconds", "1.2", "--no-save", *flags)
        assert "Nothing was converted." in rtvc_command(*words, code=1).stderr
        peaks.append(np.abs(soundfile.read("demo.wav")[0]).max())
    assert peaks[0] == 0
    assert peaks[1] > 0.05
    rtvc_command("run", "--demo", "demo.wav", "--seconds", "1.2", "--no-save", code=2)


@pytest.mark.thorough
def test_the_profile_of_a_run() -> None:
    save_calibration({"world": Timing(20.0, 0.2, 0.02, 1.2, 1.2, conditions())})
    blocks = []
    for name in ("fast", "quality"):
        words = ("--profile", name, "--stats", f"{name}.json", "--no-save")
        rtvc_command("run", "--demo", f"{name}.wav", "--seconds", "0.2", *words)
        report = json.loads(Path(f"{name}.json").read_text())
        blocks.append(report["stats"]["latency"]["block"])
    assert blocks[0] < blocks[1]


def test_a_preset_from_the_remembered_run(run: Run, tmp_path: Path) -> None:
    save_remembered(RememberedRun(settings=Settings(pitch=5.0)))
    run("presets", "save", "mine", "--remembered", "--formant", "2")
    text = (tmp_path / "config" / "presets" / "mine.yaml").read_text()
    assert "pitch: 5" in text
    assert "formant: 2" in text


def test_a_preset_from_another(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "presets"
    run("presets", "save", "one", "--pitch", "3")
    run("presets", "save", "two", "--preset", "one", "--formant", "2")
    run("presets", "save", "three", "--formant", "2")
    assert "\npitch: 3\n" in (folder / "two.yaml").read_text()
    assert "\npitch: " not in (folder / "three.yaml").read_text()


def test_voices(run: Run, tmp_path: Path) -> None:
    index = make_index(tmp_path / "other.index")
    run("voices", "add", V2, "--name", "Anna")
    assert "40 vectors" not in run("voices", "show", "Anna")
    run("voices", "add", V2, "--name", "Anna", code=2)
    run("voices", "add", V2, "--name", "Anna", "--index", index, "--force")
    assert "40 vectors" in run("voices", "show", "Anna")
    run("voices", "add", GOLDEN / "voice_v2_f0_40k.pth", "--name", "Bert")
    run("voices", "remove", "Anna")
    run("voices", "restore", "Anna", "--name", "Cleo")
    assert installed_voice("Cleo").path.is_file()
    run("voices", "remove", "Cleo", "--forever")
    run("voices", "restore", "Cleo", code=2)


def test_the_ratio_of_a_blend(run: Run) -> None:
    for name, file in (("Anna", V1), ("Bert", variant(Path("twice.safetensors"), V1, 2.0))):
        run("voices", "add", file, "--name", name)
    words = ("voices", "blend", "Anna", "Bert", "--name", "Both")
    run(*words)
    run(*words, "--ratio", "0.25", code=2)
    run(*words, "--ratio", "0.25", "--force")
    one, other, both = (
        read_voice_checkpoint(installed_voice(name).path).weights
        for name in ("Anna", "Bert", "Both")
    )
    name = max(one, key=lambda key: one[key].size)
    expected = 0.75 * one[name].astype(np.float32) + 0.25 * other[name].astype(np.float32)
    np.testing.assert_allclose(both[name].astype(np.float32), expected, atol=1e-2)


def test_setup(run: Run) -> None:
    with serving() as server:
        server.put("/rmvpe.pt", (GOLDEN / "rmvpe_small.pt").read_bytes())
        words = ("setup", "rmvpe", "--source", server.url)
        run(*words, code=1)
        assert installed_model("rmvpe") is None
        run(*words, "--unverified")
        assert installed_model("rmvpe") is not None
        asked = len(server.requests)
        assert "already installed" in run(*words, "--unverified")
        assert len(server.requests) == asked
        run(*words, "--unverified", "--force")
        assert len(server.requests) == asked + 1


@pytest.fixture
def bench_figures(monkeypatch: pytest.MonkeyPatch, run: Run) -> Callable[..., Any]:
    """Return the report of ``rtvc bench`` with small networks of random weights."""

    def small_voice(*kind: Any) -> Any:
        return random_voice(*kind, width=16, initial=64)

    monkeypatch.setattr(random_weights, "random_voice", small_voice)
    monkeypatch.setattr(bench, "_encoder", small_encoder)
    monkeypatch.setattr(bench, "_estimator", small_rmvpe)
    return lambda *words: json.loads(run("bench", *words, "--json"))


@pytest.mark.thorough
def test_the_voices_of_bench(bench_figures: Callable[..., Any]) -> None:
    def measured(*words: str) -> list[str]:
        report = bench_figures("--steps", "1", "--block", "100", "--context", "300", *words)
        return [voice["name"] for voice in report["voices"]]

    assert measured() == list(KINDS)
    assert measured("--rate", "40k") == [kind for kind in KINDS if kind.endswith("40k")]
    assert measured("--voice", "v2-48k") == ["v2-48k"]


@pytest.mark.thorough
@pytest.mark.parametrize("flag", more(["--block", "--context", "--steps"]))
def test_the_sizes_of_bench(bench_figures: Callable[..., Any], flag: str) -> None:
    usual = {"--block": 100, "--context": 300, "--steps": 1}
    other = usual | {flag: 2 * usual[flag]}
    found = []
    for sizes in (usual, other):
        words = [str(word) for pair in sizes.items() for word in pair]
        report = bench_figures("--voice", "v2-40k", *words)
        (voice,) = report["voices"]
        settings = report["settings"]
        found.append((settings["block"], settings["context"], voice["steps"], voice["gflop"]))
    assert found[0][:3] == tuple(usual.values())
    assert found[1][:3] == tuple(other.values())
    assert (found[1][3] > found[0][3]) == (flag != "--steps")


@pytest.mark.thorough
def test_the_content_of_bench(bench_figures: Callable[..., Any]) -> None:
    sizes = ("--voice", "v2-40k", "--block", "100", "--context", "300", "--steps", "1")
    found = {}
    for content in ("window", "running"):
        report = bench_figures(*sizes, "--content", content)
        assert report["settings"]["content"] == content
        found[content] = report["voices"][0]["gflop"]
    assert found["running"] < found["window"]


@pytest.mark.thorough
@measured
def test_the_seconds_of_calibrate(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, taken = calibrate._measured, []

    def timed(*arguments: Any) -> Any:
        began = time.monotonic()
        try:
            return measure(*arguments)
        finally:
            taken.append(time.monotonic() - began)

    monkeypatch.setattr(calibrate, "_measured", timed)
    run("calibrate", "--voice", "world", "--seconds", "1")
    assert taken[0] >= 0.8
    # A slow machine needs several seconds for the fewest rounds.
    longer = round(taken[0]) + 5
    run("calibrate", "--voice", "world", "--seconds", str(longer))
    assert taken[1] >= max(taken[0] + 2, 0.95 * longer)


def test_several_voices_in_one_archive(run: Run, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "two.zip", {"Anna.pth": V2, "Bert.pth": V1})
    assert "2 of 2 voices added" in run("voices", "add", archive)
    run("voices", "add", archive, "--pick", "Anna.pth", "--name", "Cleo")
    assert "RVC v2" in run("voices", "show", "Cleo")
