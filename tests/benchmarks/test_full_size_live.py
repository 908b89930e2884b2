"""The run of a full-size voice at the block that calibrate finds: arguments and profile."""

import time

import pytest

from benchmarks.full_size_live import parse, profile_lines, speed_needed, summarise
from rtvc.calibration.conditions import conditions
from rtvc.calibration.profiles import PROFILES, choose
from rtvc.calibration.timing import Timing
from rtvc.calibration.work import work_to_fit
from rtvc.engine.profiling.stage_times import StageMethod, time_stages
from rtvc.settings import Settings


class Waiting:
    def wait(self) -> None:
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("clock", "counts"), [(time.perf_counter, True), (time.process_time, False)]
)
def test_the_clock_says_whether_waiting_counts(clock, counts):
    with time_stages([StageMethod("decoder", Waiting, "wait")], clock) as seconds:
        Waiting().wait()
    assert (seconds["decoder"] >= 0.1) is counts


def test_a_profile_has_the_medians_of_each_stage_in_the_order_of_the_step():
    taken = [{"whole": 0.3, "decoder": ms / 1000, "pitch": 0.02} for ms in (90, 100, 400)]
    spent = [{"whole": 0.5, "decoder": 2 * times["decoder"], "pitch": 0.02} for times in taken]
    profile = summarise(taken, spent, {"decoder": 24.0, "whole": 25.0})
    assert list(profile) == ["pitch", "decoder", "whole"]
    assert profile["decoder"] == {"ms": 100.0, "processor ms": 200.0, "GFLOP": 24.0}
    assert profile["pitch"]["GFLOP"] == 0
    assert profile_lines(profile)[-1] == "| whole | 300.0 | 500.0 | 25.0 |"


@pytest.mark.parametrize("per_block", [0.3, 0.6, 1.2])
def test_a_block_is_found_where_the_step_is_fast_enough(per_block):
    timing = Timing(20.0, per_block, 0.1, 1.1, 1.3, conditions(), methods={"swift": 60.0})
    for method in ("rmvpe", "swift"):
        settings = Settings(pitch_method=method)
        needed = speed_needed(timing, settings, PROFILES["fast"])
        found = choose(timing, PROFILES["fast"], work=work_to_fit(settings))
        assert (found is not None) == (needed <= 1)
        step = 20 + 500 * per_block + 50 - 60 * (method == "swift")
        assert needed == pytest.approx(1.1 * step / 350)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seconds", "0"], "--seconds, --calibrate and --steps must be 1 or more."),
        (["--block", "5000"], "--block must be "),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(words, sentence, capsys):
    with pytest.raises(SystemExit):
        parse(words)
    assert sentence in capsys.readouterr().err.splitlines()[-1]
