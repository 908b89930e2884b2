"""Advice on devices that make a loop, whatever the language of their names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.sizing import Sizing
from rtvc.cli import doctor, main, run_devices
from rtvc.config.remembered import RememberedRun, save_remembered
from rtvc.device_choice import SYSTEM_DEFAULT, DeviceIdentity
from rtvc.engine.engine import Engine
from rtvc.library.open_voice import find_voice
from rtvc.live.feedback import Side, feedback_advice, loop_warning
from rtvc.settings import Settings
from rtvc.stats import State
from tests.audio.device_lists import BUILT_IN, MACBOOK
from tests.support.simulated_system import SimulatedSystem


def advice(microphone: str, speaker: str, echo: str = "off") -> str:
    return feedback_advice(Side(microphone), Side(speaker), echo)


@pytest.mark.parametrize("language", BUILT_IN)
def test_the_microphone_and_speakers_of_a_macbook_howl_in_every_language(language: str):
    microphone, speakers, headphones = BUILT_IN[language]
    assert "Wear headphones" in advice(microphone, speakers)
    decomposed = unicodedata.normalize("NFD", microphone), unicodedata.normalize("NFD", headphones)
    assert "Wear headphones" in advice(decomposed[0], speakers)
    for name in (headphones, decomposed[1]):
        both = Side(microphone, "built-in"), Side(name, "built-in")
        assert feedback_advice(*both, "off") == ""


@pytest.mark.parametrize(
    ("microphone", "speaker"),
    [
        ("Built-in Microphone", "Built-in Output"),
        ("iMac Microphone", "iMac Speakers"),
        ("Studio Display Microphone", "Studio Display Speakers"),
        ("iPhone Microphone", "MacBook Pro Speakers"),
        ("MacBook Air-Mikrofon", "Studio Display-Lautsprecher"),
        ("Conference Microphone", "Conference Speakers"),
    ],
)
def test_an_open_microphone_next_to_open_speakers_howls(microphone: str, speaker: str):
    assert "Wear headphones" in advice(microphone, speaker)


@pytest.mark.parametrize(
    ("microphone", "speaker"),
    [
        ("MacBook Pro Microphone", "BlackHole 2ch"),
        ("MacBook Pro Microphone", "External Headphones"),
        ("AirPods Pro", "AirPods Pro"),
        ("MacBook Pro-Mikrofon", "AirPods von Anna"),
        ("USB Microphone", "Studio Display Speakers"),
        ("Scarlett 2i2", "Scarlett 2i2"),
        ("BlackHole 2ch", "BlackHole 16ch"),
    ],
)
def test_other_devices_give_no_alarm(microphone: str, speaker: str):
    assert advice(microphone, speaker) == ""


@pytest.mark.parametrize(
    ("microphone", "speaker", "howls"),
    [
        (Side("Micro", "built-in"), Side("Enceintes", "built-in"), True),
        (Side("Annas Handy", "iphone"), Side("TV", "hdmi"), True),
        (Side("Micro", "built-in"), Side("Enceintes", "bluetooth"), False),
        (Side("Micro", "usb"), Side("Enceintes", "built-in"), False),
        (Side("Micro", "built-in"), Side("ZoomAudioDevice", "virtual"), False),
    ],
)
def test_names_without_a_model_are_judged_by_the_connection(
    microphone: Side, speaker: Side, howls: bool
):
    assert bool(loop_warning(microphone, speaker, "off")) == howls


@pytest.mark.parametrize(
    ("microphone", "speaker"),
    [
        (Side("BlackHole 2ch"), Side("BlackHole 2ch")),
        (Side("ZoomAudioDevice", "virtual"), Side("ZoomAudioDevice", "virtual")),
    ],
)
def test_a_cable_into_itself_is_a_certain_loop(microphone: Side, speaker: Side):
    found = loop_warning(microphone, speaker, "cancel")
    assert "same virtual cable" in found
    assert "Choose your microphone as the input." in found


def test_the_monitor_of_the_output_is_the_output():
    assert "rtvc's own output" in advice("Monitor of Speakers", "Speakers")


def test_unknown_devices_give_a_hint():
    assert "If you hear" in advice("default", "pulse")
    assert loop_warning(Side("default"), Side("pulse"), "off") == ""


def test_who_cancels_the_echo_is_not_told_to_do_so():
    for microphone, speaker in (("default", "pulse"), ("iMac Microphone", "iMac Speakers")):
        assert "set echo to cancel" in advice(microphone, speaker)
        assert advice(microphone, speaker, "cancel") == ""
    assert "rtvc's own output" in advice("Monitor of Speakers", "Speakers", "cancel")


@pytest.mark.parametrize(
    ("echo", "how"),
    [("off", "turn the speaker down, or set echo to cancel."), ("cancel", "or turn the speaker")],
)
def test_the_reason_of_a_reduced_output_names_what_is_not_done_yet(echo: str, how: str):
    endpoint = SimulatedDevice(np.zeros(480, np.float32))
    engine = Engine(endpoint, Settings(echo=echo), find_voice, Sizing())
    engine._loop.stats.publish(state=State.CONVERTED, feedback=True)
    reason = engine.stats().reason
    assert f"wear headphones, {how}" in reason
    assert ("set echo to cancel" in reason) == (echo == "off")


BLACKHOLE = DeviceIdentity("BlackHole 2ch", "Core Audio")
SOUND = {
    "default_input": "Mikrofon",
    "default_output": "Lautsprecher",
    "transports": {"Mikrofon": "built-in", "Lautsprecher": "built-in", "Box": "usb"},
}


@pytest.mark.parametrize(
    ("run", "warnings"),
    [
        (RememberedRun(), ["'Mikrofon' picks up 'Lautsprecher'"]),
        (RememberedRun(output=DeviceIdentity("Box")), []),
        (RememberedRun(input=BLACKHOLE, output=BLACKHOLE), ["the same virtual cable"]),
        (
            RememberedRun(output=DeviceIdentity("Box"), monitor=SYSTEM_DEFAULT),
            ["'Mikrofon' picks up 'Lautsprecher'"],
        ),
        (RememberedRun(settings=Settings(echo="cancel")), []),
    ],
)
def test_doctor_says_which_devices_of_the_next_run_make_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: RememberedRun, warnings: list[str]
):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    save_remembered(run)
    checks = doctor._feedback(SOUND)
    assert [check.verdict for check in checks] == ["warning"] * len(warnings)
    for check, warning in zip(checks, warnings, strict=True):
        assert warning in check.found
    assert all(check.verdict == "warning" for check in doctor._feedback({"error": "no PortAudio"}))


def test_a_run_says_that_a_cable_goes_into_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    SimulatedSystem(MACBOOK).install(monkeypatch)
    args = main.parse(["run", "--input", "blackhole", "--output", "blackhole"])
    devices = run_devices.find_devices(args, RememberedRun(), echo="off", waiting=False)
    assert "the same virtual cable, 'BlackHole 2ch'" in devices.advice
    assert devices.advice in capsys.readouterr().err


@pytest.mark.parametrize(("echo", "warned"), [("off", True), ("cancel", False)])
def test_a_run_that_cancels_the_echo_needs_no_headphones(
    monkeypatch: pytest.MonkeyPatch, echo: str, warned: bool
):
    SimulatedSystem(MACBOOK).install(monkeypatch)
    args = main.parse(["run"])
    devices = run_devices.find_devices(args, RememberedRun(), echo=echo, waiting=False)
    assert ("Wear headphones" in devices.advice) == warned
