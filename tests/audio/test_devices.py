from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import pytest

from rtvc.audio.device_search import find_device
from rtvc.audio.devices import (
    Device,
    accepts,
    is_virtual_cable,
    list_devices,
    supported_rates,
)
from rtvc.audio.errors import AudioError
from rtvc.audio.live import LiveEndpoint
from rtvc.audio.portaudio import (
    audio_error,
    portaudio,
    restart_portaudio,
)
from rtvc.audio.stderr_capture import capture_stderr
from rtvc.errors import UsageError
from tests.support.sound_server import SoundServer


def device(index: int, name: str, inputs: int = 1, outputs: int = 0, **facts: Any) -> Device:
    chosen = {"default_input": False, "default_output": False, "virtual_cable": False} | facts
    return Device(index, name, "Core Audio", inputs, outputs, 48000.0, **chosen)


DEVICES = [
    device(0, "MacBook Pro Microphone", default_input=True),
    device(1, "MacBook Pro Speakers", 0, 2, default_output=True),
    device(2, "Scarlett 2i2", 2, 2),
    device(3, "Scarlett 18i20", 18, 20),
    device(4, "BlackHole 2ch", 2, 2),
    device(5, "3", 1, 0),
]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (None, 0),
        ("MacBook Pro Microphone", 0),
        ("macbook pro microphone", 0),
        ("blackhole", 4),
        ("2I2", 2),
        (2, 2),
        ("2", 2),
        ("3", 5),  # a name takes precedence over an index
        (3, 5),
        (" Scarlett 2i2 ", 2),
    ],
)
def test_a_device_is_found(wanted: str | int | None, index: int) -> None:
    assert find_device(wanted, "input", DEVICES).index == index


