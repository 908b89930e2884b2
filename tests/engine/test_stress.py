"""Thousands of events at random times, on a simulated device with a virtual clock.

A few hundred events are part of every run; ``make soak`` runs 5,000.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rtvc._types import Float32
from rtvc.audio.simulated import SimulatedDevice
from rtvc.errors import RtvcError
from rtvc.session import Session
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from rtvc.system.abandoned import abandoned_threads
from tests.support.voices import PlainStream, PlainVoice

pytestmark = pytest.mark.slow

RATE = 48_000
EVENTS = 50
"""Events in one session."""
QUIET_S = 2.0
"""Time after the last event from which on all has to be nominal."""
WINDOW_S = 1.0
BACK_OFF_S = 5.0
"""The longest pause before a try after repeated failures."""
MAX_STALL_S = 1.8
"""Longest stall of a step that is not taken for one that hangs."""


@dataclass(frozen=True)
class Happening:
    """An event `after` seconds from the one before; `value` is what its kind makes of it."""

    after: float
    kind: str
    value: float


KINDS = (
    *("nothing", "pitch", "voice", "missing voice", "block", "headroom", "mode", "build fails"),
    *("lost", "gap", "stall", "raise", "memory", "nan", "ends", "hang", "heartbeat"),
)
FAILING = ("raise", "memory", "nan", "ends")
STEP_KINDS = ("stall", *FAILING, "hang")
happenings = st.lists(
    st.builds(
        Happening,
        st.floats(0.0, 1.2).map(lambda s: round(s, 2)),
        st.sampled_from(KINDS),
        st.floats(0.0, 1.0).map(lambda s: round(s, 2)),
    ),
    min_size=EVENTS,
    max_size=EVENTS,
)
SOURCE = np.tile(
    # Steep upwards, flat downwards: the skewness tells the input from the voice, its negative.
    np.clip(np.random.default_rng(0).exponential(0.05, 7 * RATE) - 0.05, None, 0.4), 40
).astype("f4")  # fmt: skip


class Negative(PlainVoice):
    """A voice that returns its input with the sign changed."""

    def open(self, plan: Any, settings: Settings) -> PlainStream:
        stream = super().open(plan, settings)
        render = stream.render

        def negative(block: Float32, settings: Settings) -> Any:
            rendered = render(block, settings)
            return replace(rendered, audio=-rendered.audio)

        setattr(stream, "render", negative)  # noqa: B010
        return stream


class Device(SimulatedDevice):
    """Calls `on_tick` with its clock; can be lost and lose input at any time."""

    on_tick = staticmethod(lambda: None)
    heartbeat_fails = False

    def __init__(self, source: Float32, *, tail: float) -> None:
        super().__init__(source, tail=tail)
        self._clock = threading.RLock()

    def start(self, tick: Any, delay: int) -> None:
        def watched() -> None:
            self.on_tick()
            if self.heartbeat_fails:
                self.heartbeat_fails = False
                original, self.queued = self.queued, self._fail  # type: ignore[method-assign]
                try:
                    tick()
                finally:
                    self.queued = original  # type: ignore[method-assign]
            else:
                tick()

        super().start(watched, delay)

    def _fail(self) -> int:
        raise RuntimeError("heartbeat")

    def _advance(self, samples: int, *, call_tick: bool = True) -> None:
        # A step that has been given up may still advance the clock when the engine does.
        with self._clock:
            super()._advance(samples, call_tick=call_tick)

    def lose(self, seconds: float) -> None:
        self._losses = [(self._now, self._now + round(seconds * RATE))]

    def lose_input(self, seconds: float) -> None:
        self._gaps = [(self._now, self._now + round(seconds * RATE))]

    def end_in(self, seconds: float) -> None:
        self._end = self._now + round(seconds * RATE)


class Stress:
    """One session with its events, and what happened."""

    def __init__(self, events: list[Happening], *, abrupt: bool, dry: bool) -> None:
        self.events = deque(events)
        self.abrupt, self.dry = abrupt, dry
        self.device = Device(SOURCE, tail=0.0)
        self.device.on_tick = self._on_tick
        self.voices = {
            name: Negative(name=name, lookahead=ahead, on_render=lambda n: self._on_render())
            for name, ahead in {"world": 3, "other": 7, "third": 5}.items()
        }
        self.due = 2.0 + (events[0].after if events else 0.0)
        self.armed: deque[Happening] = deque()
        self.builds_fail = 0
        self.done = Counter[str]()
        self.last: float | None = None
        self.ended = threading.Event()
        self.wanted = Settings(gate=-90.0, pitch=1.0, latency="constant")
        self.session = Session(self.device, self.wanted, self._find)
        self.end: Stats | None = None

    def play(self) -> None:
        began = time.monotonic()
        with self.session:
            while not self.ended.wait(0.01) and not self.session.wait(0):
                assert time.monotonic() < began + 120, f"deadlock: {self.session.stats()}"
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 3.0, "stopping takes long"
        self.stats = self.session.stats()
        assert self.stats.state is State.STOPPED

    # Called by the device's clock, in whatever thread advances it.

    def _on_tick(self) -> None:
        now = self.device.now()
        while self.events and now >= self.due:
            event = self.events.popleft()
            self.due = now + (self.events[0].after if self.events else 0.0)
            if event.kind in STEP_KINDS:
                # Without conversion there is no step to fail.
                if self.wanted.mode == "converted":
                    self.armed.append(event)
            else:
                self._act(event)
            self.last = now
        if self.events or self.armed or self.ended.is_set():
            return
        if self.abrupt:
            self.ended.set()
        elif self.end is None and self.last is not None:
            settled = self.last + QUIET_S + (BACK_OFF_S if self._back_off() else 0.0)
            if now > settled + WINDOW_S + 0.5:
                self.settled = settled
                self.end = self.session.stats()
                self.device.end_in(0.2)

    def _back_off(self) -> bool:
        """Whether three failures came so close to one another that the next try waited."""
        return sum(self.done[k] for k in (*FAILING, "build fails", "hang")) >= 3

    def _act(self, event: Happening) -> None:
        self.done[event.kind] += 1
        value = event.value
        all_changes: dict[str, dict[str, Any]] = {
            "pitch": {"pitch": round(12 * value)},
            "voice": {"voice": ("world", "other", "third")[int(2.99 * value)]},
            "block": {"block": (60.0, 100.0, 150.0, 200.0)[int(3.99 * value)]},
            "headroom": {"headroom": (60.0, 80.0, 120.0)[int(2.99 * value)]},
            "mode": {
                "mode": ("converted", "muted", "dry")[int((2.99 if self.dry else 1.99) * value)]
            },
            "missing voice": {"voice": "missing"},
        }
        changes = all_changes.get(event.kind)
        if changes:
            self.wanted = self.wanted.replace(**changes)
            if self.wanted.mode != "converted":
                self.armed.clear()
            self.session.apply(self.wanted)
        elif event.kind == "lost":
            self.device.lose(2.0 * value)
        elif event.kind == "gap":
            self.device.lose_input(value)
        elif event.kind == "build fails":
            self.builds_fail = 1
        elif event.kind == "heartbeat":
            self.device.heartbeat_fails = True

    # Called by the engine, on whatever thread it uses.

    def _find(self, name: str) -> PlainVoice:
        if name not in self.voices:
            raise RtvcError(f"There is no voice {name!r}.")
        if self.builds_fail:
            self.builds_fail -= 1
            raise MemoryError("a build")
        return self.voices[name]

    def _on_render(self) -> None:
        if not self.armed:
            return
        event = self.armed.popleft()
        self.last = self.device.now()
        self.done[event.kind] += 1
        if event.kind == "stall":
            self.device.pass_time(MAX_STALL_S * event.value**3)
            self.last = self.device.now()
        elif event.kind == "hang":
            while threading.current_thread() not in abandoned_threads():
                self.device.pass_time(0.05)
                self.last = self.device.now()
        elif event.kind == "ends":
            raise SystemExit
        elif event.kind == "memory":
            raise MemoryError("a step")
        elif event.kind in ("raise", "nan"):
            raise RuntimeError("a step")

    # What has to hold.

    def check(self) -> None:
        played = self.device.played
        assert np.isfinite(played).all()
        frames = played[: len(played) // 2400 * 2400].reshape(-1, 2400).astype("f8")
        deviation = frames - frames.mean(axis=1, keepdims=True)
        power = np.mean(deviation**2, axis=1)
        skewness = np.mean(deviation**3, axis=1) / (power + 1e-9) ** 1.5
        if not self.dry:
            # One frame may be concealment, a short period that is repeated.
            positive = (skewness > 1.0) & (power > 1e-6)
            assert not (positive[1:] & positive[:-1]).any(), "the unconverted input was output"
        elapsed = self.device.now()
        stats = self.stats
        assert stats.concealed_s <= elapsed
        assert stats.dropped_s <= elapsed
        assert stats.failed_steps == sum(self.done[k] for k in FAILING)
        causes = stats.restart_causes
        # The last step may hang when the session is stopped.
        # A chain that hangs before it takes over is refused. The last step may hang at the stop.
        others = self.done["hang"] - causes.get("no response", 0)
        refused = self.done["voice"] + self.done["block"] + self.done["headroom"]
        assert 0 <= others <= refused + self.abrupt, causes
        assert causes.get("device lost", 0) <= self.done["lost"]
        if self.end is None:
            assert self.abrupt
            return
        self._check_end(self.end, played, elapsed)

    def _check_end(self, end: Stats, played: Float32, elapsed: float) -> None:
        if self.wanted.voice in self.voices:
            assert end.voice == self.wanted.voice, end
        assert end.state is State(self.wanted.mode), end
        began = elapsed - len(played) / RATE
        at = round((self.settled - began) * RATE)
        piece = played[at : at + round(WINDOW_S * RATE)]
        if self.wanted.mode == "muted":
            assert not piece.any()
            return
        first = round((self.settled - 1.5) * RATE)
        around = SOURCE[first : round((self.settled + WINDOW_S) * RATE)]
        size = 1 << (len(around) + len(piece)).bit_length()
        product = np.fft.rfft(around, size) * np.conj(np.fft.rfft(piece, size))
        found = int(np.argmax(np.abs(np.fft.irfft(product, size)[: len(around)])))
        lag = self.settled - first / RATE - found / RATE
        assert lag == pytest.approx(end.latency.total, abs=0.011), end


def stress(events: list[Happening], *, abrupt: bool, dry: bool) -> None:
    run = Stress(events, abrupt=abrupt, dry=dry)
    run.play()
    run.check()


def short_or_long(count: int) -> Any:
    return hypothesis_settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # to make a failure smaller takes minutes
        suppress_health_check=list(HealthCheck),
    )


@short_or_long(4)
@given(happenings, st.booleans(), st.booleans())
def test_hundreds_of_events_leave_a_nominal_state(events, abrupt, dry):
    stress(events, abrupt=abrupt, dry=dry)


@pytest.mark.soak
@seed(0)
@short_or_long(5000 // EVENTS)
@given(happenings, st.booleans(), st.booleans())
def test_thousands_of_events_leave_a_nominal_state(events, abrupt, dry):
    stress(events, abrupt=abrupt, dry=dry)
