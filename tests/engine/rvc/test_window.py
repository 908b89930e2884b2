"""Sizes of a step."""

import pytest

from rtvc.engine.plan import make_plan
from rtvc.engine.rvc.voice import LOOKAHEAD
from rtvc.engine.rvc.window import PITCH_HEAD, PITCH_TAIL, make_window
from rtvc.settings import Settings


def window(block, method):
    plan = make_plan(Settings(block=block), voice_lookahead=LOOKAHEAD, continuous=True)
    return plan, make_window(plan, reach=12, pitch_method=method)


@pytest.mark.parametrize("method", ["rmvpe", "fcpe", "swift", "dio"])
@pytest.mark.parametrize("block", [50.0, 100.0, 250.0, 300.0, 500.0])
def test_pitch_is_estimated_for_all_that_is_new_and_again_for_what_was_newest(block, method):
    plan, made = window(block, method)
    # One estimate more than frames: both ends have one.
    kept = made.pitch + 1 - PITCH_HEAD - PITCH_TAIL
    assert kept >= plan.block + 3
    assert made.long_pitch >= made.frames


@pytest.mark.parametrize(("block", "frames"), [(50, 31), (250, 31), (260, 63), (500, 63)])
def test_rmvpe_hears_whole_rows_of_its_bottleneck(block, frames):
    assert window(float(block), "rmvpe")[1].pitch == frames
