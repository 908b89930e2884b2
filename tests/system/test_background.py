"""Threads in the background pause while something is urgent, and no longer than they may."""

import threading
import time

from rtvc.engine.thread_pool import run_in_pool
from rtvc.system import background
from rtvc.system.background import pause_no_more, pause_when_urgent, pauses, urgent


def counted(stop: threading.Event, counts: list[int]) -> None:
    pause_when_urgent()
    while not stop.is_set():
        counts[0] += 1


def test_a_background_thread_pauses_while_something_is_urgent(monkeypatch):
    monkeypatch.setattr(background, "_LONGEST_S", 60.0)
    stop, counts = threading.Event(), [0]
    thread = threading.Thread(target=counted, args=(stop, counts))
    thread.start()
    try:
        while counts[0] < 100:
            time.sleep(0.001)
        with urgent():
            # It pauses at its next call, once it has run that far on a busy machine.
            before, end = -1, time.monotonic() + 20
            while before != counts[0] and time.monotonic() < end:
                before = counts[0]
                time.sleep(0.1)
            time.sleep(0.1)
            assert counts[0] == before
        while counts[0] < before + 100:
            time.sleep(0.001)
    finally:
        stop.set()
        thread.join()


def test_the_end_of_one_urgent_thing_leaves_the_other_urgent():
    with urgent():
        with urgent():
            pass
        assert not background._idle.is_set()


def test_a_pause_ends_although_it_stays_urgent(monkeypatch):
    monkeypatch.setattr(background, "_LONGEST_S", 0.01)
    stop, counts = threading.Event(), [0]
    thread = threading.Thread(target=counted, args=(stop, counts))
    with urgent():
        thread.start()
        while counts[0] < 5:
            time.sleep(0.001)
        stop.set()
        thread.join(2.0)
        assert not thread.is_alive()


def test_other_threads_run_on_and_a_thread_of_the_pool_forgets_it(monkeypatch):
    monkeypatch.setattr(background, "_LONGEST_S", 5.0)
    seen: list[bool] = []

    def pausing() -> None:
        pause_when_urgent()
        seen.append(pauses())

    first = run_in_pool(pausing, "first")
    first._done.wait(5.0)
    second = run_in_pool(lambda: seen.append(pauses()), "second")
    second._done.wait(5.0)
    assert seen == [True, False]
    assert not pauses()
    with urgent():
        began = time.monotonic()
        sum(abs(n) for n in range(1000))
        assert time.monotonic() - began < background._LONGEST_S / 2
    pause_when_urgent()
    assert pauses()
    pause_no_more()
    assert not pauses()
