"""What names a voice, and its change when the voice gets another name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from rtvc.config import settings_yaml
from rtvc.config.learned_sizes import rename_learned
from rtvc.config.paths import write_atomically
from rtvc.config.presets import TEXT_KEYS, list_presets
from rtvc.config.remembered import read_remembered, save_remembered
from rtvc.errors import RtvcError
from rtvc.library.names import is_path
from rtvc.library.voice_defaults import read_defaults, write_defaults
from rtvc.library.voices import list_voices
from rtvc.setting import Value
from rtvc.settings import BUILT_IN
from rtvc.system.unicode_names import comparison_key

_Change = Callable[[str, str], bool]
"""Changes the old name to the new one in a file; returns whether it was there."""


def change_name(old: str, new: str) -> tuple[list[str], list[str]]:
    """Give a voice its new name in all files that name it.

    These are your presets, the last run, what other voices remember, and the sizes that automatic
    latency has found.

    A file that cannot be read stays as it is: it is reported when it is used. A difference in
    case needs no change.

    Parameters
    ----------
    old, new
        The names before and after.

    Returns
    -------
    changed, problems
        What was changed, such as "the preset 'mine'", and a sentence for each file that could not
        be written.
    """
    changed: list[str] = []
    problems: list[str] = []
    if comparison_key(old) == comparison_key(new):
        return changed, problems
    files: list[tuple[str, _Change]] = [("the settings of the last run", _change_last_run)]
    for file in list_presets():
        if not file.bundled:
            files.append((f"the preset {file.name!r}", partial(_change_preset, file.path)))
    for voice in list_voices()[0]:
        files.append((f"what {voice.name!r} remembers", partial(_change_defaults, voice.folder)))
    files.append(("what automatic latency has found", rename_learned))
    for title, change in files:
        try:
            if change(old, new):
                changed.append(title)
        except settings_yaml.SettingsFileError:
            continue
        except RtvcError as error:
            problems.append(f"{title[0].upper()}{title[1:]} still has the old name. {error}")
    return changed, problems


def _naming(voice: Value) -> tuple[str, ...]:
    """Return the settings whose value names a voice: the built-in voice morphs to presets."""
    return ("voice",) if voice == BUILT_IN else ("voice", "morph_to")


def _renamed(
    values: Mapping[str, Value], names: tuple[str, ...], old: str, new: str
) -> dict[str, Value]:
    """Return the settings of these names that name the voice, with its new name."""
    key = comparison_key(old)
    return {
        name: new
        for name in names
        if isinstance(value := values.get(name), str)
        and not is_path(value)
        and comparison_key(value) == key
    }


def _change_last_run(old: str, new: str) -> bool:
    run = read_remembered()
    found = _renamed(run.settings.changed(), _naming(run.settings.voice), old, new)
    if found:
        save_remembered(dataclasses.replace(run, settings=run.settings.replace(**found)))
    return bool(found)


def _change_preset(path: Path, old: str, new: str) -> bool:
    text, source = settings_yaml.read_text(path), str(path)
    document = settings_yaml.parse(text, source, TEXT_KEYS)
    names = _naming(document.values.get("voice", BUILT_IN))
    found = _renamed(document.values, names, old, new)
    if found:
        values = document.values | found
        write_atomically(path, settings_yaml.update_text(text, source, document.texts, values))
    return bool(found)


def _change_defaults(folder: Path, old: str, new: str) -> bool:
    values = read_defaults(folder)
    found = _renamed(values, ("morph_to",), old, new)
    if found:
        write_defaults(folder, values | found)
    return bool(found)
