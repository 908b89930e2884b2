"""List, save, update, rename, duplicate, delete and restore presets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rtvc.config import preset_trash
from rtvc.config.paths import one_writer, write_atomically
from rtvc.config.preset_trash import KeptPreset
from rtvc.config.presets import (
    OwnSettings,
    Preset,
    PresetFile,
    bundled_folder,
    list_presets,
    load_preset,
    name_of,
    plain_settings,
    refuse_newer,
    save_preset,
    user_folder,
    user_path,
)
from rtvc.config.settings_yaml import (
    NewerFileError,
    SettingsFileError,
    UnreadableFileError,
    read_text,
)
from rtvc.errors import RtvcError, UsageError
from rtvc.setting import Value
from rtvc.settings import SETTINGS, Settings, changed_names
from rtvc.system.file_version import FileVersion, file_version
from rtvc.system.permission import folder_problem
from rtvc.system.unicode_names import comparison_key, normalized


@dataclass(frozen=True, slots=True)
class PresetEntry:
    """A preset's file and its content.

    Attributes
    ----------
    file
        The file.
    preset
        The preset, None if the file is not valid.
    error
        All problems of the file, one per line; "" if it is valid.
    newer
        Whether the file is not valid because a newer version of rtvc has written it.
    unreadable
        Whether the system does not let the file be read.
    """

    file: PresetFile
    preset: Preset | None
    error: str = ""
    newer: bool = False
    unreadable: bool = False

    @property
    def name(self) -> str:
        """The preset's name."""
        return self.file.name

    @property
    def description(self) -> str:
        """The preset's description; "newer rtvc" or "broken" if the file is not valid."""
        if self.preset is not None:
            return self.preset.description
        return "newer rtvc" if self.newer else "broken"


class PresetManager:
    """The presets on disk; reads a file again only when it has changed.

    Parameters
    ----------
    own
        Returns what a voice remembers; by default nothing.

    Attributes
    ----------
    own
        As above. Read only.
    entries
        All presets in the order of their names, as of the last `scan`; the same tuple until one
        of them changes.
    problem
        Why your own presets could not be read at the last `scan`, "" if they could.
    """

    def __init__(self, own: OwnSettings = plain_settings) -> None:
        self.own = own
        self._cache: dict[Path, tuple[FileVersion, PresetEntry]] = {}
        self.entries: tuple[PresetEntry, ...] = ()
        self.problem = ""

    def scan(self) -> None:
        """Read the presets that are new or have changed since the last scan."""
        found = []
        for file in list_presets():
            version = file_version(file.path)
            if version is None:
                continue  # deleted since it was listed
            known = self._cache.pop(file.path, None)
            entry = known[1] if known and known[0] == version else _read_entry(file)
            if not entry.unreadable:  # the system may let it be read later, unchanged
                self._cache[file.path] = version, entry
            found.append(entry)
        if tuple(found) != self.entries:
            self.entries = tuple(found)
        self.problem = folder_problem(user_folder())

    def find(self, name: str) -> PresetEntry | None:
        """Return a preset by its name, or None."""
        name = normalized(name)
        return next((entry for entry in self.entries if entry.name == name), None)

    def current(self, settings: Settings) -> str:
        """Return the name of the first preset that matches the settings, or ""."""
        voice = comparison_key(settings.voice)
        for entry in self.entries:
            preset = entry.preset
            if preset is None or comparison_key(preset.settings.voice) != voice:
                continue  # does not match, and what its voice remembers need not be read
            if preset.apply_to(settings, self.own) == settings:
                return entry.name
        return ""

    def save(self, name: str, settings: Settings, description: str = "") -> str:
        """Save settings as a new preset of the user, and return its name.

        Raises
        ------
        UsageError
            If the name is invalid or taken.
        RtvcError
            If the file cannot be written.
        """
        path = self._unused_path(name)
        save_preset(path, settings, description, own=self.own)
        self.scan()
        return name_of(path)

    def update(self, entry: PresetEntry, settings: Settings, description: str) -> None:
        """Save settings in a preset of the user; `restore` undoes it.

        Raises
        ------
        UsageError
            If the preset is bundled.
        RtvcError
            If the file cannot be written.
        """
        require_own(entry, "changed")
        update_preset(entry.file.path, settings, description, self.own)
        self.scan()

    def rename(self, entry: PresetEntry, name: str) -> str:
        """Rename a preset of the user, and return its new name.

        Raises
        ------
        UsageError
            If the preset is bundled, or the name is invalid or taken.
        RtvcError
            If the file cannot be renamed.
        """
        require_own(entry, "renamed")
        with one_writer(user_folder()):
            target = self._unused_path(name, renamed=entry.file.path)
            try:
                entry.file.path.rename(target)
            except OSError as error:
                raise RtvcError(f"{entry.name!r} cannot be renamed: {error.strerror}.") from None
        self.scan()
        return name_of(target)

    def duplicate(self, entry: PresetEntry, name: str) -> str:
        """Copy a preset, bundled or not, with its comments; return the name of the copy.

        Raises
        ------
        UsageError
            If the name is invalid or taken.
        RtvcError
            If the file cannot be read or written.
        """
        with one_writer(user_folder()):
            target = self._unused_path(name)
            write_atomically(target, read_text(entry.file.path))
        self.scan()
        return name_of(target)

    def delete(self, entry: PresetEntry) -> None:
        """Delete a preset of the user; `restore` undoes it, also in a later run.

        Raises
        ------
        UsageError
            If the preset is bundled.
        RtvcError
            If the file cannot be deleted.
        """
        require_own(entry, "deleted")
        preset_trash.keep_deleted(entry.file.path)
        self.scan()

    def restore(self, name: str = "") -> KeptPreset:
        """Undo the last deletion or update, or the last one of a preset; return what it was.

        Raises
        ------
        UsageError
            If there is none, or another preset has taken the name of a deleted one.
        RtvcError
            If the file cannot be restored.
        """
        kept = preset_trash.restore(name)
        self.scan()
        return kept

    def unused_name(self, name: str) -> str:
        """Return a name for a new preset that begins with `name`."""
        taken = {entry.name for entry in self.entries}
        numbered = (f"{name} {number}" for number in range(2, len(taken) + 3))
        return next(one for one in numbered if one not in taken)

    def _unused_path(self, name: str, *, renamed: Path | None = None) -> Path:
        path = user_path(name)
        if path.exists() and not (renamed and _differ_in_case(renamed, path)):
            raise UsageError(f"There is a preset {name_of(path)!r} already; choose another name.")
        if (bundled_folder() / path.name).exists():
            another = self.unused_name(name_of(path))
            raise UsageError(
                f"{name_of(path)!r} comes with rtvc; choose another name, such as {another!r}."
            )
        return path


