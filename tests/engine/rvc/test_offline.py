"""Recordings converted as a whole."""

import itertools
import threading

import numpy as np
import pytest

from rtvc.engine.dsp.noise import frame_noise
from rtvc.engine.dsp.pitch import coarse_pitch, sine_phase
from rtvc.engine.plan import make_plan
from rtvc.engine.rvc import offline, phrases
from rtvc.engine.rvc.offline import PAD, ConvertedRecording, convert
from rtvc.engine.rvc.render import SOURCE_KEY
from rtvc.engine.rvc.retrieval import FeatureIndex
from rtvc.engine.rvc.window import FRAME
from rtvc.errors import UsageError
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import LocalPitch, encoder, index, network, speech, voice
from tests.support.material import more

pytestmark = pytest.mark.slow

HOP = 400
PLAIN = Settings(index_rate=0.0)


class TestHighPass:
    @pytest.mark.parametrize("seconds", [1.0, 30.0])
    def test_it_is_a_fifth_order_butterworth_run_both_ways(self, seconds):
        from scipy.signal import butter, filtfilt  # 1.5 s to import

        sound = np.random.default_rng(0).standard_normal(int(seconds * 16_000)).astype(np.float32)
        b, a = butter(5, 48, "high", fs=16_000)
        expected = filtfilt(b, a, sound.astype(np.float64))
        made = phrases.high_pass(sound, 16_000)
        # At the ends the reference begins its filter from another state.
        np.testing.assert_allclose(made[4000:-4000], expected[4000:-4000], atol=1e-6)

    def test_rumble_is_removed_and_speech_is_not_shifted(self):
        time = np.arange(32_000) / 16_000
        rumble, voice_ = np.sin(2 * np.pi * 20 * time), np.sin(2 * np.pi * 200 * time)
        made = phrases.high_pass((rumble + voice_).astype(np.float32), 16_000)
        np.testing.assert_allclose(made[8000:-8000], voice_[8000:-8000], atol=1e-3)

    @pytest.mark.parametrize("samples", [2, 100, 5000])
    def test_short_sounds(self, samples):
        made = phrases.high_pass(np.ones(samples, np.float32), 16_000)
        assert made.shape == (samples,)
        assert np.abs(made).max() < 1.1


class TestPhrases:
    def test_cuts_lie_in_the_pauses_and_phrases_follow_one_another(self):
        rng = np.random.default_rng(1)
        sound = rng.standard_normal(100 * 16_000).astype(np.float32)
        pauses = [(27.0, 27.3), (33.2, 33.4), (58.0, 58.2), (90.0, 90.3)]
        for first, last in pauses:
            sound[int(first * 16_000) : int(last * 16_000)] *= 0.01
        found = phrases.split(sound, FRAME)
        assert found[0][0] == 0
        assert found[-1][1] == 10_000
        assert all(a[1] == b[0] and b[0] % 2 == 0 for a, b in itertools.pairwise(found))
        cuts = [first / 100 for first, _ in found[1:]]
        assert len(cuts) == 3
        assert all(any(a <= cut <= b for a, b in pauses) for cut in cuts)

    @pytest.mark.parametrize("seconds", [0.02, 1.0, 34.9])
    def test_what_is_short_stays_whole(self, seconds):
        sound = np.zeros(round(seconds * 16_000), np.float32)
        assert phrases.split(sound, FRAME) == [(0, round(seconds * 100))]


