"""Automatic latency through a real sound server: what it settles on, and whether it is heard."""

import time

import pytest

from benchmarks.live import speech
from benchmarks.settling import mouth_to_ear
from rtvc.audio.live import LiveEndpoint
from rtvc.session import Session
from rtvc.settings import Settings
from tests.support.patience import measured
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK
from tests.tui.listening import bend

SECONDS = 36.0


@pytest.mark.thorough
@measured
def test_it_settles_and_is_as_stated_and_nothing_clicks(sound_server):
    changed: list[tuple[float, float]] = []
    with (
        sound_server.speaking(speech(SECONDS + 6)),
        sound_server.recording(MICROPHONE_SINK, SPEAKER_SINK) as finish,
    ):
        time.sleep(0.5)
        with Session(LiveEndpoint(), Settings(pitch=4, latency="auto")) as session:
            began = time.monotonic()
            first = session.stats().latency.total
            while time.monotonic() < began + SECONDS:
                stats = session.stats()
                if stats.size_changes > len(changed):
                    changed.append((time.monotonic(), stats.late_blocks))
                time.sleep(0.05)
        said, heard = finish()
    last = changed[-1][0] - began
    assert stats.sizing == "settled"
    assert stats.latency.total < first - 0.05
    assert len(changed) <= 6
    found = [ms for at, ms in mouth_to_ear(said, heard, began) if at > last + 8]
    assert found
    assert found == pytest.approx([1000 * stats.latency.total] * len(found), abs=15)
    pieces = [began + 2 + 0.5 * number for number in range(round(2 * SECONDS) - 6)]
    apart = [at for at in pieces if min(abs(at - moment) for moment, _ in changed) > 1.5]
    steady = max(bend(heard, at, 0.5) for at in apart)
    for at, _ in changed:
        assert bend(heard, at - 0.3, 0.9) < 1.2 * steady
    settled = [late for at, late in changed if at > began + 26]
    assert stats.late_blocks == (settled or [stats.late_blocks])[-1]
