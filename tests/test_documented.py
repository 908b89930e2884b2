"""What the pages name exists in the code, and what users can set is on a page."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import re
import shlex
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from textual.binding import Binding

from rtvc.calibration.profiles import DEFAULT_PROFILE, PROFILES
from rtvc.cli import main
from rtvc.live.commands import HELP
from rtvc.live.health import Health
from rtvc.settings import SETTINGS, Settings, grouped_settings
from rtvc.stats import Latency, Stats
from rtvc.tui.devices_screen import DevicesScreen
from rtvc.tui.keys import KEYS, bindings, key_name
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.voice_list import VoiceList
from tests.cli.test_main import parsers
from tests.live.test_announcer import Typist

ROOT = Path(__file__).parents[1]
PAGES = {
    path.name: path.read_text()
    for path in (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))
}
OTHER_PROGRAMS = {"--force-reinstall", "--no-deps", "--strict"}
"""Flags of pip and mypy."""
PUT_TOGETHER = {
    "The GPU computes ... wrongly": ("computes ", " wrongly"),
    "The voice rendered white noise": ("The voice rendered ", "white noise"),
    "The GPU failed while the voice was loaded": (" failed while the voice was ", "loaded"),
    "silent ... where the input has sound": ("silent in ", " where the input has sound"),
}
"""Messages on pages that the code makes of these parts."""
NO_MESSAGE = {"No module named 'rtvc'"}
"""What Python says."""


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = PAGES[page].split(f"{heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_flag_on_a_page_exists():
    known = {flag for _, parser in parsers() for flag in parser._option_string_actions}
    known |= {"--debug", *OTHER_PROGRAMS}
    found = 0
    for name, text in PAGES.items():
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text):
            assert flag in known, f"{name}: there is no {flag}"
            found += 1
    assert found > 200


def test_every_setting_is_on_a_page():
    text = "\n".join(PAGES.values())
    for name, setting in SETTINGS.items():
        on_page = re.search(rf"(?<![\w-])(?:{setting.flag}|{name})(?![\w-])", text)
        assert on_page, f"no page names {name}"


def test_the_settings_of_effects_are_off_by_default_as_the_page_says():
    known = {setting.name for setting in grouped_settings()["effects"]}
    named: set[str] = set()
    for effect, text, off in rows("effects.md", "# Effects"):
        settings = re.findall(r"`(\w+)`", text)
        named |= set(settings) & known
        assert getattr(Settings(), settings[0]) == float(off.removeprefix("ratio ")), effect
    assert named == known


def test_the_values_that_pages_give_as_defaults():
    latency, voices = PAGES["latency.md"], PAGES["voices.md"]
    plain = Settings()
    assert f"| block ({plain.block:g} ms at first) |" in latency
    assert f"| headroom ({plain.headroom:g} ms at first) |" in latency
    assert f"(block {plain.block:g}, headroom {plain.headroom:g})" in latency
    assert f"{plain.pitch_floor:g} and {plain.pitch_ceiling:g} Hz by default" in voices
    assert f"below this level, {plain.gate:g} dBFS by default" in PAGES["effects.md"]
    assert plain.latency == "auto"
    assert "With `--latency auto`, the default," in latency


def test_the_profiles_are_those_of_the_code():
    found = {
        re.findall(r"\w+", name)[0]: cells for name, *cells in rows("calibration.md", "## Profiles")
    }
    assert list(found) == list(PROFILES)
    for profile in PROFILES.values():
        context, load, headroom = found[profile.name]
        assert context == f"{profile.context / 1000:.1f} s"
        assert re.match(r"\d+ %", load)[0] == f"{100 * profile.max_load:.0f} %"  # type: ignore[index]
        assert headroom.startswith(f"{profile.headroom_factor:g} times")
    assert f"`{DEFAULT_PROFILE}` (default)" in PAGES["calibration.md"]


def test_the_latency_is_the_sum_of_its_parts():
    [line] = re.findall(r"^    (device in \+ .+)$", PAGES["latency.md"], re.MULTILINE)
    parts = [part.replace(" ", "_") for part in line.split(" + ")]
    assert parts == [field.name for field in dataclasses.fields(Latency)]


def test_the_figures_on_the_pages_are_in_the_reports():
    health = {field.name for field in dataclasses.fields(Health)}
    for figures, *_ in rows("commands.md", "## Health"):
        assert set(re.findall(r"`(\w+)`", figures)) <= health
    stats = {field.name for field in dataclasses.fields(Stats)}
    for name, text in PAGES.items():
        for figure in re.findall(r"`stats\.(\w+)`", text):
            assert figure in stats, f"{name}: there is no {figure}"


@pytest.mark.parametrize("command", ["voices", "presets"])
def test_the_actions_of_a_command_are_named_in_the_list_of_commands(command: str):
    [parser] = [parser for typed, parser in parsers() if typed == f"rtvc {command}"]
    [actions] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    [line] = re.findall(rf"^\| `rtvc {command}` \| (.+) \|$", PAGES["commands.md"], re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) | {"list"} == set(actions.choices)
    summary: str = main.command(command).SUMMARY
    assert set(re.findall(r"\w+", summary)) >= set(actions.choices)


def bound(found: Iterable[object]) -> set[str]:
    """Return the names of the keys of some bindings, as a page writes them."""
    keys = (key for one in found if isinstance(one, Binding) for key in one.key.split(","))
    return {key_name(key) for key in keys}


def test_the_keys_of_the_panel_are_those_on_its_page():
    cells = " ".join(row[0] for row in rows("panel.md", "## Keys"))
    typed = re.findall(r"(?:(?:ctrl|Ctrl|Shift)\+)?(?:`[^`]+`|[A-Za-z]+)", cells)
    named = {key.replace("`", "").lower() for key in typed} - {"or", "to"}
    named = {{"pgup": "pageup", "pgdn": "pagedown"}.get(key, key) for key in named}
    named = {" " if key == "space" else key for key in named}
    classes = (MainScreen, SettingsList, VoiceList, DevicesScreen)
    everything = bound(bindings()) | bound(b for one in classes for b in one.BINDINGS)
    assert named <= everything | {"tab", "ctrl+p"}  # of Textual
    assert named >= {key_name(key.key) for key in KEYS}
    assert named >= bound(MainScreen.BINDINGS)


def test_the_commands_of_plain_mode_are_those_on_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    commands = set(Typist().commands._commands)
    cells = " ".join(" ".join(row) for row in rows("plain.md", "## Commands"))
    for text in (cells, f"{HELP} :help"):
        named = set(re.findall(r":([a-z]+)", text))
        assert commands <= named <= commands | SETTINGS.keys(), text


def messages() -> Iterator[str]:
    """Return all strings of the code, with a line break for what is put into them."""
    for path in (ROOT / "rtvc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "\n" for v in node.values)
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_message_that_a_page_quotes_is_one():
    known = list(messages())
    found = 0
    for name, text in PAGES.items():
        prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", prose, flags=re.DOTALL)
        for quoted in re.findall(r'"([^"\n]{6,})"', prose):
            if quoted in PUT_TOGETHER:
                made = all(any(part in m for m in known) for part in PUT_TOGETHER[quoted])
            else:
                parts = [part.strip() for part in re.split(r"\.\.\.|\d+", quoted)]
                made = any(all(part in message for part in parts) for message in known)
            assert made or quoted in NO_MESSAGE, f"{name}: nothing prints {quoted!r}"
            found += 1
    assert found > 20


@pytest.mark.parametrize(("typed", "parser"), parsers(), ids=[typed for typed, _ in parsers()])
def test_a_usage_line_has_all_flags_or_says_that_there_are_more(
    typed: str, parser: argparse.ArgumentParser
):
    usage = parser.format_usage()
    named = set(re.findall(r"--[a-z][a-z-]*", usage))
    known = {flag for flag in parser._option_string_actions if flag.startswith("--")} - {"--help"}
    assert named <= known
    if "[FLAGS]" not in usage and not usage.rstrip().endswith("..."):
        assert named == known


def test_every_help_has_examples_that_are_understood():
    for typed, parser in parsers():
        found = re.findall(rf"^  ({typed}(?: [^ ]+)*)", parser.epilog or "", re.MULTILINE)
        assert found, f"{typed} --help has no example"
        for example in found:
            words = shlex.split(example.partition(">")[0])[1:]
            assert main.parse(words).command in main.COMMANDS


def test_the_exit_codes_of_signals_are_on_the_page():
    table = rows("commands.md", "## Exit codes")
    codes = {int(code) for cell, _ in table for code in cell.split(", ")}
    signals = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)
    assert codes == {0, 1, 2, *(128 + number for number in signals)}
