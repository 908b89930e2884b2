"""The change to a chain that waits: fed with recent input, then faded in over one block."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.catch_up import recent_blocks, skip_blocks
from rtvc.engine.chain import Chain
from rtvc.engine.chain_in_use import ChainInUse
from rtvc.engine.input_history import InputHistory
from rtvc.engine.voice_bank import VoiceBank
from rtvc.engine.worker import Worker
from rtvc.settings import Settings

CROSSFADE_S = 0.008
"""How long the end of the chain before is used. A voice that has 20 ms of lookahead converts about
that long as if it knew the next block."""
WAIT_SHARE = 0.5
"""Share of a block for which the end of the chain before may be late."""
FEED_LIMIT_S = 5.0
"""Seconds of input after which a chain that is still being fed is given up: its thread hangs."""


class Handover:
    """Lets a chain of the bank take over between two blocks.

    In the time that steps leave over, the new chain skips recent input, and then the chain in use
    renders its end (`Chain.end`), so that with the next block only the new one makes a step. The
    output fades from that end to it with equal power. If there is no time for this before a block
    is complete, the chain in use converts that one too, and it is done before the block after it.
    The chain before goes to the bank. Only the engine thread uses it.

    Parameters
    ----------
    bank
        The chains that wait.
    chain
        The chain in use.
    history
        The newest input.
    synchronous
        Whether to wait until a chain is fed: on an endpoint whose time stands still meanwhile.
    """

    def __init__(
        self, bank: VoiceBank, chain: ChainInUse, history: InputHistory, *, synchronous: bool
    ) -> None:
        self._bank, self._in_use, self._history = bank, chain, history
        self._synchronous = synchronous
        self._new: Worker | None = None
        self._fed: Future[Any] = Future()
        self._fed_to = 0
        self._unfed_s = 0.0
        """Seconds of input since the new chain was last seen to be fed."""
        self._waited = False
        """Whether a block has been converted by the chain before since the change began."""
        self._cleaned = False
        """Whether the new chain gets the input without its noise from the chain before."""
        self._old: Worker | None = None
        """The worker that is replaced with the next block, from then on until that is done."""
        self._ending: Future[Float32] = Future()
        """What it outputs at last, with `_last`."""
        self._last = self._next = Settings()
        """The settings of the end of the chain before, and those that were asked for then."""

    def begin(self, current: Chain, settings: Settings) -> bool:
        """Begin a change to other settings if a chain for them waits.

        Parameters
        ----------
        current
            The chain in use.
        settings
            The effective settings.

        Returns
        -------
        bool
            Whether a change is in progress.
        """
        if self._new is not None:
            assert self._new.chain is not None
            # After a failure another chain may be in use than the one that has rendered its end.
            wanted = (
                self._new.chain.built_for.shape == settings.shape
                if self._old is None
                else self._old is self._in_use.worker
            )
            if wanted and self._fed_to == self._history.end:
                return True
            self.cancel()
        if settings.shape == current.built_for.shape:
            return False
        new = self._bank.take(settings, like=current)
        if new is None:
            return False
        assert new.chain is not None
        blocks, self._fed_to = recent_blocks(self._history, new.chain), self._history.end
        cleaned = None
        if current.built_for.noise == new.chain.built_for.noise:
            cleaned = current.cleaned(sum(map(len, blocks)))
        self._in_use.promote(new)
        self._waited, self._cleaned, self._unfed_s = False, cleaned is not None, 0.0
        self._new = new
        self._fed = new.submit(lambda chain: skip_blocks(chain, blocks, settings, cleaned))
        self._wait(self._fed)
        return True

    def end(
        self, old: Worker, settings: Settings, last: Settings, *, left_s: float, step_s: float
    ) -> None:
        """Let the chain in use render its end, if the new one is fed and there is time.

        From then on the new one replaces it with the next block, whatever is asked for meanwhile.

        Parameters
        ----------
        old
            The worker in use.
        settings
            The effective settings.
        last
            The settings for the end of the chain in use.
        left_s
            Time until the next block is complete, in seconds.
        step_s
            Time that the last step has taken.
        """
        if self._new is None or self._old is not None or not self._fed.done():
            return
        if self._fed.exception() is not None:
            self._new.close()
            self._new = None
            return
        if left_s < step_s and not self._waited:
            return
        assert old.chain is not None
        assert self._new.chain is not None
        newest = self._history.newest(old.chain.block, old.chain.block)
        if not newest:
            return
        cleaned = None
        if self._cleaned:
            cleaned = old.chain.cleaned(old.chain.block)
            self._new.chain.exchange_cleaners(old.chain)
        self._new.chain.continue_with(old.chain.learned)  # before both make a step
        self._old, self._last, self._next = old, last, settings
        self._ending = old.submit(lambda chain: chain.end(newest[0], last, cleaned))
        self._wait(self._ending)

    def take(self) -> tuple[Worker, Settings] | None:
        """Return the new chain if it gets the next block, with the settings to begin with.

        With that block, call `join`, and then `release`, whatever happens.
        """
        new = self._new
        if new is None or self._old is None:
            return None
        self._new = None
        return new, self._next

    @property
    def joins(self) -> bool:
        """Whether another chain is replaced with the present block."""
        return self._new is None and self._old is not None

    def join(self, beginning: Float32, ceiling_db: float, timeout: float) -> Float32 | None:
        """Fade from the chain that is replaced, and give it back to the bank; see `faded`."""
        joined = faded(self._ending, beginning, ceiling_db, timeout)
        if joined is not None and self._old is not None:
            self._bank.give_back(self._old, self._last)
            self._old = None
        return joined

    def release(self) -> None:
        """Close the chain that was replaced, unless the bank has it."""
        if self.joins and self._old is not None:
            self._old.close()
            self._old = None

    def skip(self, current: Chain, block: Float32, settings: Settings) -> None:
        """Feed a block that the current chain has converted to the new one, if there is one.

        If its thread hangs, it is abandoned; `ChainSwitch` then builds another chain.
        """
        if self._new is not None:
            self._unfed_s = 0.0 if self._fed.done() else self._unfed_s + len(block) / ENGINE_RATE
            if self._unfed_s > FEED_LIMIT_S:
                self._new.abandon()
                self._new = None
                return
            self._fed_to, self._waited = self._history.end, True
            cleaned = current.cleaned(len(block)) if self._cleaned else None
            self._fed = self._new.submit(lambda chain: chain.skip(block, settings, cleaned))
            self._wait(self._fed)

    def cancel(self) -> None:
        """Give the change up."""
        new, self._new, self._old = self._new, None, None
        if new is None:
            return
        assert new.chain is not None
        if self._fed.done() and self._fed.exception() is not None:
            new.close()
        else:
            self._bank.give_back(new, new.chain.built_for)

    def _wait(self, call: Future[Any]) -> None:
        if self._synchronous:
            call.exception()


def faded(
    ending: Future[Float32], beginning: Float32, ceiling_db: float, timeout: float
) -> Float32 | None:
    """Return a block that fades from one chain to the next with equal power.

    Parameters
    ----------
    ending
        The end of the chain before: (block,) float32.
    beginning
        The output of the next chain: (block,) float32.
    ceiling_db
        Limit of the sum in dBFS: two outputs below it may add up to 3 dB more.
    timeout
        Seconds for which the end of the chain before is awaited.

    Returns
    -------
    array or None
        (block,) float32; None if the chain before has failed or is late.
    """
    try:
        if ending.exception(timeout) is not None:  # whatever its thread has raised
            return None
    except TimeoutError:
        return None
    before = ending.result()
    width = min(round(CROSSFADE_S * ENGINE_RATE), len(beginning))
    angle = 0.5 * np.pi * (np.arange(width) + 0.5) / width
    joined = beginning.copy()
    joined[:width] = before[:width] * np.cos(angle) + beginning[:width] * np.sin(angle)
    limit = 10.0 ** (ceiling_db / 20.0)
    np.clip(joined[:width], -limit, limit, out=joined[:width])
    return joined
