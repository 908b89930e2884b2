"""Removes from reports what tells who you are: names of devices, voices and folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtvc.errors import escaped

if TYPE_CHECKING:
    from rtvc.audio.devices import Device

_KEPT_CHECKS = {"system", "packages", "MLX", "self-test", "callback in C", "sound server", "voices"}
"""Checks of ``rtvc doctor`` that name nothing of yours."""
_QUOTED = re.compile(r"""(['"])(?:~?/)(?:(?!\1)[^\n])*/((?:(?!\1)[^/\n])*)\1""")
_FOLDERS = re.compile(r"(?<![\w.~/])~?/(?:[^\s/'\",:;()]+(?: [^\s/'\",:;()]+){0,4}/)+")
"""The folders of an absolute path, in quotes or not, of which the name of the file remains. Names
of folders may have spaces."""
_LONG = 8
"""A name of this length is replaced where it is not in quotes, too; shorter ones may be words."""


def kind_of(device: Device) -> str:
    """Return what a device is, without its name: its connection, or "virtual cable"."""
    if device.virtual_cable:
        return "virtual cable"
    return device.transport or "device"


def device_rows(devices: Iterable[Device], *, named: bool) -> list[dict[str, Any]]:
    """Return devices for a report, with their names only if `named`."""
    return [
        {
            **({"name": device.name} if named else {}),
            "kind": kind_of(device),
            "host_api": device.host_api,
            "inputs": device.inputs,
            "outputs": device.outputs,
            "rate": device.rate,
            "default_input": device.default_input,
            "default_output": device.default_output,
        }
        for device in devices
    ]


def without_findings(doctor: dict[str, Any]) -> dict[str, Any]:
    """Return the report of ``rtvc doctor`` without texts that may name files or devices."""
    checks = [
        check if check["name"] in _KEPT_CHECKS else {**check, "found": "", "fix": ""}
        for check in doctor.get("checks", [])
    ]
    return {**doctor, "checks": checks} if checks else doctor


class Names:
    """The names to replace in texts.

    Parameters
    ----------
    devices
        All devices, whose names are replaced by what they are; None leaves devices named.
    """

    def __init__(self, devices: Iterable[Device] | None) -> None:
        # A service may have "/" as its home, which is in every path.
        homes = {str(Path.home()), os.path.realpath(Path.home())} - {"/"}
        self._homes = [re.compile(rf"{re.escape(home)}(?![\w.-])") for home in homes]
        self._devices = None if devices is None else {d.name: f"<{kind_of(d)}>" for d in devices}

    def removed(self, value: Any) -> Any:
        """Return a value of JSON with the names replaced."""
        if isinstance(value, dict):
            return {key: self._field(key, item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.removed(item) for item in value]
        return self._text(value) if isinstance(value, str) else value

    def _field(self, key: str, value: Any) -> Any:
        if key == "devices" and isinstance(value, dict) and self._devices is not None:
            # A device may have been connected after the list was made.
            return {what: self._devices.get(name, "<device>") for what, name in value.items()}
        return self.removed(value)

    def _text(self, text: str) -> str:
        for home in self._homes:
            text = home.sub("~", text)
        text = _FOLDERS.sub("", _QUOTED.sub(r"\1\2\1", text))
        devices = self._devices or {}
        if text in devices:
            return devices[text]
        # The longest first: a name may be a part of another one.
        for name in sorted(devices, key=len, reverse=True):
            long = [name, escaped(name)] if len(name) >= _LONG else []
            for spelled in (repr(name), *long):
                text = text.replace(spelled, devices[name])
        return text
