"""The devices of Core Audio by their numbers, without PortAudio, which lists them only once."""

from __future__ import annotations

import ctypes
import struct
import sys
from functools import cache
from typing import Any, NamedTuple

_FRAMEWORK = "/System/Library/Frameworks/CoreAudio.framework/CoreAudio"
_FOUNDATION = "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation"
_FUNCTIONS = ("GetPropertyDataSize", "GetPropertyData", "SetPropertyData")
_SYSTEM_OBJECT = 1
_UTF8 = 0x08000100
_TRANSPORTS = {
    b"bltn": "built-in",
    b"blue": "bluetooth",
    b"blea": "bluetooth",
    b"usb ": "usb",
    b"virt": "virtual",
    b"grup": "aggregate",
    b"hdmi": "hdmi",
    b"dprt": "hdmi",
    b"airp": "airplay",
    b"ccwd": "iphone",
    b"ccwl": "iphone",
}


class _Address(ctypes.Structure):
    _fields_ = (
        ("selector", ctypes.c_uint32),
        ("scope", ctypes.c_uint32),
        ("element", ctypes.c_uint32),
    )


class CoreAudioDevices(NamedTuple):
    """Numbers of all devices, and of the default ones (0 for none)."""

    numbers: tuple[int, ...]
    default_input: int
    default_output: int


def core_audio_devices() -> CoreAudioDevices | None:
    """Return the devices of this moment.

    None where there is no Core Audio, or it does not answer the question.
    """
    found = [_numbers(selector) for selector in (b"dev#", b"dIn ", b"dOut")]
    numbers, inputs, outputs = found
    if numbers is None or not inputs or not outputs:
        return None
    return CoreAudioDevices(tuple(numbers), inputs[0], outputs[0])


def core_audio_transports() -> dict[str, str]:
    """Return how devices are connected, by their names; empty where that is not known.

    The words are ``"built-in"``, ``"bluetooth"``, ``"usb"``, ``"virtual"``, ``"aggregate"``,
    ``"hdmi"`` (and DisplayPort), ``"airplay"``, ``"iphone"``, and "" for others.
    """
    found = {}
    for number in _numbers(b"dev#") or ():
        transport = _numbers(b"tran", number)
        if transport and (name := _name(number)):
            found[name] = _TRANSPORTS.get(transport[0].to_bytes(4, "big"), "")
    return found


@cache
def _foundation() -> Any:
    try:
        library = ctypes.CDLL(_FOUNDATION)
        library.CFStringGetCString.argtypes = (
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_long,
            ctypes.c_uint32,
        )
        library.CFRelease.argtypes = (ctypes.c_void_p,)
    except (OSError, AttributeError):
        return None
    return library


def _name(number: int) -> str:
    """Return the name of a device, "" if it has none."""
    foundation = _foundation()
    values = _property(b"lnam", number)
    if foundation is None or values is None or len(values) != ctypes.sizeof(ctypes.c_void_p):
        return ""
    reference = int.from_bytes(values, sys.byteorder)
    if not reference:
        return ""
    text = ctypes.create_string_buffer(1024)
    given = foundation.CFStringGetCString(reference, text, len(text), _UTF8)
    foundation.CFRelease(reference)
    return text.value.decode(errors="replace") if given else ""


@cache
def _library() -> Any:
    if sys.platform != "darwin":
        return None
    try:
        library = ctypes.CDLL(_FRAMEWORK)
    except OSError:
        return None
    if not all(hasattr(library, f"AudioObject{name}") for name in _FUNCTIONS):
        return None
    # Otherwise what is read may stay as it was at the start: Core Audio expects the events of the
    # main thread's run loop, which a program in a terminal has not.
    no_run_loop = ctypes.c_void_p(None)
    library.AudioObjectSetPropertyData(
        ctypes.c_uint32(_SYSTEM_OBJECT),
        ctypes.byref(_address(b"rnlp")),
        ctypes.c_uint32(0),
        None,
        ctypes.c_uint32(ctypes.sizeof(no_run_loop)),
        ctypes.byref(no_run_loop),
    )
    return library


def _address(selector: bytes) -> _Address:
    return _Address(int.from_bytes(selector, "big"), int.from_bytes(b"glob", "big"), 0)


def _numbers(selector: bytes, of: int = _SYSTEM_OBJECT) -> list[int] | None:
    """Return a property that consists of 32-bit numbers, None if it cannot be read."""
    data = _property(selector, of)
    return None if data is None else [n for (n,) in struct.iter_unpack("=I", data)]


def _property(selector: bytes, of: int) -> bytes | None:
    library = _library()
    if library is None:
        return None
    address = _address(selector)
    size = ctypes.c_uint32(0)
    question = (ctypes.c_uint32(of), ctypes.byref(address), ctypes.c_uint32(0), None)
    if library.AudioObjectGetPropertyDataSize(*question, ctypes.byref(size)):
        return None
    values = ctypes.create_string_buffer(size.value)
    if library.AudioObjectGetPropertyData(*question, ctypes.byref(size), values):
        return None
    return values.raw[: size.value]
