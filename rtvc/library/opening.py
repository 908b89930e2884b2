"""Find the voices in a file, a folder, an archive or at a URL."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtvc.engine.weights.recognise import FileKind, recognise, require_weights
from rtvc.errors import UsageError
from rtvc.library import names
from rtvc.library.addresses import is_url, without_query
from rtvc.library.archives import unpack
from rtvc.library.download import ReportProgress, discard_download, download
from rtvc.library.finding import SUFFIXES, FoundVoice, find_voices, list_names, matching_indexes
from rtvc.library.home import staging_folder


@contextmanager
def open_source(source: str, progress: ReportProgress) -> Iterator[list[FoundVoice]]:
    """Find the voices in a file, a folder, an archive or at a URL, for the block.

    Downloaded and unpacked files are removed after the block. After a `UsageError` a complete
    download stays, so that a corrected command need not download it again.

    Parameters
    ----------
    source
        A path, or a URL that begins with ``http://`` or ``https://``.
    progress
        Called with the progress of a download; see `ReportProgress`.

    Raises
    ------
    UsageError
        If there is no such file or folder.
    RtvcError
        If there is no voice, or it cannot be read or downloaded.
    """
    if not is_url(source):
        path = Path(os.path.expanduser(source)).absolute()
        if not os.path.lexists(path):  # also for a name that is too long
            raise UsageError(f"There is no file or folder {source!r}. Check the path.")
        with _find_in_path(path) as found:
            yield found
        return
    with download(source, progress) as fetched, staging_folder() as stage:
        # Messages show the server's name for the file, so it gets that. Not every disk has links.
        named = stage / (names.sanitized(fetched.name) or "download")
        fetched.path.rename(named)
        is_done = False
        try:
            with _find_in_path(named) as found:
                origin = without_query(source)
                yield [dataclasses.replace(one, origin=origin) for one in found]
            is_done = True
        except UsageError:
            raise
        except Exception:
            is_done = True
            raise
        finally:
            if is_done:
                discard_download(source)
            else:
                named.rename(fetched.path)


@contextmanager
def _find_in_path(path: Path) -> Iterator[list[FoundVoice]]:
    if os.path.isdir(path):  # unlike Path.is_dir, it raises nothing for a name that is too long
        yield find_voices(path, path.name)
    elif recognise(path) is FileKind.ARCHIVE:
        with staging_folder() as stage:
            unpack(path, stage, SUFFIXES)
            yield find_voices(stage, path.stem)
    else:
        require_weights(path, "a voice")
        stem = names.without_training_suffix(path.stem)
        indexes = matching_indexes(path)
        note = (
            f"More than one index belongs to it by its name, so none is used: "
            f"{list_names(indexes)}. Select one with --index."
        )
        yield [
            FoundVoice(
                path,
                indexes[0] if len(indexes) == 1 else None,
                names.suggested_name(stem),
                notes=(note,) if len(indexes) > 1 else (),
            )
        ]
