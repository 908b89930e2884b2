"""The panel's remembered state, and the user's key bindings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rtvc.config import settings_yaml
from rtvc.config.paths import config_folder, unused_path, write_atomically
from rtvc.errors import RtvcError
from rtvc.system.file_version import FileVersion, file_version

THEMES = ("dark", "light", "contrast")
_FAVOURITES = tuple(f"favourite_{digit}" for digit in range(1, 10))
_TEXT_KEYS = ("theme", "guided", "spectrogram", *_FAVOURITES)
_HEADER = "# Written by rtvc's panel. To change keys, write keys.yaml in this folder.\n"


@dataclass(frozen=True, slots=True)
class PanelState:
    """The panel's state that is kept between runs.

    Attributes
    ----------
    theme
        One of `THEMES`.
    guided
        Whether the user has seen or skipped the first-run guide.
    spectrogram
        Whether the spectrogram is shown.
    favourites
        Names of presets by the digit key that loads them, 1 to 9.
    """

    theme: str = THEMES[0]
    guided: bool = False
    spectrogram: bool = True
    favourites: dict[int, str] = field(default_factory=dict)

    def digit_of(self, preset: str) -> int:
        """Return the digit of a preset, 0 if it has none."""
        return next((digit for digit, name in self.favourites.items() if name == preset), 0)

    def with_favourite(self, digit: int, preset: str) -> PanelState:
        """Return a state in which a preset has this digit and no other; "" frees the digit."""
        others = {n: name for n, name in self.favourites.items() if name != preset and n != digit}
        return replace(self, favourites=others | ({digit: preset} if preset else {}))

    def renamed(self, old: str, new: str) -> PanelState:
        """Return a state in which a preset has another name, and keeps its digit."""
        digit = self.digit_of(old)
        return self.with_favourite(digit, new) if digit else self


def panel_state_path() -> Path:
    """Return the path of the panel's state file."""
    return config_folder() / "panel.yaml"


def panel_state_version() -> FileVersion | None:
    """Return what differs between two versions of the panel's state file, None if it is missing."""
    return file_version(panel_state_path())


def keys_path() -> Path:
    """Return the path of the file with the user's key bindings."""
    return config_folder() / "keys.yaml"


def load_panel_state() -> tuple[PanelState, str]:
    """Return the remembered state, and a warning or ""."""
    texts, sentence = _read_texts(panel_state_path(), _TEXT_KEYS)
    theme = texts.get("theme", THEMES[0])
    favourites = {n: texts[name] for n, name in enumerate(_FAVOURITES, 1) if texts.get(name)}
    return (
        PanelState(
            theme if theme in THEMES else THEMES[0],
            texts.get("guided") == "true",
            texts.get("spectrogram") != "false",
            favourites,
        ),
        sentence,
    )


def save_panel_state(state: PanelState) -> None:
    """Write the panel's state file. A damaged one is renamed, never overwritten.

    Raises
    ------
    RtvcError
        If the file cannot be written, or one that cannot be read, or that only a newer version of
        rtvc can read, is in its place.
    """
    _make_room(panel_state_path())
    texts = {"theme": state.theme}
    texts |= {name: str(getattr(state, name)).lower() for name in ("guided", "spectrogram")}
    texts |= {f"favourite_{n}": name for n, name in sorted(state.favourites.items())}
    write_atomically(panel_state_path(), _HEADER + settings_yaml.render(texts, {}))


def _make_room(path: Path) -> None:
    """Rename a damaged state file, and refuse to replace one that is not known to be damaged."""
    if not settings_yaml.is_there(path):
        return
    try:
        settings_yaml.parse(settings_yaml.read_text(path), str(path), _TEXT_KEYS)
    except (settings_yaml.NewerFileError, settings_yaml.UnreadableFileError) as error:
        raise RtvcError(f"{path} is not replaced: {error.problems[0].message}") from None
    except settings_yaml.SettingsFileError:
        try:
            path.rename(unused_path(path.with_name("panel-damaged.yaml")))
        except OSError as error:
            raise RtvcError(f"{path} cannot be renamed: {error.strerror}.") from None


def load_keys(actions: tuple[str, ...]) -> tuple[dict[str, str], str]:
    """Return the user's keys by action, and a warning or "".

    Parameters
    ----------
    actions
        The actions that keys can be bound to.
    """
    return _read_texts(keys_path(), actions, "The end of the help (?) lists all names.")


def _read_texts(
    path: Path, names: tuple[str, ...], listing: str = ""
) -> tuple[dict[str, str], str]:
    if not settings_yaml.is_there(path):
        return {}, ""
    try:
        document = settings_yaml.parse(settings_yaml.read_text(path), str(path), names, listing)
    except settings_yaml.NewerFileError as error:
        return {}, f"A file of the panel is ignored. {path}: {error.problems[0].message}"
    except RtvcError as error:
        return {}, f"A file of the panel is ignored. {error}"
    if document.values:
        name = next(iter(document.values))
        return document.texts, f"{path}: {name!r} does not belong in this file and is ignored."
    return document.texts, ""
