"""Counts the failures of a run, and knows for which settings it was tried."""

from __future__ import annotations

from rtvc.audio.endpoint import Endpoint
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.supervisor import Event, Supervisor


class Failures:
    """Turns failures into events of the supervisor.

    Parameters
    ----------
    endpoint
        Whose clock counts. Without deadlines, repeated failures end the run.
    builder
        Knows the requested settings.
    supervisor
        Counts the failures and schedules the tries.

    Attributes
    ----------
    fatal
        Why a run without deadlines has ended early, "" if it has not.
    """

    def __init__(self, endpoint: Endpoint, builder: ChainBuilder, supervisor: Supervisor) -> None:
        self._endpoint, self._builder, self._supervisor = endpoint, builder, supervisor
        self._tried = builder.requested
        """The requested settings at the last failure or try."""
        self.fatal = ""

    def fail(self, kind: str, cause: str, *, pause: bool = False) -> Event:
        """Count a failure, and return the event that it is; see `Supervisor.fail`."""
        self.note_try()
        event = self._supervisor.fail(kind, cause, self._endpoint.now(), pause=pause)
        if not self._endpoint.realtime and event is Event.FAILED_REPEATEDLY:
            self.fatal = cause
            return Event.STOP
        return event

    def note_try(self) -> None:
        """Keep the settings that are requested now: they are tried."""
        self._tried = self._builder.requested

    def settings_changed(self, *, shape_only: bool = False) -> bool:
        """Return whether other settings are requested than at the last failure or try."""
        requested = self._builder.requested
        if self._tried is requested:
            return False
        return not shape_only or self._tried.shape != requested.shape
