"""The table of all flags, each with the test that sees what it changes.

It is compared with the parsers, so a new flag fails until it has an entry. The settings are flags
too: `tests/engine/test_setting_effects.py` has a check for each, and `test_main.py` tests that a
flag sets its setting.
"""

from __future__ import annotations

import argparse
import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_main import parsers

TESTS = Path(__file__).parents[1]
EFFECTS, DEVICE_FLAGS = "cli/test_flag_effects.py", "cli/test_device_flags.py"
LIVE, MAIN, CONVERT = "cli/test_live.py", "cli/test_main.py", "cli/test_convert.py"
RECORDING, CALIBRATION = "cli/test_run_recording.py", "calibration/test_calibration.py::TestCommand"
LATENCY, BENCH = "cli/test_latency.py", "cli/test_bench.py"
LIBRARY, SETUP = "library/test_library.py", "library/test_setup.py"
REPORT = "cli/test_report.py"
FLIGHT, CABLE = "live/test_flight_recorder.py", "live/test_cable.py"
CHANNEL, SELF_TEST = "audio/test_input_channel.py", "cli/test_self_test.py"

REMEMBERED = f"{LIVE}::test_a_live_run_converts_and_remembers"
RECORDED = f"{RECORDING}::test_a_finished_recording_is_said_once_and_is_what_was_played"
BOTH = f"{RECORDING}::test_a_kill_leaves_both_recordings_and_the_next_start_says_where"
DEMO = f"{MAIN}::test_the_demonstration_converts_in_real_time"
OWN_VOICE = "tui/test_own_voice.py::test_your_own_voice_is_asked_for_unless_a_flag_says_otherwise"
LAST_MINUTE = f"{EFFECTS}::test_the_last_minute"
PRESETS = f"{MAIN}::test_presets_from_saved_to_checked"
VOICES = f"{LIBRARY}::test_the_commands_print_what_they_did"
REPLAY = f"{FLIGHT}::test_a_replay_is_the_run_bit_for_bit"
DOCTOR_LIVE = f"{LATENCY}::test_the_doctor_runs_live_in_silence"
MEASURED = f"{DEVICE_FLAGS}::test_latency_measures_the_devices_and_the_channel_that_are_asked_for"
FLAGS = {
    "rtvc": {"--version": f"{MAIN}::test_version"},
    "rtvc run": {
        "--input": REMEMBERED,
        "--output": REMEMBERED,
        "--input-channel": f"{CHANNEL}::test_a_channel_is_shown_and_remembered",
        "--compute": f"{SELF_TEST}::test_the_chosen_device_is_remembered_and_used",
        "--monitor": f"{LIVE}::test_a_monitor_is_heard_too_and_remembered",
        "--cable": f"{CABLE}::test_a_run_on_the_cable_and_its_loss",
        "--demo": f"{MAIN}::test_the_demonstration_is_in_the_format_of_its_name",
        "--seconds": DEMO,
        "--no-tui": f"{LIVE}::test_on_a_terminal_one_line_is_redrawn_until_q",
        "--plain": "cli/test_plain.py::test_the_flag_and_what_does_not_go_with_it",
        "--fps": "tui/test_pace.py::test_fewer_frames_a_second_are_fewer_bytes",
        "--stats": DEMO,
        "--force": f"{EFFECTS}::test_fail_open_and_force",
        "--reset": REMEMBERED,
        "--no-save": REMEMBERED,
        "--fail-open": f"{EFFECTS}::test_fail_open_and_force",
        "--no-confirm-dry": OWN_VOICE,
        "--never-dry": OWN_VOICE,
        "--record": BOTH,
        "--record-what": BOTH,
        "--record-folder": RECORDED,
        "--record-name": RECORDED,
        "--save-on-fault": LAST_MINUTE,
        "--no-flight-recorder": LAST_MINUTE,
        "--profile": f"{EFFECTS}::test_the_profile_of_a_run",
        "--preset": f"{MAIN}::test_a_preset_on_the_command_line_is_read_once",
    },
    "rtvc convert": {
        "--rate": f"{CONVERT}::test_rate",
        "--force": f"{CONVERT}::test_nothing_is_overwritten_without_force",
        "--quality": "library/test_open_voice.py::TestConvert"
        "::test_both_qualities_give_aligned_results",
        "--input-channel": f"{EFFECTS}::test_input_channel",
        "--raw": f"{CONVERT}::test_standard_input_and_output",
        "--json": f"{CONVERT}::test_what_became_of_each_file_as_json",
        "--preset": f"{EFFECTS}::test_the_preset_of_convert",
    },
    "rtvc devices": {"--json": f"{LIVE}::test_devices_are_listed_for_people_and_programs"},
    "rtvc cable": {"--remove": f"{CABLE}::test_the_command_makes_and_removes_it"},
    "rtvc presets save": {
        "--description": PRESETS,
        "--remembered": f"{EFFECTS}::test_a_preset_from_the_remembered_run",
        "--force": PRESETS,
        "--preset": f"{EFFECTS}::test_a_preset_from_another",
    },
    "rtvc voices list": {"--json": VOICES},
    "rtvc voices add": {
        "--index": f"{EFFECTS}::test_voices",
        "--name": f"{EFFECTS}::test_several_voices_in_one_archive",
        "--pick": f"{EFFECTS}::test_several_voices_in_one_archive",
        "--force": f"{EFFECTS}::test_voices",
        "--no-level": "library/test_voice_defaults.py::test_a_new_voice_is_levelled",
    },
    "rtvc voices show": {"--json": VOICES},
    "rtvc voices remove": {"--forever": f"{EFFECTS}::test_voices"},
    "rtvc voices restore": {"--name": f"{EFFECTS}::test_voices"},
    "rtvc voices blend": {
        "--ratio": f"{EFFECTS}::test_the_ratio_of_a_blend",
        "--name": f"{EFFECTS}::test_the_ratio_of_a_blend",
        "--force": f"{EFFECTS}::test_the_ratio_of_a_blend",
        "--no-level": "library/test_voice_defaults.py::test_a_new_voice_is_levelled",
    },
    "rtvc setup": {
        "--list": f"{SETUP}::test_setup_reports_invalid_arguments",
        "--from": f"{SETUP}::test_setup_reports_invalid_arguments",
        "--source": f"{SETUP}::test_setup_downloads_once_and_replaces_a_damaged_model",
        "--unverified": f"{EFFECTS}::test_setup",
        "--force": f"{EFFECTS}::test_setup",
    },
    "rtvc bench": {
        "--voice": f"{EFFECTS}::test_the_voices_of_bench",
        "--rate": f"{EFFECTS}::test_the_voices_of_bench",
        "--block": f"{EFFECTS}::test_the_sizes_of_bench",
        "--context": f"{EFFECTS}::test_the_sizes_of_bench",
        "--content": f"{EFFECTS}::test_the_content_of_bench",
        "--steps": f"{EFFECTS}::test_the_sizes_of_bench",
        "--json": f"{BENCH}::test_from_json_to_a_comparison",
        "--compare": f"{BENCH}::test_from_json_to_a_comparison",
        "--quick": f"{REPORT}::test_the_quick_benchmark_is_one_voice",
    },
    "rtvc calibrate": {
        "--voice": f"{CALIBRATION}::test_one_voice_leaves_the_others_as_they_were",
        "--busy": f"{CALIBRATION}::test_one_voice_leaves_the_others_as_they_were",
        "--seconds": f"{EFFECTS}::test_the_seconds_of_calibrate",
        "--profile": f"{CALIBRATION}::test_it_measures_writes_and_is_used",
    },
    "rtvc latency": {
        "--input": MEASURED,
        "--output": MEASURED,
        "--input-channel": MEASURED,
        "--yes": MEASURED,
        "--json": MEASURED,
        "--forget": f"{LATENCY}::test_forget_removes_the_results",
    },
    "rtvc doctor": {
        "--json": f"{MAIN}::test_doctor_checks_everything",
        "--input-channel": f"{DEVICE_FLAGS}::test_the_doctor_uses_the_channel_for_the_seconds",
        "--self-test": f"{SELF_TEST}::test_every_result_is_printed_and_the_verdict_kept",
        "--live": DOCTOR_LIVE,
        "--seconds": f"{DEVICE_FLAGS}::test_the_doctor_uses_the_channel_for_the_seconds",
        "--input": DOCTOR_LIVE,
        "--output": DOCTOR_LIVE,
    },
    "rtvc report": {
        "--yes": f"{REPORT}::test_a_report_of_the_built_in_voice",
        "--seconds": f"{REPORT}::test_a_report_of_the_built_in_voice",
        "--no-devices": f"{REPORT}::test_a_report_of_the_built_in_voice",
        "--no-rvc": f"{REPORT}::test_the_parts_of_a_report",
        "--with-device-names": f"{REPORT}::test_names_of_devices_are_written_only_if_asked",
    },
    "rtvc replay": {"--output": REPLAY, "--force": REPLAY, "--preset": REPLAY},
}


