"""Presets: named settings in YAML files, bundled with rtvc or written by the user."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rtvc.config import settings_yaml
from rtvc.config.paths import one_writer, write_atomically
from rtvc.errors import RtvcError, UsageError, did_you_mean
from rtvc.settings import SETTINGS, Settings, changed_names, grouped_settings
from rtvc.system.permission import folder_problem
from rtvc.system.unicode_names import normalized

SUFFIX = ".yaml"
TEXT_KEYS = ("description",)
_VOICE_GROUPS = ("voice", "effects", "output")
OwnSettings = Callable[[str], Settings]
"""Returns the settings that the voice of a name starts with."""
_MAX_NAME_BYTES = 200
"""File systems allow 255 bytes, including the suffix and the affixes of a temporary file."""


def plain_settings(voice: str) -> Settings:
    """Return rtvc's defaults: the voice remembers nothing."""
    return Settings(voice=voice)


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset.

    Attributes
    ----------
    name
        The file's name without its suffix; see `name_of`.
    description
        One sentence for the user, "" if the file has none.
    settings
        The settings, with the default for each that the file does not set.
    given
        Names of the settings that the file sets.
    notes
        A sentence, with file and line, about each value that was rounded or is ignored.
    """

    name: str
    description: str
    settings: Settings
    given: frozenset[str]
    notes: tuple[str, ...] = ()

    def apply_to(self, current: Settings, own: OwnSettings = plain_settings) -> Settings:
        """Return `current` with this preset applied.

        A preset describes a voice: it sets all settings of the voice, the effects and the output.
        Those that the file does not set are as the voice remembers them, else at their default.
        The settings of the microphone and the machine stay, unless the file sets them. The mode
        always stays.

        Parameters
        ----------
        current
            The settings in use.
        own
            Returns what the preset's voice remembers, with the name of the voice as the library
            has it; by default nothing.
        """
        given = self.given - {"voice"}
        start = own(self.settings.voice)
        return current.replace(
            **{
                name: getattr(self.settings if name in given else start, name)
                for name in self._names()
            }
        )

    def updated_from(self, current: Settings) -> Settings:
        """Return this preset's settings, with those that it applies as they are in `current`."""
        return self.settings.replace(**{name: getattr(current, name) for name in self._names()})

    def _names(self) -> frozenset[str]:
        return applied_names(self.given)


def applied_names(given: frozenset[str]) -> frozenset[str]:
    """Return the names of the settings that a preset applies, from those that its file sets."""
    groups = grouped_settings()
    voice = {setting.name for group in _VOICE_GROUPS for setting in groups[group]}
    return frozenset(name for name in voice | given if SETTINGS[name].stored)


@dataclass(frozen=True, slots=True)
class PresetFile:
    """A preset's name and file, and whether it is bundled with rtvc or written by the user."""

    name: str
    path: Path
    bundled: bool


def parse(text: str, name: str, source: str) -> Preset:
    """Parse a preset.

    Parameters
    ----------
    text
        Contents of the file.
    name
        The preset's name.
    source
        The file's name, for messages.

    Raises
    ------
    SettingsFileError
        If it is not a valid preset; lists all problems.
    """
    document = settings_yaml.parse(text, source, TEXT_KEYS)
    return Preset(
        name=name,
        description=document.texts.get("description", ""),
        settings=Settings().replace(**document.values),
        given=frozenset(document.values),
        notes=tuple(f"{source}:{note.line}: {note.message}" for note in document.notes),
    )


def load_preset(path: Path) -> Preset:
    """Return the preset in a file.

    Raises
    ------
    SettingsFileError
        If the file cannot be read or is not a valid preset.
    """
    return parse(settings_yaml.read_text(path), name_of(path), str(path))


def save_preset(
    path: Path,
    settings: Settings,
    description: str = "",
    *,
    overwrite: bool = False,
    own: OwnSettings = plain_settings,
) -> None:
    """Save the settings that differ from their defaults as a preset, without the mode.

    A valid preset that is overwritten keeps its comments and order.

    Parameters
    ----------
    path, settings, description, overwrite
        The file, its content, and whether it may exist.
    own
        Returns what a voice remembers: where that differs too, the preset says so.

    Raises
    ------
    UsageError
        If the file exists and `overwrite` is False.
    RtvcError
        If the file cannot be written, or only a newer version of rtvc can read the present one.
    """
    remembered = changed_names(own(settings.voice), Settings(voice=settings.voice))
    names = settings.changed().keys() | remembered
    values = {name: getattr(settings, name) for name in SETTINGS if name in names}
    texts = {"description": description}
    text = settings_yaml.render(texts, values)
    with one_writer(path.parent):
        if path.exists():
            if not overwrite:
                raise UsageError(
                    f"{path} exists already. Choose another name, or allow overwriting (--force)."
                )
            refuse_newer(path)
            # A file that is not a valid preset is replaced completely.
            with contextlib.suppress(settings_yaml.SettingsFileError):
                text = settings_yaml.update_text(
                    settings_yaml.read_text(path), str(path), texts, values
                )
        write_atomically(path, text)


