"""The spare chain: there is one that can take over, whatever has happened."""

import numpy as np

from rtvc.audio.simulated import SimulatedDevice
from rtvc.calibration.sizing import Sizing
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.spare import AFTER_S, AGAIN_S, Spare
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
