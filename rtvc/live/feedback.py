"""Advice on the choice of devices."""

from __future__ import annotations

import re

_MICROPHONE = re.compile(r"\b(?:internal |built-?in )?(?:mic|microphone|input)\b", re.IGNORECASE)
_SPEAKER = re.compile(r"\b(?:internal |built-?in )?(?:speakers?|output)\b", re.IGNORECASE)
_ON_BOARD = re.compile(r"\b(?:internal|built-?in|analog|macbook|imac|mac mini)\b", re.IGNORECASE)
_EARS = re.compile(r"headphone|headset|earbud|earphone|airpods|buds", re.IGNORECASE)
_UNKNOWN = {"", "default", "sysdefault", "pulse", "pipewire", "jack"}


def feedback_advice(input_name: str, output_name: str) -> str:
    """Return a warning where the microphone is likely to hear the speaker, else "".

    Parameters
    ----------
    input_name, output_name
        Names of the devices; "" and names such as "default" say nothing about
        what is behind them.
    """
    if _EARS.search(output_name) or _EARS.search(input_name):
        return ""
    microphone, speaker = _MICROPHONE.search(input_name), _SPEAKER.search(output_name)
    if microphone and speaker:
        bodies = {
            _MICROPHONE.sub("", input_name).strip(" -()").lower(),
            _SPEAKER.sub("", output_name).strip(" -()").lower(),
        }
        if len(bodies) == 1 or (_ON_BOARD.search(input_name) and _ON_BOARD.search(output_name)):
            return (
                f"{input_name!r} can hear {output_name!r}: that echoes or howls. Wear headphones, "
                "or name another output with --output."
            )
    if input_name.lower() in _UNKNOWN and output_name.lower() in _UNKNOWN:
        return "If you hear an echo or a howl, the microphone hears the speaker: wear headphones."
    return ""
