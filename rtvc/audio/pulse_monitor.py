"""Where the sound server plays and records this program's streams.

PulseAudio and PipeWire move a stream to another device when its own disappears, or when
the user asks for it, and PortAudio does not notice. `PulseMonitor` asks the server. On macOS
and wherever there is no such server, it exists without effect: nothing there moves streams.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from rtvc.audio.pulse_client import PulseClient, load_libpulse

_POLL_S = 0.1
_PING_S = 0.3
"""Time between two requests when there are no events: how soon a hung server is noticed."""
_TIMEOUT_S = 0.4
"""Time after which a server that has not answered counts as hung."""
_RETRY_S = 0.5
"""Time between two attempts to connect."""


@dataclass(frozen=True, slots=True)
class ServerStream:
    """A stream of this program in the sound server.

    Attributes
    ----------
    index
        The server's number for it; a stream that is opened again has another one.
    device
        Name of the sink that plays it, or of the source that it records; "" if there is none.
    monitored_sink
        Name of the sink whose output the source is, "" if the source is a microphone.
    """

    index: int
    device: str
    monitored_sink: str = ""


@dataclass(frozen=True, slots=True)
class ServerState:
    """A snapshot of the sound server.

    Attributes
    ----------
    answering
        Whether there is a server that answers. If not, the rest is what was known last.
    updated
        Time of the snapshot on the monotonic clock.
    default_sink, default_source
        Names of the default devices, "" if there is none.
    default_source_monitors
        Name of the sink whose output the default source is, "" if it is a microphone.
    sinks, sources
        Names of all devices.
    descriptions
        Names of the devices for people, by name.
    outputs, inputs
        The streams of this program, oldest first.
    """

    answering: bool = False
    updated: float = 0.0
    default_sink: str = ""
    default_source: str = ""
    default_source_monitors: str = ""
    sinks: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    descriptions: dict[str, str] = field(default_factory=dict)
    outputs: tuple[ServerStream, ...] = ()
    inputs: tuple[ServerStream, ...] = ()

    @property
    def devices(self) -> tuple[object, ...]:
        """Equal as long as the server has the same devices and defaults."""
        return self.sinks, self.sources, self.default_sink, self.default_source

    @property
    def loops(self) -> tuple[ServerStream, ...]:
        """The inputs that record a sink on which this program plays: they hear its output."""
        playing = {stream.device for stream in self.outputs}
        return tuple(stream for stream in self.inputs if stream.monitored_sink in playing)


class PulseMonitor:
    """Keeps a `ServerState` up to date, from the server's events, in a thread of its own.

    No method waits for the server.

    Attributes
    ----------
    available
        Whether this system can have such a server: Linux with libpulse.
    """

    def __init__(self) -> None:
        self._library = load_libpulse() if sys.platform.startswith("linux") else None
        self.available = self._library is not None
        self._state = ServerState()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def state(self) -> ServerState:
        """Return the newest snapshot."""
        return self._state

    def start(self) -> None:
        """Connect to the server, and again whenever the connection is lost; safe to repeat."""
        if self._library is None or self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="rtvc sound server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect; safe to repeat."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(1.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = _Connection(self._library)
            try:
                while not self._stopping.is_set() and not connection.client.failed:
                    self._state = connection.update(self._state)
            finally:
                connection.client.close()
            self._state = replace(self._state, answering=False)
            self._stopping.wait(_RETRY_S)


@dataclass
class _Reply:
    """What one round of requests has brought so far."""

    defaults: tuple[str, str] | None = None
    sinks: dict[int, str] = field(default_factory=dict)
    sources: dict[int, tuple[str, str]] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    outputs: list[tuple[int, int]] = field(default_factory=list)
    inputs: list[tuple[int, int]] = field(default_factory=list)
    lists: int = 0

    @property
    def complete(self) -> bool:
        return self.defaults is not None and self.lists == 4


class _Connection:
    """One connection to the server: sends rounds of requests and collects their replies."""

    def __init__(self, library: Any) -> None:
        self.client = PulseClient(library, self._on_event)
        self._own = os.getpid()
        self._changed = True
        self._reply: _Reply | None = None
        self._asked = time.monotonic()

    def update(self, state: ServerState) -> ServerState:
        """Wait briefly for the server; return the state that is known then."""
        self.client.iterate(_POLL_S)
        now = time.monotonic()
        if self._reply is not None and self._reply.complete:
            state = _state(self._reply, now)
            self._reply = None
            self.client.forget_replies()
        if self._reply is None:
            if self.client.ready and (self._changed or now - self._asked > _PING_S):
                self._ask(now)
        elif now - self._asked > _TIMEOUT_S and state.answering:
            state = replace(state, answering=False)
        return state

    def _on_event(self) -> None:
        self._changed = True

    def _ask(self, now: float) -> None:
        self._changed, self._asked = False, now
        reply = self._reply = _Reply()

        def end() -> None:
            reply.lists += 1

        def defaults(sink: str, source: str) -> None:
            reply.defaults = sink, source

        def sink(info: Any) -> None:
            reply.sinks[info.index] = _name(info.name)
            reply.descriptions[_name(info.name)] = _name(info.description)

        def source(info: Any) -> None:
            reply.sources[info.index] = _name(info.name), _name(info.monitor_of_sink_name)
            reply.descriptions[_name(info.name)] = _name(info.description)

        def stream(found: list[tuple[int, int]], info: Any) -> None:
            if self.client.process_id(info) == self._own:
                found.append((info.index, info.device))

        client = self.client
        client.request_defaults(defaults)
        client.request_list("sink", sink, end)
        client.request_list("source", source, end)
        client.request_list("sink_input", lambda info: stream(reply.outputs, info), end)
        client.request_list("source_output", lambda info: stream(reply.inputs, info), end)


def _state(reply: _Reply, now: float) -> ServerState:
    assert reply.defaults is not None
    nowhere = ("", "")
    return ServerState(
        answering=True,
        updated=now,
        default_sink=reply.defaults[0],
        default_source=reply.defaults[1],
        default_source_monitors=dict(reply.sources.values()).get(reply.defaults[1], ""),
        sinks=frozenset(reply.sinks.values()),
        sources=frozenset(name for name, _ in reply.sources.values()),
        descriptions=reply.descriptions,
        outputs=tuple(
            ServerStream(index, reply.sinks.get(sink, "")) for index, sink in sorted(reply.outputs)
        ),
        inputs=tuple(
            ServerStream(index, *reply.sources.get(source, nowhere))
            for index, source in sorted(reply.inputs)
        ),
    )


def _name(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")
