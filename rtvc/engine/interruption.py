"""What is read and output while no chain converts."""

from __future__ import annotations

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.engine.bypass import Bypass
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.chain_in_use import ChainInUse
from rtvc.engine.delivery import Delivery
from rtvc.engine.input_reader import InputReader

OLD_INPUT_S = 1.5
"""Unread input from which on all of it is dropped: there was a stall, and the rings overflow."""
_IDLE_BLOCK = ENGINE_RATE // 50
"""Samples that are read at a time while there is no chain."""


class Interruption:
    """Keeps input and output in order from the last block of a chain to the first of the next.

    Parameters
    ----------
    endpoint
        Audio input and output.
    builder
        Knows the settings in use.
    chain
        Knows the headroom of the last chain in use.
    delivery
        Writes the output.
    reader
        Reads the input.
    fail_open
        Whether the input is output unconverted meanwhile.

    Attributes
    ----------
    owed
        Samples of the block that was read and not delivered, because its step has failed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        builder: ChainBuilder,
        *,
        chain: ChainInUse,
        delivery: Delivery,
        reader: InputReader,
        fail_open: bool,
    ) -> None:
        self._endpoint, self._builder, self._chain = endpoint, builder, chain
        self._delivery, self._input = delivery, reader
        self._bypass = Bypass(delivery) if fail_open and endpoint.realtime else None
        self.owed = 0

    @property
    def bypassing(self) -> bool:
        """Whether the input is output unconverted because no chain can convert it."""
        return self._bypass is not None and self._bypass.active

    def idle(self) -> None:
        """Read the input while there is no chain, so that it does not become old."""
        if not self._endpoint.realtime:
            return
        available = self._input.wait(_IDLE_BLOCK, 0.02)
        if available < _IDLE_BLOCK:
            return
        if self._bypass is None or available > OLD_INPUT_S * ENGINE_RATE:
            self._input.read_all()
            return
        settings = self._builder.effective()
        block = self._input.read(_IDLE_BLOCK)
        self._bypass.deliver(block, available - _IDLE_BLOCK, self._chain.headroom, settings)

    def conceal_owed(self) -> None:
        """Conceal the block that will not come, and fade to silence until the next one."""
        owed, self.owed = self.owed, 0
        if owed:
            self._delivery.lose(owed)
        if not self.bypassing:
            self._delivery.pause()

    def drop_input(self) -> None:
        """Drop all input that has come while a call did not end."""
        if self._endpoint.realtime:
            self._delivery.discard(self._input.read_all())

    def lose_devices(self) -> None:
        """Owe nothing, and do not say that the input is output: nothing is."""
        self.owed = 0
        if self._bypass is not None:
            self._bypass.end()

    def end(self, rendered: Float32) -> None:
        """Let a chain take over, whose output up to now is `rendered`."""
        if self._bypass is not None:
            self._bypass.end()
        if self.owed and not self._endpoint.realtime:
            self._endpoint.write(rendered)
        elif self.owed:
            self._delivery.break_off()
            self._delivery.deliver(rendered)
        self.owed = 0
