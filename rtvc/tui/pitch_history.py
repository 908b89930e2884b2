"""Pitch of the last half minute, in columns of equal duration."""

from __future__ import annotations

import math
from collections import deque

from rtvc.stats import Stats
from rtvc.tui.note_names import midi
from rtvc.tui.picture import CELL_S, MAX_COLUMNS

DOT_S = CELL_S / 2
_BRIDGED_S = 0.3
"""Longest time between two known pitches that a line connects."""

Notes = tuple[float | None, float | None]
"""Input and output as MIDI note numbers, None where unvoiced."""
UNVOICED: Notes = (None, None)
Column = tuple[Notes, Notes, Notes]
"""The two dots of a column of cells, after the dot before them."""


class PitchHistory:
    """Turns the pitch of blocks of any duration into dots of `DOT_S`.

    Attributes
    ----------
    columns
        The newest columns, at most `MAX_COLUMNS`.
    count
        Columns since the start.
    """

    def __init__(self) -> None:
        self.columns: deque[Column] = deque(maxlen=MAX_COLUMNS)
        self.count = 0
        self._blocks = 0
        self._newest = UNVOICED
        self._undrawn_s = 0.0
        self._dots: list[Notes] = [UNVOICED]
        """The last dot of the last column, and those after it."""

    def append(self, stats: Stats) -> None:
        """Add the time since the last call: from the pitch then, in a line to that of `stats`.

        The pitch of a time of more than 0.3 s, and of more than a block, is unknown.
        """
        block = stats.latency.block
        new = stats.blocks - self._blocks
        # Another session counts from 0.
        seconds = (new if new >= 0 else stats.blocks) * block
        before, pitch = self._newest, _notes(stats)
        self._blocks, self._newest = stats.blocks, pitch
        self._undrawn_s += min(seconds, MAX_COLUMNS * CELL_S)
        # A little more, because a sum of 0.1 may be a little less.
        count = int(self._undrawn_s / DOT_S + 1e-6)
        self._undrawn_s -= count * DOT_S
        if seconds > max(_BRIDGED_S, 1.5 * block):
            unknown = max(count - math.ceil(block / DOT_S), 0)
            self._dots += [UNVOICED] * unknown
            before, count = UNVOICED, count - unknown
        for dot in range(1, count + 1):
            share = dot / count
            self._dots.append(
                (_between(before[0], pitch[0], share), _between(before[1], pitch[1], share))
            )
        while len(self._dots) > 2:
            self.columns.append((self._dots[0], self._dots[1], self._dots[2]))
            self.count += 1
            del self._dots[:2]


def _notes(stats: Stats) -> Notes:
    if not stats.gate_open:
        return UNVOICED
    return _note(stats.input_f0_hz), _note(stats.output_f0_hz)


def _note(hz: float) -> float | None:
    return midi(hz) if hz > 0 else None


def _between(before: float | None, after: float | None, share: float) -> float | None:
    if before is None or after is None:
        return after
    return before + (after - before) * share
