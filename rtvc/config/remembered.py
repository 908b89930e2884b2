"""The devices and settings of the last run, which the next run starts with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rtvc.calibration.profiles import DEFAULT_PROFILE, PROFILES
from rtvc.calibration.sizing import sizes_at_default
from rtvc.config import settings_yaml
from rtvc.config.paths import config_folder, unused_path, write_atomically
from rtvc.config.recording_choice import RecordingChoice
from rtvc.errors import UsageError
from rtvc.settings import Settings

_RECORD_KEYS = {"record_what": "what", "record_folder": "folder", "record_name": "name"}
_TEXT_KEYS = ("input", "output", "monitor", "profile", *_RECORD_KEYS)
_HEADER = "# Written by rtvc when a run starts, and read by the next run.\n"


@dataclass(frozen=True, slots=True)
class RememberedRun:
    """The devices and settings of a run.

    Attributes
    ----------
    input, output
        Names of the devices; "" is the system's default.
    monitor
        Name of the monitor's device; "" is no monitor.
    settings
        The settings. `mode` is never remembered: a run starts with converted output, so that
        your own voice is never output by surprise.
    profile
        Name of the profile: the trade-off between quality and latency.
    chosen
        Names of the sizes that you set to their default value explicitly.
    recording
        What is recorded, and to which files.
    """

    input: str = ""
    output: str = ""
    settings: Settings = field(default_factory=Settings)
    monitor: str = ""
    profile: str = DEFAULT_PROFILE
    chosen: frozenset[str] = frozenset()
    recording: RecordingChoice = field(default_factory=RecordingChoice)


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
    if not path.exists():
        return RememberedRun(), []
    document = settings_yaml.parse(settings_yaml.read_text(path), str(path), _TEXT_KEYS)
    profile = document.texts.get("profile", DEFAULT_PROFILE)
    settings = Settings().replace(**document.values)
    run = RememberedRun(
        input=document.texts.get("input", ""),
        output=document.texts.get("output", ""),
        settings=settings,
        monitor=document.texts.get("monitor", ""),
        profile=profile if profile in PROFILES else DEFAULT_PROFILE,
        chosen=sizes_at_default(settings).intersection(document.values),
        recording=_recording(document.texts),
    )
    return run, document.notes


def _recording(texts: dict[str, str]) -> RecordingChoice:
    fields = {name: texts[key] for key, name in _RECORD_KEYS.items() if key in texts}
    try:
        return RecordingChoice(**fields)
    except UsageError:  # written by another version
        return RecordingChoice()


def load_remembered() -> tuple[RememberedRun, str]:
    """Return the last run, and a warning or "".

    A damaged file is renamed, never overwritten; the warning has its new path.
    """
    try:
        run, notes = _read()
        return run, " ".join(note.message for note in notes)
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
        If the file cannot be written.
    """
    values = run.settings.changed()
    for name in sorted(run.chosen & sizes_at_default(run.settings)):
        values[name] = getattr(run.settings, name)
    texts = {"input": run.input, "output": run.output, "monitor": run.monitor}
    if run.profile != DEFAULT_PROFILE:
        texts["profile"] = run.profile
    for key, name in _RECORD_KEYS.items():
        if (text := getattr(run.recording, name)) != getattr(RecordingChoice(), name):
            texts[key] = text
    write_atomically(remembered_path(), _HEADER + settings_yaml.render(texts, values))
