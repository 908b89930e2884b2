"""What automatic latency has found is remembered, for the same devices and power supply."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtvc.config.learned_sizes import (
    Conditions,
    learned_path,
    load_learned,
    rename_learned,
    save_learned,
)
from rtvc.errors import RtvcError

HERE = Conditions("USB", "Headphones", "mains")
FOUND = {("world", "world"): (20.0, 40.0), ("anna", "rvc-40k"): (150.0, 90.0)}
BY_KIND = {("", kind): sizes for (_, kind), sizes in FOUND.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))


def test_they_are_kept_for_the_voice_the_devices_and_the_power_supply() -> None:
    assert load_learned(HERE) == {}
    save_learned(HERE, FOUND)
    battery = Conditions("USB", "Headphones", "battery")
    save_learned(battery, {("world", "world"): (60.0, 70.0)})
    save_learned(HERE, {("world", "world"): (30.0, 40.0), ("bob", "rvc-40k"): (170.0, 100.0)})
    assert load_learned(HERE) == {
        ("world", "world"): (30.0, 40.0),
        ("", "world"): (30.0, 40.0),
        ("anna", "rvc-40k"): (150.0, 90.0),
        ("bob", "rvc-40k"): (170.0, 100.0),
        ("", "rvc-40k"): (170.0, 100.0),
    }
    assert load_learned(battery) == {
        ("world", "world"): (60.0, 70.0),
        ("", "world"): (60.0, 70.0),
    }
    assert load_learned(Conditions("USB", "Speaker", "mains")) == {}


def test_a_file_by_kind_of_voice_is_read_and_then_replaced() -> None:
    """As older versions have written it."""
    save_learned(HERE, {("rvc-40k", "x"): (150.0, 90.0), ("world", "x"): (20.0, 40.0)})
    text = learned_path().read_text().replace("  kind: x\n", "")
    assert "kind" not in text.replace(learned_path().read_text().split("format")[0], "")
    learned_path().write_text(text)
    assert load_learned(HERE) == BY_KIND
    save_learned(HERE, {("anna", "rvc-40k"): (160.0, 90.0)})
    assert load_learned(HERE) == {
        ("anna", "rvc-40k"): (160.0, 90.0),
        ("", "rvc-40k"): (160.0, 90.0),
        ("", "world"): (20.0, 40.0),
    }
    assert learned_path().read_text().count("voice:") == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("headroom: 40.0", "headroom: .nan"),
        lambda text: text.replace("headroom: 40.0", "headroom: 5"),
        lambda text: text.replace("headroom: 40.0", "headroom: true"),
        lambda text: text.replace("headroom: 40.0", "headroom: 45"),
        lambda text: text.replace("voice: world", "voice: [1]"),
        lambda text: text.replace("kind: world", "kind: 3"),
        lambda text: text.replace("format: 1", "format: 0"),
        lambda text: "sizes: [",
        lambda text: "\x00\xff",
        lambda text: "",
    ],
)
def test_what_is_damaged_is_not_used(change) -> None:
    save_learned(HERE, {("world", "world"): (20.0, 40.0)})
    learned_path().write_text(change(learned_path().read_text()))
    assert load_learned(HERE) == {}
    save_learned(HERE, FOUND)
    assert load_learned(HERE) == {**FOUND, **BY_KIND}


def test_a_file_of_a_newer_version_is_kept() -> None:
    save_learned(HERE, FOUND)
    newer = learned_path().read_text().replace("format: 1", "format: 2")
    learned_path().write_text(newer)
    assert load_learned(HERE) == {}
    with pytest.raises(RtvcError, match="is not replaced: a newer version of rtvc has written it"):
        save_learned(HERE, FOUND)
    assert not rename_learned("anna", "Anne")
    assert learned_path().read_text() == newer


def test_they_follow_the_new_name_of_a_voice() -> None:
    battery = Conditions("USB", "Headphones", "battery")
    save_learned(HERE, FOUND)
    save_learned(battery, {("anna", "rvc-40k"): (200.0, 90.0)})
    save_learned(HERE, {("Anne", "rvc-40k"): (400.0, 90.0)})  # of a voice that was removed
    assert rename_learned("Anna", "anne")
    assert load_learned(HERE) == {
        ("world", "world"): (20.0, 40.0),
        ("", "world"): (20.0, 40.0),
        ("anne", "rvc-40k"): (150.0, 90.0),
        ("", "rvc-40k"): (150.0, 90.0),
    }
    assert load_learned(battery)["anne", "rvc-40k"] == (200.0, 90.0)
    assert not rename_learned("anna", "bob")


def test_the_sizes_of_many_voices_with_long_names_are_kept() -> None:
    many = {(f"{number:03} {'x' * 76}", "rvc-40k"): (160.0, 90.0) for number in range(200)}
    here = Conditions("a" * 100, "b" * 100, "mains")
    save_learned(here, many)
    save_learned(here, {(f"000 {'x' * 76}", "rvc-40k"): (150.0, 80.0)})
    found = load_learned(here)
    assert len(found) == 201
    assert found[f"199 {'x' * 76}", "rvc-40k"] == (160.0, 90.0)
