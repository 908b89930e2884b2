"""Feeds recent input to a chain, so that it continues where another one, or a gap, has ended."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.engine.chain import BEFORE_S, Chain
from rtvc.engine.input_history import InputHistory
from rtvc.engine.plan import FRAMES_PER_SECOND
from rtvc.settings import Settings

HISTORY_S = 6.0
"""Seconds of input to keep; more than the longest context and `BEFORE_S`."""


def recent_blocks(history: InputHistory, chain: Chain) -> list[Float32]:
    """Return the input that a chain needs to catch up, in its blocks, oldest first."""
    seconds = chain.plan.context / FRAMES_PER_SECOND + BEFORE_S
    return history.newest(round(seconds * ENGINE_RATE), chain.block)


def skip_blocks(
    chain: Chain, blocks: list[Float32], settings: Settings, cleaned: Float32 | None = None
) -> None:
    """Feed blocks without rendering them: at once, which takes about a third of the time.

    `cleaned` is the same as one array, as in `Chain.skip`. Without blocks the chain gets silence,
    so that nothing fades from the mode that it was built for, which may be dry.
    """
    if blocks:
        chain.skip(np.concatenate(blocks), settings, cleaned)
    else:
        chain.forget(settings)


def render_last(
    chain: Chain, blocks: list[Float32], settings: Settings, *, continues: bool = False
) -> Float32:
    """Feed blocks and return the output of the last one; () if there are none.

    Parameters
    ----------
    chain, blocks, settings
        The chain, what to feed, and the settings to use.
    continues
        Whether the chain has had the input before.
    """
    if blocks[:-1] or not continues:
        skip_blocks(chain, blocks[:-1], settings)
    return chain.step(blocks[-1], settings).output if blocks else np.zeros(0, np.float32)
