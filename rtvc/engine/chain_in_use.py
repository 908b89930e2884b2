"""The chain that converts at present, and the calls of it within their time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rtvc.audio.endpoint import Endpoint
from rtvc.engine.chain import Chain, Learned
from rtvc.engine.engine_stats import EngineStats
from rtvc.engine.supervisor import sentence
from rtvc.engine.watchdog import NoResponseError, Watchdog
from rtvc.engine.worker import Worker
from rtvc.settings import Settings

R = TypeVar("R")


class CallFailedError(Exception):
    """A call of a chain has raised an error."""


class ChainInUse:
    """The worker whose chain converts the input; only the engine thread uses it.

    Parameters
    ----------
    endpoint
        Audio input and output.
    watchdog
        Limits the time of the calls.
    stats
        Receives what is known of the chain, and the number of failed calls.

    Attributes
    ----------
    worker
        The worker, or None while no chain converts.
    headroom
        Samples of output that should be queued when a block is complete, by the last chain.
    built_for
        The settings of the last chain in use, or None before the first.
    learned
        What that chain has learned, for the one that replaces it.
    """

    def __init__(self, endpoint: Endpoint, watchdog: Watchdog, stats: EngineStats) -> None:
        self._endpoint, self._watchdog, self._stats = endpoint, watchdog, stats
        self.worker: Worker | None = None
        self.headroom = 0
        self.built_for: Settings | None = None
        self.learned: Learned | None = None

    def use(self, worker: Worker) -> None:
        """Convert with this worker, whose chain is built."""
        assert worker.chain is not None
        self.worker, self.headroom = worker, worker.chain.headroom
        self.built_for, self.learned = worker.chain.built_for, worker.chain.learned
        self._stats.publish_chain(worker.chain, self._endpoint.latency)

    def promote(self, worker: Worker) -> None:
        """Run the calls of a worker with high priority: it takes over."""
        if self._endpoint.wall_clock:
            worker.promote()

    def ask(self, worker: Worker, use: Callable[[Chain], R]) -> R:
        """Return the result of a call on the thread of a worker.

        Raises
        ------
        NoResponseError
            If it does not end in time.
        CallFailedError
            If it raises an error.
        """
        try:
            return self._watchdog.ask(worker, use)
        except NoResponseError:
            raise
        except BaseException as error:  # SystemExit too: it was raised on the worker's thread
            self._stats.count_failed_step()
            raise CallFailedError(f"The engine failed: {sentence(error)}") from error

    def drop(self) -> None:
        """Close the worker, if there is one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.close()

    def abandon(self, worker: Worker) -> None:
        """Never wait again for the thread of a worker that does not respond."""
        worker.abandon()
        self.worker = None
