"""What names a voice or a preset, and its change when that gets another name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from rtvc.settings import BUILT_IN, Settings
from rtvc.system.unicode_names import comparison_key, normalized

_Change = Callable[[], bool]
"""Changes the old name to the new one in a file; returns whether it was there."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A name that has changed.

    Attributes
    ----------
    old, new
        The names before and after.
    settings
        Returns the settings whose value is such a name, with a voice.
    key
        Returns what is equal for names that are the same.
    """

    old: str
    new: str
    settings: Callable[[Value], tuple[str, ...]]
    key: Callable[[str], str]

    def changes(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the settings that have the old name, with the new one."""
        return {
            name: self.new
            for name in self.settings(values.get("voice", BUILT_IN))
            if isinstance(value := values.get(name), str)
            and not is_path(value)
            and self.key(value) == self.key(self.old)
        }


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
    if comparison_key(old) == comparison_key(new):
        return [], []
    name = _Name(old, new, _naming_voices, comparison_key)
    files = _runs_and_presets(name)
    for voice in list_voices()[0]:
        change = partial(_change_defaults, voice.folder, name)
        files.append((f"what {voice.name!r} remembers", change))
    files.append(("what automatic latency has found", partial(rename_learned, old, new)))
    return _change_all(files)


def change_preset_name(old: str, new: str) -> tuple[list[str], list[str]]:
    """Give a preset its new name in the last run, and in your presets that morph to it.

    Parameters and result are as for `change_name`.
    """
    return _change_all(_runs_and_presets(_Name(old, new, _naming_presets, normalized)))


def follow_preset(settings: Settings, old: str, new: str) -> Settings:
    """Return settings that morph to a preset's new name if they morph to the old one."""
    found = _Name(old, new, _naming_presets, normalized).changes(settings.changed())
    return settings.replace(**found) if found else settings


def _runs_and_presets(name: _Name) -> list[tuple[str, _Change]]:
    files: list[tuple[str, _Change]] = [
        ("the settings of the last run", partial(_change_last_run, name))
    ]
    for file in list_presets():
        if not file.bundled:
            files.append((f"the preset {file.name!r}", partial(_change_preset, file.path, name)))
    return files


def _change_all(files: list[tuple[str, _Change]]) -> tuple[list[str], list[str]]:
    changed: list[str] = []
    problems: list[str] = []
    for title, change in files:
        try:
            if change():
                changed.append(title)
        except settings_yaml.SettingsFileError:
            continue
        except RtvcError as error:
            problems.append(f"{title[0].upper()}{title[1:]} still has the old name. {error}")
    return changed, problems


def _naming_presets(voice: Value) -> tuple[str, ...]:
    """Return the settings whose value names a preset: the built-in voice morphs to presets."""
    return ("morph_to",) if voice == BUILT_IN else ()


def _naming_voices(voice: Value) -> tuple[str, ...]:
    """Return the settings whose value names a voice."""
    return ("voice",) if voice == BUILT_IN else ("voice", "morph_to")


def _change_last_run(name: _Name) -> bool:
    run = read_remembered()
    preset = name.new if name.settings is _naming_presets and run.preset == name.old else run.preset
    settings = run.settings.replace(**name.changes(run.settings.changed()))
    changed = dataclasses.replace(run, settings=settings, preset=preset)
    if changed != run:
        save_remembered(changed)
    return changed != run


def _change_preset(path: Path, name: _Name) -> bool:
    text, source = settings_yaml.read_text(path), str(path)
    document = settings_yaml.parse(text, source, TEXT_KEYS)
    found = name.changes(document.values)
    if found:
        values = document.values | found
        write_atomically(path, settings_yaml.update_text(text, source, document.texts, values))
    return bool(found)


def _change_defaults(folder: Path, name: _Name) -> bool:
    values = read_defaults(folder)
    found = name.changes({**values, "voice": folder.name})  # never the built-in voice
    if found:
        write_defaults(folder, values | found)
    return bool(found)
