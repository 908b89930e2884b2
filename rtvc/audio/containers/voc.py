"""Creative Voice files, whose sound may be in many blocks.

libsndfile takes all that follows the header of the first block as sound, and opens no cut file
with 8 bits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from rtvc.audio.containers.layout import NO_LENGTH, Data, Layout, shortfall_of
from rtvc.audio.containers.pieces import Piece

_END, _SOUND, _MORE_SOUND, _SILENCE, _NEW_SOUND = 0, 1, 2, 3, 9
_FORMAT_SIZE = {_SOUND: 2, _NEW_SOUND: 12}
"""Bytes before the samples of a block, which describe them."""
_SIZES = 1 << 24
"""Sizes of blocks are below this; libsndfile writes that of a longer one modulo it."""
_SILENCE_NOTE = "Its blocks of silence are left out."


@dataclass(slots=True)
class _Run:
    """Samples of one format: the block that begins them, and where they are."""

    kind: int
    form: bytes
    spans: list[tuple[int, int]] = field(default_factory=list)

    def parts(self, head: Piece) -> list[tuple[Piece, ...]]:
        """Return files with one block each."""
        parts: list[tuple[Piece, ...]] = []
        size, pieces = 0, list[Piece]()
        for begin, end in self.spans:
            if size + end - begin + len(self.form) >= _SIZES:
                parts.append(self._part(head, size, pieces))
                size, pieces = 0, []
            pieces.append((begin, end))
            size += end - begin
        return [*parts, self._part(head, size, pieces)]

    def _part(self, head: Piece, size: int, pieces: list[Piece]) -> tuple[Piece, ...]:
        header = bytes([self.kind]) + (size + len(self.form)).to_bytes(3, "little") + self.form
        return (head, header, *pieces, bytes([_END]))


def read_voc(data: Data) -> Layout:
    """Return the layout of a VOC file."""
    (at,) = struct.unpack_from("<H", data, 20)
    head: Piece = (0, at)
    runs: list[_Run] = []
    stated, notes = 0, list[str]()
    while at + 4 <= len(data) and data[at] != _END:
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "little")
        begin, at = at + 4, at + 4 + size
        if kind > _NEW_SOUND:
            return Layout()  # no block: the first one is longer than it states
        if kind in _FORMAT_SIZE:
            if not runs:
                head = (0, begin - 4)
                if at < len(data) - 1 and (len(data) - 1 - at) % _SIZES == 0:
                    return Layout()
            form = data[begin : begin + _FORMAT_SIZE[kind]]
            begin += len(form)
            if not runs or (runs[-1].kind, runs[-1].form) != (kind, form):
                runs.append(_Run(kind, form))
        elif kind == _SILENCE:
            notes.append(_SILENCE_NOTE)
        if runs and kind in (_SOUND, _MORE_SOUND, _NEW_SOUND):
            stated += at - begin
            runs[-1].spans.append((begin, min(at, len(data))))
    if at == len(data) and data[at - 1] != _END:
        notes.append(NO_LENGTH)  # it has no end mark
    spans = [span for run in runs for span in run.spans]
    missing = shortfall_of(stated, sum(end - begin for begin, end in spans))
    damage = "its last block is incomplete" if at > len(data) else ""
    as_it_is = len(spans) < 2 and not damage
    parts = () if as_it_is else tuple(part for run in runs for part in run.parts(head))
    return Layout(parts, stated=missing.stated, damage=damage, notes=tuple(dict.fromkeys(notes)))
