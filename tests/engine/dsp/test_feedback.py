"""Acoustic feedback: found and reduced in simulated loops, and in nothing else."""

import threading

import numpy as np
import pytest

from rtvc._types import Float32
from rtvc.engine.dsp.feedback import FeedbackSuppressor
from tests.engine.speech_measures import NAMES, RATE, speech

BLOCK = RATE // 10
VOICE_DELAY = 1608
CLOSED_S = 1.0


def room(seed: int) -> Float32:
    """The path of a small speaker in a room: a direct sound, 50 ms of echoes, 200 to 7000 Hz."""
    from scipy.signal import butter, lfilter  # 1.5 s to import

    rng = np.random.default_rng(seed)
    time = np.arange(RATE // 20) / RATE
    path = rng.standard_normal(len(time)) * np.exp(-time / 0.02) * 0.06
    path[0] = 1.0
    path = lfilter(*butter(2, [200, 7000], "band", fs=RATE), path)
    scaled: Float32 = (path / np.sqrt(np.sum(path**2))).astype(np.float32)
    return scaled


class Voice:
    """Delays, and moves all frequencies unless `shift_hz` is 0; its gain is 0 dB."""

    def __init__(self, shift_hz: float) -> None:
        self.shift_hz, self.at = shift_hz, 0
        self.past = np.zeros(VOICE_DELAY, np.float32)

    def __call__(self, block: Float32) -> Float32:
        joined = np.concatenate([self.past, block])
        self.past = joined[len(block) :]
        out = joined[: len(block)]
        if self.shift_hz:
            time = (self.at + np.arange(len(block))) / RATE
            out = out * np.float32(np.sqrt(2)) * np.cos(2 * np.pi * self.shift_hz * time)
        self.at += len(block)
        clipped: Float32 = np.clip(out, -0.89, 0.89).astype(np.float32)
        return clipped


def converted(
    sound: Float32,
    *,
    gain_db: float = -np.inf,
    lag: int = 2 * BLOCK,
    shift_hz: float = 0.0,
    open_s: float = np.inf,
    suppressed: bool = True,
    block: int = BLOCK,
) -> tuple[Float32, list[bool]]:
    """The output with the loop closed from `CLOSED_S` to `open_s`, and whether it was reduced."""
    from scipy.signal import oaconvolve

    suppressor = FeedbackSuppressor(RATE, VOICE_DELAY)
    voice, path = Voice(shift_hz), room(3) * 10 ** (gain_db / 20)
    out = np.zeros(len(sound) // block * block, np.float32)
    reduced = []
    for begin in range(0, len(out), block):
        given = sound[begin : begin + block].copy()
        if CLOSED_S <= begin / RATE < open_s and gain_db > -np.inf:
            source = out[max(0, begin - lag - len(path) + 1) : begin - lag + block]
            heard = oaconvolve(source, path)[len(path) - 1 :]
            given = np.clip(given + heard[:block], -1, 1).astype(np.float32)
        made = voice(given)
        out[begin : begin + block] = suppressor.process(given, made) if suppressed else made
        reduced.append(suppressor.active)
    return out, reduced


def talk(seconds: float, name: str = NAMES[0]) -> Float32:
    sound = np.resize(speech(name), round(seconds * RATE))
    scaled: Float32 = (sound * (0.05 / np.sqrt(np.mean(sound**2)))).astype(np.float32)
    return scaled


@pytest.mark.parametrize(
    ("gain_db", "lag_ms", "shift_hz", "name"),
    [(1, 200, 0, 0), (3, 110, 170, 1), (6, 320, 0, 2), (9, 350, 90, 3), (12, 270, 170, 4)],
)
def test_a_loop_is_reduced_soon(gain_db, lag_ms, shift_hz, name):
    sound = talk(4.0, NAMES[name])
    loop = {"gain_db": gain_db, "lag": lag_ms * RATE // 1000, "shift_hz": shift_hz}
    out, reduced = converted(sound, **loop)
    assert (reduced.index(True) + 1) * BLOCK / RATE <= CLOSED_S + 1.2
    howl, _ = converted(sound, **loop, suppressed=False)
    level, howling = (np.sqrt(np.mean(x[-RATE:] ** 2)) for x in (out, howl))
    assert howling > 0.1, "it would not howl: the test says nothing"
    assert level < 0.1, "still loud"


def test_the_voice_comes_back_when_the_loop_is_open():
    out, reduced = converted(talk(14.0), gain_db=6, open_s=3.0)
    assert reduced[25]
    assert not reduced[-1]
    plain, _ = converted(talk(14.0))
    assert np.array_equal(out[-BLOCK:], plain[-BLOCK:])


def sung(hz: float, seconds: float) -> Float32:
    """A vowel that gets louder, with the uneven vibrato and the jitter of a human voice."""
    rng = np.random.default_rng(round(hz))
    time = np.arange(round(seconds * RATE)) / RATE
    knots = np.arange(0, seconds + 0.4, 0.2)
    speed, drift = (np.interp(time, knots, rng.normal(0, sd, len(knots))) for sd in (0.5, 0.004))
    vibrato = 0.03 * np.sin(2 * np.pi * np.cumsum(5.5 + speed) / RATE)
    phase = 2 * np.pi * hz * np.cumsum(1 + vibrato + drift) / RATE
    harmonics = np.arange(1, int(5000 / hz))
    weights = 1 / (1 + ((harmonics * hz - 700) / 200) ** 2) + 0.05
    sound = np.sin(harmonics[:, None] * phase).T @ weights
    sound *= 0.5 / np.abs(sound).max() * 10 ** (time / seconds - 1)
    made: Float32 = sound.astype(np.float32)
    return made


@pytest.mark.parametrize("shift_hz", [0, 170])
def test_speech_shouts_songs_tones_and_noise_are_left_alone(shift_hz):
    time = np.arange(2 * RATE) / RATE
    tones = [np.float32(0.5) * np.sin(2 * np.pi * hz * time) for hz in (55.3, 440.0, 1000.0)]
    noise = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    everything = [talk(5.0, name) for name in NAMES]
    everything += [np.clip(20 * talk(4.0, name), -1, 1) for name in NAMES[:2]]
    everything += [*tones, noise, *(sung(hz, 2.0) for hz in (110, 165, 262, 392))]
    sound = np.concatenate(everything)
    out, reduced = converted(sound, shift_hz=shift_hz)
    assert not any(reduced)
    plain, _ = converted(sound, shift_hz=shift_hz, suppressed=False)
    assert np.array_equal(out, plain), "the output is not bit-identical"


def test_the_result_does_not_depend_on_the_block():
    sound = talk(3.0)
    howl, _ = converted(sound, gain_db=6, suppressed=False)
    results = []
    for block in (480, 4800, 13920):
        suppressor = FeedbackSuppressor(RATE, VOICE_DELAY)
        count = len(howl) // block
        parts = [
            suppressor.process(howl[k * block :][:block], np.roll(howl, -9600)[k * block :][:block])
            for k in range(count)
        ]
        results.append(np.concatenate(parts))
    assert not np.array_equal(results[0], howl[: len(results[0])]), "it was never reduced"
    for result in results[1:]:
        assert np.array_equal(results[0][: len(result)], result)


def test_no_short_block_waits_for_a_whole_search(monkeypatch):
    counts: list[int] = []
    caller = threading.get_ident()  # other threads of the process transform too

    def counted(transform):
        def call(*arguments):
            if threading.get_ident() == caller:
                counts[-1] += 1
            return transform(*arguments)

        return call

    for name in ("rfft", "irfft"):
        monkeypatch.setattr(np.fft, name, counted(getattr(np.fft, name)))
    noise = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    suppressor = FeedbackSuppressor(RATE, VOICE_DELAY)
    for block in noise.reshape(-1, RATE // 50):
        counts.append(0)
        suppressor.process(block, block[::-1])
    assert sum(counts) > 20
    assert max(counts) <= 2


def test_after_skipped_input_the_past_is_forgotten():
    suppressor = FeedbackSuppressor(RATE, VOICE_DELAY)
    howl, _ = converted(talk(3.0), gain_db=6, suppressed=False)
    for begin in range(0, len(howl), BLOCK):
        suppressor.process(howl[begin:][:BLOCK], np.roll(howl, -9600)[begin:][:BLOCK])
        suppressor.skip()
    assert not suppressor.active
