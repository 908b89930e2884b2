"""Thread quality of service and an activity against App Nap, on macOS.

macOS delays timers and slows threads of programs that nobody looks at, and may run threads
without a class on its slow cores. Core Audio's own threads are exempt, but those that feed them
are not.

Everything fails softly: without these functions of the system rtvc runs as any other program.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

_USER_INTERACTIVE, _DEFAULT = 0x21, 0x15
"""Classes of quality of service, from pthread/qos.h."""

# NSActivityOptions: user-initiated, without keeping the display or the idle machine awake, and
# with exact timers.
_USER_INITIATED_ALLOWING_SLEEP = 0x00FFFFFF & ~(1 << 20)
_LATENCY_CRITICAL = 0xFF00000000

_REASON = b"Live voice conversion"
_FOUNDATION = "/System/Library/Frameworks/Foundation.framework/Foundation"
_OBJC = "/usr/lib/libobjc.A.dylib"
_POINTER = ctypes.c_void_p


def prefer_this_thread() -> None:
    """Let macOS run the calling thread as promptly as one that draws a user interface."""
    _set_class(_USER_INTERACTIVE)


def treat_as_usual() -> None:
    """Undo `prefer_this_thread`."""
    _set_class(_DEFAULT)


def _set_class(quality: int) -> None:
    system = _library(None, ("pthread_set_qos_class_self_np",))
    if system is not None:
        system.pthread_set_qos_class_self_np(ctypes.c_uint(quality), ctypes.c_int(0))


@contextmanager
def live_activity() -> Iterator[None]:
    """Tell macOS that this program must not nap, and needs exact timers, in the context."""
    end = _begin_activity()
    try:
        yield
    finally:
        end()


def _begin_activity() -> Any:
    """Begin an activity; return a function that ends it."""
    objc = _library(_OBJC, ("objc_getClass", "sel_registerName", "objc_msgSend"))
    # NSProcessInfo and NSString are classes of Foundation, which must be loaded.
    if objc is None or _library(_FOUNDATION, ()) is None:
        return lambda: None
    objc.objc_getClass.restype = objc.sel_registerName.restype = _POINTER

    def send(to: Any, selector: bytes, *arguments: Any, returns: Any = _POINTER) -> Any:
        # objc_msgSend must be called with the types of the method, since arm64 passes the
        # arguments of a variadic function in another way.
        types: list[Any] = [_POINTER, _POINTER, *map(type, arguments)]
        call = ctypes.CFUNCTYPE(returns, *types)(_address(objc.objc_msgSend))
        return call(_POINTER(to), _POINTER(objc.sel_registerName(selector)), *arguments)

    process = send(objc.objc_getClass(b"NSProcessInfo"), b"processInfo")
    text = ctypes.c_char_p(_REASON)
    reason = send(objc.objc_getClass(b"NSString"), b"stringWithUTF8String:", text)
    options = ctypes.c_uint64(_USER_INITIATED_ALLOWING_SLEEP | _LATENCY_CRITICAL)
    if not process or not reason:
        return lambda: None
    begin = b"beginActivityWithOptions:reason:"
    activity = send(process, begin, options, _POINTER(reason))
    if not activity:
        return lambda: None
    send(activity, b"retain")  # it is returned autoreleased

    def end() -> None:
        send(process, b"endActivity:", _POINTER(activity), returns=None)
        send(activity, b"release", returns=None)

    return end


def _address(function: Any) -> int:
    address = ctypes.cast(function, _POINTER).value
    assert address
    return address


@cache
def _library(path: str | None, needed: tuple[str, ...]) -> Any:
    """Return a library with these functions, None where there is none."""
    if sys.platform == "darwin":
        with suppress(OSError):
            library = ctypes.CDLL(path)
            if all(hasattr(library, name) for name in needed):
                return library
    return None