def update_preset(path: Path, settings: Settings, description: str, own: OwnSettings) -> None:
    """Save settings in a preset's file; the earlier version is kept, so that it can be restored.

    Raises
    ------
    RtvcError
        If the file cannot be read or written, or only a newer version of rtvc can read it.
    """
    refuse_newer(path)
    preset_trash.keep_copy(path, "updated")
    save_preset(path, settings, description, overwrite=True, own=own)


def describe_changes(before: Settings, after: Settings, *, brief: bool = False) -> list[str]:
    """Return one text per setting that differs.

    Such as "pitch: 0 -> 4 semitones", or "pitch 0 -> 4" if `brief`.
    """
    names = changed_names(before, after)
    return [
        f"{setting_label(name)}{'' if brief else ':'} {format_value(name, getattr(before, name))} "
        f"-> {format_value(name, getattr(after, name), unit=not brief)}"
        for name in SETTINGS
        if name in names
    ]


def setting_label(name: str) -> str:
    """Return a setting's name for the user."""
    return name.replace("_", " ")


def format_value(name: str, value: Value, *, unit: bool = False) -> str:
    """Return a setting's value for the user, with its unit if `unit`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return f"{text} {SETTINGS[name].unit}".rstrip() if unit else text


def _differ_in_case(path: Path, other: Path) -> bool:
    """Return whether two paths differ in case only and lead to one file, as on most Macs."""
    same = os.path.samestat(os.lstat(path), os.lstat(other))
    return same and path.name != other.name and path.name.casefold() == other.name.casefold()


def _read_entry(file: PresetFile) -> PresetEntry:
    try:
        return PresetEntry(file, load_preset(file.path))
    except SettingsFileError as error:
        lines = [f"Line {p.line}: {p.message}" if p.line else p.message for p in error.problems]
        return PresetEntry(
            file,
            None,
            "\n".join(lines),
            newer=isinstance(error, NewerFileError),
            unreadable=isinstance(error, UnreadableFileError),
        )


def require_own(entry: PresetEntry, verb: str) -> None:
    """Raise `UsageError` if a preset is bundled, and so cannot be `verb`."""
    if entry.file.bundled:
        another = "" if verb == "deleted" else "; save it under another name"
        raise UsageError(f"{entry.name!r} comes with rtvc and cannot be {verb}{another}.")
