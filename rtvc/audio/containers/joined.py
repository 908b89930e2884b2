"""Files joined end to end, each with a header that states its own length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtvc.audio.containers.layout import (
    NO_LENGTH,
    SLACK,
    Data,
    Layout,
    all_missing,
    is_placeholder,
    sound_behind,
)
from rtvc.audio.containers.pieces import Piece


@dataclass(frozen=True, slots=True)
class OneFile:
    """One of them.

    Attributes
    ----------
    pieces
        What is to be read.
    end
        Position of the byte after it, where another file may begin.
    stated, available
        Bytes of sound that its header states, and that there are.
    notes
        Sentences about what is done differently from what it states.
    damage
        A clause about missing data, or "".
    """

    pieces: tuple[Piece, ...]
    end: int
    stated: int
    available: int
    notes: tuple[str, ...] = ()
    damage: str = ""


def up_to_its_end(data: Data, start: int, begin: int, size: int, magic: bytes) -> OneFile:
    """Return a file whose sound is its last part, and of which libsndfile reads what follows too.

    Parameters
    ----------
    data
        The data.
    start
        Where the file begins.
    begin
        Where its sound begins.
    size
        Stated size of the sound in bytes.
    magic
        Beginning of a file of this kind.
    """
    available = len(data) - begin
    end = begin + size
    if size > available:
        return OneFile(((start, len(data)),), len(data), size, available)
    following = data.find(magic, end, end + SLACK + len(magic))  # the sound may be padded
    if following >= 0:
        return OneFile(((start, end),), following, size, size)
    more, notes = sound_behind(data, end, len(data), size)
    return OneFile(((start, end + more),), len(data), size + more, size + more, notes)


def read_joined(data: Data, start: int, read: Callable[[Data, int], OneFile | None]) -> Layout:
    """Return the layout of all files from a position on.

    Parameters
    ----------
    data
        The whole file.
    start
        Where the first one begins.
    read
        Returns the file at a position, None if there is none.
    """
    files: list[OneFile] = []
    notes: list[str] = []
    stated = available = 0
    while (one := read(data, start)) is not None and one.end > start:
        files.append(one)
        notes += one.notes
        if one.stated > one.available + SLACK and is_placeholder(one.stated):
            notes.append(NO_LENGTH)
        elif one.stated > one.available + SLACK:
            stated += one.stated - one.available
        available += min(one.available, one.stated)
        start = one.end
    damage = next((one.damage for one in files if one.damage), "")
    if stated and not available:
        damage = damage or all_missing(stated)
    parts = tuple(one.pieces for one in files)
    as_it_is = len(files) == 1 and parts[0] in (((0, files[0].end),), ((0, len(data)),))
    return Layout(
        () if as_it_is else parts,
        stated=(stated + available) / max(1, available),
        damage=damage,
        notes=tuple(dict.fromkeys(notes)),
    )
