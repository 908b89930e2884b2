"""The file with the results of ``rtvc latency``, one entry per pair of devices and format."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from rtvc.config import settings_yaml
from rtvc.config.device_keys import device_of, texts_of
from rtvc.config.paths import config_folder, one_writer, write_atomically
from rtvc.device_choice import DeviceIdentity
from rtvc.errors import RtvcError

_FORMAT = 1
_HEADER = """\
# Written by 'rtvc latency' and by the key l in the panel: the measured latency of devices.
# 'rtvc latency --forget' removes it.
"""
_DEVICES = ("input", "output")
_NUMBERS = ("seconds", "reported", "jitter", "at")
_MAX_ENTRIES = 200
_MAX_SECONDS, _MAX_TIME = 60.0, 1e12


@dataclass(frozen=True, slots=True)
class MeasuredLatency:
    """The measured latency of an output and an input together.

    Attributes
    ----------
    input, output
        The devices. Of those that an older version has written only the names are known.
    streams
        Sample rates and block of the streams, such as "48000 Hz, 10 ms".
    seconds
        The latency from the output to the input in seconds.
    reported
        The latency that the devices reported, in seconds.
    jitter
        Range of the latency during the measurement in seconds.
    at
        Time of the measurement in seconds since the epoch.
    """

    input: DeviceIdentity
    output: DeviceIdentity
    streams: str
    seconds: float
    reported: float
    jitter: float
    at: float

    def is_for(self, input: DeviceIdentity, output: DeviceIdentity, streams: str) -> bool:
        """Return whether the measurement is valid for a pair of devices with these streams."""
        return (
            self.streams == streams
            and _is_same(self.input, input)
            and _is_same(self.output, output)
        )

    @property
    def age(self) -> str:
        """The time since the measurement in words, such as "3 days ago"."""
        return age_in_words(time.time() - self.at)


def latency_path() -> Path:
    """Return the path of the file."""
    return config_folder() / "latency.yaml"


def load_latencies() -> tuple[tuple[MeasuredLatency, ...], str]:
    """Return all measured latencies, and a warning or ""."""
    path = latency_path()
    if not settings_yaml.is_there(path):
        return (), ""
    try:
        text = settings_yaml.read_text(path, settings_yaml.MAX_MEASURED_BYTES)
        return _parse(text, str(path)), ""
    except settings_yaml.NewerFormatError as error:
        return (), f"The measured latencies are ignored. {error} Update rtvc to use them."
    except RtvcError as error:
        return (), f"The measured latencies are ignored. {error} Run 'rtvc latency' again."


def find_latency(
    input: DeviceIdentity, output: DeviceIdentity, streams: str
) -> MeasuredLatency | None:
    """Return the newest measured latency of devices with these streams, None if not known."""
    for known in reversed(load_latencies()[0]):
        if known.is_for(input, output, streams):
            return known
    return None


def save_latency(measured: MeasuredLatency) -> None:
    """Add a measurement to the file; it replaces the one of the same devices and streams.

    Raises
    ------
    RtvcError
        If the file cannot be written, or a newer version of rtvc has written the present one.
    """
    key = measured.input, measured.output, measured.streams
    with one_writer(config_folder()):
        refuse_newer()
        others = [known for known in load_latencies()[0] if not known.is_for(*key)]
        kept = [*others, measured][-_MAX_ENTRIES:]
        document = {"format": _FORMAT, "latencies": [_as_dict(known) for known in kept]}
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        write_atomically(latency_path(), _HEADER + text)


def refuse_newer() -> None:
    """Refuse to replace measurements that only a newer version of rtvc can read.

    Raises
    ------
    RtvcError
        If the file has some.
    """
    settings_yaml.refuse_newer_format(latency_path(), _FORMAT)


def forget_latencies() -> int:
    """Remove the file; return how many measurements it had.

    Raises
    ------
    RtvcError
        If the file cannot be removed.
    """
    known = len(load_latencies()[0])
    try:
        latency_path().unlink(missing_ok=True)
    except OSError as error:
        raise RtvcError(f"{latency_path()} cannot be removed: {error.strerror}.") from None
    return known


def age_in_words(seconds: float) -> str:
    """Return a time that has passed in words, such as "3 days ago"."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _parse(text: str, source: str) -> tuple[MeasuredLatency, ...]:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise RtvcError(f"{source} is not valid YAML.") from None
    try:
        if settings_yaml.is_newer_format(document, _FORMAT):
            raise settings_yaml.NewerFormatError(source)
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        entries = document.get("latencies")
        if not isinstance(entries, list):
            raise ValueError("latencies should be a list")
        return tuple(_entry(entry) for entry in entries)
    except ValueError as clause:
        raise RtvcError(f"{source} cannot be used: {clause}.") from None


def _entry(entry: Any) -> MeasuredLatency:
    if not isinstance(entry, dict):
        raise ValueError("an entry is no mapping")
    for name in (*_DEVICES, "streams"):
        if not isinstance(entry.get(name), str):
            raise ValueError(f"{name} is missing or no text")
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    for name in _NUMBERS:
        value = entry.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(f"{name} is missing or no number")
        if not abs(value) <= (_MAX_TIME if name == "at" else _MAX_SECONDS):
            raise ValueError(f"{name} is {value}, out of range")
    input, output = (device_of(name, texts) for name in _DEVICES)
    return MeasuredLatency(
        input, output, entry["streams"], *(float(entry[name]) for name in _NUMBERS)
    )


def _is_same(known: DeviceIdentity, used: DeviceIdentity) -> bool:
    """Return whether a known device, of which the host API may be missing, is one in use."""
    return replace(known, host_api=known.host_api or used.host_api) == used


def _as_dict(measured: MeasuredLatency) -> dict[str, Any]:
    devices = texts_of("input", measured.input) | texts_of("output", measured.output)
    return devices | {name: getattr(measured, name) for name in ("streams", *_NUMBERS)}
