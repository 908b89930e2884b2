"""List, save, rename, duplicate and delete presets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtvc.config.paths import write_atomically
from rtvc.config.presets import (
    Preset,
    PresetFile,
    list_presets,
    load_preset,
    save_preset,
    user_path,
)
from rtvc.config.settings_yaml import SettingsFileError, read_text
from rtvc.errors import RtvcError, UsageError
from rtvc.settings import SETTINGS, Settings, Value, changed_names


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
    """

    file: PresetFile
    preset: Preset | None
    error: str = ""

    @property
    def name(self) -> str:
        """The preset's name."""
        return self.file.name

    @property
    def description(self) -> str:
        """The preset's description, or "broken" if the file is not valid."""
        return self.preset.description if self.preset is not None else "broken"


class PresetManager:
    """The presets on disk; reads a file again only when it has changed.

    Attributes
    ----------
    entries
        All presets in the order of their names, as of the last `scan`.
    """

    def __init__(self) -> None:
        self._cache: dict[Path, tuple[tuple[int, int], PresetEntry]] = {}
        self._deleted: list[tuple[Path, str]] = []
        self.entries: tuple[PresetEntry, ...] = ()

    def scan(self) -> None:
        """Read the presets that are new or have changed since the last scan."""
        found = []
        for file in list_presets():
            try:
                status = file.path.stat()
            except OSError:
                continue  # deleted since it was listed
            version = status.st_mtime_ns, status.st_size
            known = self._cache.get(file.path)
            entry = known[1] if known and known[0] == version else _read_entry(file)
            self._cache[file.path] = version, entry
            found.append(entry)
        self.entries = tuple(found)

    def find(self, name: str) -> PresetEntry | None:
        """Return a preset by its name, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def current(self, settings: Settings) -> str:
        """Return the name of the first preset that matches the settings, or ""."""
        for entry in self.entries:
            if entry.preset is not None and entry.preset.apply_to(settings) == settings:
                return entry.name
        return ""

    def save(
        self, name: str, settings: Settings, description: str = "", *, overwrite: bool = False
    ) -> None:
        """Save settings as a preset of the user.

        Raises
        ------
        UsageError
            If the name is invalid or taken.
        RtvcError
            If the file cannot be written.
        """
        path = user_path(name)
        if path.exists() and not overwrite:
            raise UsageError(f"There is a preset {name!r} already; choose another name.")
        save_preset(path, settings, description, overwrite=overwrite)
        self.scan()

    def rename(self, entry: PresetEntry, name: str) -> None:
        """Rename a preset of the user.

        Raises
        ------
        UsageError
            If the preset is bundled, or the name is invalid or taken.
        RtvcError
            If the file cannot be renamed.
        """
        _require_own(entry, "renamed")
        target = self._unused_path(name)
        try:
            entry.file.path.rename(target)
        except OSError as error:
            raise RtvcError(f"{entry.name!r} cannot be renamed: {error.strerror}.") from None
        self.scan()

    def duplicate(self, entry: PresetEntry, name: str) -> None:
        """Copy a preset, bundled or not, with its comments to a new preset of the user.

        Raises
        ------
        UsageError
            If the name is invalid or taken.
        RtvcError
            If the file cannot be read or written.
        """
        write_atomically(self._unused_path(name), read_text(entry.file.path))
        self.scan()

    def delete(self, entry: PresetEntry) -> None:
        """Delete a preset of the user; `undelete` restores it.

        Raises
        ------
        UsageError
            If the preset is bundled.
        RtvcError
            If the file cannot be deleted.
        """
        _require_own(entry, "deleted")
        text = read_text(entry.file.path)
        try:
            entry.file.path.unlink()
        except OSError as error:
            raise RtvcError(f"{entry.name!r} cannot be deleted: {error.strerror}.") from None
        self._deleted.append((entry.file.path, text))
        self.scan()

    def undelete(self) -> str:
        """Restore the preset that was deleted last, and return its name.

        Raises
        ------
        UsageError
            If nothing was deleted, or the name is taken.
        RtvcError
            If the file cannot be written.
        """
        if not self._deleted:
            raise UsageError("No preset was deleted since the start.")
        path, text = self._deleted[-1]
        if path.exists():
            raise UsageError(f"There is a preset {path.stem!r} already; rename it first.")
        write_atomically(path, text)
        self._deleted.pop()
        self.scan()
        return path.stem

    def _unused_path(self, name: str) -> Path:
        path = user_path(name)
        if path.exists():
            raise UsageError(f"There is a preset {name!r} already; choose another name.")
        return path


def describe_changes(before: Settings, after: Settings) -> list[str]:
    """Return one text per setting that differs, such as "pitch: 0 -> 4 semitones"."""
    names = changed_names(before, after)
    return [
        f"{setting_label(name)}: {format_value(name, getattr(before, name))} -> "
        f"{format_value(name, getattr(after, name), unit=True)}"
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


def _read_entry(file: PresetFile) -> PresetEntry:
    try:
        return PresetEntry(file, load_preset(file.path))
    except SettingsFileError as error:
        lines = [f"Line {p.line}: {p.message}" if p.line else p.message for p in error.problems]
        return PresetEntry(file, None, "\n".join(lines))


def _require_own(entry: PresetEntry, verb: str) -> None:
    if entry.file.bundled:
        raise UsageError(
            f"{entry.name!r} comes with rtvc and cannot be {verb}; duplicate it under another name."
        )
