"""Every setting at the ends of its range, with every other, generated from `SETTINGS`."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from rtvc.engine.chain import Chain
from rtvc.engine.world.voice import WorldVoice
from rtvc.setting import Setting, Value
from rtvc.settings import SETTINGS, Settings
from tests.engine.rvc import rvc_stack
from tests.engine.speech_measures import speech

pytestmark = pytest.mark.slow

KINDS = ("world", "rvc")
VECTORS = 40
"""Random choices of an end for every setting; a test checks that they contain all pairs."""
SPEAKERS = 3
"""Of the small voice: a higher number is the last one."""


@functools.cache
def voice(kind: str):
    return WorldVoice() if kind == "world" else rvc_stack.voice(pitch=rvc_stack.LocalPitch())


def ends(setting: Setting) -> tuple[Value, ...]:
    """The lowest and the highest value, or all values of a choice."""
    if setting.name in ("voice", "morph_to"):
        return (setting.default,)
    if setting.kind is bool:
        return False, True
    if setting.choices:
        return setting.choices
    return setting.low, min(setting.high, SPEAKERS - 1 if setting.name == "speaker" else 2e9)


def converted(kind: str, settings: Settings, seconds: float) -> np.ndarray:
    chain = Chain(voice(kind), settings)
    sound = speech("2086-149214-0000", 2.0)[-round(48_000 * seconds) :]
    sound = np.pad(sound, (0, -len(sound) % chain.block))
    made = [chain.step(block, settings).output for block in sound.reshape(-1, chain.block)]
    sound = np.concatenate(made)[chain.delay :]
    assert np.isfinite(sound).all(), settings
    assert np.abs(sound).max(initial=0.0) <= 1.0, settings
    return sound


def random_ends() -> list[dict[str, Value]]:
    rng = np.random.default_rng(5)
    return [
        {name: ends(one)[rng.integers(len(ends(one)))] for name, one in SETTINGS.items()}
        for _ in range(VECTORS)
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_random_ends_convert(kind: str) -> None:
    for changes in random_ends()[:: 1 if kind == "world" else 6]:
        converted(kind, Settings().replace(**changes), 0.06)


def test_the_vectors_contain_each_pair_of_numeric_ends() -> None:
    numbers = [name for name, one in SETTINGS.items() if one.is_number]
    vectors = random_ends()
    for a, b in itertools.combinations(numbers, 2):
        assert len({(vector[a], vector[b]) for vector in vectors}) == 4, (a, b)
