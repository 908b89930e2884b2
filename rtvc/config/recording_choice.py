"""What is recorded, and to which files; remembered from run to run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtvc.errors import UsageError

RECORDED = ("output", "input", "both")
DEFAULT_NAME = "rtvc-recording.wav"


@dataclass(frozen=True, slots=True)
class RecordingChoice:
    """What is recorded, and to which files.

    Attributes
    ----------
    what
        ``"output"``, ``"input"`` (your own voice) or ``"both"``.
    folder
        The folder of the files; "" is the current one. It is created if it does not exist.
    name
        The name of the file; its extension selects the format. It may contain the codes of
        `time.strftime`, such as ``%Y-%m-%d``.

    Raises
    ------
    UsageError
        If `what` is none of these, or `name` is empty, contains a folder, has no extension,
        or has line breaks or other characters that cannot be printed.
    """

    what: str = RECORDED[0]
    folder: str = ""
    name: str = DEFAULT_NAME

    def __post_init__(self) -> None:
        if self.what not in RECORDED:
            raise UsageError(f"{self.what!r} cannot be recorded. Choose output, input or both.")
        printable = self.name.isprintable() and time.strftime(self.name).isprintable()
        if not printable or Path(self.name).name != self.name or not Path(self.name).suffix:
            raise UsageError(
                f"The name of recordings is {self.name!r}. Give the name of a sound file "
                "without a folder, such as 'talk-%Y-%m-%d.wav'."
            )

    @property
    def directory(self) -> Path:
        """The absolute path of the folder."""
        return Path(os.path.expanduser(self.folder or ".")).absolute()

    def paths(self, file: Path | None = None) -> dict[Literal["input", "output"], Path]:
        """Return the files of a recording that starts now.

        Parameters
        ----------
        file
            The file instead of the one of `folder` and `name`.
        """
        name = time.strftime(self.name).replace("/", "-")
        path = (file or self.directory / name).absolute()
        paths: dict[Literal["input", "output"], Path] = {}
        if self.what != "input":
            paths["output"] = path
        if self.what != "output":
            # The name says that this is your own voice.
            paths["input"] = path.with_stem(f"{path.stem}-input")
        return paths
