"""The health of a run: one set of figures for the panel, the status line, --stats and doctor."""

import dataclasses
import json
import time

import numpy as np
import pytest

from rtvc.audio.silent_output import SilentOutput
from rtvc.audio.simulated import SimulatedDevice
from rtvc.cli.run_report import as_json, run_report
from rtvc.cli.stats_file import StatsFile
from rtvc.cli.status_line import plain_line, summary
from rtvc.config.measured_latency import MeasuredLatency
from rtvc.device_choice import DeviceIdentity
from rtvc.live.device_session import DeviceSession
from rtvc.live.devices import DeviceNames, OpenDevices
from rtvc.live.health import health, health_lines
from rtvc.settings import Settings
from rtvc.stats import DeviceHealth, Latency, Stats, Times

GOOD = Stats(
    blocks=400,
    step=Times(0.02, 0.03, 0.04, 0.05),
    stages={"voice": Times(0.01, 0.02, 0.03, 0.04)},
    latency=Latency(device_in=0.01, block=0.1, headroom=0.08, filters=0.03, device_out=0.02),
    device=DeviceHealth(output_fill_median=0.06, output_fill_min=0.03),
    estimated_latency=0.211,
)


def measured(seconds):
    devices = DeviceIdentity("mic"), DeviceIdentity("speaker")
    return MeasuredLatency(*devices, "", seconds, 0.03, 0.0, time.time() - 86_400 * 2)


def changed(**changes):
    """Return good statistics with changes; those of the device have no prefix."""
    names = {field.name for field in dataclasses.fields(DeviceHealth)}
    device = {name: changes.pop(name) for name in tuple(changes) if name in names}
    return dataclasses.replace(GOOD, device=dataclasses.replace(GOOD.device, **device), **changes)


def test_the_latency_is_stated_measured_and_estimated():
    figures = health(GOOD, measured(0.045))
    assert figures.latency == pytest.approx(0.240)
    assert figures.measured_latency == pytest.approx(0.255)
    assert figures.estimated_latency == pytest.approx(0.241)
    assert figures.advice == ()
    (line,) = (line for line in health_lines(figures) if line.startswith("latency"))
    assert line == ("latency     240 ms stated, 255 ms measured (2 days ago), 241 ms by the sound")
    assert health(GOOD).measured_latency is None


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"step": Times(0.05, 0.06, 0.07, 0.08)}, "Use --headroom 90"),
        ({"step": Times(0.09, 0.1, 0.12, 0.2)}, "longer than a block of 100 ms"),
        ({"step": Times(0.01, 0.1, 0.2, 0.2)}, "another program uses the processor"),
        ({"late_blocks": 3}, "3 of 400 blocks were late"),
        ({"output_fill_min": 0.07}, "--headroom 30 is enough"),
        ({"degraded": "context 500 ms"}, "reduced the work to keep up (context 500 ms)"),
        ({"underruns": 2}, "found no output 2 times"),
        ({"overflows": 1}, "Input was lost once"),
        ({"drift_ppm": -800.0, "blocks": 700}, "differ by -800 ppm"),
        ({"excess_latency": 0.5}, "500 ms of audio has piled up"),
        ({"cancelled_channel": 2}, "channel 2 alone is used. Choose it with --input-channel 2"),
        ({"repaired_blocks": 4}, "invalid samples in 4 blocks"),
        ({"restarts": 2, "last_cause": "The step failed."}, "again 2 times. The newest cause: The"),
        ({"latency_faults": 1}, "was not the stated one once"),
    ],
)
def test_what_is_wrong_has_advice(changes, advice):
    (sentence,) = health(changed(**changes)).advice
    assert advice in sentence
    assert sentence.endswith(".")


def test_before_the_first_block_there_is_nothing_to_advise():
    assert health(Stats(), measured(0.2)).advice == ()
    assert health(Stats(late_blocks=2), measured(0.2)).advice == ()


def test_a_device_that_misreports_its_latency_is_told():
    (sentence,) = health(GOOD, measured(0.2)).advice
    assert "report a latency of 30 ms, but it is 200 ms (measured 2 days ago)" in sentence


def test_one_clock_has_no_drift_and_two_are_shown():
    assert health(GOOD).drift_ppm is None
    assert "clocks" not in plain_line(GOOD, 1.0)
    two = changed(drift_ppm=42.4, restarts=1)
    assert "clocks +42 ppm" in plain_line(two, 1.0)
    assert "restarts 1" in plain_line(two, 1.0)
    assert summary(two, 1.0).endswith("0 overflows; 1 restarts.")
    assert any("two, +42 ppm" in line for line in health_lines(health(two)))


def test_the_report_has_the_health():
    report = json.loads(as_json(run_report(Settings(), GOOD, 40.0, {}, measured(0.2))))
    assert report["ended"]
    assert report["health"]["step"] == {"p50": 0.02, "p95": 0.03, "p99": 0.04, "max": 0.05}
    assert report["health"]["measured"]["seconds"] == 0.2
    assert len(report["health"]["advice"]) == 1


def test_the_statistics_are_written_during_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("rtvc.cli.stats_file.PERIOD_S", 0.0)
    source = (0.1 * np.random.default_rng(0).standard_normal(96_000)).astype(np.float32)
    device = SimulatedDevice(source)
    devices = OpenDevices(SilentOutput(device), DeviceNames("mic", "speaker"))
    session = DeviceSession(devices, Settings(mode="dry"))
    path = tmp_path / "stats.json"
    file = StatsFile(path, session)
    session.start()
    assert file.take_message() == ""
    assert not json.loads(path.read_text())["ended"]
    assert session.session.wait(20)
    session.stop()
    assert file.finish(2.0) == f"Wrote the statistics to {path}."
    report = json.loads(path.read_text())
    assert (report["ended"], report["devices"]) == (True, {"input": "mic", "output": "speaker"})
    assert report["health"]["blocks"] >= 20
    assert not device.played.any(), "SilentOutput plays nothing"
    folder = tmp_path / "gone"
    unwritable = StatsFile(folder / "stats.json", session)
    folder.write_text("in the way")
    assert "are not written" in unwritable.take_message()
    assert unwritable.take_message() == "", "it is told once"
