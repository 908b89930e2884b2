"""The change to a chain that waits: fed with recent input, then faded in over one block."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.catch_up import recent_blocks, skip_blocks
from rtvc.engine.chain import Chain, Step
from rtvc.engine.chain_in_use import ChainInUse
from rtvc.engine.input_history import InputHistory
from rtvc.engine.voice_bank import VoiceBank
from rtvc.engine.worker import Worker
from rtvc.settings import Settings

CROSSFADE_S = 0.020
WAIT_SHARE = 0.5
"""Share of a block for which the last step of the chain before may be late."""


class Handover:
    """Lets a chain of the bank take over between two blocks.

    The new chain skips recent input, which takes a few milliseconds, while the current one
    converts. With the first block after that both make a step, and the output fades from one to
    the other with equal power. The chain before goes to the bank. Only the engine thread uses it.

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
        self._old: Worker | None = None
        """The worker that is replaced with the present block."""
        self._ending: Future[Step] = Future()
        """Its last step."""
        self._ending_settings = Settings()

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
            if (
                self._new.chain.built_for.shape == settings.shape
                and self._fed_to == self._history.end
            ):
                return True
            self.cancel()
        if settings.shape == current.built_for.shape:
            return False
        new = self._bank.take(settings, like=current)
        if new is None:
            return False
        assert new.chain is not None
        blocks, self._fed_to = recent_blocks(self._history, new.chain), self._history.end
        self._in_use.promote(new)
        self._new, self._fed = new, new.submit(lambda chain: skip_blocks(chain, blocks, settings))
        self._wait()
        return True

    def take(self, old: Worker) -> Worker | None:
        """Return the new chain once it may replace the one of `old`; it gets the next block.

        With that block, call `end` and `join`, and then `release`, whatever happens.
        """
        if self._new is None or not self._fed.done():
            return None
        new, self._new = self._new, None
        if self._fed.exception() is None:
            self._old = old
            return new
        new.close()
        return None

    @property
    def replaced(self) -> Chain | None:
        """The chain that is replaced with the present block, if one is."""
        return None if self._old is None else self._old.chain

    def end(self, block: Float32, settings: Settings) -> None:
        """Begin the last step of the chain that is replaced."""
        assert self._old is not None
        self._ending_settings = settings
        self._ending = self._old.submit(lambda chain: chain.step(block, settings))

    def join(self, beginning: Float32, ceiling_db: float, timeout: float) -> Float32 | None:
        """Fade from the chain that is replaced, and give it back to the bank; see `faded`."""
        joined = faded(self._ending, beginning, ceiling_db, timeout)
        if joined is not None and self._old is not None:
            self._bank.give_back(self._old, self._ending_settings)
            self._old = None
        return joined

    def release(self) -> None:
        """Close the chain that was replaced, unless the bank has it."""
        old, self._old = self._old, None
        if old is not None:
            old.close()

    def skip(self, block: Float32, settings: Settings) -> None:
        """Feed a block that the current chain has converted to the new one, if there is one."""
        if self._new is not None:
            self._fed_to = self._history.end
            self._fed = self._new.submit(lambda chain: chain.skip(block, settings))
            self._wait()

    def cancel(self) -> None:
        """Give the change up."""
        new, self._new = self._new, None
        if new is not None:
            new.close()

    def _wait(self) -> None:
        if self._synchronous and self._new is not None:
            self._fed.exception()


def faded(
    ending: Future[Step], beginning: Float32, ceiling_db: float, timeout: float
) -> Float32 | None:
    """Return a block that fades from one chain to the next with equal power.

    Parameters
    ----------
    ending
        The step of the chain before, on the same input.
    beginning
        The output of the next chain: (block,) float32.
    ceiling_db
        Limit of the sum in dBFS: two outputs below it may add up to 3 dB more.
    timeout
        Seconds for which the step of the chain before is awaited.

    Returns
    -------
    array or None
        (block,) float32; None if the chain before has failed or is late.
    """
    try:
        before = ending.result(timeout).output
    except BaseException:  # whatever its thread has raised
        return None
    width = min(round(CROSSFADE_S * ENGINE_RATE), len(beginning))
    angle = 0.5 * np.pi * (np.arange(width) + 0.5) / width
    joined = beginning.copy()
    joined[:width] = before[:width] * np.cos(angle) + beginning[:width] * np.sin(angle)
    limit = 10.0 ** (ceiling_db / 20.0)
    np.clip(joined[:width], -limit, limit, out=joined[:width])
    return joined
