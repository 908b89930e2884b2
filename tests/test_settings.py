"""The settings: ranges, types, messages, and what is generated from them."""

import copy
import dataclasses
import inspect
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvc.engine.plan import FRAMES_PER_SECOND, make_plan
from rtvc.errors import UsageError
from rtvc.setting import Setting, SettingError
from rtvc.settings import SETTINGS, Settings, find_setting, grouped_settings

NUMBERS = [setting for setting in SETTINGS.values() if setting.kind in (float, int)]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_setting_is_complete(setting: Setting):
    assert setting.check(setting.default) == setting.default
    assert setting.help[0].isupper()
    assert setting.help.endswith(".")
    assert type(setting.default) is setting.kind


@pytest.mark.parametrize("setting", NUMBERS, ids=[setting.name for setting in NUMBERS])
def test_both_ends_are_allowed_and_nothing_beyond(setting: Setting):
    assert math.isfinite(setting.high - setting.low)
    for end in (setting.low, setting.high):
        assert getattr(Settings().replace(**{setting.name: end}), setting.name) == end
    for beyond, nearest in ((setting.low - 1, setting.low), (setting.high + 1, setting.high)):
        with pytest.raises(SettingError, match=setting.name) as caught:
            Settings().replace(**{setting.name: beyond})
        assert str(caught.value).endswith(f"The nearest valid value is {nearest:.10g}.")
        assert caught.value.name == setting.name


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int16, np.int64, np.uint8])
def test_numbers_of_numpy_are_numbers(kind: type):
    settings = Settings(pitch=kind(4), seed=kind(7))
    assert settings == Settings(pitch=4, seed=7)
    assert (type(settings.pitch), type(settings.seed)) == (float, int)


@pytest.mark.parametrize(
    "value", ["3", None, True, [1], math.nan, math.inf, 10**400, -(10**400), np.bool_(True)]
)
def test_a_number_must_be_a_number(value: object):
    with pytest.raises(UsageError, match="'pitch' is "):
        Settings(pitch=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [1, -1])
def test_an_integer_beyond_the_range_of_float_is_refused(sign: int):
    with pytest.raises(SettingError, match=f"The nearest valid value is {sign * 24}"):
        Settings(pitch=sign * 10**400)


def test_a_similar_choice_is_suggested():
    with pytest.raises(SettingError, match=r"Did you mean 'muted'\?"):
        Settings(mode="mute")


@pytest.mark.parametrize("name", ["", "a\0b", "~\0/a.pth", "\ud800"])
def test_what_no_file_can_be_called_is_no_name(name: str):
    with pytest.raises(SettingError, match=r"'morph_to' is .*, but must be a name"):
        Settings(morph_to=name)
    assert Settings(voice="caf\udce9.pth").voice == "caf\udce9.pth", "a name in another encoding"


def test_a_similar_name_is_suggested():
    with pytest.raises(SettingError, match=r"no setting 'formnat'\. Did you mean 'formant'\?"):
        find_setting("formnat")
    with pytest.raises(SettingError, match=r"Did you mean 'pitch'\?"):
        Settings().replace(pich=1.0)


def test_an_unknown_name_is_refused_alike_however_settings_are_made():
    messages = set()
    for make in (Settings, Settings().replace):
        with pytest.raises(SettingError) as caught:
            make(pich=1.0)  # type: ignore[call-arg]
        messages.add(str(caught.value))
        assert caught.value.name == "pich"
    assert len(messages) == 1
    with pytest.raises(TypeError, match="positional"):
        Settings("dry")  # type: ignore[call-arg]


def test_the_repr_shows_what_differs_and_makes_the_same_again():
    assert repr(Settings()) == "Settings()"
    assert repr(Settings(pitch=4)) == "Settings(pitch=4)"
    settings = Settings(voice="Anna", pitch=-0.5, whisper=True, seed=7)
    assert repr(settings) == "Settings(voice='Anna', pitch=-0.5, whisper=True, seed=7)"
    assert eval(repr(settings)) == settings


def test_help_and_copies_are_those_of_any_dataclass():
    assert "pitch_range: 'float' = 1.0" in str(inspect.signature(Settings))
    settings = Settings(pitch=4)
    assert pickle.loads(pickle.dumps(settings)) == copy.deepcopy(settings) == settings


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().pitch = 2.0  # type: ignore[misc]


