"""Creative Voice files, whose sound may be in many blocks.

libsndfile takes all that follows the header of the first block as sound, and opens no cut file
with 8 bits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from rtvc.audio.containers.layout import NO_LENGTH, SLACK, Data, Layout, shortfall_of
from rtvc.audio.containers.pieces import Piece

MAGIC = b"Creative Voice File\x1a"
_END, _SOUND, _MORE_SOUND, _SILENCE, _NEW_SOUND = 0, 1, 2, 3, 9
_FORMAT_SIZE = {_SOUND: 2, _NEW_SOUND: 12}
"""Bytes before the samples of a block, which describe them."""
_SIZES = 1 << 24
"""Sizes of blocks are below this; libsndfile writes that of a longer one modulo it."""
_SILENCE_NOTE = "Its blocks of silence are left out."


@dataclass(slots=True)
class _Run:
    """Samples of one format: what precedes the block that begins them, and where they are."""

    head: Piece
    kind: int
    form: bytes
    spans: list[tuple[int, int]] = field(default_factory=list)

    def parts(self) -> list[tuple[Piece, ...]]:
        """Return files with one block each."""
        parts: list[tuple[Piece, ...]] = []
        size, pieces = 0, list[Piece]()
        for begin, end in self.spans:
            if size + end - begin + len(self.form) >= _SIZES:
                parts.append(self._part(size, pieces))
                size, pieces = 0, []
            pieces.append((begin, end))
            size += end - begin
        return [*parts, self._part(size, pieces)]

    def _part(self, size: int, pieces: list[Piece]) -> tuple[Piece, ...]:
        header = bytes([self.kind]) + (size + len(self.form)).to_bytes(3, "little") + self.form
        return (self.head, header, *pieces, bytes([_END]))


def read_voc(data: Data) -> Layout:
    """Return the layout of VOC files, joined end to end."""
    runs: list[_Run] = []
    stated, start, notes, damage = 0, 0, list[str](), ""
    while data[start : start + len(MAGIC)] == MAGIC:
        one = _read_one(data, start)
        if one is None:
            return Layout()
        runs += one.runs
        stated += one.stated
        notes += one.notes
        damage = damage or ("its last block is incomplete" if one.end > len(data) else "")
        start = one.end
    rest = len(data) - start
    if rest > SLACK:
        notes.append(f"{rest:,} bytes follow its last block; they are not read.")
    spans = [span for run in runs for span in run.spans]
    missing = shortfall_of(stated, sum(end - begin for begin, end in spans))
    as_it_is = len(spans) < 2 and not damage and rest <= 0
    parts = () if as_it_is else tuple(part for run in runs for part in run.parts())
    return Layout(parts, stated=missing.stated, damage=damage, notes=tuple(dict.fromkeys(notes)))


@dataclass(slots=True)
class _OneFile:
    """The samples of one file, their stated size, its end, and sentences about it."""

    runs: list[_Run] = field(default_factory=list)
    stated: int = 0
    end: int = 0
    notes: list[str] = field(default_factory=list)


def _read_one(data: Data, start: int) -> _OneFile | None:
    """Return the file that begins at a position, None if its blocks are not those of a VOC file."""
    (size,) = struct.unpack_from("<H", data, start + 20)
    one, at = _OneFile(), start + size
    while at + 4 <= len(data) and data[at] != _END:
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "little")
        block, begin, at = at, at + 4, at + 4 + size
        if kind > _NEW_SOUND:
            if not one.runs or len(data) - block > _SIZES - SLACK:
                return None  # no block: the first one is longer than it states
            at = block
            break
        if kind in _FORMAT_SIZE:
            if not one.runs:
                if at < len(data) - 1 and (len(data) - 1 - at) % _SIZES == 0:
                    return None
                head = (start, block)
            form = data[begin : begin + _FORMAT_SIZE[kind]]
            begin += len(form)
            if not one.runs or (one.runs[-1].kind, one.runs[-1].form) != (kind, form):
                one.runs.append(_Run(head, kind, form))
        elif kind == _SILENCE:
            one.notes.append(_SILENCE_NOTE)
        if one.runs and kind in (_SOUND, _MORE_SOUND, _NEW_SOUND):
            one.stated += at - begin
            one.runs[-1].spans.append((begin, min(at, len(data))))
    ended = at < len(data) and data[at] == _END
    if at == len(data) and data[at - 1] != _END:
        one.notes.append(NO_LENGTH)  # it has no end mark
    one.end = at + 1 if ended else at
    return one
