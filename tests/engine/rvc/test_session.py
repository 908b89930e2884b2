"""An RVC voice live: a session on a simulated device, with everything that a run can meet."""

from functools import cache

import numpy as np
import pytest
import soxr

from rtvc.audio.simulated import Fault, SimulatedDevice
from rtvc.engine.chain import Chain
from rtvc.engine.profiling.random_weights import UPSAMPLING, random_voice
from rtvc.engine.rvc.offline import convert
from rtvc.engine.rvc.voice import RvcStream, RvcVoice
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State
from tests.engine.rvc.rvc_stack import GOLDEN, LocalPitch, network, speech, voice
from tests.support.material import more
from tests.support.small_networks import small_encoder

pytestmark = pytest.mark.slow

RATE = 48_000
NAMES = "voice_v1_f0_40k", "voice_v1_f0_48k"
LIVE = Settings(voice="golden", headroom=100.0, block=150.0, latency="constant")


def microphone(seconds=2.0, silence=0.0):
    sound = np.tile(speech(), 2)[: round((seconds - silence) * 16_000)]
    half = len(sound) // 2
    quiet = np.zeros(round(silence * 16_000), np.float32)
    sound = np.concatenate([sound[:half], quiet, sound[half:]])
    return soxr.resample(sound, 16_000, RATE)


class Device(SimulatedDevice):
    """Calls `on_block(n)` whenever the engine takes a block."""

    def __init__(self, source, on_block=lambda n: None, **facts):
        super().__init__(source, **facts)
        self._on_block, self._blocks = on_block, 0

    def read(self, samples):
        self._on_block(self._blocks)
        self._blocks += 1
        return super().read(samples)


def run(source, settings=LIVE, changes=None, find=None, **facts):
    """Play `source` through a session; `changes` maps block numbers to settings to apply."""

    def on_block(n):
        if changes and n in changes:
            session.apply(session.settings.replace(**changes[n]))

    made = voice(pitch=LocalPitch())
    device = Device(source, on_block, **facts)
    session = Session(device, settings, find or (lambda name: made))
    with session:
        assert session.wait(60)
        stats = session.stats()
    return device.played, stats


def assert_sound(played):
    """What is played is finite, and within the limiter's ceiling."""
    assert np.isfinite(played).all()
    assert np.abs(played).max() <= 10 ** (-1 / 20) + 1e-6


def test_a_voice_runs_live_without_a_gap():
    played, stats = run(microphone())
    assert_sound(played)
    assert stats.state is State.CONVERTED
    assert stats.late_blocks == stats.failed_steps == stats.device.underruns == 0
    assert stats.reason == ""
    assert np.sqrt(np.mean(played[RATE:-RATE] ** 2)) > 0.05
    # Blocks join without overlap; the vocoder has 50 ms of lookahead.
    latency = stats.latency
    assert (latency.crossfade, latency.search, latency.lookahead) == (0, 0, pytest.approx(0.05))


def test_the_stated_latency_is_the_measured_one():
    # The same recording, converted as a whole, says where every sound belongs.
    settings = LIVE.replace(gate=-90.0, lookahead=100.0)
    source = microphone(4.0)
    played, stats = run(source, settings)
    whole = convert(voice(pitch=LocalPitch()), soxr.resample(source, RATE, 16_000), settings)
    piece = soxr.resample(whole.audio, 40_000, RATE)[RATE : 3 * RATE]
    size = 1 << 19
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(piece, size))
    agreement = np.fft.irfft(spectrum, size)[: len(played)]
    lag = (int(np.argmax(agreement)) - RATE) / RATE
    assert agreement.max() > 5 * np.median(np.abs(agreement))
    assert lag == pytest.approx(stats.latency.total, abs=0.011)


@pytest.mark.thorough
def test_every_live_setting_can_change_while_it_runs():
    entries = [
        {"pitch": 7.0},
        {"formant": -3.0},
        {"index_rate": 1.0},
        {"protect": 0.1},
        {"loudness": 1.0},
        {"speaker": 2},
        {"pitch_threshold": 0.8},
        {"pitch_interpolation": True},
        {"whisper": True},
        {"pitch_fixed": 110.0, "whisper": False},
        {"mode": "dry"},
        {"mode": "converted"},
    ]
    played, stats = run(microphone(3.0), changes=dict(enumerate(entries, start=5)))
    assert_sound(played)
    assert stats.failed_steps == stats.late_blocks == stats.device.underruns == 0
    assert stats.state is State.CONVERTED


@pytest.mark.parametrize(
    "change", more([{"block": 80.0}, {"pitch_method": "dio"}, {"context": 600.0}])
)
def test_a_new_chain_replaces_the_running_one(change):
    played, stats = run(microphone(), changes={8: change})
    assert_sound(played)
    assert stats.failed_steps == stats.late_blocks == stats.device.underruns == 0
    assert stats.reason == ""


