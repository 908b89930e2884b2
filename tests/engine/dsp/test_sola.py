import numpy as np
import pytest

from rtvc.engine.dsp.sola import Sola, best_offset, fade_in

RATE = 48_000


def naive_offset(render, tail, search):
    width = len(tail)
    scores = [
        np.dot(render[k : k + width].astype("f8"), tail)
        / np.sqrt(np.sum(render[k : k + width].astype("f8") ** 2) + 1e-8)
        for k in range(search + 1)
    ]
    return int(np.argmax(scores))


@pytest.mark.parametrize("seed", range(5))
def test_the_offset_is_the_one_of_the_formula(seed):
    rng = np.random.default_rng(seed)
    render = rng.standard_normal(3000).astype(np.float32)
    at = int(rng.integers(0, 481))
    tail = render[at : at + 1920] + 0.3 * rng.standard_normal(1920).astype(np.float32)
    assert best_offset(render, tail, 480, 0) == naive_offset(render, tail, 480) == at


def test_a_periodic_sound_keeps_its_offset():
    wave = np.sin(2 * np.pi * np.arange(6000) / 120).astype(np.float32)
    for preferred in (0, 120, 240, 480):
        assert best_offset(wave, wave[:1920], 480, preferred) == preferred


def test_silence_has_an_offset_too():
    nothing = np.zeros(3000, np.float32)
    assert best_offset(nothing, nothing[:1920], 480, 17) == 17


def test_the_crossfade_is_complementary():
    rise = fade_in(100)
    np.testing.assert_allclose(rise + rise[::-1], 1.0, atol=1e-6)


@pytest.mark.parametrize("hz", [70.0, 110.3, 220.0, 523.3])
def test_renders_that_restart_their_phase_are_joined_into_one_tone(hz):
    block, crossfade, search = 4800, 1920, 720
    sola = Sola(block, crossfade, search)
    rng = np.random.default_rng(2)
    time = np.arange(block + crossfade + search) / RATE
    out = np.concatenate(
        [sola.join(np.sin(2 * np.pi * (hz * time + rng.uniform())).astype("f4")) for _ in range(20)]
    )[block:]
    envelope = np.abs(out).reshape(-1, 960).max(axis=1)
    assert envelope.min() > 0.97  # no hole where two phases cancel
    assert np.abs(np.diff(out, 2)).max() < 1.15 * (2 * np.pi * hz / RATE) ** 2 + 2e-3
