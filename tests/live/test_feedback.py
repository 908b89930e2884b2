"""Advice on devices that make a loop, whatever the language of their names."""

from __future__ import annotations

import unicodedata

import pytest

from rtvc.live.feedback import Side, feedback_advice, loop_warning
from tests.audio.device_lists import BUILT_IN


def advice(microphone: str, speaker: str) -> str:
    return feedback_advice(Side(microphone), Side(speaker))


@pytest.mark.parametrize("language", BUILT_IN)
def test_the_microphone_and_speakers_of_a_macbook_howl_in_every_language(language: str):
    microphone, speakers, headphones = BUILT_IN[language]
    assert "Wear headphones" in advice(microphone, speakers)
    decomposed = unicodedata.normalize("NFD", microphone), unicodedata.normalize("NFD", headphones)
    assert "Wear headphones" in advice(decomposed[0], speakers)
    for name in (headphones, decomposed[1]):
        both = Side(microphone, "built-in"), Side(name, "built-in")
        assert feedback_advice(*both) == ""


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
    assert bool(loop_warning(microphone, speaker)) == howls


@pytest.mark.parametrize(
    ("microphone", "speaker"),
    [
        (Side("BlackHole 2ch"), Side("BlackHole 2ch")),
        (Side("ZoomAudioDevice", "virtual"), Side("ZoomAudioDevice", "virtual")),
    ],
)
def test_a_cable_into_itself_is_a_certain_loop(microphone: Side, speaker: Side):
    found = loop_warning(microphone, speaker)
    assert "same virtual cable" in found
    assert "Choose your microphone as the input." in found


def test_the_monitor_of_the_output_is_the_output():
    assert "rtvc's own output" in advice("Monitor of Speakers", "Speakers")


def test_unknown_devices_give_a_hint():
    assert "If you hear" in advice("default", "pulse")
    assert loop_warning(Side("default"), Side("pulse")) == ""
