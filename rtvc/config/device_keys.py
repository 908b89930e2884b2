"""How a device is written to a file of rtvc: its name, host API and place among equal ones."""

from __future__ import annotations

import re

from rtvc.device_choice import DeviceIdentity

_HOST_API, _ORDINAL = "{}_host_api", "{}_ordinal"
_ORDINAL_FORMAT = re.compile(r"([1-9]\d{0,3}) of ([1-9]\d{0,3})", re.ASCII)


def keys_of(device: str) -> tuple[str, ...]:
    """Return all keys of a device, such as ``input``, ``input_host_api`` and ``input_ordinal``."""
    return device, _HOST_API.format(device), _ORDINAL.format(device)


def texts_of(device: str, identity: DeviceIdentity) -> dict[str, str]:
    """Return the texts to write for a device, by their keys."""
    name, host_api, ordinal = keys_of(device)
    texts = {name: identity.name}
    if identity.host_api:
        texts[host_api] = identity.host_api
    if identity.count > 1:
        texts[ordinal] = f"{identity.ordinal + 1} of {identity.count}"
    return texts


def device_of(device: str, texts: dict[str, str]) -> DeviceIdentity:
    """Return a device; of one that an older version has written only the name is known.

    Raises
    ------
    ValueError
        If its place among equal devices is none; the message is a clause.
    """
    name, host_api, ordinal_key = keys_of(device)
    written = texts.get(ordinal_key, "1 of 1")
    found = _ORDINAL_FORMAT.fullmatch(written)
    ordinal, count = (int(number) for number in found.groups()) if found else (1, 0)
    if ordinal > count:
        raise ValueError(f"{ordinal_key!r} is {written!r}, but must be like '1 of 2'")
    return DeviceIdentity(texts[name], texts.get(host_api, ""), ordinal - 1, count)
