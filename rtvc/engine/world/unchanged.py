"""Whether the built-in voice leaves you recognisable as you are."""

from __future__ import annotations

from rtvc.settings import Settings

# At each of these alone, the mel spectrum of the output differs from that of the input by 2.0 dB
# RMS (mean over the bundled speech); at neutral settings it differs by 1.4 dB, at pitch -5 and
# formant -2 by 7.1 dB. Less breath than the input has (1.2 to 1.4 dB) never counts.
_PITCH, _FORMANT, _BREATHINESS = 1.0, 0.35, 1.0
_FLATTER, _LIVELIER = 0.6, 0.8


def leaves_unchanged(settings: Settings) -> bool:
    """Return whether the built-in voice, with these settings, is still your own voice.

    The differences that the settings make add up as squares.
    """
    if settings.whisper or settings.pitch_fixed > 0:
        return False
    melody = settings.pitch_range - 1.0
    parts = (
        (settings.pitch + settings.pitch_fine / 100) / _PITCH,
        settings.formant / _FORMANT,
        max(settings.breathiness, 0.0) / _BREATHINESS,
        melody / (_FLATTER if melody < 0 else _LIVELIER),
    )
    return sum(part * part for part in parts) <= 1.0 + 1e-9
