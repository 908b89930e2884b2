"""``rtvc latency`` and the file that keeps its results."""

import json
import time

import numpy as np
import pytest

from rtvc.audio.loop_latency import LoopLatency
from rtvc.audio.loop_signal import analyse, loop_chirps
from rtvc.cli import latency, main
from rtvc.cli.run_report import as_json
from rtvc.config.measured_latency import (
    MeasuredLatency,
    age_in_words,
    find_latency,
    forget_latencies,
    latency_path,
    load_latencies,
    save_latency,
)
from rtvc.device_choice import DeviceIdentity
from rtvc.live.devices import DeviceNames
from tests.support.sound_server import RATE, SPEAKER_SINK

MIC, SPEAKER = DeviceIdentity("mic", "ALSA"), DeviceIdentity("speaker", "ALSA", 1, 2)
AT_48, AT_44 = "48000 Hz, 10 ms", "44100 Hz, 10 ms"
CABLE = MeasuredLatency(MIC, SPEAKER, AT_48, 0.03, 0.025, 0.0001, 1e9)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))


def test_a_result_is_kept_for_its_devices_rate_and_block():
    save_latency(CABLE)
    save_latency(MeasuredLatency(MIC, SPEAKER, AT_44, 0.05, 0.025, 0.0, 1e9))
    newer = MeasuredLatency(MIC, SPEAKER, AT_48, 0.031, 0.025, 0.0, 2e9)
    save_latency(newer)
    assert len(load_latencies()[0]) == 2
    assert find_latency(MIC, SPEAKER, AT_48) == newer
    assert find_latency(MIC, SPEAKER, AT_44) is not None
    for other in (
        DeviceIdentity("headphones", "ALSA", 1, 2),
        DeviceIdentity("speaker", "JACK", 1, 2),
        DeviceIdentity("speaker", "ALSA", 0, 2),
        DeviceIdentity("speaker", "ALSA"),
    ):
        assert find_latency(MIC, other, AT_48) is None


def test_a_result_of_an_older_version_is_that_of_the_only_device_of_its_name():
    old = "{input: mic, output: speaker, streams: '48000 Hz, 10 ms', seconds: 0.03, reported: 0.02,"
    latency_path().write_text(f"format: 1\nlatencies: [{old} jitter: 0.0, at: 1.0}}]\n")
    alone = DeviceIdentity("speaker", "ALSA")
    found = find_latency(MIC, alone, AT_48)
    assert found is not None
    assert found.seconds == 0.03
    assert find_latency(MIC, SPEAKER, AT_48) is None, "which of two is not known"
    save_latency(MeasuredLatency(MIC, alone, AT_48, 0.04, 0.02, 0.0, 2.0))
    (kept,) = load_latencies()[0]
    assert (kept.output, kept.seconds) == (alone, 0.04)


@pytest.mark.parametrize(
    "text", ["", "[", "format: two\nlatencies: []\n", "format: 1\nlatencies: [{input: 3}]\n"]
)
def test_a_damaged_file_is_ignored_and_told(text):
    latency_path().write_text(text)
    known, warning = load_latencies()
    assert known == ()
    assert "rtvc latency" in warning
    save_latency(CABLE)
    assert load_latencies() == ((CABLE,), "")


@pytest.mark.parametrize("number", [".nan", ".inf", "-61", f"1{400 * '0'}"])
def test_a_number_out_of_range_is_refused(number):
    save_latency(CABLE)
    latency_path().write_text(latency_path().read_text().replace("0.03", number))
    assert load_latencies()[0] == ()


def test_a_place_among_equal_devices_is_checked():
    save_latency(CABLE)
    latency_path().write_text(latency_path().read_text().replace("2 of 2", "3 of 2"))
    assert "'output_ordinal' is '3 of 2', but must be like '1 of 2'" in load_latencies()[1]


def test_the_age_in_words():
    assert age_in_words(5) == "just now"
    assert age_in_words(61) == "1 minute ago"
    assert age_in_words(7300) == "2 hours ago"
    assert age_in_words(4 * 86_400) == "4 days ago"
    assert MeasuredLatency(MIC, SPEAKER, "", 0, 0, 0, time.time() - 90_000).age == "1 day ago"


def test_forget_removes_the_results(capsys):
    save_latency(CABLE)
    assert main.main(["latency", "--forget"]) == 0
    assert capsys.readouterr().out == "Forgot 1 measured latency.\n"
    assert load_latencies() == ((), "")
    assert forget_latencies() == 0
    assert main.main(["latency", "--forget", "--input", "mic"]) == 2


def test_nothing_is_played_without_asking(sound_server, capsys):
    assert main.main(["latency", "--input", "fake_cable", "--output", "fake_cable"]) == 2
    assert "Add --yes" in capsys.readouterr().err
    assert not latency_path().exists()


@pytest.mark.thorough
def test_the_doctor_runs_live_in_silence(sound_server, capsys):
    sound = 0.1 * np.random.default_rng(0).standard_normal(6 * RATE)
    words = ["doctor", "--live", "--seconds", "2", "--json"]
    words += ["--input", "fake_mic", "--output", "fake_speaker"]
    with (
        sound_server.speaking(sound.astype(np.float32)),
        sound_server.recording(SPEAKER_SINK) as finish,
    ):
        main.main(words)
        (heard,) = finish()
    report = json.loads(capsys.readouterr().out)
    assert report["devices"] == {"input": "fake_mic", "output": "fake_speaker"}
    assert report["health"]["blocks"] > 10
    assert report["health"]["stages"]["voice"]["p50"] > 0
    assert "drift_ppm" in report["health"]  # known only after some time
    assert not heard.samples.any()


def test_flags_of_the_live_doctor_need_it(capsys):
    assert main.main(["doctor", "--seconds", "3"]) == 2
    assert "need --live" in capsys.readouterr().err


def test_the_result_is_printed_with_what_is_wrong():
    signal = loop_chirps()
    heard = np.zeros(signal.size + RATE, np.float32)
    heard[4800 : 4800 + signal.size] = 0.5 * signal
    heard[6240 : 6240 + signal.size] += 0.125 * signal
    heard[60_000:60_240] = 0.0
    loop = LoopLatency(0.04, 0.03, 0.06, 0.0, analyse(heard), underruns=1)
    first, gap, underrun, path, last = latency._lines(loop)
    assert first.startswith("Latency of the devices: 40.0 ms (they report 30.0 ms), jitter 0.0 ms")
    assert gap.startswith("! At 1.1")
    assert "a gap of 5.0 ms" in gap
    assert "1 underruns" in underrun
    assert "30 ms later at -12 dB" in path
    assert last == "Not kept."
    report = json.loads(as_json(latency._report(loop, DeviceNames("mic", "speaker"))))
    assert not report["reliable"]
    assert [event["kind"] for event in report["events"]] == ["gap"]
    assert report["paths"][1]["latency"] == pytest.approx(0.07, abs=1e-3)
    assert len(report["warnings"]) == 3


def test_two_devices_whose_callbacks_coincide_have_that_jitter():
    signal = loop_chirps()
    loop = LoopLatency(0.04, 0.03, 0.06, 0.01, analyse(np.pad(signal, (2880, RATE))))
    assert loop.jitter == pytest.approx(0.01)
    assert loop.reliable
