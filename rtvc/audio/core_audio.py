"""The device numbers of Core Audio, which change when a device is connected or removed."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

_FRAMEWORK = "/System/Library/Frameworks/CoreAudio.framework/CoreAudio"
_SYSTEM_OBJECT = 1


class _Address(ctypes.Structure):
    _fields_ = (
        ("selector", ctypes.c_uint32),
        ("scope", ctypes.c_uint32),
        ("element", ctypes.c_uint32),
    )


def core_audio_devices() -> tuple[int, ...] | None:
    """Return the numbers of all devices, then of the default input and output.

    None where there is no Core Audio, or it does not answer the question.
    """
    numbers: list[int] = []
    for selector in (b"dev#", b"dIn ", b"dOut"):
        found = _numbers(selector)
        if found is None:
            return None
        numbers += found
    return tuple(numbers)


@cache
def _library() -> Any:
    if sys.platform != "darwin":
        return None
    try:
        return ctypes.CDLL(_FRAMEWORK)
    except OSError:
        return None


def _numbers(selector: bytes) -> list[int] | None:
    library = _library()
    if library is None:
        return None
    address = _Address(int.from_bytes(selector, "big"), int.from_bytes(b"glob", "big"), 0)
    size = ctypes.c_uint32(0)
    question = (ctypes.c_uint32(_SYSTEM_OBJECT), ctypes.byref(address), ctypes.c_uint32(0), None)
    if library.AudioObjectGetPropertyDataSize(*question, ctypes.byref(size)):
        return None
    values = (ctypes.c_uint32 * (size.value // 4))()
    if library.AudioObjectGetPropertyData(*question, ctypes.byref(size), ctypes.byref(values)):
        return None
    return list(values)[: size.value // 4]
