"""Every flag of every command has a test that sees its effect; the missing ones are here.

The table is compared with the parsers, so a new flag without a test fails. The settings are
flags too: `tests/engine/test_setting_effects.py` has a check for each, and `test_main.py` tests
that a flag sets its setting.
"""

from __future__ import annotations

import argparse
import ast
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rtvc.cli import main, run_recording
from rtvc.config.recording_choice import RecordingChoice
from rtvc.config.remembered import RememberedRun, save_remembered
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.library import installed_voice
from rtvc.library.base_models import installed_model
from rtvc.live.demo import load_utterance
from rtvc.settings import Settings
from tests.cli.test_main import parsers, rtvc_command
from tests.support.file_server import serving
from tests.support.library_files import GOLDEN, V1, V2, make_index, variant

TESTS = Path(__file__).parents[1]
HERE = "cli/test_flag_effects.py"
LIVE, MAIN, CONVERT = "cli/test_live.py", "cli/test_main.py", "cli/test_convert.py"
RECORDING, CALIBRATION = "cli/test_run_recording.py", "calibration/test_calibration.py"
LATENCY, BENCH = "cli/test_latency.py", "cli/test_bench.py"
LIBRARY, SETUP = "library/test_library.py", "library/test_setup.py"
REPORT = "cli/test_report.py"
FLIGHT = "live/test_flight_recorder.py"
CHANNEL, SELF_TEST = "audio/test_input_channel.py", "cli/test_self_test.py"
REMEMBERED = "test_a_live_run_converts_and_remembers"
LOOK_UP = {
    "rtvc": {"--version": (MAIN, "test_version")},
    "rtvc run": {
        "--input": (LIVE, REMEMBERED),
        "--output": (LIVE, REMEMBERED),
        "--input-channel": (CHANNEL, "test_a_channel_is_shown_and_remembered"),
        "--compute": (SELF_TEST, "test_the_chosen_device_is_remembered_and_used"),
        "--monitor": (LIVE, "test_a_monitor_is_heard_too_and_remembered"),
        "--cable": ("live/test_cable.py", "test_a_run_on_the_cable_and_its_loss"),
        "--demo": (MAIN, "test_the_demonstration_is_in_the_format_of_its_name"),
        "--seconds": (MAIN, "test_the_demonstration_converts_in_real_time"),
        "--no-tui": (LIVE, "test_on_a_terminal_one_line_is_redrawn_until_q"),
        "--stats": (MAIN, "test_the_demonstration_converts_in_real_time"),
        "--force": (HERE, "test_fail_open_and_force"),
        "--reset": (LIVE, REMEMBERED),
        "--no-save": (LIVE, REMEMBERED),
        "--fail-open": (HERE, "test_fail_open_and_force"),
        "--record": (RECORDING, "test_a_kill_leaves_both_recordings_and_the_next_start_says_where"),
        "--record-what": (
            RECORDING,
            "test_a_kill_leaves_both_recordings_and_the_next_start_says_where",
        ),
        "--record-folder": (
            RECORDING,
            "test_a_finished_recording_is_said_once_and_is_what_was_played",
        ),
        "--record-name": (
            RECORDING,
            "test_a_finished_recording_is_said_once_and_is_what_was_played",
        ),
        "--save-on-fault": (HERE, "test_the_last_minute"),
        "--no-flight-recorder": (HERE, "test_the_last_minute"),
        "--profile": (CALIBRATION, "test_it_measures_writes_and_is_used"),
        "--preset": (MAIN, "test_a_preset_on_the_command_line_is_read_once"),
    },
    "rtvc convert": {
        "--rate": (CONVERT, "test_rate"),
        "--force": (CONVERT, "test_nothing_is_overwritten_without_force"),
        "--quality": ("library/test_open_voice.py", "test_both_qualities_give_aligned_results"),
        "--input-channel": (HERE, "test_input_channel"),
        "--raw": (CONVERT, "test_standard_input_and_output"),
        "--json": (CONVERT, "test_what_became_of_each_file_as_json"),
        "--preset": (HERE, "test_the_preset_of_convert"),
    },
    "rtvc devices": {"--json": (LIVE, "test_devices_are_listed_for_people_and_programs")},
    "rtvc cable": {"--remove": ("live/test_cable.py", "test_it_removes_exactly_what_it_has_made")},
    "rtvc presets save": {
        "--description": (MAIN, "test_presets_from_saved_to_checked"),
        "--remembered": (HERE, "test_a_preset_from_the_remembered_run"),
        "--force": (MAIN, "test_presets_from_saved_to_checked"),
        "--preset": (MAIN, "test_a_size_between_two_frames_is_rounded_and_reported_once"),
    },
    "rtvc voices list": {"--json": (LIBRARY, "test_the_commands_print_what_they_did")},
    "rtvc voices add": {
        "--index": (HERE, "test_voices"),
        "--name": (LIBRARY, "test_the_commands_print_what_they_did"),
        "--pick": (LIBRARY, "test_the_commands_print_what_they_did"),
        "--force": (HERE, "test_voices"),
    },
    "rtvc voices show": {"--json": (LIBRARY, "test_the_commands_print_what_they_did")},
    "rtvc voices remove": {"--forever": (HERE, "test_voices")},
    "rtvc voices restore": {"--name": (HERE, "test_voices")},
    "rtvc voices blend": {
        "--ratio": (HERE, "test_the_ratio_of_a_blend"),
        "--name": (LIBRARY, "test_the_commands_print_what_they_did"),
        "--force": (LIBRARY, "test_the_commands_print_what_they_did"),
    },
    "rtvc setup": {
        "--list": (SETUP, "test_setup_reports_invalid_arguments"),
        "--from": (SETUP, "test_setup_reports_invalid_arguments"),
        "--source": (
            SETUP,
            "test_setup_downloads_once_and_replaces_a_damaged_model",
        ),
        "--unverified": (HERE, "test_setup"),
        "--force": (HERE, "test_setup"),
    },
    "rtvc bench": {
        "--voice": (BENCH, "test_from_json_to_a_comparison"),
        "--rate": (BENCH, "test_rates_and_kinds_are_told_apart"),
        "--block": (BENCH, "test_from_json_to_a_comparison"),
        "--context": (BENCH, "test_from_json_to_a_comparison"),
        "--steps": (BENCH, "test_from_json_to_a_comparison"),
        "--json": (BENCH, "test_from_json_to_a_comparison"),
        "--compare": (BENCH, "test_from_json_to_a_comparison"),
        "--quick": (REPORT, "test_the_quick_benchmark_is_one_voice"),
    },
    "rtvc calibrate": {
        "--voice": (CALIBRATION, "test_one_voice_leaves_the_others_as_they_were"),
        "--busy": (CALIBRATION, "test_one_voice_leaves_the_others_as_they_were"),
        "--seconds": (CALIBRATION, "test_it_measures_writes_and_is_used"),
        "--profile": (CALIBRATION, "test_it_measures_writes_and_is_used"),
    },
    "rtvc latency": {
        "--input": (LATENCY, "test_nothing_is_played_without_asking"),
        "--output": (LATENCY, "test_nothing_is_played_without_asking"),
        "--input-channel": (CHANNEL, "test_other_channels_are_refused"),
        "--yes": (LATENCY, "test_nothing_is_played_without_asking"),
        "--json": (LATENCY, "test_the_result_is_printed_with_what_is_wrong"),
        "--forget": (LATENCY, "test_forget_removes_the_results"),
    },
    "rtvc doctor": {
        "--json": (MAIN, "test_doctor_checks_everything"),
        "--input-channel": (CHANNEL, "test_other_channels_are_refused"),
        "--self-test": (SELF_TEST, "test_every_result_is_printed_and_the_verdict_kept"),
        "--live": (LATENCY, "test_the_doctor_runs_live_in_silence"),
        "--seconds": (LATENCY, "test_the_doctor_runs_live_in_silence"),
        "--input": (LATENCY, "test_the_doctor_runs_live_in_silence"),
        "--output": (LATENCY, "test_the_doctor_runs_live_in_silence"),
    },
    "rtvc report": {
        "--yes": (REPORT, "test_a_report_of_the_built_in_voice"),
        "--seconds": (REPORT, "test_a_report_of_the_built_in_voice"),
        "--no-devices": (REPORT, "test_a_report_of_the_built_in_voice"),
        "--no-rvc": (REPORT, "test_the_parts_of_a_report"),
        "--with-device-names": (REPORT, "test_names_of_devices_are_written_only_if_asked"),
    },
    "rtvc replay": {
        "--output": (FLIGHT, "test_a_replay_is_the_run_bit_for_bit"),
        "--force": (FLIGHT, "test_a_replay_is_the_run_bit_for_bit"),
        "--preset": (FLIGHT, "test_a_replay_is_the_run_bit_for_bit"),
    },
}


