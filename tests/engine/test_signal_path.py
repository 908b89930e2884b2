"""Real speech through the whole path, as ``rtvc convert`` takes it: file, chain, file."""

import numpy as np
import pytest
import soundfile

from rtvc.audio.file_endpoint import FileEndpoint
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State
from tests.engine.speech_measures import (
    NAMES,
    SPEECH,
    envelope_db,
    harmonic_pitch,
    log_spectral_distance,
    reference_pitch,
    speech,
    voiced_frames,
    warp_semitones,
)
from tests.support.material import more

pytestmark = pytest.mark.slow

RATE = 48_000


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Convert an utterance; the same request is made once."""
    made = {}

    def convert(name, rate=RATE, **settings):
        key = (name, rate, *sorted(settings.items()))
        if key not in made:
            target = tmp_path_factory.mktemp("path") / "out.wav"
            endpoint = FileEndpoint(SPEECH / f"{name}.wav", target, rate=rate)
            with Session(endpoint, Settings(**settings)) as session:
                assert session.wait(60)
                stats = session.stats()
            assert endpoint.complete
            assert stats.failed_steps == 0
            samples, got = soundfile.read(target, dtype="float32")
            assert got == rate
            made[key] = samples, stats
        return made[key]

    return convert


@pytest.mark.parametrize("name", more(NAMES))
def test_the_duration_is_exact_and_the_pitch_is_what_was_asked(converted, name):
    source = soundfile.info(SPEECH / f"{name}.wav")
    reference = reference_pitch(name)
    low, high = np.percentile(reference[reference > 0], [2, 99.5]) * (0.9, 1.1)
    input_f0 = harmonic_pitch(speech(name), low, high)
    samples, stats = converted(name, pitch=4.0, pitch_fine=50.0)
    assert len(samples) == source.frames * 3
    assert stats.state is State.CONVERTED
    ratio = 2 ** (4.5 / 12)
    output_f0 = harmonic_pitch(samples, low * ratio, high * ratio)
    both = (input_f0 > 0) & (output_f0 > 0)
    assert both.mean() > 0.3
    cents = 1200 * np.log2(np.median(output_f0[both]) / np.median(input_f0[both]))
    assert cents == pytest.approx(450, abs=35)


@pytest.mark.parametrize("rate", more([8_000, 16_000, 22_050, 44_100, 96_000], keep=2))
def test_the_duration_is_exact_at_any_rate(converted, rate):
    source = soundfile.info(SPEECH / f"{NAMES[4]}.wav")
    samples, _ = converted(NAMES[4], rate=rate)
    assert len(samples) == round(source.frames * rate / source.samplerate)


@pytest.mark.parametrize("name", more(NAMES))
def test_formants_move_by_three_semitones(converted, name):
    plain = speech(name, 5.0)
    moved, _ = converted(name, formant=3.0)
    frames = voiced_frames(name, plain, below_db=15)[::3]
    before, after = envelope_db(plain, frames), envelope_db(moved, frames)
    # The band of the first formant, then that of the second.
    for low, high in ((250, 1100), (900, 3000)):
        assert warp_semitones(before, after, low, high) == pytest.approx(3.0, abs=0.7)


@pytest.mark.thorough
@pytest.mark.parametrize("name", more(NAMES))
def test_blocks_leave_no_trace(converted, name):
    whole, _ = converted(name, block=1000.0, pitch=4.0)
    frames = voiced_frames(name, speech(name))
    bend_of_whole = np.abs(np.diff(whole, 2))
    for block_ms in (60, 100, 200, 500):
        samples, stats = converted(name, block=float(block_ms), pitch=4.0)
        assert log_spectral_distance(samples, whole, frames) < 2.0
        latency = stats.latency
        delay = round((latency.total - latency.block - latency.headroom) * RATE)
        block = block_ms * RATE // 1000
        bend = np.abs(np.diff(samples, 2))
        near = np.zeros(len(bend), bool)
        for boundary in range(-delay % block, len(samples), block):
            near[max(0, boundary - 96) : boundary + 96] = True
        # A plosive that happens to lie on a boundary is as sharp in the one-shot result.
        own = bend_of_whole[near].max()
        assert bend[near].max() < 1.1 * max(bend[~near].max(), own)
