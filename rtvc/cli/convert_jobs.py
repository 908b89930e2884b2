"""The input and output files of ``rtvc convert``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rtvc.errors import UsageError


def plan(inputs: Sequence[Path], target: Path) -> list[tuple[Path, Path]]:
    """Return pairs of input and output files.

    Parameters
    ----------
    inputs
        Files and folders; a folder means all sound files in it and in its subfolders.
    target
        A file if there is one input file and the name has a suffix; else, or if it
        exists as a folder, a folder.

    Raises
    ------
    UsageError
        If an input is missing, a folder holds no sound files, the suffix is not that
        of a sound format, an output would overwrite an input, or two inputs have the
        same output.
    """
    for path in inputs:
        if not path.exists():
            raise UsageError(f"There is no file {str(path)!r}.")
    from rtvc.audio.sound_file import format_of

    single = len(inputs) == 1 and not inputs[0].is_dir()
    if single and not target.is_dir() and target.suffix:
        format_of(target)
        jobs = [(inputs[0], target)]
    else:
        if target.exists() and not target.is_dir():
            raise UsageError(
                f"{target} is a file. Give a folder as OUT to convert several files or a folder."
            )
        jobs = [
            (
                source,
                target / (relative if is_sound_name(relative) else relative.with_suffix(".wav")),
            )
            for path in inputs
            for source, relative in _sound_files(path, target)
        ]
    seen: dict[Path, Path] = {}
    sources = {source.resolve(): source for source, _ in jobs}
    for source, result in jobs:
        real = result.resolve()
        if real in sources:
            raise UsageError(f"{result} is an input file. Give another file or folder as OUT.")
        if real in seen:
            raise UsageError(
                f"{seen[real]} and {source} would both be written to {result}. "
                "Convert them one by one."
            )
        seen[real] = source
    return jobs


def is_sound_name(path: Path) -> bool:
    """Return whether the suffix is that of a sound format that can be written."""
    from rtvc.audio.sound_file import format_of

    try:
        format_of(path)
    except UsageError:
        return False
    return True


def _sound_files(path: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    if not path.is_dir():
        yield path, Path(path.name)
        return
    found = False
    for folder, folders, names in os.walk(path):
        # The output folder of an earlier run is not an input.
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (Path(folder) / name).resolve() != target.resolve()
        )
        for name in sorted(names):
            file = Path(folder) / name
            if not name.startswith(".") and is_sound_name(file):
                found = True
                yield file, file.relative_to(path)
    if not found:
        raise UsageError(f"There are no sound files in the folder {str(path)!r}.")
