"""Settings of the built-in voice that leave you recognisable, held against what is measured."""

import numpy as np
import pytest

import rtvc
from rtvc.config.presets import list_presets, load_preset
from rtvc.engine.chain import Chain
from rtvc.engine.world.unchanged import leaves_unchanged
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings
from rtvc.stats import State
from tests.engine.speech_measures import RATE, log_spectral_distance, speech, voiced_frames

NAME = "777-126732-0000"
LIMIT_DB = 2.0
"""Mel distance at the border, mean over the five utterances; this one differs by 0.2 dB."""


def distance_db(**changes: float) -> float:
    """Distance of the output from the input, over the beginning of an utterance."""
    sound = speech(NAME, 2.0)
    out = rtvc.convert(sound, sample_rate=RATE, settings=Settings(gate=-90).replace(**changes))
    frames = voiced_frames(NAME, sound)
    return log_spectral_distance(sound, out, frames[frames < len(sound) // 480 - 3])


@pytest.mark.parametrize("changes", [{"pitch": 1.0}, {"formant": 0.35}, {"breathiness": 1.0}])
def test_unchanged_is_what_differs_little(changes):
    assert leaves_unchanged(Settings(**changes))
    assert distance_db(**changes) < LIMIT_DB + 0.2


@pytest.mark.parametrize("changes", [{"pitch": 2.0}, {"formant": 0.6}])
def test_changed_is_what_differs_more(changes):
    assert not leaves_unchanged(Settings(**changes))
    assert distance_db(**changes) > LIMIT_DB - 0.1


def test_effects_that_replace_the_pitch_are_changes():
    assert not leaves_unchanged(Settings(whisper=True))
    assert not leaves_unchanged(Settings(pitch_fixed=110))
    assert not leaves_unchanged(Settings(pitch_range=0))
    assert leaves_unchanged(Settings(pitch=1, pitch_fine=-100))
    assert not leaves_unchanged(Settings(pitch=1, pitch_fine=50))


def test_a_pitch_shift_that_its_limit_takes_away_leaves_you_unchanged():
    time = np.arange(48_000) / 48_000
    sound = np.sum([np.sin(2 * np.pi * 110 * k * time) / k for k in range(1, 20)], axis=0)
    blocks = np.split((0.1 * sound).astype(np.float32), 10)
    for pitch, lowest, state in (
        (-5, 107.0, State.UNCHANGED),
        (-5, 150.0, State.UNCHANGED),
        (-5, 80.0, State.CONVERTED),
        (-5, 0.0, State.CONVERTED),
        (5, 150.0, State.CONVERTED),
    ):
        settings = Settings(pitch=pitch, pitch_lowest=lowest)
        chain = Chain(WorldVoice(), settings)
        assert chain.state(settings) is State.CONVERTED
        for block in blocks:
            chain.step(block, settings)
        assert chain.state(settings) is state


def test_no_bundled_preset_leaves_you_unchanged():
    unchanged = [
        file.name
        for file in list_presets()
        if file.bundled and leaves_unchanged(load_preset(file.path).settings)
    ]
    assert not unchanged
