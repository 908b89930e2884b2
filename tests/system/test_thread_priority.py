"""A live program goes before others, its engine first of all, and gives the place back."""

import os
import subprocess
import sys
import threading
from typing import Any

import mlx.core as mx
import pytest

from rtvc.system import autogroup
from rtvc.system.thread_priority import (
    ProcessPriority,
    raise_thread_priority,
    reset_thread_priority,
    thread_name,
    threads,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="niceness per thread is Linux's")


def niceness_of_a_new_thread(act=lambda: None) -> int:
    found: list[int] = []

    def look() -> None:
        act()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def test_the_priority_of_process_and_engine_is_raised_and_restored() -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    precedence = ProcessPriority()
    try:
        program = os.getpriority(os.PRIO_PROCESS, 0)
        assert niceness_of_a_new_thread() == program
        engine = niceness_of_a_new_thread(raise_thread_priority)
        # Without the right to go first all stays as it is.
        assert engine <= program <= usual
        if os.geteuid() == 0 and usual > -2:
            assert engine < program < usual
    finally:
        precedence.restore()
    assert os.getpriority(os.PRIO_PROCESS, 0) == usual
    assert niceness_of_a_new_thread() == usual


def test_the_priority_of_the_session_is_raised_and_restored(tmp_path, monkeypatch) -> None:
    group, enabled = tmp_path / "autogroup", tmp_path / "enabled"
    monkeypatch.setattr(autogroup, "_FILE", group)
    monkeypatch.setattr(autogroup, "_ENABLED", enabled)
    for switched_on, text, raised in (
        ("1", "/autogroup-12 nice 3\n", "-3"),
        ("1", "/autogroup-12 nice -6\n", "/autogroup-12 nice -6\n"),
        ("0", "/autogroup-12 nice 3\n", "/autogroup-12 nice 3\n"),
        ("1", "no group\n", "no group\n"),
    ):
        group.write_text(text)
        enabled.write_text(switched_on)
        precedence = ProcessPriority()
        assert group.read_text() == raised
        precedence.restore()
        assert group.read_text() == ("3" if raised == "-3" else text)


SESSION = """
import os
from rtvc.system.autogroup import session_niceness
from rtvc.system.thread_priority import ProcessPriority
print(session_niceness(), flush=True)
precedence = ProcessPriority()
print(session_niceness(), flush=True)
"""


def test_a_session_of_its_own_goes_before_the_others() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        start_new_session=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    before, after = done.stdout.split()
    if before == "None":
        pytest.skip("sessions have no niceness here")
    if os.geteuid() == 0:
        assert (before, after) == ("0", "-6")
    else:
        assert int(after) <= int(before)


def test_a_thread_that_began_meanwhile_is_put_back_too() -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    precedence = ProcessPriority()
    stop, began, seen = threading.Event(), threading.Event(), []

    def wait() -> None:
        began.set()
        stop.wait()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=wait)
    thread.start()
    began.wait()
    precedence.restore()
    stop.set()
    thread.join()
    assert seen == [usual]


def test_a_thread_that_the_engine_starts_is_no_engine_until_its_turn_comes() -> None:
    seen = {}

    def successor() -> None:
        reset_thread_priority()
        seen["successor"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        raise_thread_priority()
        seen["in its turn"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def engine() -> None:
        reset_thread_priority()
        raise_thread_priority()
        seen["engine"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        seen["after"] = niceness_of_a_new_thread(successor)

    niceness_of_a_new_thread(engine)
    assert seen["successor"] == os.getpriority(os.PRIO_PROCESS, 0)
    assert seen["in its turn"] == seen["after"] == seen["engine"]


def test_helper_threads_are_raised_with_the_engine() -> None:
    """MLX's thread begins before the engine has its turn, and has its precedence then."""
    found: list[Any] = []

    def engine() -> None:
        reset_thread_priority()
        own = threading.get_native_id()
        mx.eval(mx.zeros(8) + 1)
        # It inherits the name. Other threads of the process may begin and end meanwhile.
        (helper,) = {t for t in threads() if thread_name(t) == thread_name(own)} - {own}
        raise_thread_priority()
        found.extend(os.getpriority(os.PRIO_PROCESS, thread) for thread in (own, helper))
        mx.clear_streams()

    thread = threading.Thread(target=engine)
    thread.start()
    thread.join()
    own, helper = found
    assert own == helper
    if os.geteuid() == 0:
        assert own < os.getpriority(os.PRIO_PROCESS, 0)
