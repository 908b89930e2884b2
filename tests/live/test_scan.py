"""The scan for devices, which another process makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtvc.live import devices
from rtvc.live.devices import SystemDevices


def test_a_scan_runs_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # it may name the current folder
    (tmp_path / "json.py").write_text("open('run', 'w')\n")
    monkeypatch.setattr(devices, "_SCAN", "import json\nprint(json.dumps([]))")
    found = SystemDevices().scan()
    assert (found.inputs, found.outputs) == ((), ())
    assert not (tmp_path / "run").exists()