def name_of(path: Path) -> str:
    """Return the name of a preset's file, in Unicode normalization form NFC."""
    return normalized(path.stem)


def refuse_newer(path: Path) -> None:
    """Refuse to replace a preset that only a newer version of rtvc can read.

    Raises
    ------
    RtvcError
        If it is one.
    """
    settings_yaml.refuse_newer(path, TEXT_KEYS)


def user_folder() -> Path:
    """Return the folder of the user's presets; it may not exist."""
    from rtvc.config.paths import config_folder

    return config_folder() / "presets"


def user_path(name: str) -> Path:
    """Return the path of a user's preset; the suffix of preset files is no part of the name.

    Raises
    ------
    UsageError
        If the name is not a valid file name.
    """
    name = normalized(name).strip()  # nobody sees spaces at the ends of a name
    for suffix in (SUFFIX, ".yml"):
        name = name[: -len(suffix)].rstrip() if name.lower().endswith(suffix) else name
    if name.startswith("-"):
        raise UsageError(
            f"A preset's name cannot begin with '-', as {name!r} does: it would be read as a flag."
        )
    if name.startswith("."):
        raise UsageError(
            f"A preset's name cannot begin with a dot, as {name!r} does: it would be hidden."
        )
    if not name.strip(". ") or any(c in '/\\:*?"<>|' or not c.isprintable() for c in name):
        raise UsageError(
            f"{name!r} cannot be a preset's name; use letters, digits, spaces, '-' and '_'."
        )
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise UsageError(
            f"A preset's name of {len(name)} characters is too long; use a shorter one."
        )
    return own_path(name)


def own_path(name: str) -> Path:
    """Return the path of a user's preset of this name, which may be in another normalization form.

    Without one, return the path for a new preset.
    """
    mine = (file.path for file in list_presets() if file.name == name and not file.bundled)
    return next(mine, user_folder() / f"{name}{SUFFIX}")


def bundled_folder() -> Path:
    """Return the folder of the bundled presets.

    Raises
    ------
    RtvcError
        If it is missing.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "data" / "presets", package.parent / "presets"):
        if folder.is_dir():
            return folder
    raise RtvcError("The bundled presets are missing; install rtvc again.")


def list_presets() -> list[PresetFile]:
    """Return all presets, sorted by name whatever its case; a user's hides a bundled one."""
    found: dict[str, PresetFile] = {}
    for folder, bundled in ((bundled_folder(), True), (user_folder(), False)):
        # Unlike pathlib's methods, these return False for a path without access.
        if os.path.isdir(folder):
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                if os.path.isfile(path) and not path.name.startswith("."):
                    name = name_of(path)
                    found[name] = PresetFile(name, path, bundled)
    return [found[name] for name in sorted(found, key=lambda name: (name.casefold(), name))]


def listed_name(name_or_path: str) -> str:
    """Return the name under which a preset is listed, "" for a file elsewhere."""
    path = os.path.realpath(preset_path(name_or_path))
    names = (file.name for file in list_presets() if os.path.realpath(file.path) == path)
    return next(names, "")


def preset_path(name_or_path: str) -> Path:
    """Return the path of a preset, given its name or path.

    Raises
    ------
    UsageError
        If there is none of that name, or your own presets cannot be read.
    """
    if "/" in name_or_path or name_or_path.endswith((SUFFIX, ".yml")):
        return Path(os.path.expanduser(name_or_path))
    presets = {file.name: file.path for file in list_presets()}
    if (name := normalized(name_or_path)) in presets:
        return presets[name]
    if problem := folder_problem(user_folder()):
        raise UsageError(f"There is no bundled preset {name_or_path!r}. {problem}")
    hint = did_you_mean(name_or_path, presets, "'rtvc presets' lists all.")
    raise UsageError(f"There is no preset {name_or_path!r}. {hint}")


def find_preset(name_or_path: str) -> Preset:
    """Return a preset, given its name or path.

    Raises
    ------
    UsageError
        If there is none of that name (a similar one is suggested) or it is not valid.
    """
    return load_preset(preset_path(name_or_path))
