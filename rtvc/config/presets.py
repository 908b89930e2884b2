"""Presets: named settings in YAML files, bundled and the user's own."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from rtvc.config import settings_yaml
from rtvc.config.paths import write_atomically
from rtvc.errors import RtvcError, UsageError, did_you_mean
from rtvc.settings import Settings, grouped_settings

SUFFIX = ".yaml"
_TEXT_KEYS = ("description",)
_VOICE_GROUPS = ("voice", "output")
_MAX_NAME_BYTES = 200
"""Bytes; the most that systems allow is 255, with the suffix and what a half-written file adds."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings with a name.

    Attributes
    ----------
    name
        The file's name without its suffix.
    description
        One sentence for a person, "" where the file gives none.
    settings
        The settings, with defaults where the file says nothing.
    given
        Names of the settings that the file states.
    """

    name: str
    description: str
    settings: Settings
    given: frozenset[str]

    def apply_to(self, current: Settings) -> Settings:
        """Return `current` with this preset's sound.

        A preset is a voice: it decides all settings of the voice and the output,
        at their default where the file says nothing. What belongs to the person
        and the machine (mode, microphone, timing) stays, unless the file states it.
        """
        groups = grouped_settings()
        voice = {setting.name for group in _VOICE_GROUPS for setting in groups[group]} - {"mode"}
        return current.replace(
            **{name: getattr(self.settings, name) for name in voice | self.given}
        )


@dataclass(frozen=True, slots=True)
class PresetFile:
    """Where a preset is; `bundled` tells those that come with rtvc from the user's own."""

    name: str
    path: Path
    bundled: bool


def parse(text: str, name: str, source: str) -> Preset:
    """Return the preset written in `text`.

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
        With everything that is wrong, by file, line and name.
    """
    document = settings_yaml.parse(text, source, _TEXT_KEYS)
    return Preset(
        name=name,
        description=document.texts.get("description", ""),
        settings=Settings().replace(**document.values),
        given=frozenset(document.values),
    )


def load_preset(path: Path) -> Preset:
    """Return the preset in a file.

    Raises
    ------
    SettingsFileError
        If the file cannot be read or is not a valid preset.
    """
    return parse(settings_yaml.read_text(path), path.stem, str(path))


def save_preset(
    path: Path, settings: Settings, description: str = "", *, overwrite: bool = False
) -> None:
    """Write the settings that are not at their default as a preset.

    A valid preset that is overwritten keeps its comments and its order.

    Raises
    ------
    UsageError
        If the file exists and `overwrite` is not given.
    RtvcError
        If it cannot be written.
    """
    values = settings.changed()
    texts = {"description": description}
    text = settings_yaml.render(texts, values)
    if path.exists():
        if not overwrite:
            raise UsageError(f"{path} exists already; choose another name or ask to overwrite it.")
        # A file that was no preset has no comments worth keeping.
        with contextlib.suppress(settings_yaml.SettingsFileError):
            text = settings_yaml.update_text(
                settings_yaml.read_text(path), str(path), texts, values
            )
    write_atomically(path, text)


def user_folder() -> Path:
    """Return the folder of the user's own presets; it need not exist."""
    from rtvc.config.paths import config_folder

    return config_folder() / "presets"


def user_path(name: str) -> Path:
    """Return the file of the user's own preset of that name.

    Raises
    ------
    UsageError
        If the name cannot be a file's name.
    """
    if not name.strip(". ") or any(c in '/\\:*?"<>|' or not c.isprintable() for c in name):
        raise UsageError(
            f"{name!r} cannot be a preset's name; use letters, digits, spaces, '-' and '_'."
        )
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise UsageError(
            f"A preset's name of {len(name)} characters is too long; use a shorter one."
        )
    return user_folder() / f"{name}{SUFFIX}"


def bundled_folder() -> Path:
    """Return the folder of the presets that come with rtvc.

    Raises
    ------
    RtvcError
        If the installation is damaged.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "data" / "presets", package.parent / "presets"):
        if folder.is_dir():
            return folder
    raise RtvcError("The bundled presets are missing; install rtvc again.")


def list_presets() -> list[PresetFile]:
    """Return all presets by name; the user's own hide bundled ones of the same name."""
    found: dict[str, PresetFile] = {}
    for folder, bundled in ((bundled_folder(), True), (user_folder(), False)):
        # Unlike pathlib's, these count what may not be looked at as not there.
        if os.path.isdir(folder):
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                if os.path.isfile(path) and not path.name.startswith("."):
                    found[path.stem] = PresetFile(path.stem, path, bundled)
    return [found[name] for name in sorted(found)]


def preset_path(name_or_path: str) -> Path:
    """Return the file of a preset, by its name or by the path itself.

    Raises
    ------
    UsageError
        If there is none of that name; a similar one is suggested.
    """
    if "/" in name_or_path or name_or_path.endswith((SUFFIX, ".yml")):
        return Path(name_or_path).expanduser()
    presets = {file.name: file.path for file in list_presets()}
    if name_or_path in presets:
        return presets[name_or_path]
    hint = did_you_mean(name_or_path, presets, "'rtvc presets' lists all.")
    raise UsageError(f"There is no preset {name_or_path!r}. {hint}")


def find_preset(name_or_path: str) -> Preset:
    """Return a preset by its name, or by the path of its file.

    Raises
    ------
    UsageError
        If there is none of that name (a similar one is suggested) or it is not valid.
    """
    return load_preset(preset_path(name_or_path))
