"""A spare chain, which takes over at once when the chain in use fails."""

from __future__ import annotations

from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.worker import Worker
from rtvc.settings import Settings

AFTER_S = 2.0
"""Seconds for which a chain runs before its spare is built: settings may change again."""
AGAIN_S = 0.5
"""The same after a spare has been taken."""
RETRY_S = 30.0
"""Seconds until the next try after a spare could not be built."""


class Spare:
    """Keeps one more chain for the settings in use: built, warmed up and waiting.

    Parameters
    ----------
    builder
        Starts the worker.
    synchronous
        Whether to wait for the chain: on an endpoint whose time stands still meanwhile.
    """

    def __init__(self, builder: ChainBuilder, *, synchronous: bool) -> None:
        self._builder, self._synchronous = builder, synchronous
        self._worker: Worker | None = None
        self._shape: tuple[object, ...] = ()
        self._due: float | None = None

    def keep(self, settings: Settings, now: float) -> None:
        """Build the spare if it is due.

        Parameters
        ----------
        settings
            The settings that the chain in use was built for.
        now
            Time on the endpoint's clock, in seconds.
        """
        worker = self._worker
        if settings.shape != self._shape:
            self.close()
            self._shape, self._due = settings.shape, now + AFTER_S
        elif worker is not None and worker.error is not None:
            self.close()
            self._due = now + RETRY_S
        elif worker is None and self._due is None:
            self._due = now + AGAIN_S
        elif worker is None and self._due is not None and now >= self._due:
            self._worker, self._due = self._builder.start(settings, background=True), None
            if self._synchronous:
                self._worker.ready.wait()

    def take(self, settings: Settings) -> Worker | None:
        """Return the spare if it is ready and fits the settings, else None."""
        worker = self._worker
        if worker is None or worker.chain is None or worker.dead:
            return None
        if worker.chain.built_for.shape != settings.shape or worker.chain.outdated:
            return None
        self._worker = None
        return worker

    def close(self) -> None:
        """Give the spare up."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()
