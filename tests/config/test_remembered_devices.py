"""A remembered device is found again exactly, or not at all."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvc.audio.device_search import find_identity, identity_of
from rtvc.audio.devices import Device, Direction
from rtvc.audio.errors import AudioError
from rtvc.config.remembered import (
    RememberedRun,
    load_remembered,
    read_remembered,
    remembered_path,
    save_remembered,
)
from rtvc.device_choice import SYSTEM_DEFAULT, DeviceIdentity
from rtvc.errors import escaped
from rtvc.live.devices import DeviceSelection, device_label, input_label
from tests.audio.device_lists import LINUX, MACBOOK, TWO_RECEIVERS, listed

# The directions in which a device of `DeviceSelection` is used.
USES: dict[str, Direction] = {"input": "input", "output": "output", "monitor": "output"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    return tmp_path


def found(identity: DeviceIdentity | None, direction: Direction, devices: list[Device]) -> int:
    """Return the index of a device, -1 if it is not found."""
    assert identity is not None
    try:
        return find_identity(identity, direction, devices).index
    except AudioError:
        return -1


def remembered(use: str, device: Device, devices: list[Device]) -> DeviceIdentity | None:
    """Return a device as the next run reads it."""
    identity = identity_of(device, USES[use], devices)
    save_remembered(RememberedRun(**{use: identity}))  # type: ignore[arg-type]
    again: DeviceIdentity | None = getattr(read_remembered(), use)
    assert again == identity
    return again


@pytest.mark.parametrize("devices", [MACBOOK, TWO_RECEIVERS, LINUX])
def test_every_device_is_found_again_in_both_directions(devices: list[Device]):
    for use, direction in USES.items():
        for device in devices:
            if device.channels(direction):
                assert found(remembered(use, device, devices), direction, devices) == device.index


_ODD = [" ", "  ", "\t", "\n", "\r", "\x00", "\x1b[31m", "\x85", "\u2028", "\ufeff", "\u202e"]
_ODD += ["#", ": ", "'", '"', "\\", "\\x1b", "- ", "~", "null", "12", "yes", "1e3", "%", "é", "🎤"]
# Few names, and names that are made from few pieces, so that equal and similar ones are common.
_PIECES = st.lists(st.sampled_from([*_ODD, "USB", "usb", "Mikro", "Mikro 2"]), max_size=4)
_NAMES = st.one_of(
    st.text(min_size=1, max_size=12), _PIECES.map("".join).filter(bool), st.just("USB  Audio")
)
_ROWS = st.tuples(
    _NAMES, st.sampled_from(["ALSA", "JACK", " Core: Audio "]), st.integers(0, 2), st.integers(0, 2)
)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(_ROWS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_name_is_the_same_device_or_none(
    data: st.DataObject, rows: list[tuple[str, str, int, int]], chance: random.Random
) -> None:
    rows += data.draw(st.lists(st.sampled_from(rows), max_size=3))  # several of one name
    devices = listed(*rows)
    uses = {
        use: data.draw(st.sampled_from(usable))
        for use, direction in USES.items()
        if (usable := [device for device in devices if device.channels(direction)])
    }
    run = RememberedRun(
        **{  # type: ignore[arg-type]
            use: identity_of(device, USES[use], devices) for use, device in uses.items()
        }
    )
    with tempfile.TemporaryDirectory() as name:
        os.environ["RTVC_CONFIG_DIR"] = name
        save_remembered(run)
        again, warning = load_remembered()
    assert (again, warning) == (run, "")
    # Other devices come and go, and every index changes.
    left = [row for row in enumerate(rows) if chance.random() < 0.7]
    new = data.draw(st.lists(_ROWS, max_size=3))
    mixed: list[tuple[int, tuple[str, str, int, int]]] = [(-1, row) for row in new]
    for row in left:
        # Equal devices keep their order: it is all that tells them apart.
        at = max((n for n, one in enumerate(mixed) if one[0] >= 0), default=-1) + 1
        mixed.insert(chance.randint(at, len(mixed)), row)
    now = listed(*(row for _, row in mixed))
    for use, device in uses.items():
        direction = USES[use]

        def alike(one: Device, device: Device = device, direction: Direction = direction) -> bool:
            same = (one.name, one.host_api) == (device.name, device.host_api)
            return same and bool(one.channels(direction))

        assert found(getattr(again, use), direction, devices) == device.index
        place = found(getattr(again, use), direction, now)
        if place >= 0:
            assert alike(now[place])
        equal_before = sum(map(alike, devices))
        equal_now = [one for one in now if alike(one)]
        if len(equal_now) == equal_before and all(mixed[one.index][0] >= 0 for one in equal_now):
            assert mixed[place][0] == device.index, "none of them has gone"
        elif len(equal_now) != equal_before:
            assert place == -1, "which of them is left cannot be told"


def test_of_equal_devices_the_right_one_or_none_is_found():
    second = remembered("input", TWO_RECEIVERS[4], TWO_RECEIVERS)
    assert second == DeviceIdentity("Wireless GO II RX", "Core Audio", 1, 2)
    renumbered = TWO_RECEIVERS[1:]
    moved = listed(*((d.name, d.host_api, d.inputs, d.outputs) for d in renumbered))
    assert found(second, "input", moved) == 3
    for alone in (TWO_RECEIVERS[:3], TWO_RECEIVERS[2:]):
        with pytest.raises(AudioError, match="There is one input named 'Wireless GO II RX', but"):
            find_identity(second, "input", alone)
    with pytest.raises(AudioError, match="The input 'Wireless GO II RX' is not connected"):
        find_identity(second, "input", MACBOOK)
    only = remembered("output", MACBOOK[2], MACBOOK)
    assert only is not None
    twice = [*MACBOOK, *MACBOOK]
    with pytest.raises(AudioError, match="There are 2 outputs named 'BlackHole 2ch', but before"):
        find_identity(only, "output", twice)


def test_a_device_that_resembles_a_missing_one_is_not_taken():
    mikro = remembered("input", LINUX[2], LINUX)
    assert found(mikro, "input", [d for d in LINUX if d.name != "Mikro"]) == -1
    spaced = remembered("output", TWO_RECEIVERS[5], TWO_RECEIVERS)
    assert found(spaced, "output", TWO_RECEIVERS[6:]) == -1
    jack = remembered("input", LINUX[5], LINUX)
    assert found(jack, "input", LINUX[:5]) == -1


def test_the_file_can_be_read_and_its_keys_explain_themselves(folder: Path):
    save_remembered(
        RememberedRun(
            DeviceIdentity(" Döner: #1\x1b", "Core Audio", 1, 2), DeviceIdentity("USB  Audio")
        )
    )
    text = remembered_path().read_text()
    assert 'input: " D\\xF6ner: #1\\e"\n' in text
    assert "input_host_api: Core Audio\ninput_ordinal: 2 of 2\n" in text
    assert "output: USB  Audio\nmonitor: ''\n" in text


def test_a_monitor_that_follows_the_system_stays_one(folder: Path):
    save_remembered(RememberedRun(monitor=SYSTEM_DEFAULT))
    assert "monitor: ''\nmonitor_default: " in remembered_path().read_text()
    assert read_remembered().monitor == SYSTEM_DEFAULT
    assert DeviceSelection.of(read_remembered()).remembered(RememberedRun()) == read_remembered()
    assert device_label(SYSTEM_DEFAULT) == "system default"


def test_files_of_older_versions_are_read(folder: Path):
    remembered_path().write_text("input: Mikro\noutput: ''\nmonitor: '2'\npitch: 2\n")
    run = read_remembered()
    assert (run.input, run.output) == (DeviceIdentity("Mikro"), None)
    assert found(run.input, "input", LINUX) == 2
    assert found(run.input, "input", LINUX[:2]) == -1, "it was a part of a name"
    assert found(run.monitor, "output", LINUX) == -1, "it was a number"
    assert found(DeviceIdentity("Built-in Audio"), "input", LINUX) == -1, "there are two"


@pytest.mark.parametrize("ordinal", ["0 of 2", "3 of 2", "2", "-1 of 2", "1 of 99999", "x", ""])
def test_a_wrong_ordinal_is_refused(folder: Path, ordinal: str):
    remembered_path().write_text(f"input: Mikro\ninput_ordinal: '{ordinal}'\n")
    run, warning = load_remembered()
    assert run == RememberedRun()
    assert f"'input_ordinal' is '{ordinal}', but must be like '1 of 2'" in warning


def test_what_was_typed_is_not_remembered_before_it_is_found():
    before = RememberedRun(DeviceIdentity("Mikro", "ALSA"), DeviceIdentity("pulse", "ALSA"))
    typed = DeviceSelection("2", "", "ears")
    assert typed.remembered(before) == RememberedRun(before.input)


def test_names_are_shown_without_control_characters():
    assert escaped("a\x1b[2J\n\u202eb é🎤") == "a\\x1b[2J\\n\\u202eb é🎤"
    assert device_label(DeviceIdentity("a\x07", "ALSA", 1, 2)) == "a\\x07 (2 of 2)"
    assert device_label("") == ""


@pytest.mark.parametrize("channel", [1, 18, "loudest", "mix"])
def test_the_channel_is_remembered_with_its_microphone(channel: int | str):
    microphone = DeviceIdentity("Scarlett 18i20 USB", "Core Audio")
    save_remembered(RememberedRun(microphone, input_channel=channel))
    selection = DeviceSelection.of(read_remembered())
    assert selection.channel == channel
    assert selection.with_input(microphone).channel == channel
    assert selection.with_input("").channel == "mix"
    assert input_label(selection).startswith("Scarlett 18i20 USB")
    assert (", " in input_label(selection)) == (channel != "mix")


def test_a_channel_that_is_none_is_the_mix(folder: Path):
    remembered_path().write_text("input_channel: left\npitch: 2\n")
    run, warning = load_remembered()
    assert (run.input_channel, run.settings.pitch, warning) == ("mix", 2, "")
