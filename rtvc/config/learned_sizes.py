"""The file with the sizes that automatic latency has found, by voice, devices and power."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from rtvc.config import settings_yaml
from rtvc.config.paths import config_folder, one_writer, write_atomically
from rtvc.errors import RtvcError
from rtvc.settings import SETTINGS
from rtvc.system.unicode_names import comparison_key

_FORMAT = 1
_HEADER = """\
# Written by rtvc with --latency auto: the block and headroom (in ms) on which it has settled.
# Remove the file to begin with the default sizes again.
"""
_TEXTS, _SIZES = ("input", "output", "power", "voice"), ("block", "headroom")
_KIND = "kind"
"""Files of older versions have no kind, and the kind of the voice in place of its name."""
_MAX_ENTRIES = 200


@dataclass(frozen=True, slots=True)
class Conditions:
    """What learned sizes are valid for.

    Attributes
    ----------
    input, output
        Full names of the devices.
    power
        ``"battery"``, ``"mains"``, or "" if not known.
    """

    input: str
    output: str
    power: str


def learned_path() -> Path:
    """Return the path of the file."""
    return config_folder() / "sizes.yaml"


def load_learned(conditions: Conditions) -> dict[tuple[str, str], tuple[float, float]]:
    """Return block and headroom in ms by name and kind of the voice.

    Under the name "" are those for any voice of the kind, the newest found. A file that is damaged,
    or that a newer version of rtvc has written, has none.
    """
    found = {}
    for entry in _entries(_document()):
        if _is_for(entry, conditions):
            sizes = float(entry["block"]), float(entry["headroom"])
            found["", _kind(entry)] = sizes
            if _KIND in entry:
                found[entry["voice"], entry[_KIND]] = sizes
    return found


def save_learned(conditions: Conditions, sizes: dict[tuple[str, str], tuple[float, float]]) -> None:
    """Write sizes by name and kind of the voice; they replace those for the same conditions.

    Raises
    ------
    RtvcError
        If the file cannot be written, or a newer version of rtvc has written it.
    """
    with one_writer(config_folder()):
        settings_yaml.refuse_newer_format(learned_path(), _FORMAT)
        known = _entries(_document())
        others = [
            entry
            for entry in known
            if not _is_for(entry, conditions) or not _is_replaced(entry, sizes)
        ]
        new = [
            {
                **asdict(conditions),
                "voice": voice,
                _KIND: kind,
                **dict(zip(_SIZES, pair, strict=True)),
            }
            for (voice, kind), pair in sizes.items()
        ]
        if not all(entry in known for entry in new):
            _write([*others, *new][-_MAX_ENTRIES:])


def rename_learned(old: str, new: str) -> bool:
    """Give a voice its new name; return whether it had sizes under the old one.

    A file that a newer version of rtvc has written stays as it is.

    Raises
    ------
    RtvcError
        If the file cannot be written.
    """
    with one_writer(config_folder()):
        known = _entries(_document())
        named = [entry for entry in known if _is_named(entry, old)]
        if named:
            # Those of a voice that had the new name before are not of this one.
            others = [entry for entry in known if not (_is_named(entry, new) or entry in named)]
            _write([*others, *({**entry, "voice": new} for entry in named)])
    return bool(named)


def _write(entries: list[dict[str, Any]]) -> None:
    document = {"format": _FORMAT, "sizes": entries}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    write_atomically(learned_path(), _HEADER + text)


def _document() -> object:
    """Return the content of the file, None if there is none that can be read."""
    try:
        if settings_yaml.is_there(learned_path()):
            limit = settings_yaml.MAX_MEASURED_BYTES
            return yaml.safe_load(settings_yaml.read_text(learned_path(), limit))
    except (RtvcError, yaml.YAMLError, RecursionError, ValueError):
        pass
    return None


def _entries(document: object) -> list[dict[str, Any]]:
    """Return the valid entries of the file: the others are measured again within a minute."""
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        return []
    entries = document.get("sizes")
    return [entry for entry in entries if _valid(entry)] if isinstance(entries, list) else []


def _valid(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    numbers = all(
        isinstance(entry.get(name), (int, float))
        and not isinstance(entry[name], bool)
        and SETTINGS[name].low <= entry[name] <= SETTINGS[name].high
        and entry[name] % 10 == 0
        for name in _SIZES
    )
    texts = (*_TEXTS, _KIND) if _KIND in entry else _TEXTS
    return numbers and all(isinstance(entry.get(name), str) for name in texts)


def _kind(entry: dict[str, Any]) -> str:
    return str(entry.get(_KIND, entry["voice"]))


def _is_named(entry: dict[str, Any], voice: str) -> bool:
    return _KIND in entry and comparison_key(entry["voice"]) == comparison_key(voice)


def _is_replaced(entry: dict[str, Any], sizes: Iterable[tuple[str, str]]) -> bool:
    if _KIND in entry:
        return (entry["voice"], entry[_KIND]) in sizes
    return any(kind == entry["voice"] for _, kind in sizes)


def _is_for(entry: dict[str, Any], conditions: Conditions) -> bool:
    return all(entry[name] == value for name, value in asdict(conditions).items())
