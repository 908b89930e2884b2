"""Voices kept ready: chains that wait, so that a change to one of them is heard at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future

from rtvc.engine.chain import Chain
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.thread_pool import run_in_pool
from rtvc.engine.worker import LOAD_LIMIT_S, Worker, work_in_background
from rtvc.errors import RtvcError
from rtvc.settings import BUILT_IN, NO_MORPH, Settings

AFTER_S = 2.0
"""Seconds for which the engine runs before it builds the first chain of the bank."""
RETRY_S = 30.0
"""Seconds until the next try after a chain could not be built."""
_LOOKUP_S = 10.0
"""Longest wait for the settings of the voices where time stands still meanwhile."""
_MB = 1e6

FollowVoice = Callable[[Settings, str], Settings]
"""Returns the settings after a change to another voice; may read files."""


class VoiceBank:
    """Keeps chains of voices that were used last, and of favourites: built, warmed up and waiting.

    While a voice morphs to another one, the voices at the other positions come first.

    Each chain waits at time 0, as the spare does. When it takes over, the chain that it replaces
    comes back and waits too: its state is reset, its voice is used again, so nothing is loaded
    or warmed up. Chains that do not fit the memory of ``Settings.ready_memory`` are released, those
    whose voice was used longest ago first. One chain is built at a time, at low priority. Only the
    engine thread uses it, except `keep`.

    Parameters
    ----------
    builder
        Starts the workers.
    follow
        Returns the settings with which a change to a voice would continue. Called on another
        thread, since it may wait for a disk.
    synchronous
        Whether to wait for it and for each chain: on an endpoint whose time stands still
        meanwhile.
    """

    def __init__(self, builder: ChainBuilder, follow: FollowVoice, *, synchronous: bool) -> None:
        self._builder, self._follow, self._synchronous = builder, follow, synchronous
        self._favourites: tuple[str, ...] = ()
        self._used: list[str] = []
        """Voices that were in use, the last one first."""
        self._ready: dict[str, Worker] = {}
        self._returning: dict[str, tuple[Worker, Future[None]]] = {}
        """Chains that have come back, until they are at time 0."""
        self._building: tuple[str, Worker] | None = None
        self._wanted: tuple[tuple[str, Settings], ...] = ()
        self._wanted_for: tuple[object, ...] = ()
        self._lookup: _Lookup | None = None
        self._too_large: set[str] = set()
        self._failed_s: dict[str, float] = {}
        self._due: float | None = None

    def keep(self, favourites: tuple[str, ...]) -> None:
        """Set the voices to keep ready besides those that were in use; from any thread."""
        self._favourites = favourites

    @property
    def shapes(self) -> list[tuple[object, ...]]:
        """`Settings.shape` of the chains that wait."""
        workers = [*self._ready.values(), *(worker for worker, _ in self._returning.values())]
        return [worker.chain.built_for.shape for worker in workers if worker.chain is not None]

    @property
    def memory(self) -> dict[str, int]:
        """The voices that are ready, with the bytes of their weights."""
        ready = list(self._ready.items())
        return {name: 0 if w.chain is None else w.chain.weights for name, w in ready}

    def tend(self, in_use: Settings, now: float) -> None:
        """Build or release chains, at most one at a time; call it with each block.

        Parameters
        ----------
        in_use
            The settings that the chain in use was built for.
        now
            Time on the endpoint's clock, in seconds.
        """
        if not self._builder.requested.ready_memory:
            if self._ready or self._returning or self._building:
                self.close()
            self._due = None
            return
        if self._due is None:
            self._due = now + AFTER_S
        if self._used[:1] != [in_use.voice]:
            self._used = [in_use.voice, *(name for name in self._used if name != in_use.voice)]
        self._settle()
        if now < self._due:
            return
        if not self._update_wanted(in_use, now):
            return
        self._collect(now)
        self._release()
        if self._building is None:
            self._build_next(now)

    def take(self, settings: Settings, like: Chain | None = None) -> Worker | None:
        """Return the waiting chain for these settings, None if there is none.

        Parameters
        ----------
        settings
            The effective settings.
        like
            A chain whose block and headroom it must have; by default any.
        """
        self._settle()
        worker = self._ready.get(settings.voice_to_load)
        if worker is None or worker.chain is None or not _fits(worker, settings):
            return None
        sizes = worker.chain.block, worker.chain.headroom
        if like is not None and sizes != (like.block, like.headroom):
            return None
        return self._ready.pop(settings.voice_to_load)

    def give_back(self, worker: Worker, settings: Settings) -> None:
        """Let a chain wait that another one has replaced, or release it.

        Parameters
        ----------
        worker
            The worker, which has done its last step; nothing else uses it any more.
        settings
            The settings of that step.
        """
        chain = worker.chain
        assert chain is not None
        name = chain.built_for.voice_to_load
        known = name in self._ready or name in self._returning
        if not self._builder.requested.ready_memory or known or worker.dead or chain.outdated:
            worker.close()
            return
        # At once, with the priority of a step: the next change may follow soon.
        self._returning[name] = worker, worker.renew(settings)
        if not self._synchronous:
            worker.demote()

    def close(self) -> None:
        """Release all chains."""
        workers = [*self._ready.values(), *([self._building[1]] if self._building else [])]
        workers += [worker for worker, _ in self._returning.values()]
        self._ready, self._returning, self._building = {}, {}, None
        self._wanted_for, self._lookup = (), None
        for worker in workers:
            worker.close()

    def _update_wanted(self, in_use: Settings, now: float) -> bool:
        """Decide which voices are wanted, the most important one first.

        Returns
        -------
        bool
            Whether that is known for the present settings.
        """
        requested = self._builder.requested
        facts = (
            *(requested.shape, requested.ready_memory, self._builder.degradation.level),
            *(self._favourites, tuple(self._used), in_use.shape),
        )
        if facts == self._wanted_for:
            return True
        if self._lookup is None:
            names = dict.fromkeys((*self._used, *self._favourites))
            names.pop(in_use.voice, None)
            background = not self._synchronous
            try:
                self._lookup = _Lookup(
                    facts, requested, list(names), self._follow, background=background
                )
            except RuntimeError:  # the system starts no more threads
                self._due = now + RETRY_S
                return False
        lookup = self._lookup
        if not lookup.done(wait=self._synchronous):
            return False
        self._lookup = None
        if lookup.facts != facts:
            return False
        self._wanted_for = facts
        self._too_large.clear()
        others = [*_other_positions(requested), *lookup.found]
        effective = [self._builder.effective_for(other) for other in others]
        self._wanted = tuple((settings.voice_to_load, settings) for settings in effective)
        return True

    def _settle(self) -> None:
        """Keep the chains that have come back and are at time 0; release what became useless."""
        for name, (worker, renewed) in list(self._returning.items()):
            while self._synchronous and not (renewed.done() or worker.dead):
                time.sleep(0.001)
            if not (renewed.done() or worker.dead):
                if worker.hangs:
                    del self._returning[name]
                    worker.abandon()
                continue
            del self._returning[name]
            if renewed.done() and renewed.exception() is None:
                self._ready[name] = worker
            else:
                worker.close()
        for name, worker in list(self._ready.items()):
            if worker.dead or (worker.chain is not None and worker.chain.outdated):
                self._ready.pop(name).close()

    def _collect(self, now: float) -> None:
        """Keep the chain that was being built, if it is ready."""
        if self._building is None:
            return
        name, worker = self._building
        if self._synchronous:
            worker.wait()
        if not worker.ready.is_set():
            if worker.hangs:
                self._building, self._failed_s[name] = None, now
                worker.abandon()
                self._builder.degradation.notify(
                    f"{name!r} is not kept ready: it did not load within {LOAD_LIMIT_S:.0f} s. "
                    f"It is tried again in {RETRY_S:.0f} s."
                )
            return
        self._building = None
        wanted = dict(self._wanted)
        if worker.chain is None:
            self._failed_s[name] = now
        there = name in self._ready or name in self._returning
        if there or name not in wanted or not _fits(worker, wanted[name]):
            worker.close()
            return
        self._ready[name] = worker

    def _release(self) -> None:
        """Release what is not wanted, and those used longest ago until the others fit the memory.

        A chain may come back at any time after it was decided what is wanted.
        """
        wanted = dict(self._wanted)
        for name, worker in list(self._ready.items()):
            if name not in wanted or not _fits(worker, wanted[name]):
                self._ready.pop(name).close()
        for other, _ in reversed(self._wanted):
            if sum(self.memory.values()) <= self._builder.requested.ready_memory * _MB:
                break
            if other in self._ready:
                self._too_large.add(other)
                self._ready.pop(other).close()

    def _build_next(self, now: float) -> None:
        for name, settings in self._wanted:
            if name in self._too_large:
                return  # what is less important would take the room of what is wanted more
            failed_s = self._failed_s.get(name)
            if name == self._builder.requested.voice_to_load:
                continue  # the change to it is in progress
            if name in self._returning or self._builder.too_many_hang(settings):
                continue
            if name in self._ready or (failed_s is not None and now < failed_s + RETRY_S):
                continue
            self._building = name, self._builder.start(settings, background=True)
            return


class _Lookup:
    """Finds on another thread with which settings changes to some voices would continue.

    Attributes
    ----------
    facts
        What the voices were chosen by.
    found
        The settings, in the order of the names, once it is done; not of voices that fail.
    """

    def __init__(
        self,
        facts: tuple[object, ...],
        requested: Settings,
        names: list[str],
        follow: FollowVoice,
        *,
        background: bool,
    ) -> None:
        self.facts = facts
        self.found: list[Settings] = []

        def find() -> None:
            if background:
                work_in_background()
            for name in names:
                with contextlib.suppress(RtvcError, OSError):
                    self.found.append(follow(requested, name))

        self._job = run_in_pool(find, "rtvc settings of voices")

    def done(self, *, wait: bool) -> bool:
        """Return whether all voices have been looked up."""
        return self._job.wait(_LOOKUP_S if wait else 0.0)


def _other_positions(settings: Settings) -> list[Settings]:
    """Return the settings at the other positions between two voices, the nearest ones first."""
    if settings.voice == BUILT_IN or settings.morph_to == NO_MORPH:
        return []
    positions = [round(0.1 * step, 1) for step in range(11)]
    positions.sort(key=lambda position: abs(position - settings.morph))
    return [settings.replace(morph=position) for position in positions[1:]]


def _fits(worker: Worker, settings: Settings) -> bool:
    """Return whether a worker's chain can convert with these settings."""
    chain = worker.chain
    if chain is None or worker.dead or chain.outdated:
        return False
    return chain.built_for.shape == settings.shape
