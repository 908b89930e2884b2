"""The parts of libpulse that `pulse_monitor` uses, through ctypes.

PipeWire answers the same calls. Every call belongs to one thread; none of them waits for
the server, except `PulseClient.iterate`, for at most its timeout.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
    cast,
)
from typing import Any

_NO_AUTOSPAWN = 1
_READY, _FAILED, _TERMINATED = 4, 5, 6
_SUBSCRIBED = 0x0001 | 0x0002 | 0x0004 | 0x0008 | 0x0080
"""Sinks, sources, sink inputs, source outputs, and the server's defaults."""


class _SampleSpec(Structure):
    _fields_ = (("format", c_int), ("rate", c_uint32), ("channels", c_uint8))


class _ChannelMap(Structure):
    _fields_ = (("channels", c_uint8), ("map", c_int * 32))


class _Volume(Structure):
    _fields_ = (("channels", c_uint8), ("values", c_uint32 * 32))


class _ServerInfo(Structure):
    _fields_ = (
        ("user_name", c_char_p),
        ("host_name", c_char_p),
        ("server_version", c_char_p),
        ("server_name", c_char_p),
        ("sample_spec", _SampleSpec),
        ("default_sink_name", c_char_p),
        ("default_source_name", c_char_p),
    )


class _SinkInfo(Structure):  # only its first members
    _fields_ = (("name", c_char_p), ("index", c_uint32), ("description", c_char_p))


class _SourceInfo(Structure):  # only its first members
    _fields_ = (
        ("name", c_char_p),
        ("index", c_uint32),
        ("description", c_char_p),
        ("sample_spec", _SampleSpec),
        ("channel_map", _ChannelMap),
        ("owner_module", c_uint32),
        ("volume", _Volume),
        ("mute", c_int),
        ("monitor_of_sink", c_uint32),
        ("monitor_of_sink_name", c_char_p),
    )


class _SinkInputInfo(Structure):  # only its first members
    _fields_ = (
        ("index", c_uint32),
        ("name", c_char_p),
        ("owner_module", c_uint32),
        ("client", c_uint32),
        ("device", c_uint32),
        ("sample_spec", _SampleSpec),
        ("channel_map", _ChannelMap),
        ("volume", _Volume),
        ("buffer_usec", c_uint64),
        ("device_usec", c_uint64),
        ("resample_method", c_char_p),
        ("driver", c_char_p),
        ("mute", c_int),
        ("proplist", c_void_p),
    )


class _SourceOutputInfo(Structure):  # only its first members
    _fields_ = (
        ("index", c_uint32),
        ("name", c_char_p),
        ("owner_module", c_uint32),
        ("client", c_uint32),
        ("device", c_uint32),
        ("sample_spec", _SampleSpec),
        ("channel_map", _ChannelMap),
        ("buffer_usec", c_uint64),
        ("device_usec", c_uint64),
        ("resample_method", c_char_p),
        ("driver", c_char_p),
        ("proplist", c_void_p),
    )


_Event = CFUNCTYPE(None, c_void_p, c_int, c_uint32, c_void_p)
_ServerReply = CFUNCTYPE(None, c_void_p, POINTER(_ServerInfo), c_void_p)
_LISTS: dict[str, type[Structure]] = {
    "sink": _SinkInfo,
    "source": _SourceInfo,
    "sink_input": _SinkInputInfo,
    "source_output": _SourceOutputInfo,
}
_REPLIES = {
    name: CFUNCTYPE(None, c_void_p, POINTER(structure), c_int, c_void_p)
    for name, structure in _LISTS.items()
}


def load_libpulse() -> Any:
    """Return libpulse with declared functions, or None if the system has none."""
    try:
        library = ctypes.CDLL("libpulse.so.0")
    except OSError:
        return None
    for name, result, *arguments in (
        ("pa_mainloop_new", c_void_p),
        ("pa_mainloop_free", None, c_void_p),
        ("pa_mainloop_get_api", c_void_p, c_void_p),
        ("pa_mainloop_prepare", c_int, c_void_p, c_int),
        ("pa_mainloop_poll", c_int, c_void_p),
        ("pa_mainloop_dispatch", c_int, c_void_p),
        ("pa_context_new", c_void_p, c_void_p, c_char_p),
        ("pa_context_connect", c_int, c_void_p, c_char_p, c_int, c_void_p),
        ("pa_context_disconnect", None, c_void_p),
        ("pa_context_unref", None, c_void_p),
        ("pa_context_get_state", c_int, c_void_p),
        ("pa_context_set_subscribe_callback", None, c_void_p, _Event, c_void_p),
        ("pa_context_subscribe", c_void_p, c_void_p, c_int, c_void_p, c_void_p),
        ("pa_context_get_server_info", c_void_p, c_void_p, _ServerReply, c_void_p),
        ("pa_operation_unref", None, c_void_p),
        ("pa_proplist_gets", c_char_p, c_void_p, c_char_p),
        *(
            (f"pa_context_get_{name}_info_list", c_void_p, c_void_p, reply, c_void_p)
            for name, reply in _REPLIES.items()
        ),
    ):
        function = getattr(library, str(name))
        function.restype, function.argtypes = result, arguments
    return library


