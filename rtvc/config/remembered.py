"""The devices and settings of the last run, which the next run starts with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rtvc.calibration.profiles import DEFAULT_PROFILE, PROFILES
from rtvc.calibration.sizing import sizes_at_default
from rtvc.config import settings_yaml
from rtvc.config.device_keys import device_of, keys_of, texts_of
from rtvc.config.paths import config_folder, unused_path, write_atomically
from rtvc.config.recording_choice import RecordingChoice
from rtvc.device_choice import (
    MIX,
    SYSTEM_DEFAULT,
    ChannelChoice,
    DeviceIdentity,
    parse_channel,
)
from rtvc.errors import RtvcError, UsageError
from rtvc.settings import Settings

_RECORD_KEYS = {"record_what": "what", "record_folder": "folder", "record_name": "name"}
_DEVICES = ("input", "output", "monitor")
_MONITOR_DEFAULT = "monitor_default"
_TEXT_KEYS = (
    *(key for device in _DEVICES for key in keys_of(device)),
    _MONITOR_DEFAULT,
    "input_channel",
    "profile",
    "preset",
    "turned",
    *_RECORD_KEYS,
)
_HEADER = """\
# Written by rtvc when a run starts, and read by the next run.
# A device is its name as the system spells it, its host API, and which of several with that name.
"""


@dataclass(frozen=True, slots=True)
class RememberedRun:
    """The devices and settings of a run.

    Attributes
    ----------
    input, output
        The devices; None is the system's default.
    monitor
        The monitor's device; None is no monitor, `SYSTEM_DEFAULT` the system's default.
    settings
        The settings. `mode` is never remembered: a run starts with converted output, so that
        your own voice is never output by surprise.
    profile
        Name of the profile: the trade-off between quality and latency.
    chosen
        Names of the sizes that you set to their default value explicitly.
    recording
        What is recorded, and to which files.
    input_channel
        The channel of the microphone that is used.
    preset
        Name of the preset that the settings began with, "" if there is none.
    turned
        Names of the settings that are not as the voice remembers them, so that the next run
        restores them; the others follow the voice. None: those that differ from rtvc's defaults.
    """

    input: DeviceIdentity | None = None
    output: DeviceIdentity | None = None
    settings: Settings = field(default_factory=Settings)
    monitor: DeviceIdentity | None = None
    profile: str = DEFAULT_PROFILE
    chosen: frozenset[str] = frozenset()
    recording: RecordingChoice = field(default_factory=RecordingChoice)
    input_channel: ChannelChoice = MIX
    preset: str = ""
    turned: frozenset[str] | None = None


def remembered_path() -> Path:
    """Return the path of the file with the last run."""
    return config_folder() / "remembered.yaml"


def read_remembered() -> RememberedRun:
    """Return the last run, or the defaults if there is none.

    Raises
    ------
    SettingsFileError
        If the file is damaged.
    """
    return _read()[0]


def _read() -> tuple[RememberedRun, list[settings_yaml.Problem]]:
    """Return the last run, and the notes about rounded values in its file."""
    path = remembered_path()
    if not settings_yaml.is_there(path):
        return RememberedRun(), []
    document = settings_yaml.parse(settings_yaml.read_text(path), str(path), _TEXT_KEYS)
    profile = document.texts.get("profile", DEFAULT_PROFILE)
    settings = Settings().replace(**document.values)
    run = RememberedRun(
        input=_device("input", document, path),
        output=_device("output", document, path),
        settings=settings,
        monitor=SYSTEM_DEFAULT
        if document.texts.get(_MONITOR_DEFAULT) == "yes"
        else _device("monitor", document, path),
        profile=profile if profile in PROFILES else DEFAULT_PROFILE,
        chosen=sizes_at_default(settings).intersection(document.values),
        recording=_recording(document.texts),
        input_channel=_channel(document.texts),
        preset=document.texts.get("preset", ""),
        turned=frozenset(document.texts["turned"].split()) if "turned" in document.texts else None,
    )
    return run, document.notes


def _device(device: str, document: settings_yaml.Document, path: Path) -> DeviceIdentity | None:
    if not document.texts.get(device):
        return None
    try:
        return device_of(device, document.texts)
    except ValueError as clause:
        message = f"{clause}. Correct or remove the line."
        problem = settings_yaml.Problem(0, message)
        raise settings_yaml.file_error(str(path), document.version, [problem]) from None


def _channel(texts: dict[str, str]) -> ChannelChoice:
    try:
        return parse_channel(texts.get("input_channel", MIX))
    except UsageError:  # changed by hand
        return MIX


def _recording(texts: dict[str, str]) -> RecordingChoice:
    fields = {name: texts[key] for key, name in _RECORD_KEYS.items() if key in texts}
    try:
        return RecordingChoice(**fields)
    except UsageError:  # written by another version
        return RecordingChoice()


def load_remembered() -> tuple[RememberedRun, str]:
    """Return the last run, and a warning or "".

    A damaged file is renamed, never overwritten; the warning has its new path. One that the
    system does not let be read, or that only a newer version of rtvc can read, stays where it is.
    """
    try:
        run, notes = _read()
        return run, " ".join(note.message for note in notes)
    except settings_yaml.UnreadableFileError as error:
        return RememberedRun(), f"The settings of the last run are ignored. {error}"
    except settings_yaml.NewerFileError as error:
        return (
            RememberedRun(),
            f"The settings of the last run are ignored. {error.path}: {error.problems[0].message}",
        )
    except settings_yaml.SettingsFileError as error:
        path = remembered_path()
        backup = unused_path(path.with_name("remembered-damaged.yaml"))
        try:
            path.rename(backup)
        except OSError:
            return (
                RememberedRun(),
                f"The settings of the last run cannot be read and are ignored. {error}",
            )
        return RememberedRun(), (
            f"The settings of the last run are damaged: {error.problems[0].message} "
            f"rtvc starts from the defaults. The old file is now {backup}."
        )


def save_remembered(run: RememberedRun) -> None:
    """Write the file with the last run.

    Raises
    ------
    RtvcError
        If the file cannot be written, or one that cannot be read, or that only a newer version of
        rtvc can read, is in its place.
    """
    path = remembered_path()
    _refuse_to_replace(path)
    values = run.settings.changed()
    for name in sorted(run.chosen & sizes_at_default(run.settings)):
        values[name] = getattr(run.settings, name)
    texts: dict[str, str] = {}
    for device in _DEVICES:
        identity: DeviceIdentity | None = getattr(run, device)
        texts |= texts_of(device, identity) if identity else {device: ""}
    if run.monitor == SYSTEM_DEFAULT:
        texts[_MONITOR_DEFAULT] = "yes"
    if run.input_channel != MIX:
        texts["input_channel"] = str(run.input_channel)
    if run.profile != DEFAULT_PROFILE:
        texts["profile"] = run.profile
    if run.preset:
        texts["preset"] = run.preset
    if run.turned is not None:
        texts["turned"] = " ".join(sorted(run.turned))
    for key, name in _RECORD_KEYS.items():
        if (text := getattr(run.recording, name)) != getattr(RecordingChoice(), name):
            texts[key] = text
    write_atomically(path, _HEADER + settings_yaml.render(texts, values))


def _refuse_to_replace(path: Path) -> None:
    """Refuse to replace a file that cannot be read, or that only a newer version can read."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RtvcError(
            f"{path} is not replaced, because it cannot be read ({error.strerror}). Make it yours, "
            "or remove it."
        ) from None
    try:
        _read()
    except settings_yaml.NewerFileError as error:
        raise RtvcError(f"{path} is not replaced: {error.problems[0].message}") from None
    except settings_yaml.SettingsFileError:
        pass  # damaged
