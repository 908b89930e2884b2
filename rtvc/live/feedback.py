"""Warns of devices that are likely to cause acoustic feedback."""

from __future__ import annotations

import re

_MICROPHONE = re.compile(r"\b(?:internal |built-?in )?(?:mic|microphone|input)\b", re.IGNORECASE)
_SPEAKER = re.compile(r"\b(?:internal |built-?in )?(?:speakers?|output)\b", re.IGNORECASE)
_BUILT_IN = re.compile(r"\b(?:internal|built-?in|analog|macbook|imac|mac mini)\b", re.IGNORECASE)
_HEADPHONES = re.compile(r"headphone|headset|earbud|earphone|airpods|buds", re.IGNORECASE)
_GENERIC = {"", "default", "sysdefault", "pulse", "pipewire", "jack"}


def feedback_advice(input_name: str, output_name: str) -> str:
    """Return a warning if the microphone is likely to pick up the speaker, else "".

    Parameters
    ----------
    input_name, output_name
        Names of the devices. "" and names such as "default" do not tell which
        devices they are.
    """
    if _HEADPHONES.search(output_name) or _HEADPHONES.search(input_name):
        return ""
    microphone, speaker = _MICROPHONE.search(input_name), _SPEAKER.search(output_name)
    if microphone and speaker:
        bodies = {
            _MICROPHONE.sub("", input_name).strip(" -()").lower(),
            _SPEAKER.sub("", output_name).strip(" -()").lower(),
        }
        if len(bodies) == 1 or (_BUILT_IN.search(input_name) and _BUILT_IN.search(output_name)):
            return (
                f"{input_name!r} picks up {output_name!r}, which causes echo or howling. "
                "Wear headphones, or choose another output."
            )
    if input_name.lower() in _GENERIC and output_name.lower() in _GENERIC:
        return "If you hear echo or howling, the microphone picks up the speaker: wear headphones."
    return ""
