"""Standard output where a library prints on it, as PortAudio does on macOS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from rtvc.live import devices
from rtvc.live.devices import SystemDevices
from tests.support.pseudo_terminal import PseudoTerminal

ROOT = Path(__file__).parents[2]
NOISE = "||PaMacCore (AUHAL)|| Error on line 2523: err='-50', msg=Unknown Error"

# PortAudio on macOS, with one device and what it prints when it lists that.
LISTING = f"""
import ctypes, sys
sys.platform = "darwin"
from rtvc.audio import devices
from rtvc.audio.devices import Device
def listed():
    ctypes.CDLL(None).puts({NOISE.encode()!r})
    ctypes.CDLL(None).fflush(None)
    return [Device(0, "AirPods", "Core Audio", 1, 0, 24_000.0, True, False, False)]
devices._list_devices = listed
"""


def output_of(code: str, *options: str) -> str:
    run = subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert not run.returncode, run.stderr
    return run.stdout


@pytest.mark.parametrize("options", [(), ("-u",)])
@pytest.mark.parametrize(("platform", "noise"), [("darwin", ""), ("linux", f"{NOISE}\n")])
def test_what_python_prints_still_appears(
    platform: str, noise: str, options: tuple[str, ...]
) -> None:
    code = f"""
import os, sys
kept, sys.platform = sys.stdout, "{platform}"
from rtvc.system.library_output import separate_library_output
print("before")
separate_library_output()
os.write(1, {NOISE.encode()!r} + b"\\n")
print("after")
kept.write("by an earlier reference\\n")
sys.stdout.buffer.write(b"as bytes\\n")
"""
    expected = f"{noise}after\nby an earlier reference\nas bytes\n"
    found = output_of(code, *options)
    assert sorted(found.splitlines()) == sorted(f"before\n{expected}".splitlines())


def test_json_is_json_on_macos() -> None:
    command = 'from rtvc.cli.main import main; main(["devices", "--json"])'
    assert [row["name"] for row in json.loads(output_of(LISTING + command))] == ["AirPods"]
    part = 'from rtvc.cli.report_parts import main; main("devices", "", "0", "")'
    assert [row["name"] for row in json.loads(output_of(LISTING + part))] == ["AirPods"]


def test_a_scan_finds_the_devices_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_SCAN", LISTING + devices._SCAN)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert [device.name for device in SystemDevices().scan().inputs] == ["AirPods"]


@pytest.mark.parametrize("errors", [None, subprocess.DEVNULL])
def test_the_panel_is_drawn_without_it(errors: int | None, tmp_path: Path) -> None:
    code = f"""
import os, shutil, sys
sys.platform = "darwin"
from pathlib import Path
from rtvc.cli.terminal import redirect_stderr
from rtvc.system.library_output import separate_library_output
separate_library_output()
with redirect_stderr(Path({str(tmp_path / "log")!r})):
    os.write(1, {NOISE.encode()!r})
    print(shutil.get_terminal_size().columns, "columns", file=sys.__stderr__, flush=True)
print("the end")
"""
    terminal = PseudoTerminal()
    termios.tcsetwinsize(terminal.inner, (30, 93))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run(
        [sys.executable, "-c", code],
        stdin=terminal.inner,
        stdout=terminal.inner,
        stderr=terminal.inner if errors is None else errors,
        env=environment,
        check=True,
        cwd=ROOT,
    )
    assert terminal.read_until("the end\r\n").split() == ["93", "columns", "the", "end"]
    os.close(terminal.inner)
