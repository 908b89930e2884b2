"""Pitch in note names."""

from __future__ import annotations

import math

from rtvc.scales import NOTES


def midi(hz: float) -> float:
    """Return the MIDI note number of a frequency, 69 for 440 Hz, with fractions."""
    return 69 + 12 * math.log2(hz / 440)


def note_name(number: float) -> str:
    """Return the name of the nearest note, such as A4 for 69."""
    nearest = round(number)
    return f"{NOTES[nearest % 12]}{nearest // 12 - 1}"


def in_words(hz: float) -> str:
    """Return a pitch as note, cents and hertz, "-" for 0 Hz."""
    if hz <= 0:
        return "-"
    number = midi(hz)
    cents = round(100 * (number - round(number)))
    return f"{note_name(number)} {cents:+d} {hz:.0f} Hz"
