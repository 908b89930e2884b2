"""Outputs the input unconverted while no chain can convert it, for `fail_open`."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.engine.delivery import Delivery
from rtvc.engine.dsp.conditioning import repair
from rtvc.settings import Settings


class Bypass:
    """Delivers input blocks as they are, faded in, unless the output is muted.

    Parameters
    ----------
    delivery
        Writes the output.

    Attributes
    ----------
    active
        Whether the input is being output.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self.active = False

    def deliver(self, block: Float32, surplus: int, headroom: int, settings: Settings) -> None:
        """Deliver a block, with the headroom of the chain that it stands in for.

        Parameters
        ----------
        block
            The input.
        surplus
            Input samples that have arrived after it.
        headroom
            Samples that should be queued when the block is complete.
        settings
            The settings in use.
        """
        if settings.mode == "muted":
            self.end()
            return
        if not self.active:
            self.active = True
            self._delivery.pause()
        self._delivery.hold_latency(surplus, headroom)
        ceiling = 10.0 ** (settings.ceiling / 20.0)
        self._delivery.deliver(np.clip(repair(block)[0], -ceiling, ceiling).astype(np.float32))

    def end(self) -> None:
        """Fade out, so that a chain can take over."""
        if self.active:
            self.active = False
            self._delivery.pause()
