"""The automatic transposition: its estimate, its movement, and what it is part of."""

from __future__ import annotations

import numpy as np
import pytest

from rtvc.engine.chain import Chain
from rtvc.engine.chain_state import read_state, write_state
from rtvc.engine.dsp.auto_pitch import FIRST_S, AutoPitch
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import SETTINGS, Settings
from rtvc.stats import State, Stats
from rtvc.tui.setting_row import row_text
from rtvc.tui.setting_rows import Facts

ON = Settings(auto_pitch="on", auto_pitch_target=220.0, pitch=3.0)
BLOCK_S = 0.1


def speak(auto: AutoPitch, hz: float, seconds: float, settings: Settings = ON) -> list[float]:
    """Speak around a pitch, half of it unvoiced; return the pitch setting in use per block."""
    used = []
    random = np.random.default_rng(3)
    for k in range(round(seconds / BLOCK_S)):
        voiced = hz * 2 ** random.normal(0, 0.2) if k % 2 else 0.0
        auto.update(voiced, BLOCK_S, settings)
        used.append(auto.use(settings).pitch)
    return used


def test_the_median_becomes_the_target() -> None:
    auto = AutoPitch()
    used = speak(auto, 110.0, 60.0)
    assert used[-1] == pytest.approx(12, abs=0.7)
    before = round(2 * FIRST_S / BLOCK_S) - 2
    assert used[:before] == [3.0] * before
    assert np.abs(np.diff(used)).max() <= 0.4 + 1e-9  # 4 semitones per second


def test_small_changes_are_not_followed_and_large_ones_are() -> None:
    auto = AutoPitch()
    first = speak(auto, 110.0, 90.0)[-1]
    assert set(speak(auto, 110.0 * 2 ** (0.3 / 12), 60.0)) == {first}
    assert speak(auto, 150.0, 90.0)[-1] == pytest.approx(12 * np.log2(220 / 150), abs=0.8)


def test_the_window_is_the_same_time_whatever_the_blocks() -> None:
    auto = AutoPitch()
    for _ in range(round(20.0 / 0.02)):
        auto.update(110.0, 0.02, ON)
    first = auto.semitones
    # Longer blocks, as where steps become slower: the 15 s before still count.
    for _ in range(5):
        auto.update(150.0, 1.0, ON)
    assert auto.semitones == first
    for _ in range(20):
        auto.update(150.0, 1.0, ON)
    assert auto.semitones == pytest.approx(12 * np.log2(220 / 150), abs=0.11)


@pytest.mark.parametrize("target", [222.0, 219.0])
def test_another_target_is_followed_however_near_it_is(target: float) -> None:
    auto = AutoPitch()
    first = speak(auto, 110.0, 60.0)[-1]
    moved = speak(auto, 110.0, 1.0, ON.replace(auto_pitch_target=target))[-1]
    assert moved - first == pytest.approx(12 * np.log2(target / 220), abs=0.11)


def test_hold_freezes_it_and_off_restores_the_pitch() -> None:
    auto = AutoPitch()
    first = speak(auto, 110.0, 60.0)[-1]
    assert set(speak(auto, 200.0, 60.0, ON.replace(auto_pitch="hold"))) == {first}
    assert auto.use(ON.replace(auto_pitch="off")).pitch == 3.0
    assert auto.use(ON.replace(auto_pitch_target=0.0)).pitch == 3.0
    assert auto.use(ON) is auto.use(ON)


def test_it_is_part_of_the_state_of_a_chain() -> None:
    chains = [Chain(WorldVoice(), ON) for _ in range(2)]
    speak(chains[0].auto_pitch, 110.0, 60.0)
    write_state(chains[1], read_state(chains[0]))
    assert chains[1].auto_pitch.semitones == chains[0].auto_pitch.semitones


def test_a_transposition_to_your_own_pitch_leaves_you_unchanged() -> None:
    chain = Chain(WorldVoice(), ON)
    own = ON.replace(pitch=7.0)
    assert chain.state(own) is State.CONVERTED
    speak(chain.auto_pitch, 219.0, 60.0, own)
    assert chain.state(own) is State.UNCHANGED


def test_the_panel_shows_it() -> None:
    stats = Stats(features=("f0",), auto_pitch=-3.26)
    facts = Facts.of(stats, monitor=False, voices=())
    row = row_text(SETTINGS["auto_pitch"], ON, facts, 60)
    assert "on -3.3 st" in " ".join(row.split())