def test_the_default_depends_on_the_direction() -> None:
    assert find_device(None, "output", DEVICES).index == 1


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("scarlett", "matches more than one input: 2 'Scarlett 2i2'.*, 3 'Scarlett 18i20'"),
        ("Scarlet 2i3", "no input named 'Scarlet 2i3'. Did you mean 2 'Scarlett 2i2'"),
        ("zzz", "no input named 'zzz'. Inputs: 0 'MacBook Pro Microphone'"),
        ("speakers", "'MacBook Pro Speakers' has no input. Inputs: 0"),
        ("77", "no input named '77'"),
        ("", "no input named ''"),
    ],
)
def test_an_unknown_or_ambiguous_device_is_refused_with_suggestions(
    wanted: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        find_device(wanted, "input", DEVICES)


def test_no_devices_at_all() -> None:
    with pytest.raises(AudioError, match="There is no microphone: plug one in"):
        find_device(None, "input", [DEVICES[1]])
    with pytest.raises(AudioError, match="There is no speaker: plug one in"):
        find_device("x", "output", [])


def test_devices_of_the_server_are_listed(sound_server: SoundServer) -> None:
    devices = {d.name: d for d in list_devices()}
    assert {"fake_mic", "fake_speaker", "fake_cable", "pulse", "default"} <= devices.keys()
    pulse = devices["pulse"]
    assert pulse.host_api == "ALSA"
    assert pulse.inputs > 0
    assert devices["default"].default_input
    assert devices["default"].default_output
    assert not pulse.virtual_cable
    assert 48000 in supported_rates(pulse, "input")
    assert 8000 in supported_rates(pulse, "output")
    assert not accepts(pulse, "input", 1)
    assert not accepts(pulse, "input", 48000, channels=1000)
    assert supported_rates(DEVICES[1], "input") == ()


def test_cables_are_known_by_name() -> None:
    for name in ("BlackHole 2ch", "CABLE Output (VB-Audio)", "Loopback Audio", "VoiceMeeter Input"):
        assert is_virtual_cable(name)
    for name in ("MacBook Pro Microphone", "Scarlett 2i2", "AirPods"):
        assert not is_virtual_cable(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": "fake_micro"}, "no input named 'fake_micro'. Did you mean .*fake_mic"),
        ({"input": "fake"}, "matches more than one input"),
        ({"rate": 3}, "Cannot open the microphone 'default': it does not support this sample"),
        ({"input_channel": 99}, "There is no channel 99 in 'default', which has 32 channels"),
        ({"output_channels": 99}, "Cannot open the speaker 'default': it has fewer channels"),
    ],
)
def test_a_device_that_cannot_be_opened_is_explained(
    sound_server: SoundServer,
    arguments: dict[str, object],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    endpoint = LiveEndpoint(**arguments)  # type: ignore[arg-type]
    with pytest.raises((UsageError, AudioError), match=message):
        endpoint.start(lambda: None)
    endpoint.stop()
    assert capfd.readouterr().err == ""


def test_a_dead_server_is_explained_and_its_output_captured(
    sound_server: SoundServer, capfd: pytest.CaptureFixture[str]
) -> None:
    sound_server.kill()
    with pytest.raises(AudioError, match="sound server does not answer") as caught:
        LiveEndpoint().start(lambda: None)
    assert "Connection refused" in caught.value.detail
    restart_portaudio()
    with pytest.raises(AudioError, match="There is no microphone"):
        LiveEndpoint().start(lambda: None)
    assert capfd.readouterr().err == ""


@pytest.mark.thorough
def test_a_suspended_device_does_not_start(sound_server: SoundServer) -> None:
    sound_server.pactl("suspend-sink", "fake_speaker", "1")
    try:
        with pytest.raises(AudioError, match="its stream does not run"):
            LiveEndpoint().start(lambda: None)
    finally:
        sound_server.pactl("suspend-sink", "fake_speaker", "0")


@pytest.mark.parametrize(
    ("code", "host", "platform", "message"),
    [
        (-9985, "", "linux", "another program is using it"),
        (-9986, "", "darwin", "Privacy & Security, Microphone"),
        (-9999, "!obj", "darwin", "Privacy & Security, Microphone"),
        (-9999, "Permission denied", "linux", "group audio"),
        (-9996, "", "linux", "no longer available"),
        (-9993, "", "linux", "cannot be used together"),
        (-9992, "", "linux", "plugged in"),
    ],
)
def test_each_error_says_what_to_do(
    code: int, host: str, platform: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    error = portaudio().PortAudioError("Error opening Stream", code, (0, -1, host))
    assert message in str(audio_error(error, "open the microphone", "'x'", microphone=True))
    assert "Microphone" not in str(audio_error(error, "open the speaker", "'x'"))


def test_an_error_is_explained_while_portaudio_is_not_initialised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sounddevice = portaudio()

    def no_host_api(index: int) -> None:
        raise sounddevice.PortAudioError(f"Error querying host API {index}")

    monkeypatch.setattr(sounddevice, "query_hostapis", no_host_api)
    error = sounddevice.PortAudioError("Error initializing PortAudio", -9999, (0, 5, "bad card"))
    assert "bad card" in str(audio_error(error, "start", "the microphone"))


def test_the_output_of_c_libraries_is_captured(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    with capture_stderr() as captured:
        libc.dprintf(2, b"ALSA lib: underrun\n")
    assert captured.text == "ALSA lib: underrun"
    libc.dprintf(2, b"printed after the block\n")
    assert capfd.readouterr().err == "printed after the block\n"


def test_output_before_an_error_is_captured_too() -> None:
    def fail() -> None:
        ctypes.CDLL(None).dprintf(2, b"last line\n")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), capture_stderr() as captured:
        fail()
    assert captured.text == "last line"


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_importing_is_light() -> None:
    output = run_python(
        "import sys, rtvc.audio.devices, rtvc.audio.live; "
        "print([m for m in ('sounddevice', 'rtmixer', 'soundfile') if m in sys.modules])"
    )
    assert output == "[]"


def test_a_missing_library_is_explained() -> None:
    output = run_python(
        "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
        "from rtvc.audio.devices import list_devices\n"
        "from rtvc.errors import RtvcError\n"
        "try: list_devices()\n"
        "except RtvcError as error: print(error)\n"
    )
    assert "PortAudio library is missing" in output
    assert "libportaudio2" in output or "brew" in output


def test_without_rtmixer_the_callback_is_python(sound_server: SoundServer) -> None:
    output = run_python(
        "import sys; sys.modules['rtmixer'] = None\n"
        "from rtvc.audio.live import LiveEndpoint\n"
        "endpoint = LiveEndpoint(); endpoint.start(lambda: None)\n"
        "print(endpoint.wait(480, 1.0) >= 480, 'rtvc.audio.callback_stream' in sys.modules)\n"
        "endpoint.stop()\n"
    )
    assert output == "True True"


_FULL = """
import os, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from rtvc.audio.portaudio import portaudio
from rtvc.audio.stderr_capture import capture_stderr
with capture_stderr() as captured:
    os.write(2, b"not shown")
print(portaudio().__name__, repr(captured.text))
os.write(2, b"shown")
"""


def test_audio_works_while_no_file_can_be_written() -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", _FULL],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PULSE_SERVER": "/nonexistent"},
    )
    assert (done.stdout, done.stderr) == ("sounddevice ''\n", "shown")
