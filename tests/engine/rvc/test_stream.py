"""An RVC voice as a stream: the same sound however time is cut, and nothing from the future."""

import itertools
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from rtvc.engine.dsp.noise import frame_noise
from rtvc.engine.dsp.pitch import coarse_pitch
from rtvc.engine.dsp.sola import fade_in
from rtvc.engine.models.flow import MARGIN_FRAMES
from rtvc.engine.rvc.loading import load_pitch_estimator
from rtvc.engine.rvc.pitch_track import PitchFrames
from rtvc.engine.rvc.render import SOURCE_KEY, decode_window
from rtvc.engine.rvc.voice import LOOKAHEAD, RvcStream
from rtvc.engine.rvc.window import FRAME
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from tests.engine.models.test_fcpe import real_weights as real_fcpe
from tests.engine.rvc.rvc_stack import (
    LocalPitch,
    encoder,
    estimator,
    index,
    network,
    plan_for,
    speech,
    stream_all,
    voice,
)
from tests.support.material import more

pytestmark = pytest.mark.slow

HOP = 400
PLAIN = Settings(index_rate=0.0, context=500.0)


def opened(settings, pitch=None, name="voice_v1_f0_40k", continuous=True):
    """Return a stream that was not warmed up: warming up has its own test."""
    made = voice(name, pitch or LocalPitch(), continuous=continuous)
    plan = plan_for(settings, continuous)
    return RvcStream(made, made.estimator(settings), plan, settings)


def one_shot(stream, audio, settings, name="voice_v1_f0_40k"):
    """Make the stream's last window again, whole and by the public API alone."""
    v, window, track = network(name), stream.window, stream.track
    start = track.end - window.frames
    lead = start % 2
    rows = encoder()(audio[(start - lead) * FRAME : track.end * FRAME], layer=9, project=True)
    rows = np.concatenate([rows, rows[-1:]])
    if settings.index_rate:
        first = (max(window.skip - window.margin - MARGIN_FRAMES, 0) + lead) // 2
        rows[first:] = index().blend(rows[first:], settings.index_rate)
    pitch = track.frames(start, track.end)
    frames = np.repeat(rows, 2, axis=0)[lead : lead + window.frames]
    latent = frame_noise(settings.seed, start, window.frames, v.latent_channels)
    return v.synthesize(
        frames,
        coarse_pitch(pitch.output_f0),
        pitch.output_f0,
        speaker=settings.speaker,
        latent_noise=latent.reshape(window.frames, -1),
        source_noise=frame_noise(settings.seed + SOURCE_KEY, start, window.frames, v.hop),
        initial_phase=float(pitch.phase[0]),
    )


