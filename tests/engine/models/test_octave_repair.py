"""Short octave errors are corrected; melodies are not changed."""

from __future__ import annotations

import numpy as np
import pytest

from rtvc.engine.models.octave_repair import repair_octaves


def track(*parts: tuple[float, int], confidence: float = 0.9) -> tuple[np.ndarray, ...]:
    """Return f0, confidence and voicing of consecutive notes (Hz, frames); 0 Hz is unvoiced."""
    hz = np.concatenate([np.full(frames, float(note)) for note, frames in parts])
    return np.where(hz > 0, hz, 100.0), np.full(len(hz), confidence), hz > 0


def repaired(*parts: tuple[float, int]) -> np.ndarray:
    hz, confidence, voiced = track(*parts)
    return np.where(voiced, repair_octaves(hz, confidence, voiced), 0.0)


def same(*parts: tuple[float, int]) -> bool:
    hz, _, voiced = track(*parts)
    return bool(np.allclose(repaired(*parts), np.where(voiced, hz, 0.0)))


@pytest.mark.parametrize("ratio", [1 / 5, 1 / 4, 1 / 3, 1 / 2, 2, 3, 4, 5])
@pytest.mark.parametrize("frames", [1, 12])
def test_a_run_between_its_neighbours_moves_to_them(ratio: float, frames: int) -> None:
    found = repaired((200, 20), (206 * ratio, frames), (200, 20))
    np.testing.assert_allclose(found[20 : 20 + frames], 206)
    np.testing.assert_allclose(np.delete(found, slice(20, 20 + frames)), 200)


@pytest.mark.parametrize("parts", [((200, 20), (100, 6)), ((100, 6), (200, 20))])
def test_a_short_run_at_an_end_moves_to_its_only_neighbour(parts) -> None:
    np.testing.assert_allclose(repaired(*parts), 200)


def test_a_short_gap_does_not_separate_a_run_from_its_neighbour() -> None:
    assert repaired((200, 20), (0, 3), (100, 4))[-4:].tolist() == pytest.approx([200] * 4)
    assert same((200, 20), (0, 4), (100, 4))


@pytest.mark.parametrize(
    "parts",
    [
        [(200, 20), (100, 13), (200, 20)],  # a note of 208 ms
        [(200, 20), (100, 7)],
        [(200, 20), (140, 4), (200, 20)],  # no whole ratio
        [(200, 20), (100, 4), (100, 20)],
        [(200, 20), (100, 5), (50, 20)],  # the neighbours disagree
        [(200, 2), (100, 2), (200, 2)],  # no neighbour is reliable
        [(100, 5)],
        [(0, 5)],
    ],
    ids=str,
)
def test_everything_else_stays(parts) -> None:
    assert same(*parts)


def test_a_less_confident_neighbour_of_the_same_length_moves_nothing() -> None:
    hz, confidence, voiced = track((200, 5), (100, 5))
    confidence[:5] = 0.5
    np.testing.assert_allclose(repair_octaves(hz, confidence, voiced)[5:], 100)
    np.testing.assert_allclose(repair_octaves(hz, confidence, voiced)[:5], 100)


def test_a_glide_over_octaves_stays() -> None:
    hz = 80.0 * 2.0 ** np.linspace(0, 3, 80)
    np.testing.assert_allclose(repair_octaves(hz, np.ones(80), np.ones(80, bool)), hz)
