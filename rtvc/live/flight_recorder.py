"""The flight recorder: the last minute of a run in memory, to be saved when something happens.

Nothing is written before it is asked for. What is saved can be rendered again (`rtvc replay`).
"""

from __future__ import annotations

import threading
import time
import weakref
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.catch_up import HISTORY_S
from rtvc.engine.chain_state import read_learned, read_state
from rtvc.errors import RtvcError, escaped
from rtvc.live.flight_events import FaultWatch
from rtvc.live.flight_folder import write_folder
from rtvc.live.flight_log import AudioRing, Call, ChainLog, Event, Fill, FlightLog, Write
from rtvc.settings import Settings
from rtvc.stats import Stats

if TYPE_CHECKING:
    from rtvc._types import Float32
    from rtvc.engine.chain import Chain, Step

SECONDS = 60
"""Seconds that can be saved."""
_STATES = 6
"""Number of states of a chain that are kept over that time; a replay starts from one."""
_LEARNED = 256
"""Most changes of the chain for which is kept what the new one has from the one before."""
_CALLS = 8000
_POLL_S = 0.2
_AFTERMATH_S = 3.0
"""Time between a fault and saving it."""
_PAUSE_S = 60.0
"""Shortest time between two faults that are saved."""
_MOST_SAVED = 20
"""Faults saved in one run."""


