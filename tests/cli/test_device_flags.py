"""Flags of ``rtvc latency`` and ``rtvc doctor --live`` that choose what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rtvc.config.measured_latency import load_latencies
from rtvc.device_choice import DeviceIdentity
from tests.audio.test_input_channel import EIGHT
from tests.cli.test_main import ROOT, rtvc_command
from tests.support.sound_server import RATE, SoundServer


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def third_input(sound_server: SoundServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight inputs behind the device 'pulse', of which its output plays on the third."""
    monkeypatch.setenv("PULSE_SOURCE", "interface.monitor")
    monkeypatch.setenv("PULSE_SINK", "third")
    with sound_server.null_sink("interface", EIGHT):
        sound_server.pactl(
            *("load-module", "module-remap-sink", "sink_name=third", "master=interface"),
            *("channels=1", "channel_map=mono", "master_channel_map=rear-left", "remix=no"),
        )
        yield


@pytest.mark.thorough
def test_latency_measures_the_devices_and_the_channel_that_are_asked_for(
    third_input: None,
) -> None:
    words = ("latency", "--input", "pulse", "--output", "pulse")
    assert "Add --yes" in rtvc_command(*words, code=2).stderr
    done = rtvc_command(*words, "--yes", "--json", "--input-channel", "3", code=None)
    report = json.loads(done.stdout)
    assert (report["input"], report["output"]) == ("pulse", "pulse")
    assert 0.0 < report["latency"] < 0.5
    # On a busy machine the chirps disagree; then nothing is kept.
    assert done.returncode == (0 if report["reliable"] else 1)
    kept = load_latencies()[0]
    assert len(kept) == int(report["reliable"])
    for one in kept:
        assert one.input == one.output == DeviceIdentity("pulse", "ALSA")
        assert one.seconds == pytest.approx(report["latency"], abs=1e-6)
    other = rtvc_command(*words, "--yes", "--input-channel", "1", code=1)
    assert other.stdout == ""
    assert "chirps" in other.stderr


@pytest.mark.thorough
def test_the_doctor_uses_the_channel_for_the_seconds(
    third_input: None, sound_server: SoundServer
) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((20 * RATE, 8))
    words = ("doctor", "--live", "--input", "pulse", "--output", "fake_speaker", "--json")
    reports = []
    with sound_server.speaking(noise.astype(np.float32), "interface", EIGHT):
        for flags in (("--seconds", "1"), ("--seconds", "3", "--input-channel", "3")):
            done = rtvc_command(*words, *flags, code=None)  # 1 on a busy machine
            reports.append(json.loads(done.stdout))
    first, second = reports
    assert "input_channel" not in first["devices"]
    assert second["devices"]["input_channel"] == "3"
    assert second["seconds"] == 3 * first["seconds"] == 3
    assert second["health"]["blocks"] > 2 * first["health"]["blocks"]
