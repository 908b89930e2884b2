"""The service thread: what it finds, and that its own end is noticed."""

import threading
import time
from typing import cast

from rtvc.audio.duplex import Duplex
from rtvc.audio.stream_service import STARVED_S, StreamService


class Streams:
    """Streams that do not fail."""

    def service(self):
        pass

    def lost(self, timeout: float) -> str:
        return ""


def look_for(service: StreamService, seconds: float) -> list[str]:
    """Look as the engine does, and return what the last look gave, and when, in seconds."""
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        if problem := service.problem(now):
            return [problem, f"{now - began:.1f}"]
        time.sleep(0.005)
    return []


def test_a_service_that_hangs_is_noticed():
    hangs, go_on = threading.Event(), threading.Event()

    def tick():
        hangs.set()
        go_on.wait(60)

    service = StreamService(lambda _: "")
    service.start(cast(Duplex, Streams()), tick)
    try:
        assert hangs.wait(30)
        # By a clock of the test: on a busy machine the looks are further apart, as after a pause.
        problems = [service.problem(0.1 * look) for look in range(40)]
    finally:
        go_on.set()
        service.stop()
    noticed = problems.index("The thread that serves the devices has not run for 1.5 s.")
    assert STARVED_S <= 0.1 * noticed < STARVED_S + 0.3
    assert not any(problems[:noticed])


def test_a_service_that_runs_is_no_problem_and_neither_is_a_stopped_program():
    service = StreamService(lambda _: "")
    service.start(cast(Duplex, Streams()), lambda: None)
    assert look_for(service, 0.3) == []
    service.stop()
    # Nothing has run in between, as after SIGSTOP: the service gets its time again.
    assert not service.problem(time.monotonic() + 30)
    assert not service.problem(time.monotonic() + 30.1)


def test_what_it_finds_is_told_at_once():
    service = StreamService(lambda _: "gone")
    service.start(cast(Duplex, Streams()), lambda: None)
    problem, after = look_for(service, 2)
    assert problem == "gone"
    assert float(after) < STARVED_S
    service.stop()


def test_a_thread_that_hung_says_nothing_of_the_streams_that_have_replaced_its_own():
    hangs, go_on = threading.Event(), threading.Event()

    class Hanging(Streams):
        def service(self):
            hangs.set()
            go_on.wait(60)
            raise ValueError("the stream is closed")

    service = StreamService(lambda _: "")
    service.start(cast(Duplex, Hanging()), lambda: None)
    assert hangs.wait(30)
    before = service._thread
    service.stop()
    service.start(cast(Duplex, Streams()), lambda: None)
    try:
        go_on.set()
        assert before is not None
        before.join(30)
        assert not service.lost
    finally:
        service.stop()
