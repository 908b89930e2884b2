"""Which threads are scheduled in real time: those of audio libraries, and no others."""

import ctypes
import os
import sys
import threading
import time

import pytest

from rtvc.system.audio_priority import realtime_threads
from rtvc.system.thread_priority import reset_thread_priority, thread_name, threads

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the scheduling of Linux"
)


def start_native(seconds: int) -> int:
    """Start a thread without Python, as a library does; return its native id."""
    before = set(threads())
    library, thread = ctypes.CDLL(None), ctypes.c_ulong()
    sleep = ctypes.cast(library.sleep, ctypes.c_void_p)
    failed = library.pthread_create(ctypes.byref(thread), None, sleep, ctypes.c_void_p(seconds))
    assert failed == 0
    library.pthread_detach(thread)
    (number,) = set(threads()) - before
    return number


def is_realtime(thread: int) -> bool:
    return os.sched_getscheduler(thread) == os.SCHED_FIFO


@pytest.fixture(autouse=True)
def permission():
    """Skip where real-time scheduling is not permitted."""
    try:
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, before, os.sched_param(0))
    except PermissionError:
        pytest.skip("real-time scheduling is not permitted")


def test_a_thread_that_a_library_starts_runs_in_real_time():
    before = thread_name(threading.get_native_id())
    with realtime_threads():
        native = start_native(1)
        named = start_native(1)
        with open(f"/proc/self/task/{named}/comm", "w") as file:
            file.write("threaded-ml")
    assert is_realtime(native)
    assert is_realtime(named)
    assert not is_realtime(0)
    assert thread_name(threading.get_native_id()) == before


@pytest.mark.parametrize("is_named", [False, True])
def test_a_thread_that_another_one_starts_meanwhile_does_not(is_named: bool):
    """As those of a BLAS, whose threads spin while they wait."""
    opening, helpers = threading.Event(), list[int]()

    def compute():
        if is_named:
            reset_thread_priority()
        opening.wait()
        helpers.append(start_native(1))
        time.sleep(0.5)

    thread = threading.Thread(target=compute)
    thread.start()
    with realtime_threads():
        opening.set()
        while not helpers:
            time.sleep(0.01)
    assert not is_realtime(helpers[0])
    thread.join()
