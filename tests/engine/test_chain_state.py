"""The state of a chain as plain values."""

import sys
from types import FrameType
from typing import Any

from rtvc.engine.chain import Chain
from rtvc.engine.chain_state import read_state
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings


def test_reading_it_takes_few_calls_since_it_delays_a_block() -> None:
    chain = Chain(WorldVoice(), Settings())
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        state = read_state(chain)
    finally:
        sys.setprofile(before)
    assert len(state) > 100
    # Whether a value is a voice takes a hundred calls to find out, on Python 3.11 60 us.
    assert calls < 25 * len(state)
