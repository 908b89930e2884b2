"""The spare chain: there is one that can take over, whatever has happened."""

import threading
import time

import numpy as np
import pytest

from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.sizing import Sizing
from rtvc.engine import worker as worker_module
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.spare import AFTER_S, AGAIN_S, RETRY_S, Spare
from rtvc.engine.voice import Voice
from rtvc.settings import Settings
from tests.support.voices import finder

SETTINGS = Settings(gate=-90.0, latency="constant")


def test_wrong_output_outdates_the_spare_and_another_one_is_built():
    device = SimulatedDevice(np.zeros(0, np.float32))
    builder = ChainBuilder(device, SETTINGS, finder(), Sizing())
    spare = Spare(builder, synchronous=True)
    spare.keep(SETTINGS, 0.0)
    spare.keep(SETTINGS, now := AFTER_S)
    builder._guard.alarms += 1
    assert spare.take(SETTINGS) is None
    spare.keep(SETTINGS, now)
    spare.keep(SETTINGS, now + AGAIN_S)
    worker = spare.take(SETTINGS)
    assert worker is not None
    worker.close()
    spare.close()


@pytest.mark.parametrize("returns", [True, False])
def test_a_spare_that_hangs_is_given_up_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, returns: bool
) -> None:
    """Four threads that hang are enough: the fifth would hang too."""
    monkeypatch.setattr(worker_module, "LOAD_LIMIT_S", 0.05)
    let, voices, hung = threading.Event(), finder(), list[int]()

    def find(name: str) -> Voice:
        if not returns or not hung:
            hung.append(len(hung))
            let.wait(60)
        return voices(name)

    device = SimulatedDevice(np.zeros(0, np.float32))
    builder = ChainBuilder(device, SETTINGS, find, Sizing())
    builder.effective()
    spare, now = Spare(builder, synchronous=False), 0.0
    try:
        for _ in range(8):
            spare.keep(SETTINGS, now)
            spare.keep(SETTINGS, now := now + RETRY_S)
            deadline = time.monotonic() + 20
            while (new := spare._worker) is not None and not (new.hangs or new.chain):
                assert time.monotonic() < deadline
                time.sleep(0.002)
            if new is None or new.chain is not None:
                continue
            spare.keep(SETTINGS, now)
            if len(hung) == 1:
                assert "did not load within" in builder.degradation.message(now)
            assert spare.take(SETTINGS) is None
        assert len(hung) == 1 if returns else 4
        assert (spare.take(SETTINGS) is not None) == returns
    finally:
        let.set()
        spare.close()
