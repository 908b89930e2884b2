"""The input and output files of ``rtvc convert``."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtvc.errors import RtvcError, UsageError
from rtvc.system.path_key import path_key

_MORE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("aif", "aifc", "bwf", "gsm", "iff", "mp1", "mp2", "nist", "oga", "opus", "sf", "snd"),
        *("sph", "wave", "wve"),
    )
)
"""Suffixes of formats that libsndfile reads, beyond its names of the formats."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to convert, and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file in a folder that is not converted, and why: a noun phrase for several of them."""

    source: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every file that was found: those to convert and those to skip."""

    jobs: tuple[Job, ...]
    skipped: tuple[Skipped, ...] = ()


def make_plan(inputs: Sequence[Path], target: Path) -> Plan:
    """Return the files to convert.

    Parameters
    ----------
    inputs
        Files and folders; a folder means all sound files in it and in its subfolders. "-" is
        standard input.
    target
        A file if there is one input file and the name has a suffix; else, or if it
        exists as a folder, a folder. "-" is standard output.

    Raises
    ------
    UsageError
        If an input is missing, a folder holds no sound files, the suffix is not that
        of a sound format, an output would overwrite an input, or two inputs have the
        same output.
    """
    from rtvc.audio.local_file import STANDARD_STREAM
    from rtvc.audio.sound_file import format_of

    for path in inputs:
        if path != STANDARD_STREAM and not path.exists():
            raise UsageError(f"There is no file {str(path)!r}.")
    single = len(inputs) == 1 and (inputs[0] == STANDARD_STREAM or not inputs[0].is_dir())
    if target == STANDARD_STREAM or STANDARD_STREAM in inputs:
        if not single or (target != STANDARD_STREAM and (target.is_dir() or not target.suffix)):
            raise UsageError("With '-', give one input and one output, which is a file or '-'.")
        if target != STANDARD_STREAM:
            format_of(target)
        return Plan((Job(inputs[0], target),))
    if not target.exists() and is_sound_name(Path(f"name{target.name}")) and not target.suffix:
        raise UsageError(
            f"{target} has no name before its extension. A variable in your command may not be set."
        )
    if single and not target.is_dir() and target.suffix:
        format_of(target)
        plan = Plan((Job(inputs[0], target),))
    else:
        if target.exists() and not target.is_dir():
            if single:
                format_of(target)
            raise UsageError(
                f"{target} is a file. Give a folder as OUT to convert several files or a folder."
            )
        if not target.exists() and is_sound_name(target):
            raise UsageError(
                f"{target} has the name of a sound file, but several files or a folder need a "
                "folder as OUT. Give another name, or create the folder first."
            )
        plan = _plan_folder(inputs, target)
    _check_targets(plan.jobs)
    return plan


def is_sound_name(path: Path) -> bool:
    """Return whether the suffix is that of a sound format that can be written."""
    from rtvc.audio.sound_file import format_of

    try:
        format_of(path)
    except UsageError:
        return False
    return True


def _plan_folder(inputs: Sequence[Path], target: Path) -> Plan:
    sources: list[tuple[Path, Path]] = []
    skipped: list[Skipped] = []
    for path in inputs:
        before = len(sources)
        for found, relative in _files(path, target):
            if isinstance(found, Skipped):
                skipped.append(found)
            else:
                sources.append((found, relative))
        if len(sources) == before:
            named = "".join(f" {one.source.name} is {one.reason}." for one in skipped[:3])
            raise UsageError(f"There are no sound files in the folder {str(path)!r}.{named}")
    # Names that stay as they are take precedence: talk.m4a next to talk.wav.
    taken = {path_key(target / name) for _, name in sources if is_sound_name(name)}
    jobs: list[Job] = []
    for source, name in sources:
        result = name
        if not is_sound_name(name):
            result = name.with_suffix(".wav")
            if path_key(target / result) in taken:
                result = name.with_name(f"{name.name}.wav")
            taken.add(path_key(target / result))
        jobs.append(Job(source, target / result))
    return Plan(tuple(jobs), tuple(skipped))


def _check_targets(jobs: Sequence[Job]) -> None:
    seen: dict[str, Path] = {}
    sources = {path_key(job.source) for job in jobs}
    for job in jobs:
        key = path_key(job.target)
        if key in sources:
            raise UsageError(f"{job.target} is an input file. Give another file or folder as OUT.")
        if key in seen:
            raise UsageError(
                f"{seen[key]} and {job.source} would both be written to {job.target}. "
                "Convert them one by one."
            )
        seen[key] = job.source


def _files(path: Path, target: Path) -> Iterator[tuple[Path | Skipped, Path]]:
    """Yield the files of an input, or why they are skipped, with their paths in it."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    locked: list[Skipped] = []

    def note(error: OSError) -> None:
        reason = f"a folder that cannot be read ({error.strerror})"
        locked.append(Skipped(Path(error.filename), reason))

    own = path_key(target)
    for folder, folders, names in os.walk(path, onerror=note):
        # The output folder of an earlier run is not an input.
        inner = [Path(folder, name) for name in sorted(folders)]
        inner = [one for one in inner if path_key(one) != own]
        reasons = {one: _reason_to_skip_folder(one) for one in inner}
        folders[:] = [one.name for one in inner if not reasons[one]]
        for one, reason in reasons.items():
            if reason:
                yield Skipped(one, reason), one.relative_to(path)
        for name in sorted(names):
            file = Path(folder) / name
            reason = _reason_to_skip(file)
            yield (Skipped(file, reason) if reason else file), file.relative_to(path)
    yield from ((one, path) for one in locked)


def _reason_to_skip_folder(folder: Path) -> str:
    if folder.name.startswith("."):
        return "a hidden folder"
    if folder.is_symlink():  # it may lead in a circle
        return "a link to a folder; give the folder itself as IN"
    return ""


def _reason_to_skip(file: Path) -> str:
    if file.name.startswith("."):
        return "a hidden file"
    try:
        regular = stat.S_ISREG(file.stat().st_mode)
    except PermissionError as error:
        return f"a file that cannot be read ({error.strerror})"
    except OSError:  # such as a link to nothing
        regular = False
    if not regular:
        return "not a regular file"
    suffix = file.suffix.lower()
    if suffix in _sound_suffixes() or (not suffix and _opens(file)):
        return ""
    return "not a sound file by its name"


def _sound_suffixes() -> frozenset[str]:
    import soundfile

    from rtvc.audio.local_file import OTHER_SUFFIXES

    formats = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
    return _MORE_SUFFIXES | OTHER_SUFFIXES | formats


def _opens(file: Path) -> bool:
    from rtvc.audio.decoder import open_decoder

    try:
        open_decoder(file).close()
    except RtvcError:
        return False
    return True