class FlightRecorder:
    """Keeps the last minute: input, output, settings, step times and events.

    The memory, about 32 MB, is allocated at the start. It observes chains
    (`rtvc.engine.chain.Observer`), and input and output (`rtvc.audio.tee.Tap`), at a cost of
    less than 0.1 ms per block.

    Parameters
    ----------
    folder
        The folder in which folders are saved.
    save_on_fault
        Whether to save a few seconds after a late block, a failed step, an underrun or a lost
        device.
    seconds
        Seconds that can be saved.
    """

    def __init__(
        self, folder: Path, *, save_on_fault: bool = False, seconds: float = SECONDS
    ) -> None:
        self._folder = folder
        self._save_on_fault = save_on_fault
        self._state_every = round(seconds / _STATES * ENGINE_RATE)
        samples = round((seconds + HISTORY_S) * ENGINE_RATE) + self._state_every
        self._history = round(HISTORY_S * ENGINE_RATE)
        self._kept_s = samples / ENGINE_RATE + 1.0
        self._rings = {"input": AudioRing(samples), "output": AudioRing(samples)}
        self._calls: deque[Call] = deque(maxlen=_CALLS)
        self._writes: deque[Write] = deque(maxlen=_CALLS)
        self._events: deque[Event] = deque(maxlen=1000)
        self._fills: deque[Fill] = deque(maxlen=round(samples / ENGINE_RATE / _POLL_S))
        self._states: deque[tuple[ChainLog, int, dict[str, Any]]] = deque(maxlen=_STATES + 4)
        self._learned: deque[tuple[ChainLog, int, dict[str, Any]]] = deque(maxlen=_LEARNED)
        self._chains: weakref.WeakKeyDictionary[Chain, ChainLog] = weakref.WeakKeyDictionary()
        self._chain_count = 0
        self._last_read: tuple[Float32 | None, int] = (None, 0)
        self._messages: deque[str] = deque()
        self._watch, self._looking = FaultWatch(), threading.Lock()
        self._stats: Callable[[], Stats] = Stats
        self._devices: Callable[[], dict[str, str]] = dict
        self._saver: threading.Thread | None = None
        self._due: float | None = None
        self._paused_until = 0.0
        self._saved = 0
        self._closed = threading.Event()
        self._poller: threading.Thread | None = None

    # Called by the engine, before the output is delivered.

    def push(self, side: Literal["input", "output"], samples: Float32) -> None:
        """Keep input that was read, or output that was queued."""
        ring = self._rings[side]
        if side == "input":
            self._last_read = samples, ring.pushed
        else:
            crc, now = zlib.crc32(samples.tobytes()), time.perf_counter()
            self._writes.append(Write(ring.pushed, samples.size, crc, now, threading.get_ident()))
        ring.push(samples)

    def stepped(self, chain: Chain, block: Float32, settings: Settings, step: Step) -> None:
        """Keep a block that was converted; now and then also the state of the chain."""
        log = self._note(chain, block, settings, step)
        if log.since_state >= self._state_every:
            log.since_state = 0
            self._states.append((log, log.calls, read_state(chain)))

    def skipped(self, chain: Chain, block: Float32, settings: Settings) -> None:
        """Keep a block that was consumed without output."""
        self._note(chain, block, settings, None)

    def continued(self, chain: Chain) -> None:
        """Keep what the chain has from another one."""
        log = self._log_of(chain)
        self._learned.append((log, log.calls, read_learned(chain)))

    def forgot(self, chain: Chain) -> None:
        """Keep the state of a chain that holds silence, which is no part of the input."""
        log = self._log_of(chain)
        log.since_state = 0
        self._states.append((log, log.calls, read_state(chain)))

    def _log_of(self, chain: Chain) -> ChainLog:
        log = self._chains.get(chain)
        if log is None:
            log = self._chains[chain] = ChainLog(self._chain_count, chain.built_for)
            self._chain_count += 1
        return log

    def _note(
        self, chain: Chain, block: Float32, settings: Settings, step: Step | None
    ) -> ChainLog:
        log = self._log_of(chain)
        crc = zlib.crc32(block.tobytes())
        last, position = self._last_read
        if last is not block and (last is None or zlib.crc32(last.tobytes()) != crc):
            position = -1
        self._calls.append(
            Call(
                log,
                log.calls,
                position,
                block.size,
                settings,
                crc,
                -1 if step is None else zlib.crc32(step.output.tobytes()),
                time.perf_counter(),
                () if step is None else tuple(step.stages.values()),
            )
        )
        log.calls += 1
        log.since_state += block.size
        return log

    # Called by the front end.

    def watch(self, stats: Callable[[], Stats], devices: Callable[[], dict[str, str]]) -> None:
        """Note what happens to a run from now on.

        Parameters
        ----------
        stats
            Returns the statistics of the run.
        devices
            Returns the names of the devices.
        """
        self._stats, self._devices = stats, devices
        if self._poller is None:
            self._poller = threading.Thread(
                target=self._poll, name="rtvc flight recorder", daemon=True
            )
            self._poller.start()

    def look(self, stats: Stats) -> None:
        """Note what has happened up to these statistics, such as the last ones of a session."""
        with self._looking:
            now, device = time.perf_counter(), stats.device
            self._fills.append(Fill(now, device.input_fill, device.output_fill, device.drift_ppm))
            self._forget(now)
            events, fault = self._watch.update(stats, now)
            self._events.extend(events)
            if fault and self._save_on_fault and self._due is None and now >= self._paused_until:
                self._due = now + _AFTERMATH_S

    def note(self, kind: str, text: str) -> None:
        """Keep an event."""
        self._events.append(Event(time.perf_counter(), kind, text))

    def save(self, reason: str = "asked for") -> str:
        """Save the last minute in the background, and return a message.

        Raises
        ------
        RtvcError
            If there is nothing yet, or the previous minute is still being saved.
        """
        if self._saver is not None and self._saver.is_alive():
            raise RtvcError("The last minute is still being saved.")
        if not self._rings["input"].pushed:
            raise RtvcError("There is no sound yet that could be saved.")
        self.note("saved", reason)
        self._saver = threading.Thread(target=self._save, name="rtvc saving", daemon=True)
        self._saver.start()
        return "Saving the last minute, with your own voice in it."

    def take_message(self) -> str:
        """Return what was saved since the last call, or why it could not be; "" if nothing."""
        messages = []
        while self._messages:
            messages.append(self._messages.popleft())
        return " ".join(messages)

    def close(self, timeout: float = 5.0) -> None:
        """Stop noting events, and save a fault that is due; waits at most `timeout` seconds."""
        self._closed.set()
        if self._poller is not None:
            self._poller.join(timeout)
        if self._due is not None:
            self._save_fault(time.perf_counter())
        if self._saver is not None:
            self._saver.join(timeout)
            if self._saver.is_alive():
                self._messages.append("The last minute was not saved: the disk is too slow.")

    def log(self) -> FlightLog:
        """Return a copy of all that is kept."""
        calls, writes, states = self._calls.copy(), self._writes.copy(), self._states.copy()
        learned = self._learned.copy()
        recorded, recorded_start = self._rings["input"].read()
        played, played_start = self._rings["output"].read()
        return FlightLog(
            input=recorded,
            input_start=recorded_start,
            output=played,
            output_start=played_start,
            calls=list(calls),
            writes=list(writes),
            events=list(self._events.copy()),
            fills=list(self._fills.copy()),
            states=list(states),
            learned=list(learned),
            history=self._history,
            now=time.perf_counter(),
            clock=time.time(),
        )

    def _poll(self) -> None:
        while not self._closed.wait(_POLL_S):
            self.look(self._stats())
            if self._due is not None and (now := time.perf_counter()) >= self._due:
                self._save_fault(now)

    def _forget(self, now: float) -> None:
        """Forget the blocks whose audio is no longer kept."""
        oldest = now - self._kept_s
        while self._calls and self._calls[0].ended < oldest:
            self._calls.popleft()
        while self._writes and self._writes[0].at < oldest:
            self._writes.popleft()

    def _save_fault(self, now: float) -> None:
        self._due, self._paused_until = None, now + _PAUSE_S
        if self._saved >= _MOST_SAVED:
            return
        self._saved += 1
        try:
            self.save("a fault")
        except RtvcError as error:
            self._messages.append(str(error))

    def _save(self) -> None:
        try:
            folder = write_folder(self.log(), self._folder, self._devices())
            where = escaped(str(folder))
            self._messages.append(f"The last minute, with your own voice in it, is in {where}.")
        except RtvcError as error:
            self._messages.append(f"The last minute was not saved. {error}")
        except Exception as error:
            reason = f"An unexpected {type(error).__name__} occurred: {error}."
            self._messages.append(f"The last minute was not saved. {reason}")
