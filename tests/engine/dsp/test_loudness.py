import numpy as np
import pytest

from rtvc.engine.dsp.loudness import LoudnessFollow
from tests.audio.signals import in_blocks, tone

RATE = 48_000


def test_loudness_is_left_alone_at_0():
    follow = LoudnessFollow(RATE)
    voice = tone(200, 0.5)
    np.testing.assert_array_equal(follow.process(voice, tone(200, 0.01), 0.0), voice)


@pytest.mark.parametrize(("amount", "expected"), [(1.0, 0.1), (0.5, (0.5 * 0.1) ** 0.5)])
def test_loudness_follows_the_input(amount, expected):
    follow = LoudnessFollow(RATE)
    out = in_blocks(
        lambda b: follow.process(b, tone(200, 0.1, len(b) / RATE), amount), tone(200, 0.5)
    )
    assert np.abs(out[-4800:]).max() == pytest.approx(expected, rel=0.02)


def test_silence_is_not_amplified():
    follow = LoudnessFollow(RATE)
    out = follow.process(tone(200, 1e-4), tone(200, 0.5), 1.0)
    assert np.abs(out).max() <= 8e-4 + 1e-9
