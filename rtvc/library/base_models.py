"""Base models, the networks that RVC voices share: which ones exist, and which are installed.

Sizes and SHA-256 checksums are from the git-LFS pointers of the repositories, and for FCPE from
the file itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtvc.errors import RtvcError
from rtvc.library import names
from rtvc.library.home import format_size, models_folder
from rtvc.library.voices import InstalledVoice, Manifest
from rtvc.system.permission import folder_problem
from rtvc.system.unicode_names import comparison_key

MANIFEST_FILE = "model.json"

_FORMAT = 1
# RVC's hubert_base.pt is ContentVec; programs use either name.
_ALIASES = dict.fromkeys(
    ("", "hubert", "hubert-base", "content-vec", "contentvec-base", "content-vec-best"),
    "contentvec",
)
_RVC = (
    "https://huggingface.co/lj1995/VoiceConversionWebUI/resolve/"
    "88e42f0cb3662ddc0dd263a4814206ce96d53214/"
)
_FCPE = (
    "https://raw.githubusercontent.com/CNChTu/FCPE/"
    "7f714c036c448fe8cdc9b0a59a99b2f3c7f8a907/torchfcpe/assets/"
)


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model that can be downloaded.

    Attributes
    ----------
    kind
        Its short name, as in ``base_model_path(kind)``.
    title
        Its name for the user.
    url, size, sha256
        URL, size in bytes and SHA-256 of the published file.
    other_files
        Size and SHA-256 of other published files with the same network.
    required
        Whether voices need it by default; otherwise it is optional.
    """

    kind: str
    title: str
    url: str
    size: int
    sha256: str
    other_files: tuple[tuple[int, str], ...]
    required: bool

    @property
    def file(self) -> str:
        """Name of the published file."""
        return self.url.rpartition("/")[2]

    def matches(self, size: int, sha256: str) -> bool:
        """Return whether a file is a published file of this network."""
        return (size, sha256) in ((self.size, self.sha256), *self.other_files)


BASE_MODELS = {
    model.kind: model
    for model in (
        BaseModel(
            "contentvec",
            "content encoder ContentVec",
            _RVC + "hubert_base.pt",
            189_507_909,
            "f54b40fd2802423a5643779c4861af1e9ee9c1564dc9d32f54f20b5ffba7db96",
            (
                # The same network in Hugging Face's layout, published as content-vec-best.
                (378_342_945, "d8dd400e054ddf4e6be75dab5a2549db748cc99e756a097c496c099f65a4854e"),
                (378_300_920, "4eda8a6ad16751c761c1740580f6d3736ec3470a2cf6e35fa4913e5d50a4e014"),
            ),
            required=True,
        ),
        BaseModel(
            "rmvpe",
            "pitch estimator RMVPE",
            _RVC + "rmvpe.pt",
            181_184_272,
            "6d62215f4306e3ca278246188607209f09af3dc77ed4232efdd069798c4ec193",
            # The file of July 2023, before it was replaced in October.
            ((181_189_687, "a5ed4719f59085d1affc5d81354c70828c740584f2d24e782523345a6a278962"),),
            required=True,
        ),
        BaseModel(
            "fcpe",
            "pitch estimator FCPE",
            _FCPE + "fcpe_c_v001.pt",
            43_363_260,
            "b9aeaeb673436eeda50ceafd632aa681aa63417e52eae4207503d180c9b10015",
            (),
            required=False,
        ),
    )
}
"""Base models by kind. Any other kind is the name of a content encoder in a voice's file."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A base model in the library.

    Attributes
    ----------
    kind
        Its short name.
    file
        Name of the weights file in its folder.
    source
        URL or path that the file came from.
    size, sha256
        Size in bytes and SHA-256 of the weights file.
    known
        Whether it is a published file, by its SHA-256. Otherwise only the names and shapes of
        the weights were checked.
    """

    kind: str
    file: str
    source: str
    size: int
    sha256: str
    known: bool

    @property
    def path(self) -> Path:
        """The weights file."""
        return models_folder() / self.kind / self.file


def model_title(kind: str) -> str:
    """Return a base model's name for the user."""
    model = BASE_MODELS.get(kind)
    return model.title if model else f"content encoder {kind!r}"


def model_kind(embedder: str) -> str:
    """Return the kind of a content encoder from its name in a voice's file."""
    name = comparison_key(names.sanitized(embedder)).replace("_", "-").replace(" ", "-")
    return _ALIASES.get(name, name)