def test_a_whole_number_stays_whole():
    assert Settings(seed=3.0).seed == 3  # type: ignore[arg-type]
    assert isinstance(Settings(seed=3.0).seed, int)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="whole number"):
        Settings(seed=3.5)  # type: ignore[arg-type]


@given(st.sampled_from(NUMBERS), st.floats(0, 1))
def test_a_typed_value_reads_back(setting: Setting, where: float):
    value = setting.low + where * (setting.high - setting.low)
    value = round(value) if setting.kind is int else value
    assert setting.parse(repr(value)) == setting.check(value)


@pytest.mark.thorough
@given(st.text())
def test_any_typed_text_is_a_value_or_a_sentence(text: str):
    for setting in SETTINGS.values():
        message = f"{setting.name!r} is good."
        try:
            assert setting.check(setting.parse(text)) == setting.parse(text)
        except SettingError as error:
            message = str(error)
        assert message.startswith(f"{setting.name!r} is ")
        assert message[-1] in ".?"


def test_changed_is_what_differs_from_the_defaults():
    settings = Settings(pitch=3.0, whisper=True)
    assert settings.changed() == {"pitch": 3.0, "whisper": True}
    assert Settings().replace(**settings.changed()) == settings


def test_shape_tells_which_changes_need_a_new_chain():
    base = Settings()
    for setting in NUMBERS:
        value = setting.low if setting.default != setting.low else setting.high
        other = base.replace(**{setting.name: value})
        assert (other.shape != base.shape) == setting.shape


def test_every_setting_is_in_one_group_in_order():
    groups = grouped_settings()
    assert [setting.name for entries in groups.values() for setting in entries] == list(SETTINGS)
    assert list(groups) == ["voice", "microphone", "effects", "output", "monitor", "timing"]
    assert "pitch" in {setting.name for setting in groups["voice"]}
    assert "gate_lookback" in {setting.name for setting in groups["microphone"]}
    assert "seed" in {setting.name for setting in groups["timing"]}


def test_importing_rtvc_and_its_settings_loads_nothing_heavy():
    code = "import rtvc, rtvc.settings, rtvc.stats, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "rtvc.settings" in loaded
    assert not {"mlx", "sounddevice", "textual", "numpy", "yaml", "soundfile"} & set(loaded)


GRID = ("block", "headroom", "context", "crossfade", "lookahead")


def test_sizes_are_whole_frames_in_the_settings_as_in_the_engine():
    sizes = (name for name, setting in SETTINGS.items() if setting.multiple and setting.unit)
    assert tuple(sizes) == GRID
    for name in GRID:
        setting = SETTINGS[name]
        assert setting.multiple * FRAMES_PER_SECOND == 1000
        assert (setting.low % setting.multiple, setting.high % setting.multiple) == (0, 0)
        assert (setting.step % setting.multiple, setting.default % setting.multiple) == (0, 0)


@given(st.sampled_from(GRID), st.floats(0, 1))
def test_the_size_in_the_settings_is_the_one_in_use(name: str, share: float):
    setting = SETTINGS[name]
    typed = setting.low + share * (setting.high - setting.low)
    settings = Settings().replace(**{name: typed})
    used = getattr(settings, name)
    # A crossfade is no longer than the block.
    plan = make_plan(
        settings.replace(block=1000.0) if name == "crossfade" else settings,
        voice_lookahead=0,
        continuous=False,
    )
    assert getattr(plan, name) * 10 == used
    assert abs(used - typed) <= 5
    assert setting.check(used) == used
    assert bool(setting.rounding(typed)) == (used != typed)


@pytest.mark.parametrize(("typed", "used"), [(95, 100), (100, 100), (105, 100), (25, 20), (36, 40)])
def test_a_rounded_size_says_so(typed: float, used: float):
    block = SETTINGS["block"]
    assert Settings(block=typed).block == block.parse(str(typed)) == used
    sentence = f"'block' is rounded from {typed} to {used} ms, a multiple of 10."
    assert (
        block.rounding(typed) == block.rounding(f" {typed} ") == (sentence if typed != used else "")
    )
    assert SETTINGS["pitch"].rounding(1.234) == ""
    assert SETTINGS["mode"].rounding("dry") == ""


def test_rounding_widens_no_range():
    for beyond in (19.9, 1000.1):
        with pytest.raises(SettingError, match="The nearest valid value is"):
            Settings(block=beyond)


def test_a_preset_is_no_setting_and_the_error_says_what_to_give():
    with pytest.raises(SettingError, match=r"^There is no setting 'preset'\. Give the settings of"):
        find_setting("preset")
