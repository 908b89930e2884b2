"""A speaker that an RVC voice lacks: its last one is used live, and a conversion is refused."""

from pathlib import Path

import numpy as np
import pytest

from rtvc.audio.file_endpoint import FileEndpoint
from rtvc.audio.simulated import SimulatedDevice
from rtvc.engine.chain import Chain
from rtvc.engine.world.voice import WorldVoice
from rtvc.errors import UsageError
from rtvc.session import Session
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import LocalPitch, voice
from tests.support.speech import UTTERANCES

SETTINGS = Settings(
    voice="anna", speaker=7, block=100.0, context=300.0, gate=-90.0, latency="constant"
)
TOLD = "'anna' has no speaker 7; its speakers are 0 to 2. Speaker 2 is used."


def test_a_run_uses_the_last_one_and_says_so():
    device = SimulatedDevice((0.1 * np.random.default_rng(0).standard_normal(96_000)).astype("f4"))
    made = voice(pitch=LocalPitch())
    with Session(device, SETTINGS, lambda name: made) as session:
        session.apply(block=200.0)
        while not session.wait(0.05):
            pass
        stats = session.stats()
    assert stats.reason == TOLD
    assert stats.in_use["block"] == 200.0
    assert (stats.restarts, stats.failed_steps) == (0, 0)


def test_a_conversion_is_refused(tmp_path: Path):
    made, endpoint = voice(pitch=LocalPitch()), FileEndpoint(UTTERANCES[0], tmp_path / "out.wav")
    with pytest.raises(UsageError, match="has no speaker 7; its speakers are 0 to 2"):
        Session(endpoint, SETTINGS, lambda name: made).start()
    assert not (tmp_path / "out.wav").exists()


def test_a_voice_with_one_speaker_has_no_such_setting():
    assert not Chain(WorldVoice(), Settings()).missing_speaker(SETTINGS)
