"""Positions between two RVC voices, and between the built-in voice and a preset."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import rtvc
from rtvc._types import Float32
from rtvc.between import name_between, parts_between
from rtvc.config.presets import load_preset, preset_path, user_folder
from rtvc.engine.rvc.loading import load_index
from rtvc.engine.rvc.retrieval import IndexBlend
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.errors import RtvcError, UsageError
from rtvc.library import installed_voice
from rtvc.library.adding import add_voice, blend_voices
from rtvc.library.finding import FoundVoice
from rtvc.library.names import validated_name
from rtvc.library.open_voice import find_voice
from rtvc.library.preset_morph import PresetMorph, resolve_morph
from rtvc.settings import SETTINGS, Settings
from tests.conftest import GOLDEN
from tests.engine.speech_measures import RATE, speech
from tests.support.library_files import V2, variant
from tests.support.material import more

ANNA = GOLDEN / "voice_v1_f0_40k.pth"
STEPS = [round(0.1 * step, 1) for step in range(11)]
TALK = speech("2086-149214-0000", 0.6)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))


@pytest.fixture
def voices(anna, tmp_path: Path) -> None:
    """Two voices with one network, of which the second one has weights of its own."""
    del anna
    add_voice(FoundVoice(variant(tmp_path / "b.safetensors", ANNA, 1.2, speakers=2), None, "Bert"))


def converted(**settings) -> Float32:
    used = Settings(block=200.0, context=400.0, pitch_method="dio", **settings)
    return rtvc.convert(TALK, sample_rate=RATE, settings=used)


def band_levels_db(sound: Float32) -> np.ndarray:
    """Levels of 12 bands, and of the whole sound."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    edges = np.geomspace(100, 8000, 13) * len(sound) / RATE
    bands = [power[round(a) : round(b)].sum() for a, b in itertools.pairwise(edges)]
    return 10 * np.log10(np.array([*bands, power.sum()]) + 1e-9)


@pytest.mark.usefixtures("voices")
@pytest.mark.parametrize("damaged", ["anna", "Bert"])
@pytest.mark.parametrize(
    "use",
    [
        lambda: find_voice(name_between("Anna", "Bert", 0.5)),
        lambda: blend_voices("Anna", "Bert", ratio=0.5),
    ],
)
def test_the_damaged_one_of_two_voices_is_named(damaged, use) -> None:
    installed_voice(damaged).path.write_bytes(b"damaged")
    with pytest.raises(RtvcError, match=rf"^The voice '{damaged}' is damaged; remove it"):
        use()


@pytest.mark.parametrize("name", ["Anna", "A 0.5", "a > b", "voices/a.pth"])
def test_other_names_are_those_of_voices(name: str):
    assert parts_between(name) is None
    assert parts_between(name_between(name, "Bert", 0.3)) == (name, "Bert", 0.3)
    with pytest.raises(UsageError, match="cannot be the name"):
        validated_name(name_between(name, "Bert", 0.3))


def test_the_ends_are_the_two_voices(voices: None):
    first, second = converted(voice="Anna"), converted(voice="Bert")
    assert np.abs(first - second).max() > 0.05
    np.testing.assert_array_equal(converted(voice="Anna", morph_to="Bert", morph=0), first)
    np.testing.assert_array_equal(converted(voice="Anna", morph_to="Bert", morph=1), second)
    np.testing.assert_array_equal(converted(voice="Bert", morph_to="Anna", morph=1), first)
    np.testing.assert_array_equal(converted(voice="Anna", morph=0.5), first)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("steps", more([STEPS[::5], STEPS]))
def test_in_between_weights_and_spectrum_lie_between(voices: None, steps: list[float]):
    made = [converted(voice="Anna", morph_to="Bert", morph=step) for step in steps]
    levels = np.array([band_levels_db(sound) for sound in made])
    way = np.abs(levels - levels[0]).mean(axis=1)
    assert (np.diff(way) > 0).all(), way
    back = np.abs(levels - levels[-1]).mean(axis=1)
    assert (np.diff(back) < 0).all(), back


def test_a_position_is_the_blend_of_that_ratio(voices: None):
    blend_voices("Anna", "Bert", ratio=0.3, name="Blend")
    made = converted(voice="Anna", morph_to="Bert", morph=0.3)
    np.testing.assert_allclose(made, converted(voice="Blend"), atol=1e-5)
    between = find_voice(name_between("Anna", "Bert", 0.3))
    assert (between.name, between.speakers) == ("Anna > Bert 0.3", 2)


def test_both_indexes_take_part(anna, tmp_path: Path):
    del anna
    other = variant(tmp_path / "b.safetensors", ANNA, 1.2)
    add_voice(FoundVoice(other, GOLDEN / "added_IVF16_Flat_nprobe_1_golden_v1.index", "Bert"))
    name = name_between("Anna", "Bert", 0.3)
    assert "index" in find_voice(name).features
    index = load_index(GOLDEN / "added_IVF16_Flat_nprobe_1_golden_v1.index")
    rows = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    made = IndexBlend(None, index, share=0.3).blend(rows, 0.5)
    np.testing.assert_allclose(made, 0.7 * rows + 0.3 * index.blend(rows, 0.5), atol=1e-6)
    both = IndexBlend(index, index, share=0.3).blend(rows, 0.5)
    np.testing.assert_allclose(both, index.blend(rows, 0.5), atol=1e-6)


