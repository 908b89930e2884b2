"""What is asked of Core Audio, against a library that answers like it."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rtvc.audio import core_audio
from rtvc.audio.core_audio import (
    CoreAudioDevices,
    core_audio_devices,
    core_audio_transports,
)
from rtvc.audio.sound_system import device_marks

FAILED = 0x77686F3F
_POINTER = ctypes.sizeof(ctypes.c_void_p)


class CoreAudio:
    """Answers with the properties of some objects, and notes the order of the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.properties: dict[tuple[int, str], bytes] = {
            (1, "dev#"): struct.pack("=3I", 41, 53, 57),
            (1, "dIn "): struct.pack("=I", 41),
            (1, "dOut"): struct.pack("=I", 53),
            (41, "tran"): struct.pack("=I", int.from_bytes(b"bltn", "big")),
            (53, "tran"): struct.pack("=I", int.from_bytes(b"blue", "big")),
            (57, "tran"): struct.pack("=I", int.from_bytes(b"?!?!", "big")),
            **{(n, "lnam"): n.to_bytes(_POINTER, sys.byteorder) for n in (41, 53, 57)},
        }

    def _key(self, call: str, number: Any, address: Any, qualifier: Any) -> tuple[int, str]:
        assert isinstance(number, ctypes.c_uint32)
        assert qualifier.value == 0
        found = address._obj
        assert (found.scope, found.element) == (int.from_bytes(b"glob", "big"), 0)
        selector = found.selector.to_bytes(4, "big").decode()
        self.calls.append((call, selector))
        return number.value, selector

    def AudioObjectGetPropertyDataSize(  # noqa: N802
        self, number: Any, address: Any, qualifier: Any, data: None, size: Any
    ) -> int:
        key = self._key("size", number, address, qualifier)
        if key not in self.properties:
            return FAILED
        size._obj.value = len(self.properties[key])
        return 0

    def AudioObjectGetPropertyData(  # noqa: N802, PLR0917
        self, number: Any, address: Any, qualifier: Any, data: None, size: Any, out: Any
    ) -> int:
        value = self.properties[self._key("get", number, address, qualifier)]
        assert size._obj.value == len(value) == ctypes.sizeof(out)
        ctypes.memmove(out, value, len(value))
        return 0

    def AudioObjectSetPropertyData(  # noqa: N802, PLR0917
        self, number: Any, address: Any, qualifier: Any, data: None, size: Any, value: Any
    ) -> int:
        self._key("set", number, address, qualifier)
        assert size.value == _POINTER
        assert value._obj.value is None
        return 0


class _Function:
    """A function of a library, which has argument types."""

    argtypes: tuple[Any, ...] = ()

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        assert len(arguments) == len(self.argtypes)
        return self._call(*arguments)


class CoreFoundation:
    """Strings, which are their number, and must be released."""

    def __init__(self) -> None:
        self.held = {41: "MacBook Pro-Mikrofon", 53: "AirPods", 57: "Other"}
        self.released: list[int] = []
        self.CFStringGetCString = _Function(self._get)
        self.CFRelease = _Function(self.released.append)

    def _get(self, reference: int, buffer: Any, size: int, encoding: int) -> bool:
        assert encoding == 0x08000100
        buffer.value = self.held[reference].encode()[: size - 1]
        return True


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[CoreAudio]:
    audio, foundation = CoreAudio(), CoreFoundation()
    loaded = {"CoreAudio": audio, "CoreFoundation": foundation}
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda path: loaded[path.rpartition("/")[2]])
    _forget()
    yield audio
    assert len(foundation.released) == audio.calls.count(("get", "lnam"))
    _forget()


def _forget() -> None:
    core_audio._library.cache_clear()
    core_audio._foundation.cache_clear()


def test_the_devices_and_the_defaults_are_read(library: CoreAudio) -> None:
    assert core_audio_devices() == CoreAudioDevices((41, 53, 57), 41, 53)
    assert library.calls == [
        ("set", "rnlp"),  # first, and once: otherwise what follows may never change
        *((call, selector) for selector in ("dev#", "dIn ", "dOut") for call in ("size", "get")),
    ]
    core_audio_devices()
    assert [call for call, _ in library.calls].count("set") == 1


def test_marks_change_with_the_default(library: CoreAudio) -> None:
    before = device_marks()
    assert (before.default_input, before.default_output) == (41, 53)
    assert device_marks() == before
    library.properties[(1, "dOut")] = struct.pack("=I", 57)
    assert device_marks() != before
    assert device_marks().default_output == 57


def test_transports_are_read_by_name(library: CoreAudio) -> None:
    assert core_audio_transports() == {
        "MacBook Pro-Mikrofon": "built-in",
        "AirPods": "bluetooth",
        "Other": "",
    }


def test_what_is_not_answered_is_not_known(library: CoreAudio) -> None:
    del library.properties[(1, "dOut")]
    assert core_audio_devices() is None
    assert device_marks().default_input is None
    del library.properties[(53, "tran")]
    del library.properties[(57, "lnam")]
    del library.properties[(41, "lnam")]
    assert core_audio_transports() == {}


@pytest.mark.skipif(sys.platform == "darwin", reason="needs a system without Core Audio")
def test_without_core_audio_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform in (sys.platform, "darwin"):  # on darwin the frameworks cannot be loaded here
        monkeypatch.setattr(sys, "platform", platform)
        _forget()
        assert core_audio_devices() is None
        assert core_audio_transports() == {}
    _forget()
