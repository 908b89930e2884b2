"""How long the streams may take to start when they are opened again."""

import pytest

from rtvc.audio.device_opening import START_TIMEOUT_S, StartTimeout


def test_the_first_start_may_take_as_long_as_bluetooth_needs():
    assert StartTimeout().seconds == START_TIMEOUT_S


@pytest.mark.parametrize(("took_s", "limit_s"), [(0.05, 0.4), (0.15, 0.6), (1.5, 2.0)])
def test_another_start_may_take_some_times_as_long_as_the_last_one(took_s: float, limit_s: float):
    timeout = StartTimeout()
    timeout.started(took_s)
    assert timeout.seconds == pytest.approx(limit_s)


def test_the_limit_grows_with_each_attempt_that_fails_up_to_the_first_one():
    timeout = StartTimeout()
    timeout.started(0.1)
    limits = []
    for _ in range(4):
        limits.append(timeout.seconds)
        timeout.failed()
    assert limits == pytest.approx([0.4, 0.8, 1.6, START_TIMEOUT_S])
    timeout.started(1.7)  # it was suspended until then
    assert timeout.seconds == pytest.approx(0.4)


def test_a_device_that_is_in_use_for_hours_is_still_tried():
    timeout = StartTimeout()
    timeout.started(0.1)
    for _ in range(10_000):
        timeout.failed()
    assert timeout.seconds == START_TIMEOUT_S
