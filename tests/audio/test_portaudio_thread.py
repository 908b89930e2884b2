"""The owner thread, with calls that hang."""

import os
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest

from rtvc.audio import portaudio_thread
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
        return owner.call(threading.get_ident, 20.0)

    calls = [owner.begin(partial(act, number), 20.0) for number in range(5)]
    assert all(call.wait(20.0) for call in calls)
    assert began == list(range(5))
    assert len({call.result() for call in calls} | {owner.call(threading.get_ident, 20.0)}) == 1


def test_an_exception_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        PortAudioThread().call(lambda: 1 / 0, 20.0)


def test_a_call_waits_for_those_before_it_beyond_its_own_limit(monkeypatch):
    owner, now = PortAudioThread(), [0.0]
    monkeypatch.setattr(portaudio_thread, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def act() -> None:
        while not owner._calls:  # until the other one waits
            time.sleep(0.001)
        now[0] += 10.0

    owner.begin(act, 60.0)
    assert owner.call(lambda: 1, 5.0) == 1


def test_while_a_call_hangs_others_fail_at_once(hanging):
    owner, back = hanging
    assert owner.hung
    with pytest.raises(NoAnswerError):
        owner.call(lambda: 1, 5.0)
    assert not owner._calls  # it has not been left to wait
    assert not owner.settled(0.05)
    back.set()
    assert owner.settled(20.0)
    assert owner.call(lambda: 1, 20.0) == 1


def test_results_that_nobody_waits_for_are_discarded(hanging):
    owner, back = hanging
    made: list[int] = []
    discarded: list[str] = []
    waiting = owner.begin(lambda: made.append(1), 1.0)
    waiting.abandon()
    late = owner.begin(lambda: "stream", 1.0, discarded.append)
    back.set()
    assert owner.settled(20.0)
    late.abandon()
    assert owner.settled(20.0)
    assert made == []
    assert discarded == ["stream"]


def test_a_result_that_cannot_be_discarded_does_not_end_the_thread():
    """As a stream whose device is gone when it is closed: nothing would open a device again."""
    owner, began, back = PortAudioThread(), threading.Event(), threading.Event()

    def act() -> None:
        began.set()
        back.wait(20)

    attempt = owner.begin(act, 20.0, lambda _: 1 / 0)
    assert began.wait(20)
    attempt.abandon()
    back.set()
    assert owner.settled(20.0)
    assert owner.call(lambda: 1, 20.0) == 1


def test_a_call_that_hangs_does_not_keep_the_standard_error(capfd):
    owner, captures, back = PortAudioThread(), threading.Event(), threading.Event()

    def act() -> str:
        with capture_stderr() as captured:
            os.write(2, b"captured\n")
            captures.set()
            back.wait(20)
        return captured.text

    pending = owner.begin(act, 0.05)
    assert captures.wait(20)
    while not owner.hung:
        time.sleep(0.001)
    assert not pending.wait(0.0)
    os.write(2, b"printed\n")
    back.set()
    assert pending.wait(20.0)
    assert pending.result() == "captured"
    assert capfd.readouterr().err == "printed\n"
