"""A spare chain, which takes over at once when the chain in use fails."""

from __future__ import annotations

from collections.abc import Collection

from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.worker import LOAD_LIMIT_S, Worker
from rtvc.settings import Settings

Shape = tuple[object, ...]

AFTER_S = 2.0
"""Seconds for which a chain runs before its spare is built: settings may change again."""
AGAIN_S = 0.5
"""The same after a spare has been taken, or has become outdated."""
RETRY_S = 30.0
"""Seconds until the next try after a spare could not be built."""


class Spare:
    """Keeps one more chain for the settings in use: built, warmed up and waiting.

    The spare of a voice that is replaced is kept for as long as a chain of that voice waits in the
    voice bank, so that it need not be built again after a change back. It shares the weights.

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
        self._shape: Shape = ()
        self._others: dict[Shape, Worker] = {}
        """Spares for other settings, by their shape."""
        self._due: float | None = None

    def keep(self, settings: Settings, now: float, waiting: Collection[Shape] = ()) -> None:
        """Build the spare if it is due.

        Parameters
        ----------
        settings
            The settings that the chain in use was built for.
        now
            Time on the endpoint's clock, in seconds.
        waiting
            `Settings.shape` of the chains to which a change may follow.
        """
        for shape in [shape for shape in self._others if shape not in waiting]:
            self._others.pop(shape).close()
        worker = self._worker
        if settings.shape != self._shape:
            self._exchange(settings.shape, now, keep=self._shape in waiting)
        elif worker is not None and worker.error is not None:
            worker.close()
            self._worker = None
            self._due = now + RETRY_S
        elif worker is not None and worker.hangs:
            worker.abandon()
            self._worker = None
            self._due = now + RETRY_S
            self._builder.degradation.notify(
                "A second copy of the voice, which is there for failures, did not load within "
                f"{LOAD_LIMIT_S:.0f} s. It is tried again in {RETRY_S:.0f} s."
            )
        elif worker is not None and worker.chain is not None and worker.chain.outdated:
            worker.close()
            self._worker = None
            self._due = now + AGAIN_S
        elif worker is None and self._due is None:
            self._due = now + AGAIN_S
        elif worker is None and self._due is not None and now >= self._due:
            if self._builder.too_many_hang(settings):
                self._due = now + RETRY_S
                return
            self._worker, self._due = self._builder.start(settings, background=True), None
            if self._synchronous:
                self._worker.wait()

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
        """Give all spares up."""
        if self._worker is not None:
            self._others[self._shape] = self._worker
            self._worker = None
        for worker in self._others.values():
            worker.close()
        self._others.clear()

    def _exchange(self, shape: Shape, now: float, *, keep: bool) -> None:
        """Use the spare for other settings, if there is one."""
        if self._worker is not None and keep:
            self._others[self._shape] = self._worker
        elif self._worker is not None:
            self._worker.close()
        self._shape, self._worker = shape, self._others.pop(shape, None)
        self._due = now + AFTER_S if self._worker is None else None
