"""Load a voice by name, or from a file, a folder or an archive."""

from __future__ import annotations

import os
import shlex
import warnings
from pathlib import Path

from rtvc.between import parts_between
from rtvc.engine.thread_bound import run_in_thread
from rtvc.engine.voice import Voice
from rtvc.errors import RtvcError, UsageError
from rtvc.library.addresses import is_url
from rtvc.library.finding import list_names, select_voice
from rtvc.library.names import is_path
from rtvc.library.open_voice import find_voice, load_rvc_voice
from rtvc.library.opening import open_source
from rtvc.library.voices import installed_voice
from rtvc.settings import BUILT_IN


def load_voice(
    source: str | Path, *, index: str | Path | None = None, pick: str | None = None
) -> Voice:
    """Load a voice.

    Nothing in a file is executed, and nothing is downloaded. RVC voices use the content
    encoder and the pitch estimator that ``rtvc setup`` has installed. An archive is unpacked
    into a temporary folder, which is removed before this returns. A file that is loaded twice
    is in memory once.

    Parameters
    ----------
    source
        ``"world"`` (the built-in voice), the name of an installed voice, or the path of a
        ``.pth`` or ``.safetensors`` file, a folder, or a zip archive. An installed voice takes
        precedence over a path of the same spelling; a `~pathlib.Path` is always a path.
    index
        The ``.index`` file for a voice that is not installed. By default the one that matches
        the voice by name or folder, if there is one.
    pick
        Which voice of a folder or archive with several: its name or file name.

    Returns
    -------
    Voice
        For any number of `convert` calls and `Converter` objects, on any threads.

    Raises
    ------
    UsageError
        If there is no such voice, or more than one.
    RtvcError
        If the file cannot be used, or a base model that it needs is not installed.

    Warns
    -----
    RuntimeWarning
        If the self-test has found that the GPU computes wrongly, and rtvc computes in another
        way.

    Examples
    --------
    >>> rtvc.load_voice("world")
    <WorldVoice 'world', 48000 Hz>
    >>> voice = rtvc.load_voice("Anna.zip")
    """
    voice = run_in_thread(lambda: _load(source, index, pick), "rtvc loading")
    if notice := getattr(voice, "notice", ""):
        warnings.warn(notice, RuntimeWarning, stacklevel=2)
    return voice


def _load(source: str | Path, index: str | Path | None, pick: str | None) -> Voice:
    if not isinstance(source, str | Path):
        raise UsageError(f"A voice cannot be loaded from {source!r}. Give a name or a path.")
    if not isinstance(index, str | Path | None) or not isinstance(pick, str | None):
        raise UsageError(
            f"The index is {index!r} and pick is {pick!r}. Give a path as index, a name as pick."
        )
    if "\0" in str(source):
        raise UsageError(f"{str(source)!r} has a null character, which no name and no path has.")
    if isinstance(source, str) and not _is_path(source):
        if index is not None or pick is not None:
            raise UsageError(
                f"{source!r} is not a file. index and pick are for files, folders and archives."
            )
        return find_voice(source)
    path = _expanded(source)
    with open_source(str(path), lambda done, total: None) as found:
        voices = found if pick is None else select_voice(found, pick)
        if len(voices) > 1:
            names = list_names(voice.path for voice in voices)
            raise UsageError(f"{path} holds more than one voice ({names}). Choose one with pick=.")
        voice = voices[0]
        try:
            return load_rvc_voice(
                voice.name, voice.path, voice.index if index is None else _expanded(index)
            )
        except RtvcError as error:
            if path in (voice.path, *voice.path.parents):
                raise
            # A message must not mention the temporary folder of an archive.
            kind = UsageError if isinstance(error, UsageError) else RtvcError
            raise kind(str(error).replace(f"{voice.path.parent}/", f"{path}/")) from None


def _is_path(source: str) -> bool:
    if is_url(source):
        raise UsageError(
            f"A URL cannot be loaded. Run 'rtvc voices add {shlex.quote(source)}', then load the "
            "voice by its name."
        )
    if source in ("", BUILT_IN) or parts_between(source):
        return False
    if is_path(source):
        return True
    try:
        installed_voice(source)
    except UsageError:
        # Unlike Path.exists, it is false for a name that is too long for the system.
        return source.lower().endswith(".zip") or os.path.exists(_expanded(source))
    return False


def _expanded(path: str | Path) -> Path:
    """Return an absolute path; unlike Path.expanduser, it leaves '~' of nobody as it is."""
    return Path(os.path.expanduser(path)).absolute()
