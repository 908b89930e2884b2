"""`rtvc report`: what is in the archive, what is not, and what happens before it is written."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtvc.audio.known_input import KnownInput
from rtvc.audio.simulated import SimulatedDevice
from rtvc.cli import bench, main, report, report_parts
from rtvc.cli.anonymous import Names, device_rows, without_findings
from rtvc.errors import UsageError
from tests.audio.device_lists import MACBOOK, TWO_RECEIVERS, listed
from tests.cli.test_main import refused
from tests.support.simulated_system import SimulatedSystem

pytestmark = pytest.mark.slow


def arguments(*words: str) -> argparse.Namespace:
    return main.parse(["report", *words])


def contents(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


@pytest.mark.thorough
def test_a_report_of_the_built_in_voice(tmp_path: Path) -> None:
    path = tmp_path / "mine.zip"
    words = ("--no-devices", "--no-rvc", "--seconds", "2", "--yes")
    done = subprocess.run(
        [sys.executable, "-m", "rtvc", "report", str(path), *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = contents(path)
    assert list(found) == [
        "devices.json",
        "doctor.json",
        "calibration-world.json",
        "live-world.json",
    ]
    for name in found:
        assert name in done.stdout
    assert "It contains no sound, no names of devices" in done.stdout
    assert found["devices.json"] == []
    assert found["doctor.json"]["versions"]["rtvc"]
    assert found["calibration-world.json"]["constant"] >= 0
    run = found["live-world.json"]
    assert run["seconds"] == 2.0
    assert run["devices"] == {"input": "<device>", "output": "<device>"}
    assert run["stats"]["blocks"] + run["stats"]["late_blocks"] > 0
    assert run["settings"]["voice"] == "world"
    assert str(Path.home()) not in json.dumps(found)


def test_the_parts_of_a_report() -> None:
    everything = [part.file for part in report._parts(arguments())]
    assert everything == [
        "doctor.json",
        "self-test.json",
        "bench.json",
        "calibration-world.json",
        "calibration-v2-40k.json",
        "live-world.json",
        "live-v2-40k.json",
    ]
    without = report._parts(arguments("--no-rvc", "--seconds", "40"))
    assert [part.file for part in without] == [
        "doctor.json",
        "calibration-world.json",
        "live-world.json",
    ]
    assert without[-1].words[-3:] == ("world", "40.0", "devices")
    assert without[1].words[-3:] == ("world", "20.0", "devices")
    simulated = report._parts(arguments("--no-devices"))
    assert {part.words[-1] for part in simulated[3:]} == {"simulated"}
    assert [part.words[-2] for part in simulated[-2:]] == ["60.0", "60.0"]


def test_names_of_devices_are_written_only_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    run = {
        "devices": {"input": "AirPods Pro", "output": "Annas neue Box", "monitor": "AirPods Pro"},
        "stats": {"last_cause": "'AirPods Pro' was lost", "reason": "MacBook Pro Microphone"},
    }
    monkeypatch.setattr(report, "_result", lambda part: run)
    parts = report._parts(arguments("--no-rvc"))[-1:]

    def text(*flags: str) -> str:
        files = report._files(parts, TWO_RECEIVERS, arguments("--no-rvc", *flags))
        return "".join(content for content, _ in files.values())

    hidden = text()
    for device in TWO_RECEIVERS:
        assert device.name not in hidden
    assert "Annas" not in hidden
    assert "<device> was lost" in hidden
    named = text("--with-device-names")
    for name in ("AirPods Pro", "Annas neue Box", "Wireless GO II RX"):
        assert name in named


def test_devices_are_called_what_they_are() -> None:
    (cable,) = listed(("BlackHole 2ch", "Core Audio", 2, 2))
    cable = replace(cable, virtual_cable=True)
    (headset,) = listed(("AirPods", "Core Audio", 1, 0))
    headset = replace(headset, transport="usb")
    rows = device_rows([cable, headset], named=False)
    assert [row["kind"] for row in rows] == ["virtual cable", "usb"]
    assert not any("name" in row for row in rows)


def test_findings_that_may_name_files_are_left_out() -> None:
    doctor = {
        "good": True,
        "checks": [
            {"name": "remembered", "verdict": "good", "found": "AirPods", "fix": "x"},
            {"name": "rtvc", "verdict": "good", "found": "/nowhere/anna/rtvc", "fix": ""},
            {"name": "MLX", "verdict": "good", "found": "0.32.4", "fix": ""},
        ],
    }
    checks = without_findings(doctor)["checks"]
    assert [check["found"] for check in checks] == ["", "", "0.32.4"]
    assert [check["verdict"] for check in checks] == ["good"] * 3
    assert Names(None).removed({"a": [f"{Path.home()}/x"]}) == {"a": ["~/x"]}
    text = "BLAS: /nowhere/anna/libblas.so, 36 GFLOP/s"
    assert Names(None).removed(text) == "BLAS: libblas.so, 36 GFLOP/s"


@pytest.mark.parametrize("home", ["/", "/path/to/bob"])
def test_folders_of_others_are_left_out_whatever_the_home_is(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    text = "Cannot read /path/to/bobby/Annas voices/a.wav: 3 of 4."
    assert Names(None).removed(text) == "Cannot read a.wav: 3 of 4."


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "there.zip"
    path.write_text("mine")
    assert "exists already" in refused("report", path, "--yes")
    with pytest.raises(UsageError, match="exists already"):
        report._write(path, {"a.json": ("{}", "")})
    assert path.read_text() == "mine"
    assert "There is no folder" in refused("report", tmp_path / "no" / "x.zip", "--yes")


def test_without_a_terminal_it_needs_yes(tmp_path: Path) -> None:
    assert "Add --yes" in refused("report", tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_the_input_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(""))
    assert not report._agreed(Path("a.zip"))


@pytest.mark.parametrize(("answer", "written"), [("n", False), ("", False), ("y", True)])
def test_it_asks_before_it_writes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    written: bool,
) -> None:
    path = tmp_path / "a.zip"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    monkeypatch.setattr(report, "_result", lambda part: {"x": 1})
    assert report.run(arguments(str(path), "--no-rvc", "--no-devices")) == (0 if written else 1)
    assert path.exists() == written
    printed = capsys.readouterr()
    assert "live-world.json" in printed.out
    assert ("Nothing was written." in printed.err) != written


def test_a_part_that_fails_is_reported_in_its_file() -> None:
    def result(code: str) -> Any:
        return report._result(report._Part("x", "", ("-c", code), 5.0))

    assert result("raise ValueError('no GPU here')") == {"error": "ValueError: no GPU here"}
    assert result("import os; os.abort()")["error"].startswith("exit code -6")
    assert result("print('[1]')") == [1]


def test_a_part_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_PATIENCE_S", 0.1)
    part = report._Part("x", "", ("-c", "import time; time.sleep(60)"), 0.9)
    began = time.monotonic()
    assert report._result(part) == {"error": "It took longer than 1 s."}
    assert time.monotonic() - began < 30


def test_ctrl_c_ends_the_part_and_leaves_nothing(tmp_path: Path) -> None:
    words = ("report", "a.zip", "--no-devices", "--no-rvc", "--yes")
    with subprocess.Popen(
        [sys.executable, "-m", "rtvc", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("1 of 3"):
                break
        while sys.platform == "linux" and not _children(process.pid):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.5)
        children = _children(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT
    assert list(tmp_path.iterdir()) == []
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _children(process: int) -> list[str]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return path.read_text().split() if path.exists() else []


def test_the_quick_benchmark_is_one_voice() -> None:
    args = main.parse(["bench", "--quick"])
    bench._choose_quick(args)
    assert (args.voice, args.steps, args.block, args.context) == (["v2-40k"], 10, 100.0, 500.0)
    for flag, value in (("--rate", "40k"), ("--block", "250"), ("--steps", "30")):
        assert "leave out --voice, --rate, --block" in refused("bench", "--quick", flag, value)


def test_the_devices_are_used_for_their_timing_only(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SimulatedSystem(MACBOOK)  # its microphone records a constant
    system.install(monkeypatch)
    monkeypatch.setattr("rtvc.cli.run_report._machine", dict)
    found = report_parts.live("world", 2.0, with_devices=True)
    assert found["devices"] == {
        "input": "MacBook Pro Microphone",
        "output": "MacBook Pro Speakers",
    }
    assert found["stats"]["blocks"] + found["stats"]["late_blocks"] > 0
    assert len(system.openings) == 2
    assert max(stream.loudest for stream in system.streams) == 0.0


def test_the_bundled_sound_is_read_again_and_again() -> None:
    sound = np.arange(1000, dtype=np.float32)
    inner = SimulatedDevice(np.zeros(5000, np.float32))
    known = KnownInput(inner, sound)
    known.start(lambda: None, 0)
    assert known.wait(2500, 1.0) >= 2500
    parts = [known.read(700), known.read(1100), known.read(700)]
    assert [part.size for part in parts] == [700, 1100, 700]
    np.testing.assert_array_equal(np.concatenate(parts), np.resize(sound, 2500))


@pytest.mark.thorough
def test_the_random_voice_runs_on_the_clock_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from rtvc.engine.profiling import random_weights
    from rtvc.library import computing
    from tests.cli.test_bench import small_voice

    monkeypatch.setattr(random_weights, "random_rvc_voice", small_voice)
    monkeypatch.setattr(computing, "prepare_computing", lambda: None)
    found = report_parts.live("v2-40k", 3.0, with_devices=False)
    assert found["settings"]["voice"] == "v2-40k"
    assert found["stats"]["blocks"] + found["stats"]["late_blocks"] > 0
    assert found["devices"] == {"input": "simulated", "output": "simulated"}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("No such file: '/nowhere/Annas Disk/my voices/Anna.pth'", "No such file: 'Anna.pth'"),
        ("/nowhere/Annas Disk/x y/lib.so: broken", "lib.so: broken"),
        ("dlopen(/nowhere/anna/lib.so, 2): no", "dlopen(lib.so, 2): no"),
        (f"{Path.home()}/Library/Application Support/rtvc/a.json cannot", "a.json cannot"),
        ("about 36 GFLOP/s, 1/2 of it", "about 36 GFLOP/s, 1/2 of it"),
    ],
)
def test_folders_with_spaces_are_left_out(text: str, hidden: str) -> None:
    assert Names(None).removed(text) == hidden


def test_a_device_that_was_connected_meanwhile_is_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = listed(("Anna\u202es B\x07 \U0001f3a7", "Core Audio", 1, 0))
    stats = {"reason": "Anna\\u202es B\\x07 \U0001f3a7 was lost", "hint": repr(odd[0].name)}

    def result(part: Any) -> Any:
        if "devices" in part.words[-4:-3]:
            return [asdict(device) for device in odd]
        return {"stats": stats}

    monkeypatch.setattr(report, "_result", result)
    parts = report._parts(arguments("--no-rvc"))[-1:]
    files = report._files(parts, [], arguments("--no-rvc"))
    found = json.loads(files["live-world.json"][0])["stats"]
    assert found == {"reason": "<device> was lost", "hint": "<device>"}
