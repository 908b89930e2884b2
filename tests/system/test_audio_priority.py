"""Which threads are scheduled in real time: those of audio libraries, and no others."""

import ctypes
import os
import subprocess
import sys
import threading
import time

import pytest

from rtvc.system.audio_priority import make_thread_realtime, realtime_threads
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
    # A thread of another test may begin meanwhile.
    python = {thread.native_id for thread in threading.enumerate()}
    (number,) = set(threads()) - before - python
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


def test_the_thread_that_receives_frames_comes_before_the_one_that_waits_for_them():
    """With the same priority, a callback that polls on the only processor would keep it."""
    service: list[int] = []

    def serve():
        make_thread_realtime()
        service.append(os.sched_getparam(0).sched_priority)

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    with realtime_threads():
        callback = start_native(1)
        client = start_native(1)
        with open(f"/proc/self/task/{client}/comm", "w") as file:
            file.write("threaded-ml")
    callback_priority, client_priority = (
        os.sched_getparam(t).sched_priority for t in (callback, client)
    )
    assert callback_priority < client_priority < service[0]


@pytest.mark.serial  # for half a second no other program gets its processor
def test_a_thread_that_computes_on_loses_the_real_time():
    program = """
import hashlib, os, sys, threading, time
from rtvc.system.audio_priority import limit_realtime_threads, make_thread_realtime

def compute():
    make_thread_realtime()
    began.append(time.monotonic())
    hashlib.pbkdf2_hmac("sha256", b"", b"", 30_000_000)  # without the interpreter lock

began = []
limit_realtime_threads()
thread = threading.Thread(target=compute)
thread.start()
while not began:
    time.sleep(0.01)
while thread.is_alive() and os.sched_getscheduler(thread.native_id) == os.SCHED_FIFO:
    time.sleep(0.01)
print(thread.is_alive(), time.monotonic() - began[0])
sys.stdout.flush()
os._exit(0)
"""
    printed = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=20)
    computing, took = printed.split()
    assert computing == "True"
    assert float(took) > 0.3


@pytest.mark.serial
def test_threads_of_higher_priority_keep_the_real_time_each_time():
    """The service thread must be able to interrupt the callback of a stream started again."""
    program = """
import hashlib, os, sys, threading, time
from rtvc.system import audio_priority
from rtvc.system.audio_priority import limit_realtime_threads, make_thread_realtime

threads = audio_priority.threads

def list_slowly():
    found = threads()
    time.sleep(0.05)  # as on a busy machine, where the main thread waits for a processor
    return found

def serve():
    make_thread_realtime()
    while True:
        time.sleep(0.01)

def poll(began):
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(15))
    began.set()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 30_000_000)  # without the interpreter lock

def realtime(thread):
    return os.sched_getscheduler(thread.native_id) == os.SCHED_FIFO

audio_priority.threads = list_slowly
limit_realtime_threads()
service = threading.Thread(target=serve, daemon=True)
service.start()
for _ in range(2):
    began = threading.Event()
    callback = threading.Thread(target=poll, args=(began,), daemon=True)
    callback.start()
    began.wait()
    clock = time.pthread_getcpuclockid(callback.ident)
    while realtime(callback):
        time.sleep(0.01)
    print(realtime(service), time.clock_gettime(clock))
sys.stdout.flush()
os._exit(0)
"""
    printed = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=30)
    lines = printed.splitlines()
    assert len(lines) == 2
    for line in lines:
        kept, computed = line.split()
        assert kept == "True"
        assert 0.3 < float(computed) < 1.2


def test_on_one_processor_a_callback_does_not_poll_in_real_time():
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from rtvc.system.audio_priority import realtime_threads
from tests.system.test_audio_priority import is_realtime, start_native

with realtime_threads():
    callback, client = start_native(1), start_native(1)
    with open(f"/proc/self/task/{client}/comm", "w") as file:
        file.write("threaded-ml")
print(is_realtime(callback), is_realtime(client))
"""
    printed = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=30)
    assert printed == "False True\n"


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
