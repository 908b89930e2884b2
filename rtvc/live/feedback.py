"""Warns of devices that cause a loop: acoustic feedback, or a cable into itself.

macOS translates the names of devices, so they are judged by what is the same in all languages:
the names of models, and how a device is connected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from rtvc.system.unicode_names import normalized

if TYPE_CHECKING:
    from rtvc.audio.devices import Device

_EARS = re.compile(
    r"head ?phone|head ?set|earbud|ear ?phone|air ?pods|buds|\bbeats\b|kopfh.rer|h.rlurar"
    r"|couteur|casque|auricular|cuffi|koptelefoon|наушник|ヘッド[フホ]|イヤ[フホ]|耳[机機]|헤드폰|이어폰",
    re.IGNORECASE,
)
_OPEN_MICROPHONE = re.compile(
    r"macbook|imac|studio display|iphone|ipad|\b(?:internal|built-?in|analog)\b", re.IGNORECASE
)
_OPEN_SPEAKER = re.compile(
    r"macbook|imac|mac (?:mini|studio|pro)|studio display|\b(?:internal|built-?in|analog)\b",
    re.IGNORECASE,
)
_KINDS = re.compile(
    r"\b(?:internal |built-?in )?(?:mic|microphone|input|speakers?|output)\b", re.IGNORECASE
)
_GENERIC = {"", "default", "sysdefault", "pulse", "pipewire", "jack"}


class Side(NamedTuple):
    """A device to judge: its name, and how it is connected, "" if not known.

    The name "" and names such as "default" do not tell which device it is.
    """

    name: str
    transport: str = ""

    @classmethod
    def of(cls, name: str, devices: Iterable[Device]) -> Side:
        """Return the device with a name; how it is connected is not known if it is not listed."""
        return next((cls(name, d.transport) for d in devices if d.name == name), cls(name))


def feedback_advice(microphone: Side, speaker: Side, echo: str) -> str:
    """Return `loop_warning`, or a hint if it is not known which devices these are, else ""."""
    if {microphone.name.lower(), speaker.name.lower()} <= _GENERIC:
        if echo != "off":
            return ""
        return (
            "If you hear echo or howling, the microphone picks up the speaker: wear headphones, or "
            "set echo to cancel."
        )
    return loop_warning(microphone, speaker, echo)


def loop_warning(microphone: Side, speaker: Side, echo: str) -> str:
    """Return a warning if the microphone gets the output of the speaker, else "".

    Parameters
    ----------
    microphone, speaker
        The devices.
    echo
        Value of ``Settings.echo``: what is cancelled is no reason for a warning.
    """
    names = [normalized(side.name) for side in (microphone, speaker)]
    if names[0] == names[1] and _is_cable(microphone):
        return (
            f"The input and the output are the same virtual cable, {microphone.name!r}, so rtvc "
            "converts its own output again and again. Choose your microphone as the input."
        )
    if names[0] == f"Monitor of {names[1]}":
        return (
            f"{microphone.name!r} is rtvc's own output, which it converts again and again. "
            "Choose your microphone as the input."
        )
    if echo != "off" or any(_EARS.search(name) for name in names):
        return ""
    bodies = [_KINDS.sub("", name).strip(" -()").lower() for name in names]
    one_body = bodies[0] == bodies[1] and all(_KINDS.search(name) for name in names)
    if one_body or (_is_open_microphone(microphone) and _is_open_speaker(speaker)):
        return (
            f"{microphone.name!r} picks up {speaker.name!r} and can howl. Wear headphones, "
            "or set echo to cancel."
        )
    return ""


def _is_cable(side: Side) -> bool:
    from rtvc.audio.devices import is_virtual_cable

    return side.transport == "virtual" or is_virtual_cable(side.name)


def _is_open_microphone(side: Side) -> bool:
    if _is_cable(side):
        return False
    return side.transport in ("built-in", "iphone") or bool(_OPEN_MICROPHONE.search(side.name))


def _is_open_speaker(side: Side) -> bool:
    if _is_cable(side) or side.transport == "bluetooth":
        return False
    return side.transport in ("built-in", "hdmi", "airplay") or bool(
        _OPEN_SPEAKER.search(side.name)
    )
