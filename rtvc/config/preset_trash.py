"""Deleted presets, and earlier versions of changed ones, which can be restored."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtvc.config.paths import one_writer, write_atomically
from rtvc.config.presets import SUFFIX, own_path, user_folder
from rtvc.errors import RtvcError, UsageError
from rtvc.system.permission import folder_problem
from rtvc.system.unicode_names import normalized

Reason = Literal["deleted", "updated", "replaced"]

MAX_KEPT = 50
"""Files that are kept; with more, the oldest are removed."""
_NAME = re.compile(r"(\d{6,}) (deleted|updated|replaced) (.+)\.yaml", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeptPreset:
    """A preset's file that can be restored.

    Attributes
    ----------
    path
        The file.
    number
        Its place in the order in which files were kept.
    reason
        Why it is kept: its preset was deleted, was updated, or was replaced by `restore`.
    name
        The preset's name.
    """

    path: Path
    number: int
    reason: Reason
    name: str

    @property
    def restored(self) -> str:
        """A sentence that says what was restored."""
        if self.reason == "deleted":
            return f"Restored {self.name!r}, which was deleted."
        when = "the last update" if self.reason == "updated" else "the last restore"
        return f"Restored {self.name!r} as it was before {when}."


def trash_folder() -> Path:
    """Return the folder of kept files, which is in that of the presets; it may not exist."""
    return user_folder() / "deleted"


def list_kept() -> list[KeptPreset]:
    """Return all kept files, the newest first."""
    try:
        found = [(path, _NAME.fullmatch(path.name)) for path in trash_folder().iterdir()]
    except OSError:
        return []
    kept = [
        KeptPreset(path, int(match[1]), _reason(match[2]), normalized(match[3]))
        for path, match in found
        if match is not None
    ]
    return sorted(kept, key=lambda one: one.number, reverse=True)


def keep_deleted(path: Path) -> None:
    """Move a preset's file to the kept ones.

    Raises
    ------
    RtvcError
        If it cannot be moved.
    """
    with one_writer(user_folder()):
        target = _new_path(path.stem, "deleted")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        except OSError as error:
            raise RtvcError(f"{path.stem!r} cannot be deleted: {error.strerror}.") from None
        _remove_oldest()


def keep_copy(path: Path, reason: Reason) -> None:
    """Copy a preset's file, which is about to be replaced, to the kept ones.

    Raises
    ------
    RtvcError
        If it cannot be read or copied.
    """
    with one_writer(user_folder()):
        _keep_copy(path, reason)
        _remove_oldest()


def _keep_copy(path: Path, reason: Reason) -> None:
    if path.is_fifo():  # to open it would wait
        raise RtvcError(f"{path} cannot be read: It is a pipe, not a file.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RtvcError(f"{path} cannot be read: {error.strerror}.") from None
    write_atomically(_new_path(path.stem, reason), content)


def restore(name: str = "") -> KeptPreset:
    """Restore the newest kept file of a preset, and return what it was.

    What it replaces is kept in turn.

    Parameters
    ----------
    name
        The preset's name; "" undoes the last deletion or update of any preset.

    Raises
    ------
    UsageError
        If there is none, or they cannot be read, or another preset has taken the name of a deleted
        one.
    RtvcError
        If the file cannot be restored.
    """
    there = os.path.isdir(user_folder())  # which one_writer would make
    with one_writer(user_folder()) if there else contextlib.nullcontext():
        return _restore(normalized(name))


def _restore(name: str) -> KeptPreset:
    wanted = [one for one in list_kept() if (one.name == name if name else _undoes(one))]
    if not wanted:
        if problem := folder_problem(trash_folder()):
            raise UsageError(problem)
        what = f"No earlier version of the preset {name!r}" if name else "No deleted preset"
        raise UsageError(f"{what} is kept, so nothing can be restored.")
    kept = wanted[0]
    path = own_path(kept.name)
    if os.path.lexists(path):
        if kept.reason == "deleted":
            raise UsageError(
                f"There is another preset {kept.name!r} now; rename it, then restore the deleted "
                "one."
            )
        _keep_copy(path, "replaced")
    try:
        if path.is_symlink():  # it stays one
            write_atomically(path, kept.path.read_bytes())
            kept.path.unlink()
        else:
            kept.path.replace(path)
    except OSError as error:
        raise RtvcError(f"{kept.name!r} cannot be restored: {error.strerror}.") from None
    _remove_oldest()  # not before: it may be the oldest itself
    return kept


def _undoes(kept: KeptPreset) -> bool:
    """Return whether restoring it undoes an act of the user, and not an undo."""
    return kept.reason != "replaced"


def _reason(text: str) -> Reason:
    return "deleted" if text == "deleted" else "updated" if text == "updated" else "replaced"


def _new_path(name: str, reason: Reason) -> Path:
    kept = list_kept()
    number = kept[0].number + 1 if kept else 1
    return trash_folder() / f"{number:06} {reason} {name}{SUFFIX}"


def _remove_oldest() -> None:
    for kept in list_kept()[MAX_KEPT:]:
        with contextlib.suppress(OSError):
            kept.path.unlink()
