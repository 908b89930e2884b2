"""The settings that an installed voice starts with, in a file next to its manifest.

A flag takes precedence over a preset, a preset over the voice, and the voice over rtvc's defaults.
A remembered run restores what you had changed, and follows the voice in everything else.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from rtvc.config import settings_yaml
from rtvc.config.paths import write_atomically
from rtvc.config.remembered import RememberedRun
from rtvc.errors import RtvcError, UsageError
from rtvc.library.home import voices_folder
from rtvc.library.names import absolute, is_path
from rtvc.library.voices import (
    DEFAULTS_FILE,
    InstalledVoice,
    find_folder,
    installed_voice,
)
from rtvc.setting import Value
from rtvc.settings import (
    BUILT_IN,
    SETTINGS,
    Settings,
    changed_names,
    find_setting,
    grouped_settings,
)
from rtvc.system.file_version import FileVersion, file_version
from rtvc.system.unicode_names import normalized

VOICE_NAMES = tuple(
    setting.name
    for setting in grouped_settings()["voice"]
    if setting.stored and setting.name != "voice"
)
"""The settings that a voice can remember: those of the group voice."""

_HEADER = "# What rtvc uses with this voice, unless a preset or a flag says otherwise.\n"


def read_defaults(folder: Path) -> dict[str, Value]:
    """Return the settings that a voice remembers, {} without a file.

    Parameters
    ----------
    folder
        The folder of the voice.

    Raises
    ------
    SettingsFileError
        If the file is damaged.
    """
    path = folder / DEFAULTS_FILE
    if not settings_yaml.is_there(path):
        return {}
    document = settings_yaml.parse(settings_yaml.read_text(path), str(path), ())
    for name in document.values:
        if name not in VOICE_NAMES:
            problem = settings_yaml.Problem(
                0, f"{name!r} is not a setting of a voice; remove the line."
            )
            raise settings_yaml.file_error(str(path), document.version, [problem])
    return document.values


def write_defaults(folder: Path, values: Mapping[str, Value]) -> None:
    """Write what a voice remembers.

    Raises
    ------
    RtvcError
        If the file cannot be written.
    """
    write_atomically(folder / DEFAULTS_FILE, _HEADER + settings_yaml.render({}, values))


def find_defaults(voice: str) -> tuple[dict[str, Value], str]:
    """Return what the voice of a name remembers, and a sentence if its file is damaged.

    Only installed voices remember settings. A damaged file counts as none, so that the voice
    still works.
    """
    folder = _folder_of(voice)
    try:
        return ({} if folder is None else read_defaults(folder)), ""
    except settings_yaml.SettingsFileError as error:
        first = str(error).splitlines()[0]
        return {}, f"What {voice!r} remembers is ignored. {first}"


def defaults_version(voice: str) -> FileVersion | None:
    """Return the version of the file with what a voice remembers, None without a file."""
    folder = _folder_of(voice)
    return None if folder is None else file_version(folder / DEFAULTS_FILE)


def spelled(voice: str) -> str:
    """Return the name of a voice with the case that it has in the library.

    A path, and the name of a voice that is not installed, stay as they are.
    """
    folder = _folder_of(voice)
    return voice if folder is None else normalized(folder.name)


def own_settings(voice: str) -> Settings:
    """Return rtvc's defaults with what a voice remembers, and its name as the library has it."""
    voice = spelled(voice)
    return Settings(voice=voice).replace(**find_defaults(voice)[0])


def voice_settings(voice: str, **changes: Value) -> Settings:
    """Return the settings that a voice starts with.

    Parameters
    ----------
    voice
        The name of an installed voice, the built-in ``"world"``, or the path of a voice.
    **changes
        Single settings that differ, such as ``pitch=3``.

    Raises
    ------
    UsageError
        If no installed voice has this name.
    RtvcError
        If its folder, or the file with what it remembers, is damaged.
    SettingError
        For an unknown name, a value out of range, or a voice that is no text.

    Examples
    --------
    >>> rtvc.convert(samples, sample_rate=48000, settings=rtvc.voice_settings("Anna"))
    """
    remembered: dict[str, Value] = {}
    settings = Settings(voice=voice)
    if voice != BUILT_IN and not is_path(voice):
        remembered = read_defaults(installed_voice(voice).folder)
    return settings.replace(**{**remembered, **changes})