class PulseClient:
    """A connection to the sound server.

    Parameters
    ----------
    library
        From `load_libpulse`.
    on_event
        Called when a device, a stream or a default has changed.

    Attributes
    ----------
    failed
        Whether the connection has ended or could not be made.
    """

    def __init__(self, library: Any, on_event: Callable[[], None]) -> None:
        self._library = library
        self._event: Any = _Event(lambda *_: on_event())
        self._replies: list[Any] = []
        """Callbacks of pending requests, which C does not keep alive."""
        self._subscribed = False
        self._mainloop = library.pa_mainloop_new()
        self._context = library.pa_context_new(library.pa_mainloop_get_api(self._mainloop), b"rtvc")
        connected = library.pa_context_connect(self._context, None, _NO_AUTOSPAWN, None)
        self.failed = connected < 0

    @property
    def ready(self) -> bool:
        """Whether requests can be sent."""
        return self._subscribed and not self.failed

    def iterate(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for the server, and call the callbacks of what it sent."""
        library = self._library
        if (
            library.pa_mainloop_prepare(self._mainloop, round(timeout_s * 1e6)) < 0
            or library.pa_mainloop_poll(self._mainloop) < 0
            or library.pa_mainloop_dispatch(self._mainloop) < 0
        ):
            self.failed = True
            return
        state = library.pa_context_get_state(self._context)
        self.failed = self.failed or state in (_FAILED, _TERMINATED)
        if state == _READY and not self._subscribed:
            self._subscribed = True
            library.pa_context_set_subscribe_callback(self._context, self._event, None)
            self._sent(library.pa_context_subscribe(self._context, _SUBSCRIBED, None, None))

    def close(self) -> None:
        """Disconnect; nothing may be called afterwards."""
        self._library.pa_context_disconnect(self._context)
        self._library.pa_context_unref(self._context)
        self._library.pa_mainloop_free(self._mainloop)
        # Callbacks are reference cycles, and garbage collection is off in a live session.
        self._replies.clear()
        self._event = None

    def forget_replies(self) -> None:
        """Release the callbacks of requests that have been answered."""
        self._replies.clear()

    def request_defaults(self, reply: Callable[[str, str], None]) -> None:
        """Request the names of the default sink and source; '' if there is none."""

        def received(context: Any, info: Any, data: Any) -> None:
            if info:
                reply(_text(info[0].default_sink_name), _text(info[0].default_source_name))

        callback = _ServerReply(received)
        self._replies.append(callback)
        self._sent(self._library.pa_context_get_server_info(self._context, callback, None))

    def request_list(self, name: str, item: Callable[[Any], None], end: Callable[[], None]) -> None:
        """Request all sinks, sources, sink inputs or source outputs.

        Parameters
        ----------
        name
            ``"sink"``, ``"source"``, ``"sink_input"`` or ``"source_output"``.
        item
            Called with each structure, which is valid during the call only.
        end
            Called after the last one.
        """

        def received(context: Any, info: Any, last: int, data: Any) -> None:
            if last:
                end()
            elif info:
                item(info[0])

        callback = _REPLIES[name](received)
        self._replies.append(callback)
        request = getattr(self._library, f"pa_context_get_{name}_info_list")
        self._sent(request(self._context, callback, None))

    def process_id(self, stream: Any) -> int:
        """Return the id of the process that a sink input or source output belongs to, else 0."""
        found = self._library.pa_proplist_gets(stream.proplist, b"application.process.id")
        return int(found) if found and found.isdigit() else 0

    def _sent(self, operation: Any) -> None:
        if operation:
            self._library.pa_operation_unref(cast(operation, c_void_p))


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")
