"""The change to another chain: builds it while the current one runs."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future

import numpy as np

from rtvc._types import Float32
from rtvc.engine.catch_up import recent_blocks, render_last
from rtvc.engine.chain import Chain
from rtvc.engine.chain_builder import THREADS_HANG, ChainBuilder
from rtvc.engine.input_history import InputHistory
from rtvc.engine.supervisor import sentence
from rtvc.engine.voice_bank import VoiceBank
from rtvc.engine.worker import LOAD_LIMIT_S, Worker
from rtvc.settings import Settings

_MAX_ROUNDS = 2
"""Renders after which a new chain takes over although it is behind. The first one takes longer
than a step, and what comes during the second one costs one step at the change; more of them only
make the current chain late where a step takes half of its block."""
_RETRY_S = 1.0
"""Smallest time between two tries that changed settings cause, in seconds."""
_AUTOMATIC_RETRY_S = 30.0
"""Time until the next try for automatic sizes, which nobody requests again."""


class ChainSwitch:
    """Builds the chain for changed shape settings, one at a time.

    The new chain gets recent input, and renders the newest block, before it takes over. It does so
    next to the current chain, because that takes as long as a step or longer.

    Parameters
    ----------
    builder
        Starts the workers.
    bank
        Chains that wait.
    history
        The newest input, which a new chain gets before it takes over.
    synchronous
        Whether to wait for each chain: on an endpoint whose time stands still meanwhile.
    """

    def __init__(
        self,
        builder: ChainBuilder,
        bank: VoiceBank,
        history: InputHistory,
        *,
        synchronous: bool,
    ) -> None:
        self._bank = bank
        self._builder, self._history, self._synchronous = builder, history, synchronous
        self._next: Worker | None = None
        self._next_settings: Settings | None = None
        """Settings that `_next` is built for."""
        self._fed: Future[Float32] | None = None
        self._fed_to = self._rounds = 0
        self._fed_mode = ""
        self.rendered = np.zeros(0, np.float32)
        self._rejected_shape: tuple[object, ...] | None = None
        """Shape settings for which building a chain failed."""
        self._refused_s = 0.0
        self._renewing = False
        self.refusal = ""
        """Why the requested settings are not used, "" if they are."""

    @property
    def loading(self) -> bool:
        """Whether a chain is being built."""
        return self._next is not None

    def allow(self) -> None:
        """Try again to build a chain that could not be built."""
        self._rejected_shape, self.refusal = None, ""

    def retry(self) -> None:
        """Try again, unless the last try has failed just now: a held key changes settings fast."""
        if self.refusal and time.monotonic() >= self._refused_s + _RETRY_S:
            self.allow()

    def renew(self) -> None:
        """Build a new chain for the settings in use."""
        self._renewing = True

    def cancel(self) -> None:
        """Stop building."""
        self._renewing = False
        worker, self._next, self._fed = self._next, None, None
        if worker is not None:
            worker.close()

    def poll(self, chain: Chain, settings: Settings, *, hold: bool = False) -> Worker | None:
        """Start to build the chain for other settings; return it once it is ready.

        Parameters
        ----------
        chain
            The chain in use.
        settings
            The effective settings.
        hold
            Whether a chain that is ready must wait; it is fed meanwhile.
        """
        in_use = settings.shape == chain.built_for.shape and not self._renewing
        if in_use or self._automatic_is_due(chain.built_for, settings):
            self.allow()
        if self._next is not None and self._next.hangs:
            self._abandon(settings, asked_for=not in_use)
        if in_use or self.refuses(settings):
            if self._next is not None and self._next.ready.is_set():
                self.cancel()  # it is not asked for any more
            return None
        self.allow()
        worker = self._next
        if worker is None:
            worker = None if self._renewing else self._bank.take(settings)
            if worker is None and self._builder.too_many_hang(settings):
                self.reject(THREADS_HANG, settings)
                return None
            worker = self._next = worker or self._builder.start(settings, background=True)
            self._next_settings = settings
        if self._synchronous:
            worker.wait()
        if not worker.ready.is_set():
            return None
        settings = self._builder.effective()  # loading may have revealed the voice kind
        built_for = self._next_settings if worker.chain is None else worker.chain.built_for
        assert built_for is not None
        if worker.chain is not None:
            built_for = worker.chain.follow_headroom(settings)
        if built_for.shape != settings.shape:
            # The settings changed while the chain was built.
            self.cancel()
        elif worker.chain is None:
            assert worker.error is not None
            self.reject(sentence(worker.error), settings)
        elif self._caught_up(worker, worker.chain, chain, settings, hold=hold):
            self._next = self._fed = None
            self._renewing = False
            return worker
        return None

    def forget(self) -> None:
        """Let a chain that is fed hold silence in place of its input."""
        if self._next is None or self._fed is None:
            return
        settings = self._builder.effective()

        def forget(chain: Chain) -> Float32:
            chain.forget(settings)
            return np.zeros(0, np.float32)

        self._fed, self._fed_to = self._next.submit(forget), self._history.end
        self._fed_mode = settings.mode

    @property
    def feeding(self) -> bool:
        """Whether the new chain has had input."""
        return self._fed_to >= 0

    def missed(self, chain: Chain) -> list[Float32]:
        """Return the input that the new chain has not had, in its blocks, oldest first."""
        blocks = recent_blocks(self._history, chain)
        samples = self._history.end - self._fed_to
        count, rest = divmod(samples, chain.block)
        return blocks if rest or count > len(blocks) else blocks[len(blocks) - count :]

    def _abandon(self, settings: Settings, *, asked_for: bool) -> None:
        """Never wait again for the new chain; refuse the settings if it is the one for them."""
        worker, built_for = self._next, self._next_settings
        assert worker is not None
        assert built_for is not None
        worker.abandon()
        if asked_for and built_for.shape == settings.shape:
            self.reject(f"The voice did not load within {LOAD_LIMIT_S:.0f} s.", settings)
        else:
            self.cancel()

    def _caught_up(
        self, worker: Worker, new: Chain, current: Chain, settings: Settings, *, hold: bool
    ) -> bool:
        """Feed recent input at low priority while the current chain runs.

        Where the blocks of the two differ, it waits until one of each ends at the same time, if
        there is time for that.

        Returns
        -------
        bool
            Whether the new chain is as far as the current one, or does not get there.
        """
        if self._fed is not None and self._fed.done() and self._fed_mode != settings.mode:
            self._fed = None  # what it has rendered, and would fade from, is not asked for any more
        if self._fed is None:
            self._fed_to, self._rounds = -1, 0
            patient = settings.latency == "auto" and (hold or new.block < current.block)
            if self._synchronous or (new.block != current.block and not patient):
                return not hold  # all of it is fed at the change
        elif not self._fed.done():
            return False
        elif (error := self._fed.exception()) is not None:
            self.reject(sentence(error), settings)
            return False
        else:
            behind = self._history.end - self._fed_to
            rest = behind % new.block
            apart = rest > 0 and rest % math.gcd(new.block, current.block) == 0
            if not (hold or apart) and (not behind or self._rounds >= _MAX_ROUNDS):
                self.rendered = self._fed.result()
                return True
            if apart or not behind:
                return False
        blocks = self.missed(new)
        # What it renders may be output.
        new.continue_with(current.learned, sum(map(len, blocks)))
        continues = self.feeding
        self._fed_to, self._rounds = self._history.end, self._rounds + 1
        self._fed_mode = settings.mode
        self._fed = worker.submit(
            lambda chain: render_last(chain, blocks, settings, continues=continues)
        )
        return False

    def reject(self, reason: str, settings: Settings) -> None:
        """Keep the current chain, because none could be had for these settings."""
        self.cancel()
        if self._builder.degradation.level:
            self._builder.degradation.reject_level()
            return
        self.refuse(reason, settings)

    def refuse(self, reason: str, settings: Settings) -> None:
        """Build no chain for these settings until `allow` or `retry`, or for another shape."""
        self._rejected_shape, self._refused_s = settings.shape, time.monotonic()
        self.refusal = f"{reason} The previous voice stays in use."

    def _automatic_is_due(self, built_for: Settings, settings: Settings) -> bool:
        """Return whether to try again: without other sizes blocks may be late for good."""
        automatic = settings.latency == "auto" and differ_in_sizes_only(built_for, settings)
        return automatic and time.monotonic() >= self._refused_s + _AUTOMATIC_RETRY_S

    def refuses(self, settings: Settings) -> bool:
        """Return whether a chain for these settings could not be built."""
        return self._rejected_shape == settings.shape


def differ_in_sizes_only(one: Settings, other: Settings) -> bool:
    """Return whether chains for these settings differ in block and headroom only, if at all."""
    if one.shape == other.shape:
        return True
    return one.replace(block=other.block, headroom=other.headroom).shape == other.shape
