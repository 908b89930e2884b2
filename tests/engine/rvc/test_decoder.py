"""Latent to sound, block after block: the sound of the whole, however time is cut."""

from typing import cast

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.dsp.pitch import sine_phase
from rtvc.engine.models.vocoder import StreamingVocoder
from rtvc.engine.rvc.decoder import RUN_UP, StreamingDecoder
from rtvc.engine.rvc.pitch_track import PitchFrames
from rtvc.engine.rvc.render import decode_window
from rtvc.settings import Settings
from tests.engine.models.golden_voices import golden_voice
from tests.support.material import more

pytestmark = pytest.mark.slow

PLAIN = Settings()
FRAMES = 120
VOICE = golden_voice("voice_v2_f0_40k")
HOP = VOICE.hop
VOCODER = cast(StreamingVocoder, VOICE.network.vocoder)
LOOKAHEAD = VOCODER.lookahead_frames


def material():
    """Return a latent and a melody of `FRAMES`, smooth as those of speech are."""
    random = np.random.default_rng(2)
    z = np.cumsum(random.standard_normal((FRAMES, VOICE.latent_channels)), axis=0) * 0.3
    z = z - np.linspace(0, 1, FRAMES)[:, None] * z[-1]
    hz = 150 + 40 * np.sin(np.arange(FRAMES) / 9)
    hz[40:52] = 0
    pitch = PitchFrames(hz, hz, sine_phase(hz)[:-1])
    return mx.array(z.astype(np.float32))[None], pitch


def run(block, settings_of=lambda n: PLAIN, known=FRAMES, first=RUN_UP + 2):
    """Decode blocks from frame `first` on, `known` frames after each one's end being known."""
    z, pitch = material()
    decoder = StreamingDecoder(VOICE, VOCODER, block)
    made, at, number = [], first, 0
    while at + block + LOOKAHEAD + 4 <= FRAMES:
        begin, end = at - decoder.before, min(at + block + known, FRAMES)
        sound = decoder.decode(
            z[:, begin:end], pitch.part(begin, end), settings_of(number), start=begin
        )
        assert sound.shape == (block * HOP,)
        made.append(sound)
        at, number = at + block, number + 1
    return np.concatenate(made)


def whole(settings=PLAIN, first=0):
    z, pitch = material()
    return decode_window(VOICE, z[:, first:], pitch.part(first, FRAMES), settings, start=first)


def error_db(made, wanted):
    return 10 * np.log10(np.mean((made - wanted) ** 2) / np.mean(wanted**2))


def seam(sound, block):
    """Largest second difference within 2 ms of a block's beginning, against elsewhere."""
    curve = np.abs(np.diff(sound, 2))
    near = np.zeros(len(curve), bool)
    for at in range(block * HOP, len(sound), block * HOP):
        near[at - HOP // 5 : at + HOP // 5] = True
    return curve[near].max() / curve[~near].max()


@pytest.mark.parametrize("block", more([10, 1, 5, 21, 50]))
def test_blocks_of_any_size_are_the_whole(block):
    made = run(block)
    wanted = whole()[(RUN_UP + 2) * HOP :][: len(made)]
    # Before the first block only the run-up was decoded.
    assert error_db(made[: 6 * HOP], wanted[: 6 * HOP]) < -40
    np.testing.assert_allclose(made[14 * HOP :], wanted[14 * HOP :], atol=1e-5)


def test_what_is_not_known_yet_is_held_and_comes_close():
    wanted = whole()[(RUN_UP + 2 + 14) * HOP :]
    errors = []
    for known in (0, 3, 5, 8, 13):
        made = run(10, known=known)[14 * HOP :]
        errors.append(error_db(made, wanted[: len(made)]))
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < -40
    assert errors[-1] < -90


@pytest.mark.parametrize("semitones", more([-12.0, -3.5, 4.0, 12.0]))
def test_a_formant_shift_is_that_of_the_whole(semitones):
    settings = PLAIN.replace(formant=semitones)
    # From the run-up's first frame on both count stretched frames alike.
    made = run(10, lambda n: settings, first=RUN_UP)
    wanted = whole(settings)[RUN_UP * HOP :][: len(made)]
    # An octave down, the margin is 26 frames on either side.
    assert error_db(made[30 * HOP : -20 * HOP], wanted[30 * HOP : -20 * HOP]) < -60


def test_a_change_of_the_formants_makes_no_click():
    def turn(number):
        return PLAIN.replace(formant=[0.0, 3.0, 3.0, -5.0, 1.5, 0.0, 0.0, 0.0, 0.0][number])

    made, plain = run(10, turn), run(10)
    assert seam(made, 10) < 1.1
    # Back at 0 it is what it would have been: time has not drifted.
    np.testing.assert_allclose(made[70 * HOP :], plain[70 * HOP :], atol=1e-4)
    assert np.abs(made - plain)[10 * HOP : 50 * HOP].max() > 0.01


def test_a_reset_forgets_and_runs_up_again():
    z, pitch = material()
    decoder, fresh = (StreamingDecoder(VOICE, VOCODER, 10) for _ in range(2))
    decoder.decode(z[:, :40], pitch.part(0, 40), PLAIN, start=0)
    decoder.reset()
    assert decoder.before == fresh.before > RUN_UP
    again, first = (
        d.decode(z[:, 50:90], pitch.part(50, 90), PLAIN, start=50) for d in (decoder, fresh)
    )
    np.testing.assert_array_equal(again, first)