@functools.cache
def source_of(path: str, name: str) -> str:
    """The text of a test, "" if there is none of this name."""
    text = (TESTS / path).read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_source_segment(text, node) or ""
    return ""


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {
        action.option_strings[-1]
        for action in parser._actions
        if action.option_strings
        and action.dest != "help"
        and not action.dest.startswith("setting_")
    }


def test_every_flag_has_a_test_that_uses_it() -> None:
    declared = {typed: flags for typed, parser in parsers() if (flags := flags_of(parser))}
    assert {typed: set(tests) for typed, tests in LOOK_UP.items()} == declared
    for typed, tests in LOOK_UP.items():
        for flag, (path, name) in tests.items():
            # A test that starts no process may use the flag's name without dashes.
            text = source_of(path, name)
            assert flag in text or flag.strip("-") in text, f"{typed} {flag}: {path}::{name}"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))
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


def test_the_last_minute(tmp_path: Path) -> None:
    def recorder(*flags: str) -> Any:
        args = main.parse(["run", *flags])
        return run_recording.flight_recorder(args, RecordingChoice(folder=str(tmp_path)))

    assert recorder("--no-flight-recorder") is None
    assert not recorder()._save_on_fault
    assert recorder("--save-on-fault")._save_on_fault


def test_fail_open_and_force() -> None:
    """Without the remembered voice nothing is output; with the flag your own voice is."""
    save_remembered(RememberedRun(settings=Settings(voice="anna")))
    peaks = []
    for flags in ((), ("--fail-open", "--force")):
        rtvc_command("run", "--demo", "demo.wav", "--seconds", "1.2", "--no-save", *flags)
        peaks.append(np.abs(soundfile.read("demo.wav")[0]).max())
    assert peaks[0] == 0
    assert peaks[1] > 0.05


def test_a_preset_from_the_remembered_run(run: Run, tmp_path: Path) -> None:
    save_remembered(RememberedRun(settings=Settings(pitch=5.0)))
    run("presets", "save", "mine", "--remembered", "--formant", "2")
    text = (tmp_path / "config" / "presets" / "mine.yaml").read_text()
    assert "pitch: 5" in text
    assert "formant: 2" in text


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
    run("voices", "blend", "Anna", "Bert", "--ratio", "0.25", "--name", "Both")
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
