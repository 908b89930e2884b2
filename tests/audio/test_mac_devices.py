"""Devices as macOS lists them: found, lost, back again, and another default."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from rtvc.audio.device_search import find_device, identity_of
from rtvc.audio.devices import Device
from rtvc.audio.endpoint import DeviceLostError
from rtvc.audio.errors import AudioError
from rtvc.audio.live import LiveEndpoint
from rtvc.audio.monitor import Monitor, open_monitor
from rtvc.cli import run_devices
from rtvc.cli.main import main
from rtvc.device_choice import SYSTEM_DEFAULT, DeviceIdentity
from tests.audio.device_lists import (
    BUILT_IN,
    LINUX,
    MACBOOK,
    STUDIO,
    THREE_MICROPHONES,
    TWO_RECEIVERS,
    listed,
)
from tests.support.simulated_system import SimulatedSystem

pytestmark = pytest.mark.slow

FOLLOWS_WITHIN_S = 3.0

Begin = Callable[..., LiveEndpoint]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    started: list[LiveEndpoint] = []

    def start(system: SimulatedSystem, *choices: DeviceIdentity | str | None) -> LiveEndpoint:
        system.install(monkeypatch)
        endpoint = LiveEndpoint(*choices)
        started.append(endpoint)
        endpoint.start(lambda: None)
        return endpoint

    yield start
    for endpoint in started:
        endpoint.stop()


def loss(endpoint: LiveEndpoint, within_s: float) -> str:
    """Return why the devices are lost; fail if they are not."""
    with pytest.raises(DeviceLostError) as lost:
        endpoint.wait(1_000_000, within_s)
    return str(lost.value)


def in_use(endpoint: LiveEndpoint) -> tuple[str, str]:
    assert endpoint.devices
    return endpoint.devices[0].name, endpoint.devices[1].name


@pytest.mark.parametrize("devices", [MACBOOK, TWO_RECEIVERS, THREE_MICROPHONES, STUDIO])
def test_every_device_is_found_by_its_identity_in_another_order(devices: list[Device]) -> None:
    moved = [devices[0], *listed(("New", "Core Audio", 2, 2)), *devices[1:]]
    for direction in ("input", "output"):
        for device in devices:
            if device.channels(direction):
                identity = identity_of(device, direction, devices)
                assert find_device(identity, direction, moved) is device


@pytest.mark.parametrize("language", BUILT_IN)
def test_devices_are_found_in_every_language(language: str) -> None:
    microphone, speakers, headphones = BUILT_IN[language]
    devices = listed(
        (microphone, "Core Audio", 1, 0),
        (speakers, "Core Audio", 0, 2),
        (headphones, "Core Audio", 0, 2),
    )
    for name in (microphone, microphone.upper()):
        assert find_device(name, "input", devices).name == microphone
    for name in (speakers, headphones):
        assert find_device(name, "output", devices).name == name


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Anna\N{RIGHT SINGLE QUOTATION MARK}s AirPods Pro", "anna's airpods"),
        (
            "E\N{COMBINING ACUTE ACCENT}couteurs externes",
            "\N{LATIN SMALL LETTER E WITH ACUTE}couteurs",
        ),
    ],
)
def test_a_name_is_found_as_keys_type_it(name: str, typed: str) -> None:
    devices = listed((name, "Core Audio", 0, 2), ("MacBook Pro Speakers", "Core Audio", 0, 2))
    assert find_device(typed, "output", devices).name == name


@pytest.mark.parametrize(
    ("choices", "openings"),
    [
        ((None, None), [("MacBook Pro Microphone",), ("MacBook Pro Speakers",)]),
        (("Scarlett", "Scarlett"), [("Scarlett 18i20 USB",)]),
        ((None, "BlackHole"), [("MacBook Pro Microphone",), ("BlackHole 2ch",)]),
    ],
)
def test_a_start_opens_one_stream_for_each_device_and_asks_for_no_format(
    begin: Begin, choices: tuple[str | None, str | None], openings: list[tuple[str, ...]]
) -> None:
    system = SimulatedSystem(MACBOOK)
    begin(system, *choices)
    assert system.openings == openings
    assert system.questions == []


def test_an_input_is_opened_at_its_own_rate(begin: Begin) -> None:
    system = SimulatedSystem(MACBOOK)
    for one, rate in zip(system.hardware, (24_000.0, 44_100.0, 48_000.0, 44_100.0), strict=True):
        one.listed = replace(one.listed, rate=rate)
    begin(system)
    begin(system, "Scarlett", "Scarlett")
    specs = [stream.spec for stream in system.streams]
    assert [(spec.kind, spec.rate, spec.block) for spec in specs] == [
        ("input", 24_000, 240),
        ("output", 48_000, 480),
        ("duplex", 44_100, 441),
    ]
    assert begin(system, "Scarlett", "BlackHole").wait(480, 1.0) >= 480


@pytest.mark.parametrize(("choices", "questions"), [(("pulse", "pulse"), 2), (("Mikro", "HDA"), 2)])
def test_elsewhere_each_device_is_asked_for_one_rate_it_accepts(
    begin: Begin, choices: tuple[str, str], questions: int
) -> None:
    system = SimulatedSystem(LINUX)
    begin(system, *choices)
    assert len(system.questions) == questions


def test_a_device_that_opens_with_all_channels_at_one_rate_is_asked_each_format_once(
    begin: Begin,
) -> None:
    system = SimulatedSystem(listed(("Mixer", "ALSA", 18, 0), ("Speakers", "ALSA", 0, 2)))
    system.hardware[0].listed = replace(system.hardware[0].listed, rate=44_100.0)
    system.refuses = lambda direction, rate, channels: (
        direction == "input" and (rate, channels) != (44_100, 18)
    )
    begin(system)
    assert len(set(system.questions)) == len(system.questions)
    assert system.questions[-1] == ("Speakers", "output", 48_000, 2)
    recorded = system.open_streams[0].spec
    assert recorded.input is not None
    assert (recorded.rate, recorded.input.channels) == (44_100, 18)


def test_listing_opens_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = SimulatedSystem(TWO_RECEIVERS)
    system.install(monkeypatch)
    assert main(["devices"]) == 0
    assert "AirPods Pro" in capsys.readouterr().out
    assert main(["devices", "--json"]) == 0
    assert system.openings == []
    assert system.questions == []


def test_a_headset_of_two_devices_comes_back_with_both(begin: Begin) -> None:
    system = SimulatedSystem(TWO_RECEIVERS)
    endpoint = begin(system, "AirPods", "AirPods")
    before = endpoint.identities
    gone = system.remove("AirPods Pro")
    assert "was lost" in loss(endpoint, 1.0)
    assert not endpoint.reconnect(0.3)
    for device in reversed(gone):
        system.connect(device, at=0)
    assert endpoint.reconnect(2.0)
    assert endpoint.identities == before
    assert endpoint.devices
    assert (endpoint.devices[0].inputs, endpoint.devices[1].outputs) == (1, 2)


def test_a_headset_that_starts_slowly_is_opened_once(begin: Begin) -> None:
    system = SimulatedSystem(TWO_RECEIVERS)
    endpoint = begin(system, None, "AirPods")
    for seconds in (1.2, 2.5):  # until it has changed from music to calls
        system.start_after("AirPods Pro", seconds)
        system.openings.clear()
        system.make_default_input("AirPods Pro" if seconds < 2 else "Wireless GO II RX")
        loss(endpoint, FOLLOWS_WITHIN_S)
        assert endpoint.reconnect(seconds + 1.0)
        assert len(system.openings) == 2


def test_a_start_waits_for_a_headset_that_starts_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SimulatedSystem(TWO_RECEIVERS)
    system.install(monkeypatch)
    system.start_after("AirPods Pro", 2.5)
    endpoint = LiveEndpoint("AirPods", None, wait_for_devices=True)
    endpoint.start(lambda: None)
    try:
        assert endpoint.devices
        assert endpoint.wait(480, 1.0) >= 480
    finally:
        endpoint.stop()


def test_one_of_three_equal_microphones_is_never_mistaken(begin: Begin) -> None:
    system = SimulatedSystem(THREE_MICROPHONES)
    second = DeviceIdentity("USB Audio Device", "Core Audio", 1, 3)
    endpoint = begin(system, second)
    microphone = system.hardware[1]
    system.hardware.remove(microphone)
    loss(endpoint, 1.0)
    assert not endpoint.reconnect(1.2)  # which of the other two it would be cannot be told
    system.hardware.insert(1, microphone)
    assert endpoint.reconnect(2.0)
    assert endpoint.identities
    assert endpoint.identities[0] == second
    assert system.open_streams[0].used == [microphone]


def test_another_default_output_is_followed(begin: Begin) -> None:
    system = SimulatedSystem(MACBOOK)
    endpoint = begin(system)
    _, _, headphones = BUILT_IN["German"]
    system.connect(listed((headphones, "Core Audio", 0, 2))[0])
    system.make_default_output(headphones)
    began = time.monotonic()
    assert loss(endpoint, FOLLOWS_WITHIN_S) == "The system has another default output now."
    assert endpoint.reconnect(1.0)
    assert time.monotonic() - began < FOLLOWS_WITHIN_S
    assert in_use(endpoint) == ("MacBook Pro Microphone", headphones)
    assert endpoint.hint == f"The output is {headphones!r} now, the system's default."
    system.remove(headphones)
    loss(endpoint, 1.0)
    assert endpoint.reconnect(2.0)
    assert in_use(endpoint) == ("MacBook Pro Microphone", "MacBook Pro Speakers")


def test_another_default_input_is_followed_unless_it_is_the_output_s_own_cable(
    begin: Begin,
) -> None:
    system = SimulatedSystem(MACBOOK)
    endpoint = begin(system, None, "BlackHole")
    system.make_default_input("BlackHole 2ch")
    loss(endpoint, FOLLOWS_WITHIN_S)
    assert endpoint.reconnect(4.0)
    assert in_use(endpoint) == ("MacBook Pro Microphone", "BlackHole 2ch")
    assert endpoint.wait(480, 1.0) >= 480
    microphones = system.remove("MacBook Pro Microphone")
    loss(endpoint, 1.0)
    assert not endpoint.reconnect(0.5)
    system.connect(microphones[0])
    assert endpoint.reconnect(4.0)
    system.make_default_input("Scarlett 18i20 USB")
    loss(endpoint, FOLLOWS_WITHIN_S)
    assert endpoint.reconnect(4.0)
    assert in_use(endpoint) == ("Scarlett 18i20 USB", "BlackHole 2ch")


def test_the_output_s_own_cable_is_an_input_only_by_its_name(begin: Begin) -> None:
    system = SimulatedSystem(MACBOOK)
    system.make_default_input("BlackHole 2ch")
    system._restart()
    with pytest.raises(AudioError, match="default input is 'BlackHole 2ch', into which rtvc plays"):
        begin(system, None, "BlackHole")
    assert in_use(begin(system, "BlackHole", "BlackHole")) == ("BlackHole 2ch", "BlackHole 2ch")
    assert in_use(begin(system, None, "Speakers")) == ("BlackHole 2ch", "MacBook Pro Speakers")


def test_a_default_that_changes_between_list_and_start_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = SimulatedSystem(MACBOOK)
    system.install(monkeypatch)
    system.make_default_output("Scarlett 18i20 USB")  # as while a voice loads
    endpoint = LiveEndpoint()
    endpoint.start(lambda: None)
    try:
        assert in_use(endpoint)[1] == "MacBook Pro Speakers"
        loss(endpoint, FOLLOWS_WITHIN_S)
        assert endpoint.reconnect(1.0)
        assert in_use(endpoint)[1] == "Scarlett 18i20 USB"
    finally:
        endpoint.stop()


def test_devices_that_you_have_chosen_stay_when_the_default_changes(begin: Begin) -> None:
    system = SimulatedSystem(STUDIO)
    endpoint = begin(system, "Aggregate", "Studio")
    system.make_default_output("BlackHole 2ch")
    system.make_default_input("iPhone Microphone")
    time.sleep(1.3)
    assert endpoint.wait(480, 1.0) >= 480
    assert system.restarts == 0
    assert len(system.openings) == 2


def test_a_headset_that_halves_its_rate_is_lost_and_opened_again(begin: Begin) -> None:
    system = SimulatedSystem(TWO_RECEIVERS)
    endpoint = begin(system, "AirPods", "AirPods")
    time.sleep(0.5)
    system.run_at("AirPods Pro", 0.5)
    message = loss(endpoint, 3.5)
    assert "instead of 48000 Hz, as when a call changes the quality" in message
    measured = float(message.partition("runs at about ")[2].partition(" Hz")[0])
    assert measured == pytest.approx(24_000, rel=0.05)
    system.run_at("AirPods Pro", 1.0)
    assert endpoint.reconnect(2.0)
    assert endpoint.wait(48_000, 2.5) >= 48_000


@pytest.mark.parametrize(
    ("asked", "remembered", "choice"),
    [
        ("default", None, SYSTEM_DEFAULT),
        (None, SYSTEM_DEFAULT, SYSTEM_DEFAULT),
        ("blackhole", SYSTEM_DEFAULT, DeviceIdentity("BlackHole 2ch", "Core Audio")),
    ],
)
def test_a_monitor_can_be_the_default_output(
    monkeypatch: pytest.MonkeyPatch,
    asked: str | None,
    remembered: DeviceIdentity | None,
    choice: DeviceIdentity,
) -> None:
    SimulatedSystem(MACBOOK).install(monkeypatch)
    found = run_devices._monitor(asked, remembered)
    assert found is not None
    assert found.choice == choice
    if choice == SYSTEM_DEFAULT:
        assert found.name == "MacBook Pro Speakers"
    assert run_devices._monitor("off", remembered) is None


def test_a_monitor_follows_the_default_output(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SimulatedSystem(MACBOOK)
    system.install(monkeypatch)
    monitor: Monitor = open_monitor(SYSTEM_DEFAULT, lambda: None)
    monitor.start(lambda: (0, 0))
    try:
        await_(lambda: monitor.name == "MacBook Pro Speakers" and bool(system.open_streams))
        _, _, headphones = BUILT_IN["French"]
        system.connect(listed((headphones, "Core Audio", 0, 2))[0])
        system.make_default_output(headphones)
        await_(lambda: monitor.name == headphones and bool(system.open_streams))
        await_(lambda: not monitor.error)
    finally:
        monitor.stop()


def test_a_named_monitor_comes_back_when_it_is_connected_again(
    monkeypatch: pytest.MonkeyPatch, begin: Begin
) -> None:
    system = SimulatedSystem(TWO_RECEIVERS)
    endpoint = begin(system, None, "USB Audio")
    monitor = open_monitor("AirPods", lambda: None)
    monitor.start(lambda: (0, 0))
    try:
        await_(lambda: len(system.open_streams) == 3)
        gone = system.remove("AirPods Pro")
        await_(lambda: "The monitor is silent." in monitor.error)
        system.connect(listed(("Keyboard with a speaker", "Core Audio", 0, 2))[0])
        assert endpoint.wait(48_000, 1.2) >= 48_000
        assert len(system.openings) == 3  # a restart would interrupt the main streams
        for device in gone:
            system.connect(device)
        await_(lambda: not monitor.error)
        assert system.restarts == 1
        loss(endpoint, 1.0)
        assert endpoint.reconnect(1.0)
        assert len(system.open_streams) == 3
    finally:
        monitor.stop()


def test_a_monitor_that_is_the_main_output_interrupts_nothing(
    monkeypatch: pytest.MonkeyPatch, begin: Begin
) -> None:
    system = SimulatedSystem(MACBOOK)
    endpoint = begin(system)
    monitor = open_monitor(
        DeviceIdentity("MacBook Pro Speakers", "Core Audio"),
        lambda: endpoint.devices and endpoint.devices[1],
    )
    monitor.start(lambda: (0, 0))
    try:
        await_(lambda: "is already the output" in monitor.error)
        system.connect(listed(("iPhone Microphone", "Core Audio", 1, 0))[0])
        time.sleep(1.2)
        assert system.restarts == 0
    finally:
        monitor.stop()


def test_a_monitor_that_starts_slowly_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SimulatedSystem(TWO_RECEIVERS)
    system.install(monkeypatch)
    system.start_after("AirPods Pro", 1.2)
    monitor = open_monitor("AirPods", lambda: None)
    monitor.start(lambda: (0, 0))
    try:
        await_(lambda: any(stream.counters().frames for stream in system.streams))
        assert not monitor.error
        assert len(system.openings) == 1
        system.remove("AirPods Pro")
        await_(lambda: "The monitor is silent." in monitor.error)
    finally:
        monitor.stop()


def await_(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most the time in which a default is followed."""
    end = time.monotonic() + FOLLOWS_WITHIN_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
