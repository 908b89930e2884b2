"""What macOS is told while a run is live, against libraries that note their arguments."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rtvc.system import mac_power
from rtvc.system import realtime_mode as realtime_mode_module
from rtvc.system.audio_priority import make_thread_realtime
from rtvc.system.realtime_mode import realtime_mode
from rtvc.system.thread_priority import raise_thread_priority, reset_thread_priority

POINTER, TEXT, LONG = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64
# Objects and selectors of the runtime are small numbers here.
CLASSES = {b"NSProcessInfo": 0x10, b"NSString": 0x20}
PROCESS, REASON, ACTIVITY = 0x11, 0x21, 0x31
SELECTORS = [
    b"processInfo",
    b"stringWithUTF8String:",
    b"beginActivityWithOptions:reason:",
    b"retain",
    b"endActivity:",
    b"release",
]


class Runtime:
    """libobjc, libpthread and Foundation: C functions, which are called through pointers."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.classes: list[tuple[int, int]] = []
        self.objc_getClass = ctypes.CFUNCTYPE(POINTER, TEXT)(CLASSES.__getitem__)
        self.sel_registerName = ctypes.CFUNCTYPE(POINTER, TEXT)(SELECTORS.index)
        self.objc_msgSend = ctypes.CFUNCTYPE(POINTER, POINTER, POINTER, LONG, POINTER)(self._send)
        self.pthread_set_qos_class_self_np = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.c_uint, ctypes.c_int
        )(self._set_class)

    def _send(self, to: int, selector: int | None, first: int, second: int | None) -> int:
        name = SELECTORS[selector or 0]
        arguments: tuple[Any, ...] = ()
        if name == b"stringWithUTF8String:":
            arguments = (ctypes.string_at(first),)
        elif name == b"beginActivityWithOptions:reason:":
            arguments = (first, second)
        elif name == b"endActivity:":
            arguments = (first,)
        self.sent.append((to, name.decode(), *arguments))
        answers = {b"processInfo": PROCESS, b"stringWithUTF8String:": REASON}
        return answers.get(name, ACTIVITY)

    def _set_class(self, quality: int, relative: int) -> int:
        self.classes.append((quality, relative))
        return 0


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    runtime = Runtime()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_setscheduler", raising=False)  # macOS has none
    monkeypatch.setattr(ctypes, "CDLL", lambda path: runtime)
    # As if no session of another test were still ending.
    monkeypatch.setattr(realtime_mode_module, "_contexts", 0)
    monkeypatch.setattr(realtime_mode_module, "_restoring", ExitStack())
    mac_power._library.cache_clear()
    yield runtime
    mac_power._library.cache_clear()


BEGUN = [
    (CLASSES[b"NSProcessInfo"], "processInfo"),
    (CLASSES[b"NSString"], "stringWithUTF8String:", b"Live voice conversion"),
    # User-initiated without keeping an idle machine awake, and latency-critical.
    (PROCESS, "beginActivityWithOptions:reason:", 0xFF00EFFFFF, REASON),
    (ACTIVITY, "retain"),
]
ENDED = [(PROCESS, "endActivity:", ACTIVITY), (ACTIVITY, "release")]


def test_a_live_run_is_an_activity_until_its_end(runtime: Runtime) -> None:
    with realtime_mode():
        assert runtime.sent == BEGUN
    assert runtime.sent == BEGUN + ENDED


def test_the_activity_ends_with_an_error_too(runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError), realtime_mode():
        raise ZeroDivisionError
    assert runtime.sent == BEGUN + ENDED


def test_the_threads_of_the_engine_and_of_the_audio_are_interactive(runtime: Runtime) -> None:
    raise_thread_priority()
    reset_thread_priority()
    assert runtime.classes == [(0x21, 0), (0x15, 0)]
    runtime.classes.clear()
    make_thread_realtime()
    assert runtime.classes == [(0x21, 0)]


@pytest.mark.parametrize(
    "missing", ["objc_msgSend", "objc_getClass", "pthread_set_qos_class_self_np"]
)
def test_a_system_without_a_function_is_left_alone(runtime: Runtime, missing: str) -> None:
    delattr(runtime, missing)
    raise_thread_priority()
    with realtime_mode():
        pass
    if missing.startswith("objc"):
        assert runtime.sent == []
        assert runtime.classes == [(0x21, 0)]
    else:
        assert runtime.sent == BEGUN + ENDED
        assert runtime.classes == []


def test_an_activity_that_is_refused_is_not_ended(runtime: Runtime) -> None:
    def refuse(to: int, selector: int | None, first: int, second: int | None) -> int | None:
        answer = runtime._send(to, selector, first, second)
        return None if answer == ACTIVITY else answer

    runtime.objc_msgSend = ctypes.CFUNCTYPE(POINTER, POINTER, POINTER, LONG, POINTER)(refuse)
    with realtime_mode():
        pass
    assert runtime.sent == BEGUN[:-1]


@pytest.mark.skipif(sys.platform == "darwin", reason="needs a system without these libraries")
def test_without_the_libraries_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    mac_power._library.cache_clear()
    raise_thread_priority()
    with realtime_mode():
        pass
    reset_thread_priority()
    mac_power._library.cache_clear()
