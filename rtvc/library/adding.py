"""Add voices to the library: from files, or as a blend of two installed voices."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rtvc.engine.weights.checkpoint import VoiceCheckpoint, read_voice_checkpoint
from rtvc.engine.weights.ivf_flat_file import check_ivf_flat
from rtvc.engine.weights.recognise import FileKind, recognise
from rtvc.engine.weights.safetensors import write_safetensors
from rtvc.engine.weights.text import printable
from rtvc.errors import RtvcError, UsageError
from rtvc.library import names
from rtvc.library.blending import blend_checkpoints, check_same_network
from rtvc.library.finding import FEATURE_WIDTHS, FoundVoice
from rtvc.library.home import (
    copy_file,
    move_into_place,
    removed_folder,
    require_space,
    staging_folder,
    voices_folder,
)
from rtvc.library.voice_defaults import write_defaults
from rtvc.library.voices import (
    DEFAULTS_FILE,
    INDEX_FILE,
    WEIGHTS_FILE,
    InstalledVoice,
    Manifest,
    available_name,
    explain_damage,
    find_folder,
    installed_voice,
    remove_voice,
    write_manifest,
)
from rtvc.setting import SettingError, Value
from rtvc.settings import SETTINGS
from rtvc.system.unicode_names import comparison_key


@dataclass(frozen=True, slots=True)
class AddedVoice:
    """The result of adding a voice.

    Attributes
    ----------
    voice
        The installed voice.
    notes
        Sentences for the user, such as why an index was left out.
    """

    voice: InstalledVoice
    notes: tuple[str, ...]


def add_voice(
    found: FoundVoice, *, name: str | None = None, index: Path | None = None, force: bool = False
) -> AddedVoice:
    """Install a voice.

    Parameters
    ----------
    found
        The voice's files.
    name
        Name of the voice; by default the one that its files suggest.
    index
        Index file; by default the one that was found with the voice.
    force
        Replace an installed voice of the same name; the old one can be restored.

    Raises
    ------
    UsageError
        If the name is taken or invalid, or `index` does not match the voice.
    RtvcError
        If a file cannot be read, or the library cannot be written to.
    """
    wanted = names.validated_name(name or found.name)
    if not force:
        available_name(wanted, "--name gives this one another name, --force replaces it")
    if index is not None and not os.path.exists(index):
        raise UsageError(f"There is no file {str(index)!r}. Check the path of the index.")
    checkpoint = read_voice_checkpoint(found.path)
    chosen, vectors, notes = index, 0, list[str]()
    if index is not None:
        vectors = _index_size(index, checkpoint)
    else:
        chosen, vectors, notes = _usable_index(found, checkpoint)
    manifest = _manifest(
        checkpoint, source=found.path.name, origin=found.origin, index=chosen, vectors=vectors
    )
    proposed = _proposed(checkpoint)
    notes += [
        f"It remembers {name} {value:g} from its file. Use it with --auto-pitch on."
        for name, value in proposed.items()
    ]
    return _install(wanted, checkpoint, manifest, chosen, notes, force=force, proposed=proposed)


def blend_voices(
    first: str, second: str, *, ratio: float, name: str | None = None, force: bool = False
) -> AddedVoice:
    """Install the weighted mean of two installed voices.

    Every weight is ``(1 - ratio) * first + ratio * second``. The blend has as many speakers as
    the voice with fewer. It has no index: the features of one voice would move the timbre back
    to that voice.

    Parameters
    ----------
    first, second
        Names of installed voices with the same network architecture.
    ratio
        Weight of the second voice, 0 to 1.
    name
        Name of the blend; by default built from both names.
    force
        Replace an installed voice of the same name; the old one can be restored.

    Raises
    ------
    UsageError
        If a voice is not installed, their networks differ, or a value is invalid.
    RtvcError
        If a voice cannot be read, or the library cannot be written to.
    """
    if not 0.0 <= ratio <= 1.0:
        raise UsageError(f"The ratio is {ratio:g}, but must be from 0 (only the first voice) to 1.")
    voices = installed_voice(first), installed_voice(second)
    wanted = names.validated_name(name or names.sanitized(f"{voices[0].name}+{voices[1].name}"))
    if not force:
        available_name(wanted, "--name gives this one another name, --force replaces it")
    a, b = (_read_installed(voice) for voice in voices)
    check_same_network((voices[0].name, voices[1].name), a, b, "be blended")
    blended = blend_checkpoints(a, b, ratio)
    source = f"{voices[0].name} {1 - ratio:.0%} and {voices[1].name} {ratio:.0%}"
    manifest = _manifest(blended, source=source, origin="", index=None, vectors=0)
    return _install(wanted, blended, manifest, None, [], force=force)


def _read_installed(voice: InstalledVoice) -> VoiceCheckpoint:
    with explain_damage(voice.path):
        return read_voice_checkpoint(voice.path)


def inspect_voice(found: FoundVoice) -> tuple[Manifest, list[str]]:
    """Return the manifest and the notes that adding a voice would give, without adding it.

    Raises
    ------
    RtvcError
        If the voice cannot be read.
    """
    checkpoint = read_voice_checkpoint(found.path)
    index, vectors, notes = _usable_index(found, checkpoint)
    manifest = _manifest(
        checkpoint, source=found.path.name, origin=found.origin, index=index, vectors=vectors
    )
    return manifest, notes


def _usable_index(
    found: FoundVoice, checkpoint: VoiceCheckpoint
) -> tuple[Path | None, int, list[str]]:
    """Return the index found with a voice, its number of vectors, and why it is left out."""
    if found.index is None:
        return None, 0, list(found.notes)
    try:
        return found.index, _index_size(found.index, checkpoint), []
    except RtvcError as error:
        return None, 0, [f"The index is left out. {error}"]


def _proposed(checkpoint: VoiceCheckpoint) -> dict[str, Value]:
    """Return what the file of a voice tells for what it should remember."""
    setting = SETTINGS["auto_pitch_target"]
    try:
        median_hz = setting.check(round(float(checkpoint.info.get("f0_median", "")), 1))
    except (ValueError, SettingError):
        return {}
    return {setting.name: median_hz} if checkpoint.uses_pitch and median_hz else {}


def _index_size(index: Path, checkpoint: VoiceCheckpoint) -> int:
    """Return the number of vectors in an index, after checking that it matches the voice."""
    kind = recognise(index)
    if kind is not FileKind.INDEX:
        raise UsageError(f"{index.name} cannot be used as an index: it is {kind.value}.")
    try:
        header = check_ivf_flat(index)
    except RtvcError as error:
        # The index may be in a temporary folder, whose path means nothing to the user.
        raise RtvcError(str(error).replace(str(index), index.name)) from None
    needed = FEATURE_WIDTHS[checkpoint.version]
    if header.width != needed:
        raise UsageError(
            f"{index.name} holds features of width {header.width}, and this {checkpoint.version} "
            f"voice needs {needed}; use the index that was made in the same training."
        )
    if header.total == 0:  # faiss counts vectors that are not finite, and stores none of them
        raise RtvcError(
            f"{index.name} is empty: the vectors that it counts are not finite or too large, so "
            "it holds none of them. Build it again with the training tool."
        )
    if header.total < header.lists:
        raise RtvcError(
            f"{index.name} is damaged: it has more lists ({header.lists}) than vectors "
            f"({header.total}). Download it again, or build it again with the training tool."
        )
    return header.total


def _manifest(
    checkpoint: VoiceCheckpoint, *, source: str, origin: str, index: Path | None, vectors: int
) -> Manifest:
    return Manifest(
        version=checkpoint.version,
        sample_rate=checkpoint.sample_rate,
        uses_pitch=checkpoint.uses_pitch,
        speakers=checkpoint.speakers,
        vocoder=checkpoint.vocoder,
        embedder=checkpoint.embedder,
        info=checkpoint.info,
        source=printable(source, 200),
        source_sha256=checkpoint.source_sha256,
        origin=origin,
        index=printable(index.name, 200) if index else "",
        index_vectors=vectors,
        added=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _install(
    name: str,
    checkpoint: VoiceCheckpoint,
    manifest: Manifest,
    index: Path | None,
    notes: list[str],
    *,
    force: bool,
    proposed: Mapping[str, Value] = MappingProxyType({}),
) -> AddedVoice:
    size = sum(array.nbytes for array in checkpoint.weights.values())
    require_space(size + (index.stat().st_size if index else 0), f"the voice {name!r}")
    with staging_folder() as stage:
        folder = stage / "voice"
        folder.mkdir()
        write_safetensors(folder / WEIGHTS_FILE, checkpoint.weights, _weights_metadata(checkpoint))
        if index is not None:
            copy_file(index, folder / INDEX_FILE)
        write_manifest(folder, manifest)
        if proposed:
            write_defaults(folder, proposed)
        target, kept = voices_folder() / name, ""
        old = find_folder(voices_folder(), name)
        if force and old is not None:
            if (old / DEFAULTS_FILE).is_file():
                (folder / DEFAULTS_FILE).unlink(missing_ok=True)
                copy_file(old / DEFAULTS_FILE, folder / DEFAULTS_FILE)
            kept = remove_voice(name)
            taken = comparison_key(kept) == comparison_key(name)
            new = " --name NEW" if taken else ""
            notes.append(
                f"The old one can be restored: rtvc voices restore {shlex.quote(kept)}{new}"
            )
        try:
            move_into_place(folder, target)
        except FileExistsError:
            raise UsageError(f"There is a voice {name!r} already; choose another name.") from None
        except BaseException:
            if kept and old is not None and not target.exists():
                (removed_folder() / kept).rename(old)
            raise
    return AddedVoice(installed_voice(name), tuple(notes))


def _weights_metadata(checkpoint: VoiceCheckpoint) -> dict[str, str]:
    """Return the metadata of the weights file, as ``read_voice_checkpoint`` reads it."""
    config = dataclasses.asdict(checkpoint.config)
    return {
        "config": json.dumps(list(config.values())),
        "embedder_model": checkpoint.embedder,
        **checkpoint.info,
    }
