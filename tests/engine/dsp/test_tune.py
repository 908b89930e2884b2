"""Pitch correction: its filter, and what both kinds of voice make of it."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
import pyworld

from rtvc._types import Float32, Float64
from rtvc.engine.chain import Chain
from rtvc.engine.dsp.melody import MeanPitch, MelodySettings, target_f0
from rtvc.engine.dsp.tune import Tuner
from rtvc.engine.rvc.pitch_track import PitchTrack
from rtvc.engine.voice import Voice
from rtvc.engine.world.analysis import WorldFrames
from rtvc.engine.world.synthesis import WorldSynthesizer
from rtvc.engine.world.voice import WorldVoice
from rtvc.scales import NOTES, read_scale, scale_notes
from rtvc.setting import SettingError
from rtvc.settings import Settings
from tests.engine.rvc import rvc_stack
from tests.engine.speech_measures import RATE, speech

FRAME_S = 0.01


def cents_off(hz: Float64, scale: str = "chromatic", key: str = "C") -> Float64:
    """Distance of each f0 to the nearest note of the scale in cents."""
    notes = np.array(scale_notes(scale, key))
    semitones = 12 * np.log2(hz / 440) + 69
    away = (semitones[:, None] - notes + 6) % 12 - 6
    off: Float64 = 100 * np.abs(away).min(axis=1)
    return off


def tuned(hz: Float64, settings: Settings, part: int = 1000) -> Float64:
    """The target f0 of frames of 10 ms, computed in parts."""
    melody, mean, tuner = MelodySettings(settings), MeanPitch(), Tuner(FRAME_S)
    pieces = np.split(hz, range(part, len(hz), part))
    return np.concatenate(
        [target_f0(x, mean.update(x), melody.hold(len(x)), tuner) for x in pieces]
    )


def glide(seconds: float) -> Float32:
    """A vowel-like sound from A2 to A4, with pauses."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = 110 * 4 ** (time / seconds)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    waves = sum(np.sin(n * phase) / n * (n * hz < 8000) for n in range(1, 20))
    sound = 0.1 * np.asarray(waves)
    sound[(time % 1.0) > 0.85] = 0.0
    return sound.astype(np.float32)


def target(
    monkeypatch: pytest.MonkeyPatch, voice: Voice, sound: Float32, settings: Settings
) -> tuple[Float64, Float32]:
    """The target f0 of every frame that was output, and the output."""
    frames: list[Float64] = []
    thread = threading.current_thread()  # another one may still convert for an earlier test
    finalize, render = PitchTrack.finalize, WorldSynthesizer.render

    def final(track: PitchTrack, until: int) -> None:
        first = track.final_end
        finalize(track, until)
        if threading.current_thread() is thread:
            frames.append(track.frames(first, track.final_end).output_f0.copy())

    def rendered(synthesizer: WorldSynthesizer, first: int, made: WorldFrames) -> Float32:
        if threading.current_thread() is thread:
            frames.append(made.hz.copy())
        return render(synthesizer, first, made)

    chain = Chain(voice, settings)
    with monkeypatch.context() as patch:
        patch.setattr(PitchTrack, "finalize", final)
        patch.setattr(WorldSynthesizer, "render", rendered)
        padded = np.pad(sound, (0, -len(sound) % chain.block))
        steps = [chain.step(block, settings) for block in padded.reshape(-1, chain.block)]
    return np.concatenate(frames), np.concatenate([step.output for step in steps])


def voice_of(kind: str) -> Voice:
    return WorldVoice() if kind == "world" else rvc_stack.voice(pitch=rvc_stack.LocalPitch())


@pytest.mark.parametrize(
    ("kind", "scale", "key"),
    [
        pytest.param("world", "chromatic", "C", marks=pytest.mark.thorough),
        ("world", "minor", "A"),
        pytest.param("world", "C D# G", "C", marks=pytest.mark.thorough),
        ("rvc", "minor", "A"),
        pytest.param("rvc", "chromatic", "C", marks=pytest.mark.thorough),
        pytest.param("rvc", "C D# G", "C", marks=pytest.mark.thorough),
    ],
)
def test_a_glide_lies_on_the_scale(
    monkeypatch: pytest.MonkeyPatch, kind: str, scale: str, key: str
) -> None:
    settings = Settings(tune=1.0, tune_speed=0.0, scale=scale, key=key, block=200.0, context=300.0)
    hz, _ = target(monkeypatch, voice_of(kind), glide(3.0), settings)
    voiced = hz[hz > 0]
    assert len(voiced) > 0.6 * len(hz)
    assert cents_off(voiced, scale, key).max() < 3
    steps = np.round(12 * np.log2(voiced / 440)).astype(int)
    expected = {n for n in range(-24, 1) if (n + 9) % 12 in scale_notes(scale, key)}
    assert len(expected & set(steps.tolist())) >= 0.8 * len(expected)


