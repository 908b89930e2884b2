"""What a live run changes in the process, and that it is undone."""

import gc
import os
import sys
from contextlib import ExitStack

import pytest

from rtvc.system.realtime_mode import SWITCH_INTERVAL_S, realtime_mode


def state() -> tuple[float, bool, int]:
    return sys.getswitchinterval(), gc.isenabled(), os.getpriority(os.PRIO_PROCESS, 0)


def test_of_two_sessions_at_once_the_last_one_restores_the_process() -> None:
    before = state()
    first, second = ExitStack(), ExitStack()
    with first, second:
        first.enter_context(realtime_mode())
        changed = state()
        assert changed[0] == pytest.approx(SWITCH_INTERVAL_S)
        assert not changed[1]
        second.enter_context(realtime_mode())
        first.close()
        assert state() == changed
        second.close()
        assert state() == before


def test_a_process_that_collects_nothing_stays_so() -> None:
    gc.disable()
    try:
        with realtime_mode():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
