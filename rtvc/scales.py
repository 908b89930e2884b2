"""Musical scales: the notes that `tune` moves the pitch to."""

from __future__ import annotations

import re

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
"""Names of the twelve notes of an octave."""

SCALES = {
    "chromatic": tuple(range(12)),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "pentatonic": (0, 2, 4, 7, 9),
}
"""Scales by name, as semitones above the key: natural minor, major pentatonic."""

_NOTE = re.compile(r"([A-Ga-g])([#b♯♭]?)")
_SIGNS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}


def read_note(text: str) -> str:
    """Return a typed note with a sharp in place of a flat: "A#" for "Bb".

    Raises
    ------
    ValueError
        If the text is no note.
    """
    match = _NOTE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a note")
    return NOTES[(NOTES.index(match[1].upper()) + _SIGNS[match[2]]) % 12]


def read_scale(text: str) -> str:
    """Return the name of a scale, or typed notes with sharps and in order: "C D# G".

    Raises
    ------
    ValueError
        If the text is neither.
    """
    if text.strip().lower() in SCALES:
        return text.strip().lower()
    notes = {read_note(word) for word in text.replace(",", " ").split()}
    if not notes:
        raise ValueError("no notes")
    return " ".join(note for note in NOTES if note in notes)


def scale_notes(scale: str, key: str) -> tuple[int, ...]:
    """Return the notes of a scale as semitones above C, in order.

    Parameters
    ----------
    scale
        A name, or notes; the key does not move notes.
    key
        Note that a named scale begins with.
    """
    if scale in SCALES:
        first = NOTES.index(key)
        return tuple(sorted((first + step) % 12 for step in SCALES[scale]))
    return tuple(NOTES.index(note) for note in scale.split())
