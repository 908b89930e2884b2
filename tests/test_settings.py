"""The knobs: ranges, types, messages, and what is generated from them."""

import dataclasses
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvc.errors import UsageError
from rtvc.settings import KNOBS, Knob, SettingError, Settings, find_knob, grouped_knobs

NUMBERS = [knob for knob in KNOBS.values() if knob.kind in (float, int)]


@pytest.mark.parametrize("knob", KNOBS.values(), ids=list(KNOBS))
def test_knob_is_complete(knob: Knob):
    assert knob.check(knob.default) == knob.default
    assert knob.help[0].isupper()
    assert knob.help.endswith(".")
    assert type(knob.default) is knob.kind


@pytest.mark.parametrize("knob", NUMBERS, ids=[knob.name for knob in NUMBERS])
def test_both_ends_are_allowed_and_nothing_beyond(knob: Knob):
    assert math.isfinite(knob.high - knob.low)
    for end in (knob.low, knob.high):
        assert getattr(Settings().replace(**{knob.name: end}), knob.name) == end
    for beyond, nearest in ((knob.low - 1, knob.low), (knob.high + 1, knob.high)):
        with pytest.raises(SettingError, match=knob.name) as caught:
            Settings().replace(**{knob.name: beyond})
        assert f"nearest: {nearest:g}" in str(caught.value)
        assert caught.value.name == knob.name


@pytest.mark.parametrize("value", ["3", None, True, [1], math.nan, math.inf])
def test_a_number_must_be_a_number(value: object):
    with pytest.raises(UsageError, match="pitch is "):
        Settings(pitch=value)  # type: ignore[arg-type]


def test_a_choice_names_the_nearest():
    with pytest.raises(SettingError, match="nearest: muted"):
        Settings(mode="mute")


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(SettingError, match="no setting 'formnat'; nearest: formant"):
        find_knob("formnat")
    with pytest.raises(SettingError, match="nearest: pitch"):
        Settings().replace(pich=1.0)


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().pitch = 2.0  # type: ignore[misc]


def test_a_whole_number_stays_whole():
    assert Settings(seed=3.0).seed == 3  # type: ignore[arg-type]
    assert isinstance(Settings(seed=3.0).seed, int)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="whole number"):
        Settings(seed=3.5)  # type: ignore[arg-type]


@given(st.sampled_from(NUMBERS), st.floats(0, 1))
def test_a_typed_value_reads_back(knob: Knob, where: float):
    value = knob.low + where * (knob.high - knob.low)
    value = round(value) if knob.kind is int else value
    assert knob.parse(repr(value)) == value


@given(st.text())
def test_any_typed_text_is_a_value_or_a_sentence(text: str):
    for knob in KNOBS.values():
        message = knob.name
        try:
            assert knob.check(knob.parse(text)) == knob.parse(text)
        except SettingError as error:
            message = str(error)
        assert message.startswith(knob.name)


def test_changed_is_what_differs_from_the_defaults():
    settings = Settings(pitch=3.0, whisper=True)
    assert settings.changed() == {"pitch": 3.0, "whisper": True}
    assert Settings().replace(**settings.changed()) == settings


def test_shape_tells_which_changes_need_a_new_chain():
    base = Settings()
    for knob in NUMBERS:
        value = knob.low if knob.default != knob.low else knob.high
        other = base.replace(**{knob.name: value})
        assert (other.shape != base.shape) == knob.shape


def test_every_knob_is_in_one_group_in_order():
    groups = grouped_knobs()
    assert [knob.name for knobs in groups.values() for knob in knobs] == list(KNOBS)
    assert list(groups) == ["voice", "microphone", "output", "monitor", "timing"]
    assert "pitch" in {knob.name for knob in groups["voice"]}
    assert "gate_lookback" in {knob.name for knob in groups["microphone"]}
    assert "seed" in {knob.name for knob in groups["timing"]}


def test_importing_rtvc_and_its_settings_loads_nothing_heavy():
    code = "import rtvc, rtvc.settings, rtvc.stats, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "rtvc.settings" in loaded
    assert not {"mlx", "sounddevice", "textual", "numpy", "yaml", "soundfile"} & set(loaded)