class TestRendersByThemselves:
    """A vocoder that cannot stream: each block is a render, made again in part by the next."""

    @pytest.mark.thorough
    @pytest.mark.parametrize("noise", more([0.0, 1.0]))
    @pytest.mark.parametrize("block", more([50.0, 100.0, 210.0, 500.0], keep=2))
    def test_a_step_is_a_part_of_the_whole_window(self, block, noise, monkeypatch):
        draw = frame_noise
        for module in ("rtvc.engine.rvc.render", __name__):
            monkeypatch.setattr(f"{module}.frame_noise", lambda *a: np.float32(noise) * draw(*a))
        settings = PLAIN.replace(block=block, index_rate=0.6, protect=0.5, speaker=1)
        stream = opened(settings, continuous=False)
        audio = speech()[: 24_000 // (round(block) * 16) * round(block) * 16]
        sound = stream_all(stream, audio, settings, round(block / 10))[-1].audio
        whole = one_shot(stream, audio, settings)[-len(sound) :]
        # The vocoder begins 6 frames before a short block, where 11 would be exact.
        at = 0 if stream.window.margin == network().margin_frames else 5 * HOP
        np.testing.assert_allclose(sound[at:], whole[at:], atol=1e-4)
        # What that leaves of an error is faded in.
        error = (sound - whole)[: 4 * HOP] * fade_in(4 * HOP)
        assert np.mean(error**2) < 10**-5.5 * np.mean(whole**2)

    def test_a_whole_step_is_exact_where_the_vocoder_has_its_margin(self):
        settings = PLAIN.replace(block=500.0)
        stream = opened(settings, continuous=False)
        assert stream.window.margin == network().margin_frames

    @pytest.mark.thorough
    def test_blocks_of_any_size_give_the_same_sound_where_the_context_is_the_same(self):
        renders = {}
        for block in (5, 10, 20):
            # Context and block together are 70 frames, so windows with one end are one window.
            settings = PLAIN.replace(block=10.0 * block, context=700.0 - 10 * block)
            stream = opened(settings, LocalPitch(), continuous=False)
            made = stream_all(stream, speech()[: 160 * FRAME], settings, block)
            renders[block] = {(n + 1) * block: r.audio for n, r in enumerate(made)}
        worst = {5: 0.0, 20: 0.0}
        for end, reference in renders[10].items():
            if end < 76:
                continue  # history before the stream is silence, and not the same
            for block in (5, 20):
                if end not in renders[block]:
                    continue
                other = renders[block][end]
                both = min(len(other), len(reference)) - 5 * HOP
                worst[block] = max(worst[block], np.abs(other[-both:] - reference[-both:]).max())
        assert 0 < worst[5] < 1e-4
        assert 0 < worst[20] < 1e-4
        assert np.abs(reference).max() > 0.1


def followed(settings, block, audio, pitch=None):
    """Stream speech; return the sound, and latent and pitch of the blocks as they were decoded."""
    stream = opened(settings, pitch)
    decode, decoded = stream._decoder.decode, []

    def record(z, pitch, settings, *, start):
        before = stream._decoder.before
        decoded.append((z[:, before:], pitch.part(before, before + z.shape[1]), start + before))
        return decode(z, pitch, settings, start=start)

    stream._decoder.decode = record
    sound = np.concatenate([r.audio for r in stream_all(stream, audio, settings, block)])
    return sound, decoded


def seam(sound, block):
    """Largest second difference within 2 ms of a block's beginning, against elsewhere."""
    curve = np.abs(np.diff(sound, 2))
    near = np.zeros(len(curve), bool)
    for at in range(block * HOP, len(sound), block * HOP):
        near[at - HOP // 5 : at + HOP // 5] = True
    return curve[near].max() / curve[~near].max()


class TestContinuing:
    """A vocoder that streams: blocks continue one another."""

    @pytest.mark.thorough
    @pytest.mark.parametrize("block", more([5, 25, 10], keep=2))
    def test_the_sound_is_that_of_all_latents_decoded_at_once(self, block):
        # With its own 13 frames of future: none is held.
        settings = PLAIN.replace(block=10.0 * block, lookahead=80.0)
        audio = speech()[: 150 // block * block * FRAME]
        sound, decoded = followed(settings, block, audio)
        z = mx.concatenate([z[:, :block] for z, _, _ in decoded], axis=1)
        pitch = PitchFrames(
            *(np.concatenate([p[n][:block] for _, p, _ in decoded]) for n in range(3))
        )
        whole = decode_window(network(), z, pitch, settings, start=decoded[0][2])
        # The same but for the future: random weights make another of it with every window.
        at = 20 * HOP
        error = np.mean((sound - whole)[at:] ** 2) / np.mean(whole[at:] ** 2)
        assert 10 * np.log10(error) < -15

    @pytest.mark.thorough
    @pytest.mark.parametrize("noise", more([0.0, 1.0]))
    def test_latents_of_any_block_are_those_of_the_one_window(self, noise, monkeypatch):
        draw = frame_noise
        monkeypatch.setattr(
            "rtvc.engine.rvc.render.frame_noise", lambda *a: np.float32(noise) * draw(*a)
        )
        latents = {}
        for block in (5, 10, 20):
            # Context and block together are 70 frames, so windows with one end are one window.
            settings = PLAIN.replace(block=10.0 * block, context=700.0 - 10 * block)
            _, decoded = followed(settings, block, speech()[: 160 * FRAME], LocalPitch())
            latents[block] = {(n + 1) * block: np.array(z) for n, (z, _, _) in enumerate(decoded)}
        for end in (80, 120, 160):
            kept = 5 + LOOKAHEAD  # frames that all three decode
            a, b, c = (latents[block][end][:, -kept:] for block in (5, 10, 20))
            np.testing.assert_allclose(a, b, atol=1e-5)
            np.testing.assert_allclose(c, b, atol=1e-5)
            assert np.ptp(b) > 0.1

    @pytest.mark.parametrize("block", more([5, 10, 25, 50]))
    @pytest.mark.parametrize("formant", more([0.0, -3.0]))
    def test_no_block_begins_with_a_click(self, block, formant):
        settings = PLAIN.replace(block=10.0 * block, formant=formant)
        sound, _ = followed(settings, block, speech()[: 200 * FRAME])
        assert seam(sound[50 * HOP :], block) < 1.1


class TestTime:
    def test_future_samples_never_change_what_was_emitted(self):
        audio = speech()[: 150 * FRAME]
        other = audio.copy()
        other[100 * FRAME :] = 0.3 * np.sin(np.arange(50 * FRAME))
        a = stream_all(opened(PLAIN), audio, PLAIN, 10)
        b = stream_all(opened(PLAIN), other, PLAIN, 10)
        for first, second in zip(a[:10], b[:10], strict=True):
            np.testing.assert_array_equal(first.audio, second.audio)
        assert np.abs(a[10].audio - b[10].audio).max() > 0.01

    def test_pitch_is_final_once_it_is_emitted(self):
        stream = opened(PLAIN)
        audio = speech()
        seen: dict[Any, Any] = {}
        for at in range(0, 200 * FRAME, 10 * FRAME):
            stream.render(audio[at : at + 10 * FRAME], PLAIN)
            track = stream.track
            assert track.final_end == track.end - LOOKAHEAD
            first = max(track.start, 0)
            frames = track.frames(first, track.final_end)
            for offset, values in enumerate(zip(*frames, strict=True)):
                assert seen.setdefault(first + offset, values) == values
        assert sum(f0 > 0 for f0, _, _ in seen.values()) > 50

    def test_the_phase_is_the_integral_of_the_pitch_from_the_first_frame_on(self):
        settings = PLAIN.replace(pitch=7.0, context=2000.0)
        stream = opened(settings)
        stream_all(stream, speech()[: 120 * FRAME], settings, 10)
        frames = stream.track.frames(0, stream.track.final_end)
        cycles = np.concatenate([[0.0], np.cumsum(frames.output_f0 / 100)])[:-1]
        apart = np.abs((frames.phase - cycles + 0.5) % 1.0 - 0.5)
        assert apart.max() < 1e-9
        assert np.ptp(frames.phase) > 0.5

    @pytest.mark.thorough
    def test_overlapping_renders_agree_far_better_than_with_a_phase_that_restarts(self):
        # Only what differs between two excitations: no right context is missing, and features
        # are those of the whole recording, which do not change from window to window.
        settings = PLAIN.replace(lookahead=50.0, context=1000.0)
        audio = speech()[: 300 * FRAME]
        rows = np.repeat(encoder()(audio, layer=9, project=True), 2, axis=0)
        rows = np.concatenate([np.zeros((100, 256), np.float32), rows])

        def seam_db(restart):
            stream = opened(settings, LocalPitch(), continuous=False)
            track, frames = stream.track, stream.track.frames

            class Whole:
                begin = staticmethod(lambda *_: [mx.zeros(1)])
                rows = staticmethod(lambda begun: begun[0])

                def frames(self, *_, count, **__):
                    return mx.array(rows[100 + track.end - count : 100 + track.end])[None]

            stream._content = Whole()
            if restart:
                track.frames = lambda first, last: frames(first, last)._replace(
                    phase=np.zeros(last - first)
                )
            error = level = 0.0
            stream.skip(audio[: 120 * FRAME])
            made = stream_all(stream, audio[120 * FRAME : 290 * FRAME], settings, 10)
            for before, after in itertools.pairwise(r.audio for r in made):
                error += np.sum((before[10 * HOP :] - after[: 6 * HOP]) ** 2)
                level += np.sum(after[: 6 * HOP] ** 2)
            return 10 * np.log10(error / level)

        carried, restarted = seam_db(restart=False), seam_db(restart=True)
        assert carried < -20
        assert carried < restarted - 8

    @pytest.mark.parametrize("semitones", more([-7.0, -1.5, 4.0]))
    def test_formants_do_not_stretch_time(self, semitones):
        settings = PLAIN.replace(formant=semitones, lookahead=100.0)
        stream = opened(settings, LocalPitch(), continuous=False)
        renders = [r.audio for r in stream_all(stream, speech()[: 220 * FRAME], settings, 10)]
        assert {len(r) for r in renders} == {16 * HOP}
        error = level = 0.0
        for before, after in itertools.pairwise(renders[8:]):
            error += np.sum((before[10 * HOP :] - after[: 6 * HOP]) ** 2)
            level += np.sum(after[: 6 * HOP] ** 2)
        assert 10 * np.log10(error / level) < -6  # drifting time would make them strangers

    def test_the_same_seed_repeats_the_sound_and_another_does_not(self):
        audio = speech()[: 40 * FRAME]
        a, b, c = (
            stream_all(opened(s), audio, s, 10)[-1].audio
            for s in (PLAIN, PLAIN, PLAIN.replace(seed=1))
        )
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 0.01


class TestSkip:
    def test_skipping_runs_no_network(self):
        pitch = LocalPitch()
        stream = opened(PLAIN, pitch)
        stream._content = None
        stream.skip(speech()[: 50 * FRAME])
        assert pitch.calls == []
        assert stream.track.end == 50

    @pytest.mark.thorough
    def test_after_silence_the_stream_sounds_as_if_it_had_never_rested(self):
        audio = np.concatenate([np.zeros(200 * FRAME, np.float32), speech()[: 60 * FRAME]])
        through, rested = opened(PLAIN), opened(PLAIN)
        a = stream_all(through, audio, PLAIN, 10)[20:]
        rested.skip(audio[: 200 * FRAME])
        b = stream_all(rested, audio[200 * FRAME :], PLAIN, 10)
        # What comes before the first block was input, but in the window of an earlier block.
        error = np.mean((a[0].audio - b[0].audio) ** 2)
        assert error < 1e-2 * np.mean(a[1].audio ** 2)
        for first, second in zip(a[2:], b[2:], strict=True):
            np.testing.assert_allclose(first.audio, second.audio, atol=1e-5)

    def test_after_missed_speech_the_pitch_of_all_of_it_is_found(self):
        pitch = LocalPitch()
        settings = PLAIN.replace(lookahead=50.0)
        stream, through = opened(settings, pitch), opened(settings, LocalPitch())
        audio = speech()[40 * FRAME : 240 * FRAME]
        stream.skip(audio[: 190 * FRAME])
        stream.render(audio[190 * FRAME :], settings)
        assert pitch.calls == [stream.window.long_pitch * FRAME]
        stream_all(through, audio, settings, 10)
        first = stream.track.end - stream.window.frames
        missed = stream.track.frames(first, stream.track.end).input_f0
        known = through.track.frames(first, through.track.end).input_f0
        assert np.mean(np.abs(missed - known) < 1e-3) > 0.98
        assert np.mean(known > 0) > 0.4

    def test_the_next_step_hears_the_short_window_again(self):
        pitch = LocalPitch()
        stream = opened(PLAIN, pitch)
        stream.skip(speech()[: 190 * FRAME])
        for at in (190, 200):
            stream.render(speech()[at * FRAME : (at + 10) * FRAME], PLAIN)
        assert pitch.calls[-1] == stream.window.pitch * FRAME < pitch.calls[0]

    def test_a_pause_without_speech_costs_no_long_window(self):
        pitch = LocalPitch()
        stream = opened(PLAIN, pitch)
        stream.skip(1e-4 * speech()[: 190 * FRAME])
        stream.render(speech()[190 * FRAME : 200 * FRAME], PLAIN)
        assert pitch.calls == [stream.window.pitch * FRAME]

    def test_a_broken_frame_is_a_defect_of_the_caller(self):
        with pytest.raises(ValueError, match="10 ms"):
            opened(PLAIN).skip(np.zeros(100, np.float32))


class TestSettings:
    @pytest.mark.parametrize(
        "change",
        more(
            [
                {"pitch": 5.0},
                {"whisper": True},
                {"formant": 3.0},
                {"index_rate": 1.0},
                {"speaker": 2},
                {"pitch_fine": 50.0},
                {"pitch_range": 0.5},
                {"pitch_fixed": 150.0},
                {"pitch_threshold": 0.9},
            ],
            keep=3,
        ),
        ids=str,
    )
    def test_a_setting_changes_the_sound_while_it_runs_but_not_earlier_frames(self, change):
        stream, same = opened(PLAIN), opened(PLAIN)
        audio = speech()[60 * FRAME : 160 * FRAME]
        for at in range(0, 80 * FRAME, 10 * FRAME):
            stream.render(audio[at : at + 10 * FRAME], PLAIN)
            same.render(audio[at : at + 10 * FRAME], PLAIN)
        changed = PLAIN.replace(**change)
        new = stream.render(audio[80 * FRAME : 90 * FRAME], changed)
        old = same.render(audio[80 * FRAME : 90 * FRAME], PLAIN)
        assert np.abs(new.audio - old.audio).max() > 1e-3
        end = 80 - LOOKAHEAD
        resumed = stream.track.frames(stream.track.start, end)
        before = same.track.frames(stream.track.start, end)
        np.testing.assert_array_equal(resumed.phase, before.phase)

    def test_a_new_pitch_glides_in_on_the_new_frames_only(self):
        stream = opened(PLAIN, LocalPitch())
        audio = speech()[100 * FRAME :]
        stream_all(stream, audio[: 60 * FRAME], PLAIN, 10)
        before = stream.track.frames(54, 60).output_f0
        stream.render(audio[60 * FRAME : 70 * FRAME], PLAIN.replace(pitch=12.0))
        frames = stream.track.frames(54, 70)
        ratio = frames.output_f0 / np.maximum(frames.input_f0, 1)
        np.testing.assert_allclose(ratio[:6][frames.input_f0[:6] > 0], 1.0)
        assert (frames.input_f0[6:] > 0).sum() > 4
        late = ratio[8:][frames.input_f0[8:] > 0]
        np.testing.assert_allclose(late, 2.0)
        assert before.any()

    def test_unvoiced_frames_are_interpolated_only_if_set(self):
        rough = LocalPitch(threshold=0.8)
        through = PLAIN.replace(pitch_interpolation=True)
        a, b = opened(PLAIN, rough), opened(through, rough)
        for stream, settings in ((a, PLAIN), (b, through)):
            stream.skip(speech()[: 100 * FRAME])
            stream_all(stream, speech()[100 * FRAME : 200 * FRAME], settings, 10)
        end = 200 - LOOKAHEAD
        plain = a.track.frames(a.track.start, end).input_f0
        interpolated = b.track.frames(b.track.start, end).input_f0
        assert (plain == 0).sum() > 20
        assert (interpolated > 0).sum() > (plain > 0).sum() + 10
        assert interpolated.min() == 0 or interpolated.min() > 50

    @pytest.mark.parametrize("protect", [0.0, 0.33, 0.5])
    def test_protect_keeps_unvoiced_frames(self, protect):
        content = voice().content
        rows = content.rows(content.begin(speech()[: 40 * FRAME]))
        input_f0 = np.where(np.arange(40) % 3 == 0, 0.0, 120.0)
        settings = PLAIN.replace(index_rate=0.7, protect=protect)
        made = np.array(content.frames(rows, 0, input_f0, settings, count=40, first=10))[0]
        features = np.concatenate([np.array(rows), np.array(rows)[-1:]])  # the last one twice
        own = np.repeat(features, 2, axis=0)
        blended = np.concatenate([features[:5], index().blend(features[5:], 0.7)])
        moved = np.repeat(blended, 2, axis=0)
        share = np.where((input_f0 == 0) & (protect < 0.5), protect, 1.0)[:, None]
        np.testing.assert_allclose(made, own + share * (moved - own), atol=1e-5)
        assert np.abs(moved[10:] - own[10:]).max() > 0.1

    def test_a_speaker_that_does_not_exist_is_the_last_one(self):
        a, b = opened(PLAIN.replace(speaker=7)), opened(PLAIN)
        block = speech()[: 10 * FRAME]
        np.testing.assert_array_equal(
            a.render(block, PLAIN.replace(speaker=7)).audio,
            b.render(block, PLAIN.replace(speaker=2)).audio,
        )


class TestVoices:
    @pytest.mark.parametrize(
        "name", more(["voice_v1_f0_40k", "voice_v1_f0_48k", "voice_v1_nof0_40k"])
    )
    @pytest.mark.parametrize("block", [70.0, 300.0])
    def test_every_kind_streams_blocks_of_any_size(self, name, block):
        settings = Settings(block=block, lookahead=30.0, crossfade=50.0)
        made = voice(name)
        stream = made.open(plan_for(settings), settings)
        frames = round(block / 10)
        hop = made.output_rate // 100
        for render in stream_all(stream, speech()[: 60 * FRAME], settings, frames):
            assert render.audio.shape == (frames * hop,)
            assert np.isfinite(render.audio).all()
        assert stream.track.end == 60 // frames * frames  # warming up has left no trace

    def test_a_voice_without_pitch_asks_for_no_estimator(self):
        def refuse(kind):
            raise AssertionError(kind)

        made = voice("voice_v1_nof0_40k", pitch=None)
        made._find_estimator = refuse
        stream = made.open(plan_for(PLAIN), PLAIN)
        assert stream.render(speech()[: 10 * FRAME], PLAIN).input_f0_hz == 0

    @pytest.mark.parametrize("method", more(["rmvpe", "swift", "dio", "harvest"], keep=2))
    def test_every_pitch_method_finds_the_pitch_of_speech(self, method):
        settings = PLAIN.replace(pitch_method=method, block=200.0)
        stream = opened(settings, estimator(method))
        f0 = [r.input_f0_hz for r in stream_all(stream, speech()[: 100 * FRAME], settings, 20)]
        assert len(f0) == 5
        if method != "rmvpe":  # its weights here are random
            assert any(80 < hz < 400 for hz in f0)

    @pytest.mark.thorough
    @pytest.mark.skipif(real_fcpe() is None, reason="set RTVC_FCPE_WEIGHTS to fcpe_c_v001.pt")
    def test_fcpe_live_agrees_with_fcpe_that_knows_the_whole_recording(self):
        fcpe = load_pitch_estimator(real_fcpe(), "fcpe")
        settings = PLAIN.replace(pitch_method="fcpe")
        stream = opened(settings, fcpe)
        audio = speech()[: 250 * FRAME]
        live = []
        track = stream.track
        for at in range(0, len(audio), 10 * FRAME):
            stream.render(audio[at : at + 10 * FRAME], settings)
            live += list(track.frames(max(track.final_end - 10, 0), track.final_end).input_f0)
        whole = fcpe(audio)[: len(live)]
        streamed = np.array(live)
        both = (streamed > 0) & (whole > 0)
        assert np.mean((streamed > 0) == (whole > 0)) > 0.95
        assert np.median(np.abs(1200 * np.log2(streamed[both] / whole[both]))) < 6

    def test_an_encoder_of_another_width_is_refused(self):
        with pytest.raises(RtvcError, match="width 768"):
            voice("voice_v2_f0_32k", with_index=False)