@pytest.mark.thorough
def test_the_output_has_the_pitch_of_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tune=1.0, tune_speed=0.0, scale="pentatonic")
    _, sound = target(monkeypatch, WorldVoice(), glide(3.0), settings)
    hz, seconds = pyworld.dio(sound.astype(np.float64), RATE, frame_period=5.0)
    hz = pyworld.stonemask(sound.astype(np.float64), hz, seconds, RATE)
    around = np.lib.stride_tricks.sliding_window_view(hz, 13)
    steady = (around.min(axis=1) > 0) & (np.ptp(np.log2(np.maximum(around, 1)), axis=1) < 0.02)
    assert steady.sum() > 100
    assert np.percentile(cents_off(hz[6:-6][steady], "pentatonic"), 95) < 8


@pytest.mark.parametrize("kind", ["world", pytest.param("rvc", marks=pytest.mark.thorough)])
def test_the_size_of_the_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    settings = Settings(tune=0.8, tune_speed=40.0, scale="minor", key="D", pitch=2.0, context=300.0)
    made = [
        target(monkeypatch, voice_of(kind), glide(1.5), settings.replace(block=block))[0]
        for block in (50.0, 250.0)
    ]
    size = min(map(len, made)) - 40
    assert np.count_nonzero(made[0][:size]) > 0.5 * size
    np.testing.assert_allclose(made[0][:size], made[1][:size], rtol=1e-9)


def test_unvoiced_frames_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = speech("2086-149214-0000", 2.0)
    plain, other = (
        target(monkeypatch, WorldVoice(), sound, Settings(tune=amount, tune_speed=0.0))[0]
        for amount in (0.0, 1.0)
    )
    np.testing.assert_array_equal(plain == 0, other == 0)
    assert (plain == 0).sum() > 20
    assert cents_off(plain[plain > 0]).max() > 30
    assert cents_off(other[other > 0]).max() < 3


@pytest.mark.parametrize("tune", [0.5, 1.0])
def test_vibrato_is_kept_around_the_note(tune: float) -> None:
    """A4 and 30 cents, with a vibrato of 5.5 Hz and 40 cents."""
    time = np.arange(600) * FRAME_S
    vibrato = 40 * np.sin(2 * np.pi * 5.5 * time)
    made = tuned(440 * 2 ** ((30 + vibrato) / 1200), Settings(tune=tune, tune_speed=100.0))
    cents = 1200 * np.log2(made / 440)[200:564]  # 20 periods
    assert np.mean(cents) == pytest.approx(30 * (1 - tune), abs=1)
    assert np.ptp(cents) / 2 == pytest.approx(40, rel=0.1)


def test_slow_corrections_have_no_jumps() -> None:
    hz = 220 * 2 ** (np.sin(np.arange(800) / 60) / 2)
    made = tuned(hz, Settings(tune=1.0, tune_speed=100.0, scale="major"))
    change, before = (1200 * np.abs(np.diff(np.log2(x))) for x in (made, hz))
    assert change.max() < before.max() + 200 * (1 - math.exp(-0.1))
    np.testing.assert_array_equal(
        made, tuned(hz, Settings(tune=1.0, tune_speed=100.0, scale="major"), part=7)
    )


def test_a_pitch_between_two_notes_keeps_the_present_one() -> None:
    middle = 440 * 2 ** (1 / 24)
    wavering = middle * 2 ** (5 / 1200 * np.sin(np.arange(400) / 3))
    made = tuned(wavering, Settings(tune=1.0, tune_speed=0.0))
    assert len(np.unique(np.round(made))) == 1


def test_a_fixed_pitch_is_not_tuned() -> None:
    hz = np.full(50, 233.0)
    made = tuned(hz, Settings(tune=1.0, tune_speed=0.0, pitch_fixed=123.0))
    np.testing.assert_allclose(made, 123.0)


def test_scales_are_read() -> None:
    assert read_scale("C D# G") == read_scale(" g,Eb c") == "C D# G"
    assert read_scale("B# Fb") == "C E"
    assert read_scale("Major") == "major"
    assert scale_notes("major", "A") == tuple(
        sorted(NOTES.index(note) for note in ("A", "B", "C#", "D", "E", "F#", "G#"))
    )
    assert scale_notes("E G", "A") == (4, 7)
    for text in ("", "H", "C D#G", "majr"):
        with pytest.raises(SettingError, match="'scale' is"):
            Settings(scale=text)
    with pytest.raises(SettingError, match="Did you mean 'minor'"):
        Settings(scale="minr")


@pytest.mark.parametrize(
    ("typed", "key"),
    [("Bb", "A#"), ("bb", "A#"), ("B", "B"), ("a", "A"), ("E♭", "D#"), ("c#", "C#")],
)
def test_a_key_can_be_typed_with_a_flat(typed: str, key: str) -> None:
    assert Settings(key=typed).key == key


def test_what_is_no_key_is_refused_with_what_is_one() -> None:
    for text in ("H", "C minor", "Bbb", ""):
        with pytest.raises(SettingError, match=r"'key' is .* a flat such as Bb"):
            Settings(key=text)