@functools.cache
def source_of(test: str) -> str:
    """Return the text of a test with the constants of its module, "" if there is none."""
    path, *_, name = test.split("::")
    text = (TESTS / path).read_text()
    tree = ast.parse(text)
    found = [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.FunctionDef) and node.name == name)
        or (isinstance(node, ast.Assign) and node in tree.body)
    ]
    return "\n".join(ast.get_source_segment(text, node) or "" for node in found)


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {
        action.option_strings[-1]
        for action in parser._actions
        if action.option_strings
        and action.dest != "help"
        and not action.dest.startswith("setting_")
    }


def test_every_flag_has_an_entry() -> None:
    declared = {typed: flags for typed, parser in parsers() if (flags := flags_of(parser))}
    assert {typed: set(tests) for typed, tests in FLAGS.items()} == declared


def test_the_tests_use_the_flags() -> None:
    for typed, tests in FLAGS.items():
        for flag, test in tests.items():
            assert re.search(rf"[\"']{flag}[\"' ]", source_of(test)), f"{typed} {flag}: {test}"


EVERYTHING = " or ".join(f"{mark} or not {mark}" for mark in ("thorough", "full_size", "soak"))


@pytest.mark.slow
def test_pytest_finds_the_tests() -> None:
    named = {test for tests in FLAGS.values() for test in tests.values()}
    files = sorted({f"tests/{test.split('::')[0]}" for test in named})
    done = subprocess.run(
        # Nothing is left out.
        [sys.executable, "-m", "pytest", "--collect-only", "-m", EVERYTHING, *files],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    collected = {
        line.removeprefix("tests/").partition("[")[0]
        for line in done.stdout.splitlines()
        if "::" in line
    }
    assert named <= collected, sorted(named - collected)
