"""The owner thread, with calls that hang."""

import os
import threading
import time
from functools import partial

import pytest

from rtvc.audio.errors import NoAnswerError
from rtvc.audio.portaudio_thread import PortAudioThread
from rtvc.audio.stderr_capture import capture_stderr


@pytest.fixture
def hanging():
    """A thread with a call that hangs until the event is set."""
    owner, back = PortAudioThread(), threading.Event()
    with pytest.raises(NoAnswerError, match="The sound server does not answer"):
        owner.call(lambda: back.wait(20), 0.05)
    yield owner, back
    back.set()


def test_calls_run_on_one_thread_one_after_the_other():
    owner = PortAudioThread()
    began: list[int] = []

    def act(number: int) -> int:
        began.append(number)
        time.sleep(0.01)
        # On the thread itself, a call is direct.
        return owner.call(threading.get_ident, 1.0)

    calls = [owner.begin(partial(act, number), 1.0) for number in range(5)]
    assert all(call.wait(2.0) for call in calls)
    assert began == list(range(5))
    assert len({call.result() for call in calls} | {owner.call(threading.get_ident, 1.0)}) == 1


def test_an_exception_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        PortAudioThread().call(lambda: 1 / 0, 1.0)


def test_a_call_waits_for_those_before_it_beyond_its_own_limit():
    owner = PortAudioThread()
    owner.begin(lambda: time.sleep(0.3), 5.0)
    assert owner.call(lambda: 1, 0.05) == 1


def test_while_a_call_hangs_others_fail_at_once(hanging):
    owner, back = hanging
    assert owner.hung
    before = time.monotonic()
    with pytest.raises(NoAnswerError):
        owner.call(lambda: 1, 5.0)
    assert time.monotonic() - before < 0.1
    assert not owner.settled(0.05)
    back.set()
    assert owner.settled(2.0)
    assert owner.call(lambda: 1, 1.0) == 1


def test_results_that_nobody_waits_for_are_discarded(hanging):
    owner, back = hanging
    made: list[int] = []
    discarded: list[str] = []
    waiting = owner.begin(lambda: made.append(1), 1.0)
    waiting.abandon()
    late = owner.begin(lambda: "stream", 1.0, discarded.append)
    back.set()
    assert owner.settled(2.0)
    late.abandon()
    assert owner.settled(2.0)
    assert made == []
    assert discarded == ["stream"]


def test_a_call_that_hangs_does_not_keep_the_standard_error(capfd):
    owner, back = PortAudioThread(), threading.Event()

    def act() -> str:
        with capture_stderr() as captured:
            os.write(2, b"captured\n")
            back.wait(20)
        return captured.text

    pending = owner.begin(act, 0.05)
    assert not pending.wait(0.1)
    os.write(2, b"printed\n")
    back.set()
    assert pending.wait(2.0)
    assert pending.result() == "captured"
    assert capfd.readouterr().err == "printed\n"
