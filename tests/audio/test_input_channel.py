"""The inputs of an interface can be chosen; inputs that cancel each other are told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rtvc.audio.live import LiveEndpoint
from rtvc.device_choice import channel_label, check_channel, parse_channel
from rtvc.errors import UsageError
from tests.audio.signals import noise_below
from tests.cli.test_main import rtvc_command
from tests.support.sound_server import RATE, SoundServer

STEREO = "front-left,front-right"
EIGHT = f"{STEREO},rear-left,rear-right,front-center,lfe,side-left,side-right"
TONES_HZ = 200 * np.arange(1, 9)


@pytest.mark.parametrize(
    ("text", "channel", "label"),
    [("mix", "mix", ""), ("loudest", "loudest", "loudest channel"), ("12", 12, "channel 12")],
)
def test_a_channel_is_named_by_its_number(text: str, channel: int | str, label: str):
    assert parse_channel(text) == channel
    assert channel_label(channel) == label


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "left", "\u0663", "9" * 40])
def test_other_channels_are_refused(text: str):
    with pytest.raises(UsageError, match=r"--input-channel|There is no channel 9{9} in"):
        check_channel(parse_channel(text), 2, "'x'")


@pytest.fixture
def interface(sound_server: SoundServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight inputs behind the device 'pulse': a tone on each, the sixth one loudest."""
    times = np.arange(20 * RATE)[:, None] / RATE
    gains = np.where(TONES_HZ == 1200, 0.5, 0.1)
    sound = (gains * np.sin(2 * np.pi * TONES_HZ * times)).astype(np.float32)
    monkeypatch.setenv("PULSE_SOURCE", "interface.monitor")
    with (
        sound_server.null_sink("interface", EIGHT),
        sound_server.speaking(sound, "interface", EIGHT),
    ):
        yield


def frequency(samples: np.ndarray) -> float:
    """Return the frequency of a tone in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


def heard(endpoint: LiveEndpoint) -> float:
    """Return the frequency of the newest 0.2 s of input."""
    assert endpoint.wait(RATE // 2, 5.0) >= RATE // 2
    return frequency(endpoint.read(RATE // 2)[-RATE // 5 :])


@pytest.mark.parametrize(("channel", "tone"), [(3, 600), (8, 1600), ("loudest", 1200)])
def test_the_chosen_channel_is_used_and_found_again(
    interface: None, channel: int | str, tone: int
) -> None:
    endpoint = LiveEndpoint("pulse", "fake_speaker", input_channel=channel)
    endpoint.start(lambda: None)
    try:
        assert heard(endpoint) == tone
        if channel == 3:
            assert endpoint.reconnect(5.0)
            assert heard(endpoint) == tone
    finally:
        endpoint.stop()


def test_a_channel_is_shown_and_remembered(
    interface: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    words = ("--input", "pulse", "--output", "fake_speaker", "--input-channel")
    rtvc_command(*words, "5", "--seconds", "0.2")
    assert "remembered input, channel 5\n" in rtvc_command("devices").stdout
    done = rtvc_command(
        *("--record", "in.wav", "--record-what", "input", "--seconds", "1", "--stats", "f.json")
    )
    assert "Input: 'pulse' (channel 5), output: 'fake_speaker'." in done.stderr
    assert json.loads(Path("f.json").read_text())["devices"]["input_channel"] == "5"
    samples, _ = soundfile.read("in-input.wav")
    assert frequency(samples[-RATE // 2 :]) == 1000
    other = rtvc_command("--input", "fake_mic", "--seconds", "0.2")
    assert "Input: 'fake_mic', output" in other.stderr, "the channel was that of 'pulse'"


def test_inputs_that_cancel_each_other_are_told(
    sound_server: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = 0.3 * noise_below(3000, RATE, 10 * RATE)
    sound = np.stack([voice, -0.8 * voice], 1).astype(np.float32)
    monkeypatch.setenv("PULSE_SOURCE", "inverted.monitor")
    with ExitStack() as stack:
        stack.enter_context(sound_server.null_sink("inverted", STEREO))
        stack.enter_context(sound_server.speaking(sound, "inverted", STEREO))
        endpoint = LiveEndpoint("pulse", "fake_speaker")
        endpoint.start(lambda: None)
        stack.callback(endpoint.stop)
        end = time.monotonic() + 4.0
        while not endpoint.hint and time.monotonic() < end:
            endpoint.wait(4800, 1.0)
            samples = endpoint.read(4800)
        assert endpoint.hint == (
            "The channels of 'pulse' cancel each other, as if one were inverted, so channel 1 "
            "alone is used: choose it with --input-channel 1."
        )
        assert endpoint.health().cancelled_channel == 1
        level = np.sqrt(np.mean(samples**2) / np.mean(voice**2))
        assert 20 * np.log10(level) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("choice", [1.5, True, "loud", "1", None, 0, -1, 3])
def test_what_is_no_channel_is_refused(choice: Any) -> None:
    with pytest.raises(UsageError, match=r"^(The input channel is|There is no channel) .*\.$"):
        check_channel(choice, 2, "'x'")