class TestConvert:
    def test_it_is_one_call_of_the_public_api_per_phrase(self):
        audio = speech()[: 250 * FRAME]
        settings = PLAIN.replace(pitch=3.0, index_rate=0.4, protect=0.5, speaker=1)
        made = convert(voice(pitch=LocalPitch()), audio, settings)
        sound = phrases.high_pass(audio, 16_000)
        padded = np.pad(sound, PAD * FRAME, mode="reflect")
        input_f0 = LocalPitch()(padded)[PAD : PAD + 250].astype(np.float64)
        output_f0 = np.pad(input_f0, PAD, mode="reflect") * 2 ** (3 / 12)
        rows = encoder()(padded, layer=9, project=True)
        rows = index().blend(np.concatenate([rows, rows[-1:]]), 0.4)
        v, frames = network(), 450
        expected = v.synthesize(
            np.repeat(rows, 2, axis=0)[:frames],
            coarse_pitch(output_f0),
            output_f0,
            speaker=1,
            latent_noise=frame_noise(0, -PAD, frames, v.latent_channels).reshape(frames, -1),
            source_noise=frame_noise(SOURCE_KEY, 0, 250, HOP),
            initial_phase=float(sine_phase(output_f0)[PAD]),
            skip_head=PAD,
            return_length=250,
        )
        # The one call decodes to the ends, where the converter has context beyond.
        inside = slice(12 * HOP, -12 * HOP)
        np.testing.assert_allclose(made.audio[inside], expected[inside], atol=1e-3)
        assert np.abs(expected).max() > 0.3

    def test_slices_of_the_decoder_are_exact(self, monkeypatch):
        audio = speech()[: 300 * FRAME]
        whole = convert(voice(pitch=LocalPitch()), audio, PLAIN)
        monkeypatch.setattr(offline, "_SLICE", 70)
        sliced = convert(voice(pitch=LocalPitch()), audio, PLAIN)
        np.testing.assert_allclose(sliced.audio, whole.audio, atol=1e-4)

    @pytest.mark.thorough
    @pytest.mark.parametrize("formant", more([4.0, 0.0]))
    def test_phrases_join(self, monkeypatch, formant):
        settings = PLAIN.replace(formant=formant)
        audio = speech()[: 600 * FRAME]
        whole = convert(voice(pitch=LocalPitch()), audio, settings).audio
        monkeypatch.setattr(phrases, "_CENTRE_S", 2.0)
        monkeypatch.setattr(phrases, "_QUERY_S", 0.5)
        assert len(phrases.split(audio, FRAME)) == 3
        cut = convert(voice(pitch=LocalPitch()), audio, settings).audio
        assert cut.shape == whole.shape
        error = np.mean((cut - whole) ** 2) / np.mean(whole**2)
        assert 0 < error < 0.1  # features know their phrase only; strangers would be at 2

    @pytest.mark.parametrize("samples", [1, 500, 16_000 + 37])
    def test_any_length(self, samples):
        audio = speech()[16_000 : 16_000 + samples]
        made = convert(voice(pitch=LocalPitch()), audio, PLAIN)
        frames = max(2, -(-samples // FRAME))
        assert made.audio.shape == (frames * HOP,)
        assert np.isfinite(made.audio).all()
        assert made.input_f0.shape == made.output_f0.shape == (frames,)

    def test_progress_rises_to_one(self):
        seen: list[float] = []
        convert(voice(pitch=LocalPitch()), speech()[: 500 * FRAME], PLAIN, seen.append)
        assert seen == sorted(seen)
        assert len(seen) > 3
        assert seen[-1] == pytest.approx(1.0)

    def test_the_pitch_is_tuned_and_lands_on_the_target(self):
        settings = PLAIN.replace(auto_pitch="on", auto_pitch_target=220.0)
        audio = speech()[: 150 * FRAME]
        made = convert(voice(pitch=LocalPitch()), audio, settings)
        assert np.median(made.output_f0[made.output_f0 > 0]) == pytest.approx(220, rel=0.01)
        settings = settings.replace(tune=1.0, tune_speed=0.0, scale="D A")
        tuned = convert(voice(pitch=LocalPitch()), audio, settings)
        np.testing.assert_array_equal(tuned.output_f0 > 0, made.output_f0 > 0)
        notes = 12 * np.log2(tuned.output_f0[made.output_f0 > 0] / 440)
        np.testing.assert_allclose(notes, np.round(notes), atol=0.03)
        assert set(np.round(notes) % 12) <= {0, 5}

    def test_holding_the_automatic_pitch_changes_nothing(self):
        """As in the live quality, where nothing has been measured either."""
        audio, found = speech()[: 100 * FRAME], []
        for choice in ("off", "hold"):
            settings = PLAIN.replace(auto_pitch=choice, auto_pitch_target=220.0, pitch=3.0)
            found.append(convert(voice(pitch=LocalPitch()), audio, settings).output_f0)
        np.testing.assert_array_equal(found[1], found[0])

    def test_a_voice_without_pitch(self):
        made = convert(voice("voice_v1_nof0_40k"), speech()[: 100 * FRAME], PLAIN)
        assert not made.input_f0.any()
        assert np.abs(made.audio).max() > 0.05

    def test_an_unknown_speaker_is_refused_before_any_work(self):
        with pytest.raises(UsageError, match="0 to 2"):
            convert(voice(), speech(), PLAIN.replace(speaker=3))

    def test_loud_recordings_do_not_clip(self):
        made = convert(voice(pitch=LocalPitch()), 30 * speech()[: 100 * FRAME], PLAIN)
        assert np.isfinite(made.audio).all()

    def test_the_index_serves_all_frames(self, monkeypatch):
        counted = []
        blend = FeatureIndex.blend
        caller = threading.get_ident()  # another thread may still warm up for an earlier test

        def counting(self, rows, rate):
            if threading.get_ident() == caller:
                counted.append(len(rows))
            return blend(self, rows, rate)

        monkeypatch.setattr(FeatureIndex, "blend", counting)
        convert(voice(pitch=LocalPitch()), speech()[: 100 * FRAME], Settings(index_rate=0.5))
        assert counted == [149]  # of 300 frames; the encoder has no row for the last two


@pytest.mark.parametrize("lookahead", [0.0, 50.0])
def test_a_converted_recording_plays_in_step_with_the_original(lookahead):
    audio = np.arange(100 * HOP, dtype=np.float32)
    pitch = np.arange(100, dtype=np.float64)
    recording = ConvertedRecording("anna", "rvc-40k", 40_000, audio, pitch, 2 * pitch)
    settings = Settings(block=70.0, lookahead=lookahead)
    plan = make_plan(settings, voice_lookahead=0, continuous=recording.continuous)
    stream = recording.open(plan, settings)
    block = np.zeros(7 * 480, np.float32)
    stream.skip(block)
    made = [stream.render(block, settings) for _ in range(17)]
    lag = round(lookahead / 10)
    expected = np.concatenate([np.zeros(lag * HOP), audio, np.zeros(40 * HOP)])
    played = np.concatenate([r.audio for r in made])
    np.testing.assert_array_equal(played, expected[7 * HOP :][: len(played)])
    assert (made[0].input_f0_hz, made[0].output_f0_hz) == (13 - lag, 2 * (13 - lag))
    assert made[-1].input_f0_hz == 0