@pytest.mark.thorough
def test_a_voice_that_is_ready_takes_over_with_the_next_block():
    network.cache_clear()  # other tests have packed the weights in further ways
    made = {name: voice(name, pitch=LocalPitch(), with_index=False) for name in NAMES}
    seen: list[tuple[str, dict[str, int]]] = []

    def on_block(n):
        seen.append((session.stats().voice, session.stats().ready_voices))
        if n in (20, 26):
            session.apply(voice=NAMES[n == 20])

    settings = LIVE.replace(voice=NAMES[0], ready_memory=100.0, gate=-90.0)
    session = Session(device := Device(microphone(5.0), on_block), settings, made.__getitem__)
    session.keep_ready(NAMES)
    with session:
        assert session.wait(60)
        stats = session.stats()
    assert seen[20] == (NAMES[0], {NAMES[1]: made[NAMES[1]].weights})
    values = sum(
        array.size for array in read_voice_checkpoint(GOLDEN / f"{NAMES[1]}.pth").weights.values()
    )
    assert 0.9 * 4 * values < made[NAMES[1]].weights < 2.5 * 4 * values
    assert [name for name, _ in seen[20:22]] == list(NAMES)
    assert [name for name, _ in seen[26:28]] == list(reversed(NAMES))
    assert_sound(device.played)
    assert stats.failed_steps == stats.late_blocks == stats.device.underruns == 0
    power = np.convolve(device.played[RATE:-RATE] ** 2, np.ones(2400) / 2400, "valid")
    assert power.min() > 1e-6, "there is no gap"


@pytest.mark.thorough
def test_two_chains_share_the_networks():
    opened = []
    made = voice(pitch=LocalPitch())
    open_stream = made.open

    def kept(plan, settings):
        opened.append(open_stream(plan, settings))
        return opened[-1]

    made.open = kept
    run(microphone(), changes={6: {"block": 80.0}}, find=lambda name: made)
    first, second = opened
    assert isinstance(first, RvcStream)
    assert first._content is second._content
    assert first._voice is second._voice


def test_in_silence_no_network_runs_and_speech_comes_back_whole(monkeypatch):
    rows, count = type(voice().content).rows, []

    def counted(self, audio):
        count.append(len(audio))
        return rows(self, audio)

    monkeypatch.setattr(type(voice().content), "rows", counted)
    settings = LIVE.replace(context=300.0)
    played, stats = run(microphone(6.0, silence=3.0), settings)
    silent = np.abs(played).reshape(-1, 480).max(axis=1) == 0
    assert silent.sum() > 150
    assert len(count) < 0.7 * stats.blocks
    assert np.abs(played[-RATE:]).max() > 0.05


@pytest.mark.thorough
def test_lateness_is_concealed_and_the_latency_comes_back():
    played, stats = run(microphone(4.0), faults=[Fault(1.5, "stall", 0.6)])
    assert_sound(played)
    assert stats.device.underruns == 0
    assert stats.late_blocks > 0
    assert stats.state is State.CONVERTED


@pytest.mark.thorough
def test_rubbish_from_the_microphone_harms_nothing():
    source = microphone(3.0)
    source[RATE : RATE + 4800] = np.nan
    source[RATE + 9600 : RATE + 14400] = 1e30
    played, stats = run(source)
    assert_sound(played)
    assert stats.repaired_blocks > 0
    assert stats.failed_steps == 0
    assert np.abs(played[-RATE:]).max() > 0.05


@pytest.mark.thorough
@pytest.mark.parametrize(("version", "rate"), more(UPSAMPLING, keep=2))
def test_every_version_and_rate_runs_live(version, rate):
    """The same graphs as full-size voices, which `rtvc bench` runs, on narrow layers."""
    network = random_voice(version, rate, width=16, initial=64)
    made = RvcVoice("narrow", network, _encoder(), lambda kind: LocalPitch())
    assert made.output_rate == rate
    played, stats = run(microphone(1.5), LIVE.replace(formant=1.0), find=lambda name: made)
    assert_sound(played)
    assert stats.failed_steps == stats.late_blocks == stats.device.underruns == 0
    assert np.sqrt(np.mean(played[RATE // 2 : RATE] ** 2)) > 1e-3


def test_a_voice_whose_frames_are_no_multiple_of_eight_samples(monkeypatch):
    """A rate of 44.1 kHz, which some training programs offer."""
    monkeypatch.setitem(UPSAMPLING, ("v1", 44_100), ((7, 7, 3, 3), (14, 14, 6, 6)))
    network = random_voice("v1", 44_100, width=16, initial=64)
    made = RvcVoice("narrow", network, _encoder(), lambda kind: LocalPitch())
    settings = Settings(block=100.0, context=300.0, gate=-90.0, formant=1.0)
    chain, sound = Chain(made, settings), microphone(1.0)
    blocks = sound[: 8 * chain.block].reshape(8, -1)
    played = np.concatenate([chain.step(block, settings).output for block in blocks])
    assert_sound(played)
    assert np.sqrt(np.mean(played[RATE // 2 :] ** 2)) > 1e-3
    assert np.isfinite(convert(made, speech()[:16_000], settings).audio).all()


@cache
def _encoder():
    return small_encoder()