def test_a_position_is_loaded_once(voices: None):
    name = name_between("Anna", "Bert", 0.5)
    first, again = find_voice(name), find_voice(name)
    other = find_voice(name_between("Anna", "Bert", 0.6))
    assert isinstance(first, RvcVoice)
    assert isinstance(again, RvcVoice)
    assert isinstance(other, RvcVoice)
    assert again.voice is first.voice
    assert other.voice is not first.voice


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"voice": "Anna", "morph_to": "Zoe"}, "no voice 'Zoe'"),
        ({"voice": "Anna", "morph_to": "Cleo"}, r"cannot morph: they differ in version"),
        ({"voice": "Anna", "morph_to": "world"}, "morphs to another RVC voice"),
        ({"morph_to": "Anna"}, "no preset 'Anna'"),
        ({"morph_to": "deeep"}, "Did you mean 'deep'"),
        ({"morph_to": "hers"}, "has the voice 'Anna'"),
    ],
)
def test_what_has_nothing_between_is_refused(voices: None, settings: dict[str, str], message: str):
    add_voice(FoundVoice(V2, None, "Cleo"))
    user_folder().mkdir(parents=True)
    (user_folder() / "hers.yaml").write_text("voice: Anna\n")
    with pytest.raises(RtvcError, match=message):
        converted(**settings, morph=0.5)


def test_at_the_end_too_an_rvc_voice_does_not_become_your_own(voices: None):
    with pytest.raises(UsageError, match="morphs to another RVC voice"):
        converted(voice="Anna", morph_to="world", morph=1.0)


def test_a_voice_that_is_loaded_has_no_position(voices: None):
    with pytest.raises(UsageError, match="give the first voice by its name"):
        rtvc.convert(
            TALK, sample_rate=RATE, voice=rtvc.load_voice("Anna"), morph_to="Bert", morph=0.5
        )


def test_numbers_lie_between_those_of_the_settings_and_of_the_preset():
    deep = load_preset(preset_path("deep"))
    settings = Settings(pitch=3.0, eq_low=6.0, gate=-50.0, morph_to="deep", mode="muted")
    assert resolve_morph(settings) is settings
    for step in STEPS[1:]:
        made = resolve_morph(settings.replace(morph=step))
        assert made.pitch == pytest.approx(3 + step * (deep.settings.pitch - 3))
        assert made.eq_low == pytest.approx(6 * (1 - step))
        assert made.formant == pytest.approx(step * deep.settings.formant)
        assert (made.gate, made.mode, made.position) == (-50.0, "muted", ("world", "off", 0.0))
    end = resolve_morph(settings.replace(morph=1))
    assert end == deep.apply_to(settings.replace(morph_to="off"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pitch_fixed", 110.0),
        ("pitch_lowest", 80.0),
        ("auto_pitch_target", 210.0),
        ("level", -18.0),
    ],
)
def test_what_is_off_at_one_end_is_switched_half_way(name: str, value: float):
    """A level between off and a target would be lower than at both ends."""
    user_folder().mkdir(parents=True)
    (user_folder() / "on.yaml").write_text(f"{name}: {value}\n")
    (user_folder() / "plain.yaml").write_text("pitch: 3\n")
    off = SETTINGS[name].default
    for target, start, ends in (("on", off, (off, value)), ("plain", value, (value, off))):
        settings = Settings(morph_to=target).replace(**{name: start})
        made = [getattr(resolve_morph(settings.replace(morph=step)), name) for step in STEPS]
        assert made == [ends[0]] * 5 + [ends[1]] * 6


def test_a_preset_that_vanishes_changes_nothing():
    user_folder().mkdir(parents=True)
    path = user_folder() / "mine.yaml"
    path.write_text("pitch: 6\n")
    morph = PresetMorph()
    settings = Settings(morph_to="mine", morph=0.5)
    assert morph.resolve(settings).pitch == 3
    path.unlink()
    assert morph.resolve(settings.replace(mode="muted")).pitch == 3
    with pytest.raises(UsageError, match="no preset 'mine'"):
        PresetMorph().resolve(settings)


def test_every_position_is_a_tenth():
    setting = SETTINGS["morph"]
    assert [setting.check(value) for value in (0.04, 0.26, 0.3, 0.96)] == [0.0, 0.3, 0.3, 1.0]
    assert Settings(voice="a", morph_to="b", morph=0.7).voice_to_load == "a > b 0.7"
    assert Settings(voice="a", morph_to="b", morph=1).voice_to_load == "b"
    assert Settings(voice="a", morph_to="b").voice_to_load == "a"
    # Without its preset the built-in voice has no voice, rather than your own.
    assert Settings(morph_to="deep", morph=1).voice_to_load == "world > deep 1.0"
    with pytest.raises(UsageError, match="cannot morph"):
        find_voice("world > deep 1.0")
