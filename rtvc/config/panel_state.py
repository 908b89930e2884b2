"""What the panel remembers, and the keys that a person has chosen for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rtvc.config import settings_yaml
from rtvc.config.paths import config_folder, write_atomically
from rtvc.errors import RtvcError

THEMES = ("dark", "light", "contrast")
_FAVOURITES = tuple(f"favourite_{digit}" for digit in range(1, 10))
_HEADER = "# Written by rtvc's panel. Keys are chosen in keys.yaml beside it.\n"


@dataclass(frozen=True, slots=True)
class PanelState:
    """What the panel remembers.

    Attributes
    ----------
    theme
        One of `THEMES`.
    guided
        Whether the first-run guide has been seen or skipped.
    spectrogram
        Whether it is shown.
    favourites
        Names of presets by the digit that loads them, 1 to 9.
    """

    theme: str = THEMES[0]
    guided: bool = False
    spectrogram: bool = True
    favourites: dict[int, str] = field(default_factory=dict)


def panel_state_path() -> Path:
    """Return the file of what the panel remembers."""
    return config_folder() / "panel.yaml"


def keys_path() -> Path:
    """Return the file in which a person chooses keys."""
    return config_folder() / "keys.yaml"


def load_panel_state() -> tuple[PanelState, str]:
    """Return what is remembered, and a sentence ("" if all is well)."""
    texts, sentence = _read_texts(
        panel_state_path(), ("theme", "guided", "spectrogram", *_FAVOURITES)
    )
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
    """Remember.

    Raises
    ------
    RtvcError
        If the file cannot be written.
    """
    texts = {"theme": state.theme}
    texts |= {name: str(getattr(state, name)).lower() for name in ("guided", "spectrogram")}
    texts |= {f"favourite_{n}": name for n, name in sorted(state.favourites.items())}
    write_atomically(panel_state_path(), _HEADER + settings_yaml.render(texts, {}))


def load_keys(actions: tuple[str, ...]) -> tuple[dict[str, str], str]:
    """Return the chosen keys by action, and a sentence ("" if all is well).

    Parameters
    ----------
    actions
        What keys can be chosen for.
    """
    return _read_texts(keys_path(), actions)


def _read_texts(path: Path, names: tuple[str, ...]) -> tuple[dict[str, str], str]:
    if not path.exists():
        return {}, ""
    try:
        document = settings_yaml.parse(settings_yaml.read_text(path), str(path), names)
    except RtvcError as error:
        return {}, f"Ignored: {error}"
    if document.values:
        name = next(iter(document.values))
        return document.texts, f"{path}: {name!r} does not belong there; it is ignored."
    return document.texts, ""