def follow_voice(settings: Settings, voice: str) -> Settings:
    """Return the settings after a change to another voice.

    A setting that the voice before or the new voice remembers takes the new voice's value, else
    rtvc's default, and so does the voice to morph to. All others stay as they are. The case of
    a name makes no other voice.
    """
    voice = spelled(voice)
    if voice == spelled(settings.voice):
        return settings.replace(voice=voice)
    old, new = find_defaults(settings.voice)[0], find_defaults(voice)[0]
    own = Settings().replace(**new)
    names = {*old, *new, "morph_to", "morph"}
    return settings.replace(voice=voice, **{name: getattr(own, name) for name in names})


def turned_names(settings: Settings) -> frozenset[str] | None:
    """Return the names of the settings that are not as the voice remembers them.

    None if the voice remembers nothing; see `RememberedRun.turned`.
    """
    remembered = find_defaults(settings.voice)[0]
    if not remembered:
        return None
    return changed_names(settings, own_settings(settings.voice)).intersection(VOICE_NAMES)


def updated_run(run: RememberedRun) -> RememberedRun:
    """Return a remembered run with what its voice remembers now.

    The settings of the voice that you had changed stay.
    """
    own = own_settings(run.settings.voice)
    turned = run.settings.changed() if run.turned is None else run.turned
    values = {name: getattr(own, name) for name in VOICE_NAMES if name not in turned}
    settings = run.settings.replace(**{**values, "voice": own.voice})
    return dataclasses.replace(run, settings=settings)


def change_defaults(voice: str, changes: Mapping[str, Value | None]) -> dict[str, Value]:
    """Change what an installed voice remembers, and return all of it.

    Parameters
    ----------
    voice
        Name of the voice.
    changes
        Values by name of the setting; None forgets the setting.

    Raises
    ------
    UsageError
        If there is no such voice, or none to morph to, or a setting does nothing with it.
    RtvcError
        If the present file is damaged, or cannot be written.
    """
    found = installed_voice(voice)
    values = read_defaults(found.folder)
    for name, value in changes.items():
        if value is None:
            find_setting(name)
            values.pop(name, None)
        else:
            _require_effect(found, name, value)
            is_voice = name == "morph_to" and isinstance(value, str)
            values[name] = absolute(str(value)) if is_voice else SETTINGS[name].check(value)
    path = found.folder / DEFAULTS_FILE
    if values:
        ordered = {name: values[name] for name in VOICE_NAMES if name in values}
        write_defaults(found.folder, ordered)
        return ordered
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RtvcError(f"{path} cannot be removed: {error.strerror}.") from None
    return {}


def remember_settings(settings: Settings) -> dict[str, Value]:
    """Let the voice in use remember its present settings, and return all of them.

    Those at rtvc's defaults are forgotten, and so are those that do nothing with this voice.

    Raises
    ------
    UsageError
        If the voice is not installed.
    RtvcError
        If the present file is damaged, or cannot be written.
    """
    if settings.voice == BUILT_IN or is_path(settings.voice):
        raise UsageError(
            f"Only installed voices remember settings, not {settings.voice!r}. Save a preset."
        )
    features = voice_features(installed_voice(settings.voice))
    changed = settings.changed()
    return change_defaults(
        settings.voice,
        {
            name: changed[name] if name in changed and SETTINGS[name].applies_to(features) else None
            for name in VOICE_NAMES
        },
    )


def voice_features(voice: InstalledVoice) -> frozenset[str]:
    """Return what a voice has, from its manifest; see `rtvc.engine.voice.Voice.features`."""
    facts = voice.manifest
    having = {"f0": facts.uses_pitch, "index": bool(facts.index), "speakers": facts.speakers > 1}
    return frozenset({"rvc", *(name for name, there in having.items() if there)})


def _require_effect(voice: InstalledVoice, name: str, value: Value) -> None:
    setting = find_setting(name)
    if name not in VOICE_NAMES:
        raise UsageError(
            f"{name!r} is not a setting of a voice. A voice can remember {', '.join(VOICE_NAMES)}."
        )
    if not setting.applies_to(voice_features(voice)):
        raise UsageError(f"{name!r} does nothing with the voice {voice.name!r}.")
    if name == "morph_to" and isinstance(value, str) and value:
        if not is_path(value):
            installed_voice(value)
        elif not os.path.exists(os.path.expanduser(value)):
            raise UsageError(f"There is no file or folder {value!r}. Check the path.")
    if name == "speaker" and isinstance(value, int) and value >= voice.manifest.speakers:
        raise UsageError(
            f"{voice.name!r} has no speaker {value}; its speakers are 0 to "
            f"{voice.manifest.speakers - 1}."
        )


def _folder_of(voice: str) -> Path | None:
    """Return the folder of an installed voice, None for other ones."""
    if voice == BUILT_IN or is_path(voice):
        return None
    return find_folder(voices_folder(), voice)
