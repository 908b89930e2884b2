import numpy as np
import pytest

from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.spectrum import BANDS, FLOOR_DB, Spectrum
from rtvc.stats import SPECTRUM_HZ


def tone(hz: float, seconds: float, peak: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * ENGINE_RATE)) / ENGINE_RATE
    return (peak * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def band_of(hz: float) -> int:
    low, high = SPECTRUM_HZ
    return int(BANDS * np.log(hz / low) / np.log(high / low))


@pytest.mark.parametrize("hz", [110.0, 440.0, 1000.0, 5000.0, 11_000.0])
def test_a_tone_is_in_its_band_with_its_level(hz: float):
    spectrum = Spectrum()
    spectrum.push(tone(hz, 0.2, 0.1))
    bands = np.array(spectrum.bands(0))
    assert len(bands) == BANDS
    loudest = int(bands.argmax())
    assert abs(loudest - band_of(hz)) <= 1
    # Its power may be at the border of two bands.
    assert 10 * np.log10(np.sum(10 ** (bands / 10))) == pytest.approx(-20, abs=0.5)
    far = np.abs(np.arange(BANDS) - loudest) > 4
    assert bands[far].max() < -60


def test_the_spectrum_is_that_of_the_played_output_and_not_of_the_queue():
    spectrum = Spectrum()
    for _ in range(70):  # more than the ring buffer holds
        spectrum.push(tone(300, 0.1))
    spectrum.push(tone(3000, 0.1))
    assert int(np.argmax(spectrum.bands(0))) == band_of(3000)
    assert int(np.argmax(spectrum.bands(4800))) == band_of(300)


def test_silence_and_the_beginning_are_the_floor():
    spectrum = Spectrum()
    assert spectrum.bands(0) == (FLOOR_DB,) * BANDS
    spectrum.push(np.zeros(4800, np.float32))
    assert spectrum.bands(0) == (FLOOR_DB,) * BANDS
    assert spectrum.bands(4800) == (FLOOR_DB,) * BANDS
