"""The supervisor: a state machine that brings the engine back after every failure."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from rtvc.errors import RtvcError

BACK_OFF_S = (0.5, 1.0, 2.0, 5.0)
"""Pauses before the tries after repeated failures; the last one repeats for ever."""
FAILURES_IN_A_ROW = 3
"""Failures without `GOOD_STEPS` steps between them after which the next try waits."""
GOOD_STEPS = 10
NO_VOICE = "no voice"
"""Kind of the failure that the voice, or a model that it needs, is not there."""


class Phase(StrEnum):
    """What the engine is doing."""

    STARTING = "starting"
    """The first chain is built, and the endpoint opened."""
    RUNNING = "running"
    """A chain converts block by block."""
    REPLACING = "replacing"
    """The chain has failed; another one takes over as soon as it is ready."""
    WAITING = "waiting"
    """Several chains have failed in a row; the next try is due after a pause."""
    DEVICE_LOST = "device lost"
    """The endpoint is reopened, again and again."""
    STOPPED = "stopped"
    """The output has been faded out, and no more is read or written."""


class Event(StrEnum):
    """What changes the phase."""

    CHAIN_READY = "chain ready"
    FAILED = "failed"
    FAILED_REPEATEDLY = "failed repeatedly"
    RETRY_DUE = "retry due"
    SETTINGS_CHANGED = "settings changed"
    DEVICE_LOST = "device lost"
    DEVICE_BACK = "device back"
    STOP = "stop"


TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.STARTING, Event.CHAIN_READY): Phase.RUNNING,
    (Phase.STARTING, Event.FAILED_REPEATEDLY): Phase.WAITING,
    (Phase.STARTING, Event.STOP): Phase.STOPPED,
    (Phase.RUNNING, Event.FAILED): Phase.REPLACING,
    (Phase.RUNNING, Event.FAILED_REPEATEDLY): Phase.WAITING,
    (Phase.RUNNING, Event.DEVICE_LOST): Phase.DEVICE_LOST,
    (Phase.RUNNING, Event.STOP): Phase.STOPPED,
    (Phase.REPLACING, Event.CHAIN_READY): Phase.RUNNING,
    (Phase.REPLACING, Event.FAILED): Phase.REPLACING,
    (Phase.REPLACING, Event.FAILED_REPEATEDLY): Phase.WAITING,
    (Phase.REPLACING, Event.SETTINGS_CHANGED): Phase.REPLACING,
    (Phase.REPLACING, Event.DEVICE_LOST): Phase.DEVICE_LOST,
    (Phase.REPLACING, Event.STOP): Phase.STOPPED,
    (Phase.WAITING, Event.RETRY_DUE): Phase.REPLACING,
    (Phase.WAITING, Event.SETTINGS_CHANGED): Phase.REPLACING,
    (Phase.WAITING, Event.FAILED): Phase.WAITING,
    (Phase.WAITING, Event.FAILED_REPEATEDLY): Phase.WAITING,
    (Phase.WAITING, Event.DEVICE_LOST): Phase.DEVICE_LOST,
    (Phase.WAITING, Event.STOP): Phase.STOPPED,
    (Phase.DEVICE_LOST, Event.DEVICE_BACK): Phase.REPLACING,
    (Phase.DEVICE_LOST, Event.FAILED): Phase.DEVICE_LOST,
    (Phase.DEVICE_LOST, Event.FAILED_REPEATEDLY): Phase.DEVICE_LOST,
    (Phase.DEVICE_LOST, Event.STOP): Phase.STOPPED,
}
"""The phase that follows, for each phase and each event that can occur in it."""


class Supervisor:
    """Follows `TRANSITIONS`, counts failures and schedules the tries.

    Only the engine thread calls its methods. Any thread may read its attributes.

    Attributes
    ----------
    phase
        The current phase.
    reason
        One sentence about the failure and the next try, "" while there is none.
    restarts, causes, last_cause
        Number of failures that made a restart necessary, the number by kind, and the last one
        as a sentence.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.reason = ""
        self.causes: Counter[str] = Counter()
        self.last_cause = ""
        self._in_a_row = self._good_steps = 0
        self._pauses = 0
        self._retry_at = 0.0

    @property
    def restarts(self) -> int:
        """Number of failures that made a restart necessary."""
        return self.causes.total()

    def handle(self, event: Event) -> Phase:
        """Enter and return the phase that follows."""
        self.phase = TRANSITIONS[self.phase, event]
        if self.phase is Phase.RUNNING:
            self.reason = ""
        return self.phase

    def count(self, kind: str, cause: str) -> None:
        """Count a restart of the kind `kind`, and keep its cause."""
        self.causes = self.causes + Counter([kind])  # readers hold the one before
        self.last_cause = cause

    def fail(self, kind: str, cause: str, now: float, *, pause: bool = False) -> Event:
        """Count a failure at the time `now`, and return the event that it is.

        Parameters
        ----------
        kind, cause
            As for `count`.
        now
            Time in seconds, as for `retry_due`.
        pause
            Whether it is useless to try again at once.
        """
        if kind != NO_VOICE or cause != self.last_cause:
            self.count(kind, cause)  # to wait for the same voice is not another failure
        self._in_a_row += 1
        self._good_steps = 0
        repeated = pause or self._in_a_row >= FAILURES_IN_A_ROW
        event = Event.FAILED_REPEATEDLY if repeated else Event.FAILED
        next_phase = TRANSITIONS.get((self.phase, event))
        if next_phase is Phase.WAITING:
            seconds = BACK_OFF_S[min(self._pauses, len(BACK_OFF_S) - 1)]
            self._pauses += 1
            self._retry_at = now + seconds
            self.reason = f"{cause} The next try follows in {seconds:g} s."
        elif next_phase is Phase.REPLACING:
            self.reason = f"{cause} A new one is starting."
        return event

    def retry_due(self, now: float) -> bool:
        """Return whether the pause before the next try is over."""
        return now >= self._retry_at

    def worked(self) -> None:
        """Note a step without a failure."""
        self._good_steps += 1
        if self._good_steps == GOOD_STEPS:
            self._in_a_row = self._pauses = 0


def sentence(error: BaseException) -> str:
    """Return the message of an `RtvcError`, or the type and message of another error."""
    if isinstance(error, RtvcError):
        return str(error)
    return f"{type(error).__name__}: {error}." if str(error) else f"{type(error).__name__}."