def installed_model(kind: str) -> InstalledModel | None:
    """Return an installed base model, or None if it is missing or damaged.

    This checks that the file exists and has the right size. `is_intact` checks its SHA-256.
    """
    try:
        facts = _read_facts(kind)
        if facts.pop("format") != _FORMAT or Path(facts["file"]).name != facts["file"]:
            return None
        model = InstalledModel(kind=kind, **facts)
        return model if model.path.stat().st_size == model.size else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_newer(kind: str) -> bool:
    """Return whether a newer version of rtvc has installed a base model, so it cannot be used."""
    try:
        form = _read_facts(kind)["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return type(form) is int and form > _FORMAT


def _read_facts(kind: str) -> Any:
    path = models_folder() / kind / MANIFEST_FILE
    if path.is_fifo():  # to open it would wait
        raise ValueError("it is a pipe, not a file")
    return json.loads(path.read_text(encoding="utf-8"))


def refuse_newer(kind: str) -> None:
    """Refuse to replace a base model that only a newer version of rtvc can use.

    Raises
    ------
    RtvcError
        If it is one.
    """
    if is_newer(kind):
        raise RtvcError(_newer_message(kind))


def _newer_message(kind: str) -> str:
    return f"A newer version of rtvc has installed the {model_title(kind)}. Update rtvc to use it."


def installed_kinds() -> list[str]:
    """Return the kinds of all installed base models."""
    try:
        kinds = sorted(os.listdir(models_folder()))
    except OSError:  # it is missing or not readable
        return []
    return [kind for kind in kinds if installed_model(kind)]


def is_intact(model: InstalledModel) -> bool:
    """Return whether the file of an installed base model is unchanged, by its SHA-256."""
    try:
        with model.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == model.sha256
    except OSError:
        return False


def write_manifest(folder: Path, model: InstalledModel) -> None:
    """Write a base model's manifest into its folder."""
    facts = {"format": _FORMAT, **asdict(model)}
    del facts["kind"]
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")


def base_model_path(kind: str) -> Path:
    """Return the file of an installed base model.

    Parameters
    ----------
    kind
        ``"contentvec"``, ``"rmvpe"``, ``"fcpe"``, or the name of another content encoder.

    Raises
    ------
    RtvcError
        If it is not installed; the message names the command to run.
    """
    model = installed_model(model_kind(kind))
    if model is None:
        raise RtvcError(
            f"The {model_title(model_kind(kind))} is not installed. {install_advice([kind])}"
        )
    return model.path


def estimator_in_use(method: str) -> str:
    """Return the pitch estimator that a ``Settings.pitch_method`` stands for on this machine.

    Until RMVPE is installed, ``rmvpe`` stands for ``swift``, which is part of rtvc.
    """
    return "swift" if method == "rmvpe" and installed_model("rmvpe") is None else method


def needed_models(voice: Manifest, estimator: str = "rmvpe") -> list[str]:
    """Return the kinds of the base models that a voice needs.

    Parameters
    ----------
    voice
        The voice's manifest.
    estimator
        The pitch estimator; swift, dio and harvest need no base model.
    """
    pitch = [estimator] if voice.uses_pitch and estimator in BASE_MODELS else []
    return [model_kind(voice.embedder), *pitch]


def missing_models(voice: Manifest, estimator: str = "rmvpe") -> list[str]:
    """Return the kinds from `needed_models` that are not installed."""
    return [kind for kind in needed_models(voice, estimator) if installed_model(kind) is None]


def require_base_models(voice: InstalledVoice, estimator: str = "rmvpe") -> None:
    """Check that all base models that a voice cannot do without are installed.

    RMVPE is not one of them; see `estimator_in_use`.

    Parameters
    ----------
    voice
        The voice.
    estimator
        See `needed_models`.

    Raises
    ------
    RtvcError
        If a base model is missing; the message names the command to run.
    """
    missing = missing_models(voice.manifest, estimator)
    if set(missing) - {"rmvpe"}:
        what = " and the ".join(model_title(kind) for kind in missing)
        raise RtvcError(
            f"The voice {voice.name!r} needs the {what}, not installed yet. "
            f"{install_advice(missing)}"
        )


def install_advice(kinds: list[str]) -> str:
    """Return one or two sentences on how to install base models."""
    if problem := folder_problem(models_folder()):
        return problem
    if newer := [kind for kind in map(model_kind, kinds) if is_newer(kind)]:
        return " ".join(map(_newer_message, newer))
    known = [BASE_MODELS[kind] for kind in map(model_kind, kinds) if kind in BASE_MODELS]
    steps = []
    if known:
        named = "".join(f" {model.kind}" for model in known)
        choice = "" if all(model.required for model in known) else named
        size = format_size(sum(model.size for model in known))
        steps.append(f"Run 'rtvc setup{choice}' once; it downloads {size}.")
    steps += [
        f"Download the folder of that encoder (config.json and pytorch_model.bin), and run "
        f"'rtvc setup {kind} --from FOLDER'."
        for kind in map(model_kind, kinds)
        if kind not in BASE_MODELS
    ]
    return " ".join(steps)
